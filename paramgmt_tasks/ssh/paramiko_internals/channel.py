"""ExecChannel: one command's channel, whose output bypasses paramiko's buffers and whose waits are steps.

It is a paramiko.Channel, so that SFTP and Fabric can use it too; what reads and writes here never blocks.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable

import paramiko
from paramiko.common import (
    cMSG_CHANNEL_OPEN,
    cMSG_CHANNEL_REQUEST,
    cMSG_CHANNEL_WINDOW_ADJUST,
)

from ...steps import MAY_BLOCK, Steps
from ..allowance import BULK, check_window, signal_name
from ..failures import NoAnswer, NotStarted
from ..terminal import MODES, MergedOutput, TerminalInput, size
from .message_pump import Awaited
from .messages import MessageTransport
from .packetizer import ChannelData
from .upstream import PrivateChannel

#: What is received or sent without copying: paramiko's messages give bytes, ours a view of the packet.
Data = bytes | memoryview

#: Seconds for the rest of a message that has begun to come when a command's time is up.
_REST_OF_MESSAGE = 5.0
_NO_START = "no answer to the request to start the command"
_NO_TERMINAL = "the server gives no terminal (PermitTTY of sshd_config, no-pty of a key)"
#: More bytes than a channel holds before it is read.
_WINDOW = 2**30
#: Bytes of standard error that are read at once: all there can be.
_STDERR = 4 * 1024 * 1024
#: Pieces of what has come that are kept as they are: one of a byte takes hundreds.
_KEPT_APART = 1024
#: Pieces that may wait to be sent before more is accepted from a command's standard input.
_GATHERED = 64


class OutOfTime(TimeoutError):
    """A deadline passed before what was waited for."""


class ExecChannel(PrivateChannel):
    """The channel of one command: its request, what it reads and writes, and how it ended.

    `limit` is how many seconds a request may wait for its answer.
    """

    transport: MessageTransport

    def __init__(self, number: int, limit: float) -> None:
        super().__init__(number)
        self.limit = limit
        #: When the channel was asked for, in monotonic seconds.
        self.began = time.monotonic()
        #: The name of the signal that ended the command, empty without one.
        self.exit_signal = ""
        #: Whether the host has refused what was requested.
        self.refused = False
        #: Whether the host has closed the channel, rather than the connection broken.
        self.closed_by_peer = False
        #: What `request` found no room for of what was to be sent along.
        self.unsent = b""
        #: The way of the input, if the command has a terminal.
        self.terminal: TerminalInput | None = None
        #: What takes standard error out of standard output; None if it comes apart.
        self.merged: MergedOutput | None = None
        #: What has come on standard output, None before the first `read`; until then paramiko keeps it.
        self._pieces: list[Data] | None = None
        #: How many bytes these have.
        self._unread = 0
        #: What was read and given back.
        self._returned: list[Data] = []

    # -- starting

    def another(self, limit: float) -> Steps["ExecChannel"]:
        """Open one more channel over the same connection, see open_session."""
        return open_session(self.transport, limit)

    def request_terminal(self, kind: bytes) -> Steps[None]:
        """Have the command run on a terminal of this kind, such as `xterm`, see ssh/terminal.py.

        Raises:
            NotStarted: the host gives none.
            NoAnswer, paramiko.SSHException: no answer, or a broken connection.
        """
        self._event_pending()
        request = self._request("pty-req", True)
        request.add_string(kind)
        for number in (*size(), 0, 0):
            request.add_int(number)
        request.add_string(MODES)
        self.transport.send_message(request)
        self.flush()
        yield from self.confirmation(_NO_TERMINAL)
        self.terminal = TerminalInput(self.transport.remote_version)

    def set_environment(self, variables: Iterable[tuple[bytes, bytes]]) -> None:
        """Ask for variables of the command's environment; as with ssh, the host may ignore them."""
        for name, value in variables:
            request = self._request("env", False)
            request.add_string(name)
            request.add_string(value)
            self.transport.send_message(request)

    def request(self, command: bytes, no_input: bool, first: bytes = b"") -> None:
        """Ask for a command; with `no_input` its standard input ends at once.

        It goes out with `flush`, or the next message that is read, and with it `first` on its standard
        input. What the window does not hold of that becomes `unsent`.
        """
        self._event_pending()
        self._ask("exec", True, command)
        self.unsent = first[self.send_now(memoryview(first)) :] if first else b""
        if no_input and not self.unsent:
            self.shutdown_write()

    def confirmation(self, refusal: str = "the server refuses to run commands") -> Steps[None]:
        """The answer to `request`.

        Raises:
            NotStarted: the host refuses it.
            NoAnswer, paramiko.SSHException: no answer, or a broken connection.
        """
        come = True
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):  # raised again below
            come = yield from self.until(self.event.is_set, time.monotonic() + self.limit)
        if not come:
            raise NoAnswer(_NO_START)
        if self.refused:
            raise NotStarted(refusal)
        self._wait_for_event()

    def signal(self, name: str) -> None:
        """Ask for the command to be sent a signal, such as TERM; there is no answer."""
        self._ask("signal", False, name.encode())

    def _ask(self, kind: str, wants_answer: bool, argument: bytes) -> None:
        request = self._request(kind, wants_answer)
        request.add_string(argument)
        self.transport.send_message(request)

    def _request(self, kind: str, wants_answer: bool) -> paramiko.Message:
        request = paramiko.Message()
        request.add_byte(cMSG_CHANNEL_REQUEST)
        request.add_int(self.remote_chanid)
        request.add_string(kind)
        request.add_boolean(wants_answer)
        return request

    # -- waiting

    def until(self, done: Callable[[], bool], deadline: float | None = None) -> Steps[bool]:
        """Steps that read messages until `done`; they return False if the deadline passes first.

        Raises:
            EOFError, OSError, paramiko.SSHException: the connection is broken.
        """
        return self.transport.until(done, deadline)

    def wait_for(self, done: Callable[[], bool], deadline: float | None) -> Steps[None]:
        """As `until`, for a command that may always send something.

        Raises:
            OutOfTime: the deadline has passed.
            EOFError, OSError, paramiko.SSHException: the connection is broken.
        """
        # Asked for apart from the wait, which a command that never stops printing always ends at once.
        late = deadline is not None and time.monotonic() >= deadline
        if late or not (yield from self.until(done, deadline)):
            raise OutOfTime("no answer in time")

    def at_eof(self) -> bool:
        """Whether nothing more can come."""
        return bool(self.eof_received or self.closed)

    def has_status(self) -> bool:
        """Whether the command has ended and its return code is known, or never will be."""
        return self.status_event.is_set()

    # -- reading

    def read(self) -> list[Data]:
        """What has come on standard output, in pieces; they bypass paramiko's buffer from now on.

        `has_come` says whether there are some.
        """
        pieces, self._pieces, self._unread = self._pieces, [], 0
        if pieces is None:
            self.in_window_sofar += BULK - self.in_window_size
            self.in_window_threshold = BULK // 4
            pieces = []
        if self.recv_ready():  # it came before the first call
            pieces = [self.recv(_WINDOW)]
        else:
            self._widen(sum(map(len, pieces)))
        if self._returned:
            pieces, self._returned = [*self._returned, *pieces], []
        if self.merged is not None:
            output = self.merged.output(pieces, self.at_eof())
            return [output] if output else []
        return pieces

    def _widen(self, read: int) -> None:
        """Let the host send as much as was read."""
        more = self._check_add_window(read)
        if more > 0:
            adjust = paramiko.Message()
            adjust.add_byte(cMSG_CHANNEL_WINDOW_ADJUST)
            adjust.add_int(self.remote_chanid)
            adjust.add_int(more)
            self.transport.send_message(adjust)

    def give_back(self, data: bytes) -> None:
        """What was read is to be read once more."""
        if data:
            self._returned.insert(0, data)

    def has_come(self) -> bool:
        """Whether there is something to `read`, and nothing more can be received without waiting.

        So what follows is done once for many packets.
        """
        return bool(self._pieces or self._returned) and not self.transport.holds_message()

    def recv_stderr_ready(self) -> bool:
        """Whether something has come on standard error."""
        return (self.merged is not None and self.merged.has_errors) or super().recv_stderr_ready()

    def read_stderr(self) -> bytes:
        """What has come on standard error."""
        errors = b"" if self.merged is None else self.merged.errors()
        return errors + (self.recv_stderr(_STDERR) if super().recv_stderr_ready() else b"")

    def on_data(self, data: Data) -> None:
        """Data has come on standard output.

        Raises:
            paramiko.SSHException: more than the window allows.
        """
        pieces = self._pieces
        if pieces is None:
            super()._feed(bytes(data))
            check_window(len(self.in_buffer), self.in_window_size)
        elif data:
            pieces.append(data)
            self._unread += len(data)
            if len(pieces) > _KEPT_APART:
                pieces[:] = [b"".join(pieces)]
            check_window(self._unread, BULK)

    def _handle_request(self, m: paramiko.Message) -> None:
        # paramiko drops the name of the signal that ended a command.
        position = m.packet.tell()
        if m.get_string() == b"exit-signal":
            m.get_boolean()
            self.exit_signal = signal_name(m.get_string())
        m.packet.seek(position)
        super()._handle_request(m)

    def _request_failed(self, m: paramiko.Message) -> None:
        # paramiko closes a channel alike then and if the connection breaks.
        self.refused = True
        super()._request_failed(m)

    def _handle_close(self, m: paramiko.Message) -> None:
        # paramiko closes a channel alike if the host does and if the connection breaks.
        self.closed_by_peer = True
        super()._handle_close(m)

    # -- writing

    def send_now(self, data: memoryview) -> int:
        """Send what the window holds of `data`; how many bytes. As Channel.send.

        Nothing waits: there has to be a window. It leaves with `drained`, or the next message that is read.
        """
        if self.terminal:
            taken = data[: self.terminal.room(self.out_window_size)]
            self._send_piece(memoryview(self.terminal.encode(bytes(taken))))
            return len(taken)
        return self._send_piece(data)

    def _send_piece(self, data: memoryview) -> int:
        with self.lock:
            count = min(len(data), self.out_window_size)
            self.out_window_size -= count
        for start in range(0, count, self.out_max_packet_size):
            piece = data[start : min(start + self.out_max_packet_size, count)]
            self.transport.send_message(ChannelData(self.remote_chanid, piece))
        return count

    def shutdown_write(self) -> None:
        """End the standard input, as paramiko's; a terminal's ends by a character, and stays open."""
        if not self.terminal:
            super().shutdown_write()
        elif not (self.eof_sent or self.closed):
            self._send_piece(memoryview(self.terminal.end()))
            self.eof_sent = True

    def end_again(self) -> None:
        """Tell a terminal once more that its input has ended."""
        if self.terminal and not self.closed:
            self._send_piece(memoryview(self.terminal.end()))
            self.flush()

    def has_window(self) -> bool:
        """Whether something can be sent."""
        room = self.terminal.room(self.out_window_size) if self.terminal else self.out_window_size
        return room > 0

    def takes_more(self) -> bool:
        """Whether there is a window, and most of what was sent before has gone."""
        return self.has_window() and not self.closed and self.transport.unsent() < _GATHERED

    def send_ready(self) -> bool:
        """Whether something can be sent at once, or never, as paramiko's."""
        return bool(self.closed or self.eof_sent) or self.has_window()

    def send_all(self, data: bytes, deadline: float | None) -> Steps[bool]:
        """Send all of something short; False if the deadline passes or the channel ends before.

        paramiko's own `sendall` waits for a window as long as the host likes.
        """
        rest = memoryview(data)
        while rest:
            ready = yield from self.until(lambda: self.send_ready() or self.closed, deadline)
            if not ready or self.closed:
                return False
            rest = rest[self.send_now(rest) :]
        return True

    def drained(self, deadline: float) -> Steps[bool]:
        """Steps that send what was gathered; False if the deadline passes first."""
        return self.transport.drained(deadline)

    def flush(self) -> None:
        """Send what waits for the next message to be read, as far as it goes at once."""
        self.transport.flush()


