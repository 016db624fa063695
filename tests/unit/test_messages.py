"""What is done with each message of a server, whatever it sends. There is no socket here."""

import struct
import threading
from collections.abc import Iterable
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_OPEN_SUCCESS,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_IGNORE,
    MSG_NEWKEYS,
    MSG_UNIMPLEMENTED,
)

from paramgmt_tasks.ssh.allowance import BULK
from paramgmt_tasks.ssh.paramiko_internals.channel import ExecChannel
from paramgmt_tasks.ssh.paramiko_internals.ciphers import AesGcm
from paramgmt_tasks.ssh.paramiko_internals.packetizer import ChannelData, StreamPacketizer
from paramgmt_tasks.ssh.paramiko_internals.sockets import TooLate
from paramgmt_tasks.ssh.paramiko_internals.stream import Stream
from paramgmt_tasks.ssh.paramiko_internals.transport import LeanTransport
from paramgmt_tasks.steps import run_to_end


class Bytes:
    """What stands for a socket: it gives these bytes, in pieces, and then ends or is silent."""

    def __init__(self, pieces: Iterable[bytes] = (), ends: bool = True) -> None:
        self._pieces, self._ends = list(pieces), ends

    def recv(self, size: int) -> bytes:
        if not self._pieces and not self._ends:
            raise TimeoutError
        piece = self._pieces.pop(0) if self._pieces else b""
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, data: bytes) -> int:
        return len(data)

    def settimeout(self, seconds: float | None) -> None: ...
    def fileno(self) -> int:
        return -1

    def close(self) -> None: ...


class Packets:
    """Stands for the packetizer: messages that come, and those that were sent."""

    def __init__(self) -> None:
        self.coming: list[tuple[int, Any]] = []
        self.sent: list[bytes] = []

    def need_rekey(self) -> bool:
        return False

    def received(self) -> int:
        return 0

    def holds_message(self) -> bool:
        return bool(self.coming)

    def read_message(self) -> tuple[int, Any]:
        if not self.coming:
            raise TooLate
        return self.coming.pop(0)

    def send_message(self, message: Any) -> None:
        self.sent.append(message.asbytes())

    def close(self) -> None: ...


def fields(*values: object) -> bytes:
    """As a message has them: numbers, strings, and single bytes for what is true or not."""
    return b"".join(
        struct.pack(">?", value)
        if isinstance(value, bool)
        else struct.pack(">I", value)
        if isinstance(value, int)
        else struct.pack(">I", len(value)) + value  # type: ignore[arg-type]
        for value in values
    )


