"""What is received in pieces of any size, and sent to a peer that takes nothing."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import paramiko
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from paramgmt_tasks.ssh.allowance import check_prompts, extensions
from paramgmt_tasks.ssh.paramiko_internals import sockets
from paramgmt_tasks.ssh.paramiko_internals import stream as streams
from paramgmt_tasks.ssh.paramiko_internals.channel import ExecChannel
from paramgmt_tasks.ssh.paramiko_internals.ciphers import AesGcm
from paramgmt_tasks.ssh.paramiko_internals.outbox import Outbox
from paramgmt_tasks.ssh.paramiko_internals.packetizer import StreamPacketizer
from paramgmt_tasks.ssh.paramiko_internals.sockets import TooLate
from paramgmt_tasks.ssh.paramiko_internals.stream import Stream
from paramgmt_tasks.ssh.paramiko_internals.transport import LeanTransport


@pytest.fixture
def pair() -> Iterator[tuple[Stream, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Stream(ours), theirs


def test_a_message_that_comes_in_bytes_is_not_copied_for_each(pair, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, theirs = pair
    moved = []
    move = Stream._move_to
    monkeypatch.setattr(Stream, "_move_to", lambda self, buffer: (moved.append(1), move(self, buffer)))
    receive = Stream._receive

    def a_byte_each(self: Stream, seconds: float | None) -> int | None:
        theirs.send(b"x")
        return receive(self, seconds)

    monkeypatch.setattr(Stream, "_receive", a_byte_each)
    assert bytes(stream.read(20_000)) == b"x" * 20_000
    assert len(moved) < 5


def test_a_socket_keeps_its_descriptor_while_a_thread_waits_for_it() -> None:
    class Slow(socket.socket):
        """Closed by another thread when recv() is about to wait."""

        def recv_into(self, *args: object) -> int:
            stream.close()
            numbers.append(self.fileno())
            return super().recv_into(*args)  # type: ignore[arg-type]

    numbers: list[int] = []
    ours, theirs = socket.socketpair()
    with Slow(fileno=ours.detach()) as slow, theirs:
        number, stream = slow.fileno(), Stream(slow)
        with pytest.raises(EOFError):
            stream.read(1)
        assert (numbers, slow.fileno()) == ([number], -1)


def test_who_waits_for_the_rest_of_a_message_tells_once(pair, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, theirs = pair
    stalls: list[int] = []
    stream.outbox.on_stall = lambda: stalls.append(1)
    now = [100.0]
    monkeypatch.setattr(streams.time, "monotonic", lambda: now[0])
    receive = Stream._receive

    def slowly(self: Stream, seconds: float | None) -> int | None:
        now[0] += 0.02
        theirs.send(b"x")
        return receive(self, seconds)

    monkeypatch.setattr(Stream, "_receive", slowly)
    stream.read(50)
    assert stalls == [1], "though each of the bytes came soon"
    stream.read(50)
    assert stalls == [1, 1]


def test_a_peer_that_takes_nothing_is_waited_for_until_the_deadline(pair) -> None:
    stream, _ = pair
    stalls: list[int] = []
    stream.outbox.on_stall = lambda: stalls.append(1)
    stream.outbox.gather(bytes(10_000_000))
    with pytest.raises(TooLate):
        stream.outbox.flush(time.monotonic() + 0.05)
    assert stalls
    assert stream.outbox.unsent(), "what is left may go on when there is room"


def test_a_peer_that_takes_nothing_for_long_is_dead(pair, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, theirs = pair
    monkeypatch.setattr(sockets, "DEAD", 0.05)
    stream.outbox.gather(bytes(10_000_000))
    with pytest.raises(EOFError):
        stream.outbox.flush()
    assert not stream.outbox.unsent()
    theirs.setblocking(False)
    assert theirs.recv(1)


def test_a_peer_that_takes_little_by_little_is_not(pair, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, theirs = pair
    wait = Outbox.wait_for_room

    def and_take(self: Outbox, until: float) -> None:
        theirs.recv(1_000_000)
        wait(self, until)

    monkeypatch.setattr(Outbox, "wait_for_room", and_take)
    stream.outbox.gather(*[bytes(100_000)] * 100)
    stream.outbox.flush()
    assert not stream.outbox.unsent()


@pytest.mark.parametrize("count", [-12, 300_000])
def test_no_packet_has_so_many_bytes(pair, count: int) -> None:
    packetizer = StreamPacketizer(pair[0])
    with pytest.raises(paramiko.SSHException, match="not a packet"):
        packetizer.read_all(count)


def test_a_message_does_not_become_large_when_it_is_decompressed(pair) -> None:
    from paramiko.compress import ZlibCompressor, ZlibDecompressor

    packetizer, compress = StreamPacketizer(pair[0]), ZlibCompressor()
    packetizer.set_inbound_compressor(ZlibDecompressor())
    assert packetizer._inflate(compress(b"text" * 1000)) == b"text" * 1000
    with pytest.raises(paramiko.SSHException, match="more than"):
        packetizer._inflate(compress(bytes(100_000_000)))


def message(*fields: object) -> paramiko.Message:
    whole = paramiko.Message()
    for field in fields:
        whole.add_int(field) if isinstance(field, int) else whole.add_string(field)
    whole.rewind()
    return whole


def test_questions_are_counted_before_they_are_asked() -> None:
    asked = message("name", "instruction", "", 2, "first")
    check_prompts(asked)
    assert asked.get_text() == "name", "as if nobody had looked"
    with pytest.raises(paramiko.SSHException, match="4000000000 questions"):
        check_prompts(message("name", "instruction", "", 4_000_000_000))


def test_extensions_end_with_their_message() -> None:
    assert extensions(message(3, "server-sig-algs", "ssh-ed25519")) == {"server-sig-algs": b"ssh-ed25519"}
    with pytest.raises(paramiko.SSHException, match="4294967295 extensions"):
        extensions(message(2**32 - 1))


def test_no_group_of_the_key_exchange_keeps_the_thread_for_seconds() -> None:
    exchange = LeanTransport._kex_info["diffie-hellman-group-exchange-sha256"](SimpleNamespace())
    assert exchange.max_bits == 4096
    exchange.p = 2**4096 - 1
    exchange._generate_x()
    assert exchange.x.bit_length() == 512
    with pytest.raises(paramiko.SSHException, match="more than 4096 bits"):
        exchange._parse_kexdh_gex_group(message(b"\x7f" * 1024, b"\2"))
    with pytest.raises(paramiko.SSHException, match="1023 bits, fewer than 2048"):
        exchange._parse_kexdh_gex_group(message(b"\x7f" * 128, b"\2"))


@pytest.mark.parametrize("length", [3, 5])
def test_a_message_of_data_ends_with_its_data(pair, length: int) -> None:
    """What follows them would be kept as long as they are."""
    stream, theirs = pair
    packetizer = StreamPacketizer(stream)
    key, first = AESGCM(bytes(16)), bytes(12)
    packetizer._inbound = AesGcm(key, first)
    payload = struct.pack(">BIII", 94, 0, length, 0)
    plain = bytes((18,)) + payload + bytes(18)
    head = struct.pack(">I", len(plain))
    theirs.send(head + key.encrypt(first, plain, head))
    with pytest.raises(paramiko.SSHException, match="shorter or longer"):
        packetizer.read_message()


def test_data_in_single_bytes_are_not_kept_as_single_bytes() -> None:
    channel = ExecChannel(0, limit=1)
    assert channel.read() == []
    for _ in range(100_000):
        channel.on_data(memoryview(b"x"))
    pieces = channel.read()
    assert b"".join(pieces) == b"x" * 100_000
    assert len(pieces) < 10_000


def test_a_transport_takes_no_name_of_a_threads_own() -> None:
    pairs = socket.socketpair(), socket.socketpair()
    ours, paramikos = LeanTransport(pairs[0][0]), paramiko.Transport(pairs[1][0])
    names = (
        set(vars(LeanTransport)) - set(vars(paramiko.Transport)) | ours.__dict__.keys() - paramikos.__dict__
    )
    for sock in (*pairs[0], *pairs[1]):
        sock.close()
    assert {name for name in names & set(dir(threading.Thread())) if not name.startswith("__")} == set()