def open_session(transport: MessageTransport, limit: float) -> Steps[ExecChannel]:
    """Open a channel for one command, within `limit` seconds, and without the reader thread.

    Raises:
        NoAnswer, ConnectionResetError: the connection is of no use any more.
        paramiko.ssh_exception.ChannelException: the host refuses another channel.
    """
    if transport.is_alive():
        yield MAY_BLOCK  # paramiko waits for the end of a key exchange before it sends
    transport.set_grace(_REST_OF_MESSAGE)
    transport.allowance.serve()
    window, packet = transport.default_window_size, transport.default_max_packet_size
    with transport.lock:
        channel = ExecChannel(transport._next_channel(), limit)
        number = channel.chanid
        transport._channels.put(number, channel)
        transport.channels_seen[number] = True
        opened = transport.channel_events[number] = threading.Event()
        channel._set_transport(transport)
        channel._set_window(window, packet)
    channel.event = Awaited(transport.pump, limit, _NO_START)
    request = paramiko.Message()
    request.add_byte(cMSG_CHANNEL_OPEN)
    request.add_string("session")
    for field in (number, window, packet):
        request.add_int(field)
    try:
        transport.send_message(request)
        come = yield from transport.until(opened.is_set, time.monotonic() + limit)
    except (EOFError, OSError, paramiko.SSHException):
        # A kept connection may have died since: it shows here, before anything is started.
        raise ConnectionResetError("connection closed") from None
    if not come:
        raise NoAnswer("no answer to the request for a channel")
    if transport._channels.get(number) is None:
        raise transport.get_exception() or ConnectionResetError("connection closed")
    return channel