class Server:
    """A transport, and what its server sends."""

    def __init__(self) -> None:
        self.transport = LeanTransport(Bytes())
        self.packets = Packets()
        self.transport.packetizer = self.packets  # type: ignore[assignment]
        self.transport.active = True
        self.transport.clear_to_send.set()

    def says(self, kind: int, content: bytes = b"") -> None:
        """Have a message handled."""
        self.queue(kind, content)
        self.transport.step()

    def queue(self, kind: int, content: bytes = b"") -> None:
        message: Any = paramiko.Message(content)
        message.seqno = 0
        if kind == MSG_CHANNEL_DATA and len(content) >= 8:
            message = ChannelData(int.from_bytes(content[:4], "big"), memoryview(content)[8:])
        self.packets.coming.append((kind, message))

    def floods(self) -> None:
        """Have more data handled than any window allows."""
        for _ in range(2 * BULK // 32_000):
            self.says(MSG_CHANNEL_DATA, fields(0, bytes(32_000)))

    def channel(self, window: int = 1000) -> ExecChannel:
        """One that was opened."""
        self.queue(MSG_CHANNEL_OPEN_SUCCESS, fields(self.transport._channel_counter, 5, window, 32768))
        channel = run_to_end(self.transport.session(10))
        self.packets.sent.clear()
        return channel


@pytest.fixture
def server() -> Server:
    return Server()


def test_what_serves_nothing_does_nothing(server: Server) -> None:
    server.says(MSG_IGNORE, fields(b"padding"))
    server.says(MSG_UNIMPLEMENTED, fields(3))
    server.says(MSG_DEBUG, fields(True, b"no matter", b""))
    assert (server.packets.sent, server.transport.forced) == ([], False)


@pytest.mark.parametrize(
    "text", [b"Forced command.", b"/home/u/.ssh/authorized_keys:3: key options: agent-forwarding command pty"]
)
def test_a_key_for_one_command_is_recognised(server: Server, text: bytes) -> None:
    server.says(MSG_DEBUG, fields(False, text, b""))
    assert server.transport.forced


def test_a_server_that_disconnects_ends_the_connection(server: Server) -> None:
    with pytest.raises(EOFError, match="by the server"):
        server.says(MSG_DISCONNECT, fields(2, b"so there", b""))


def test_an_unknown_message_is_answered_so(server: Server) -> None:
    server.says(200)
    assert server.packets.sent == [bytes((MSG_UNIMPLEMENTED,)) + bytes(4)]


def test_a_message_out_of_order_in_the_key_exchange_is_refused(server: Server) -> None:
    server.transport._expect_packet(MSG_NEWKEYS)
    with pytest.raises(paramiko.SSHException, match="out of order"):
        server.says(MSG_CHANNEL_DATA, fields(0, b"text"))


def test_what_paramikos_handlers_cannot_read_is_one_kind_of_error(server: Server) -> None:
    with pytest.raises(paramiko.SSHException, match=r"makes no sense \(KeyError\)"):
        server.says(MSG_NEWKEYS)  # before any were exchanged


def test_a_command_is_asked_for_and_confirmed(server: Server) -> None:
    channel = server.channel(window=6)
    channel.request(b"run", no_input=True, first=b"variables")
    assert server.packets.sent == [
        b"\x62" + fields(5, b"exec", True, b"run"),
        b"\x5e" + fields(5, b"variab"),
    ]
    assert channel.unsent == b"les", "and the end of the input is not sent before that"
    server.queue(99, fields(0))
    run_to_end(channel.confirmation())
    server.says(MSG_CHANNEL_WINDOW_ADJUST, fields(0, 100))
    assert channel.takes_more()
    assert channel.send_now(memoryview(channel.unsent)) == 3


def test_output_is_read_in_pieces(server: Server) -> None:
    channel = server.channel()
    server.says(MSG_CHANNEL_DATA, fields(0, b"before the first look"))
    assert channel.read() == [b"before the first look"]
    server.says(MSG_CHANNEL_DATA, fields(0, b"one"))
    server.says(MSG_CHANNEL_DATA, fields(0, b"two"))
    server.says(MSG_CHANNEL_EXTENDED_DATA, fields(0, 1, b"error"))
    assert channel.has_come()
    assert channel.read() == [b"one", b"two"]
    assert not channel.has_come()
    assert channel.read_stderr() == b"error"


def test_a_host_is_given_room_for_more_once_some_is_read(server: Server) -> None:
    channel = server.channel()
    channel.read()
    server.packets.sent.clear()
    for _ in range(BULK // 4 // 1000 + 2):
        server.says(MSG_CHANNEL_DATA, fields(0, bytes(1000)))
    assert not server.packets.sent
    count = sum(map(len, channel.read()))
    (adjust,) = server.packets.sent
    assert adjust[:5] == b"\x5d" + fields(5)
    assert int.from_bytes(adjust[5:], "big") >= count


@pytest.mark.parametrize("reads", [True, False])
def test_more_than_the_window_is_refused(server: Server, reads: bool) -> None:
    channel = server.channel()
    if reads:
        channel.read()
    with pytest.raises(paramiko.SSHException, match="more data than the window"):
        server.floods()


def test_a_signal_and_the_end_are_known(server: Server) -> None:
    channel = server.channel()
    server.says(MSG_CHANNEL_REQUEST, fields(0, b"exit-signal", False, b"KILL", False, b"", b""))
    server.says(MSG_CHANNEL_REQUEST, fields(0, b"exit-status", False, 3))
    assert (channel.exit_signal, channel.exit_status, channel.at_eof()) == ("KILL", 3, False)
    server.says(MSG_CHANNEL_EOF, fields(0))
    assert (channel.at_eof(), channel.closed_by_peer) == (True, False)
    server.says(MSG_CHANNEL_CLOSE, fields(0))
    assert channel.closed_by_peer


def test_a_connection_that_breaks_closes_its_channels(server: Server) -> None:
    channel = server.channel()
    server.transport.break_off(EOFError("gone"))
    assert (channel.at_eof(), channel.closed_by_peer) == (True, False)
    with pytest.raises(ConnectionResetError):
        run_to_end(server.transport.session(1))


def test_only_channels_that_were_opened_have_messages(server: Server) -> None:
    with pytest.raises(paramiko.SSHException, match="never opened: 7"):
        server.says(MSG_CHANNEL_EOF, fields(7))
    server.channel().close()
    server.says(MSG_CHANNEL_CLOSE, fields(0))
    server.says(MSG_CHANNEL_DATA, fields(0, b"was on its way"))
    with pytest.raises(paramiko.SSHException, match="for a channel that is closed"):
        server.floods()


def test_what_the_reader_sends_in_a_key_exchange_goes_after_it(server: Server) -> None:
    channel = server.channel()
    transport = server.transport
    transport.clear_to_send.clear()
    transport._pump._reader = threading.get_ident()
    channel.signal("TERM")
    server.says(MSG_IGNORE, fields(b""))
    assert not server.packets.sent
    transport.clear_to_send.set()
    server.says(200)
    assert [message[0] for message in server.packets.sent] == [MSG_UNIMPLEMENTED, MSG_CHANNEL_REQUEST]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 255) | st.sampled_from([*range(90, 101), *range(50, 54), 20, 21, 80, 81, 82]),
            st.binary(max_size=80) | st.binary(max_size=40).map(lambda tail: bytes(4) + tail),
        ),
        max_size=8,
    )
)
def test_whatever_a_server_says_is_refused_or_borne(messages: list[tuple[int, bytes]]) -> None:
    server = Server()
    server.channel().read()
    for kind, content in messages:
        try:
            server.says(kind, content)
        except (paramiko.SSHException, EOFError, OSError):
            break


KEY, FIRST = AESGCM(bytes(16)), bytes(12)


def sealed(payload: bytes, number: int) -> bytes:
    """A packet under the key."""
    padding = 4 + (-len(payload) - 5) % 16
    head = struct.pack(">I", 1 + len(payload) + padding)
    nonce = FIRST[:4] + number.to_bytes(8, "big")
    return head + KEY.encrypt(nonce, bytes((padding,)) + payload + bytes(padding), head)


def under_key(pieces: Iterable[bytes]) -> StreamPacketizer:
    packetizer = StreamPacketizer(Stream(Bytes(pieces)))
    packetizer._inbound = AesGcm(KEY, FIRST)
    return packetizer


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.lists(st.integers(1, 400), max_size=30))
def test_packets_arrive_whole_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    payloads = [payload if payload[0] != MSG_CHANNEL_DATA else b"\x01" + payload for payload in payloads]
    whole = b"".join(sealed(payload, number) for number, payload in enumerate(payloads))
    pieces = []
    for cut in cuts:
        pieces.append(whole[:cut])
        whole = whole[cut:]
    packetizer = under_key([piece for piece in (*pieces, whole) if piece])
    for number, payload in enumerate(payloads):
        kind, message = packetizer.read_message()
        assert (bytes((kind,)) + message.asbytes(), message.seqno) == (payload, number)
    with pytest.raises(EOFError):
        packetizer.read_message()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_bytes_that_are_no_packet_are_refused(data: bytes, encrypted: bool) -> None:
    packetizer = under_key([data]) if encrypted else StreamPacketizer(Stream(Bytes([data] if data else [])))
    with pytest.raises((paramiko.SSHException, EOFError)):
        list(iter(packetizer.read_message, None))


@given(st.integers(0, 2**32 - 1), st.binary(max_size=100))
def test_a_message_of_data_is_the_same_in_both_directions(number: int, data: bytes) -> None:
    message = ChannelData(number, memoryview(data))
    packetizer = under_key([sealed(message.asbytes(), 0)])
    kind, come = packetizer.read_message()
    assert (kind, come.get_int(), bytes(come.get_binary())) == (MSG_CHANNEL_DATA, number, data)


def test_a_transport_needs_no_more_of_a_socket_than_its_protocol_says() -> None:
    transport = LeanTransport(Bytes(ends=False))
    assert (transport.fileno(), transport.sent, transport.unsent()) == (-1, 0, 0)
    transport.packetizer.write_all(b"text")
    assert (transport.sent, transport.unsent()) == (4, 0)
    transport._stream.deadline = 0.0
    with pytest.raises(TooLate):
        transport._stream.read(1)


def test_only_the_thread_that_reads_looks_at_what_is_to_be_decrypted() -> None:
    server, seen = Server(), []
    server.queue(MSG_IGNORE)
    server.queue(MSG_IGNORE)

    def look() -> None:
        seen.append(server.transport.holds_message())

    def done() -> bool:
        if len(server.packets.coming) == 1:  # the first has been read: this thread is the one that reads
            look()
            other = threading.Thread(target=look)
            other.start()
            other.join()
        return bool(seen)

    assert server.transport.pump(done)
    assert seen == [True, False]
