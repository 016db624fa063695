"""Stream: a socket, read before a deadline and in large pieces; what it sends is its outbox's."""

import math
import socket
import time
from collections.abc import Callable

import paramiko

from .outbox import Outbox
from .sockets import SocketLike, TooLate, kept_open, shut_down

#: Bytes that are asked for at once, at first and after as many have come.
_READ, _READ_MANY = 16 * 1024, 512 * 1024
#: Buffers that no stream uses right now: a thread needs one, however many its streams.
_spare: dict[int, list[bytearray]] = {_READ: [], _READ_MANY: []}
#: Bytes of those of one size that are kept.
_SPARE = 2 * 1024 * 1024
#: Seconds that one host may keep a thread on which others count.
_STALL = 0.05
#: Seconds that a read without a limit waits.
_FOREVER = 1e6
#: Seconds between two looks whether to wait on, in a thread that waits for one connection alone.
_LOOK = 0.25


class Stream:
    """A socket read in large pieces before a deadline; what is sent leaves before it waits for more.

    So messages that follow each other leave together: half the packets of a handshake.
    """

    def __init__(self, sock: SocketLike) -> None:
        self._sock = sock
        self._socket = sock if isinstance(sock, socket.socket) else None
        #: Whether the descriptor says when something comes, and when there is room for more.
        self.waitable = self._socket is not None
        #: What was received and not read yet is from `_at` to `_end`; the rest is room while it reads.
        self._buffer = bytearray()
        self._at = self._end = 0
        self._many = False
        #: What is sent.
        self.outbox = Outbox(sock)
        #: Seconds that a read waits; it always has a limit, or a write would wait too.
        self._timeout = 0.0
        sock.settimeout(self._timeout)
        #: When a read gives up, in monotonic seconds.
        self.deadline: float | None = None
        #: Seconds more for the rest of a message of which a part has come.
        self.grace = 0.0
        #: Whether a read waits for a message to begin.
        self.waits = True
        #: Whether to wait no longer; asked now and then about what is no socket, which nobody can wake.
        self.enough: Callable[[], bool] = lambda: False
        #: Whether a part of a message was read, so that giving up would lose it.
        self.within_message = False
        #: Bytes that have come.
        self.received = 0
        #: Called when a wait for more has lasted until `looks_at`, in monotonic seconds; may raise.
        self.look: Callable[[], object] = lambda: None
        self.looks_at = math.inf
        #: Since when only a part of a message has been here, and whether `on_stall` was called for it.
        self._begun_at: float | None = None
        self._stalled = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)

    def fileno(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._sock.fileno()

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: paramiko would wake up ten times a second."""

    def read(self, count: int) -> memoryview:
        """Exactly `count` bytes, which are valid until the next call."""
        while self.held() < count:
            self._fill(count)
        self._begun_at, self._stalled = None, False
        self.within_message = True
        self._at += count
        return memoryview(self._buffer)[self._at - count : self._at]

    def held(self) -> int:
        """How many bytes were received and are not read yet."""
        return self._end - self._at

    def peek(self, count: int) -> bytes:
        """The next bytes, at most `count`, of those that were received."""
        return bytes(self._buffer[self._at : min(self._at + count, self._end)])

    def read_line(self, limit: int = 4096) -> bytes:
        """A line without its end."""
        while (end := self._buffer.find(b"\n", self._at, self._end)) < 0:
            if self.held() > limit:
                raise paramiko.SSHException("no SSH banner: a line without an end")
            self._fill(self.held() + 1)
        line = self._buffer[self._at : end]
        self._at = end + 1
        return bytes(line).rstrip(b"\r")

    def _fill(self, wanted: int) -> None:
        begun = self.held() > 0 or self.within_message
        ends = None
        if self.deadline is not None:
            ends = self.deadline + (self.grace if begun else 0.0)
        self.outbox.flush(ends)
        left = None
        if ends is not None:
            left = ends - time.monotonic()
            if left <= 0:
                raise TooLate
        if not (begun or self.waits):
            left = 0.0
        self._make_room(wanted)
        if begun and (left is None or left > _STALL):
            count = self._receive_rest(left)
        elif self.waitable:
            count = self._receive_patiently(left) if left != 0.0 else self._receive(left)
        else:
            count = self._receive_watchfully(left, self.enough)
        if count is None:
            self.within_message = begun
            raise TooLate
        if not count:
            raise EOFError
        self._end += count
        self.received += count
        self._many = count >= _READ

    def _receive_rest(self, seconds: float | None) -> int | None:
        """As `_receive`, of a message that has begun to come, for whose rest the thread is kept.

        A host may send it byte by byte, so that its stall is not one of a single read.
        """
        now = time.monotonic()
        if self._begun_at is None:
            self._begun_at = now
        left = self._begun_at + _STALL - now
        if not self._stalled:
            count = self._receive(left) if left > 0 else None
            if count is not None:
                return count
            self._stalled = True
            self.outbox.on_stall()
        if self.waitable:
            return self._receive_patiently(seconds)
        return self._receive_watchfully(seconds, lambda: False)

    def _make_room(self, wanted: int) -> None:
        """Have room for `wanted` bytes from `_at`, and for many if many came the last time."""
        size = max(wanted, _READ_MANY if self._many else _READ)
        if len(self._buffer) < size:
            self._move_to(_buffer(size))
        elif len(self._buffer) - self._at < size:  # not for each piece: a host may send a message in bytes
            self._move_to(self._buffer)

    def settle(self) -> None:
        """Nothing is read for a while: keep no more memory than is needed for what is there."""
        self._move_to(bytearray(self.held()))

    def _move_to(self, buffer: bytearray) -> None:
        """Have what was received and not read yet at the beginning of `buffer`."""
        rest, before = self._buffer[self._at : self._end], self._buffer
        buffer[: len(rest)] = rest
        self._buffer, self._at, self._end = buffer, 0, len(rest)
        spare = _spare.get(len(before))
        if before is not buffer and spare is not None and len(spare) * len(before) < _SPARE:
            spare.append(before)

    def _receive_watchfully(self, seconds: float | None, enough: Callable[[], bool]) -> int | None:
        ends = float("inf") if seconds is None else time.monotonic() + seconds
        while True:
            left = ends - time.monotonic()
            count = self._receive(max(0.0, min(left, _LOOK)))
            if count is not None or left <= _LOOK or enough():
                return count
            if time.monotonic() >= self.looks_at:
                self.look()

    def _receive_patiently(self, seconds: float | None) -> int | None:
        """As `_receive`, with a look whether the host lives now and then."""
        ends = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            until = min(ends, self.looks_at)
            if until == math.inf:
                return self._receive(None)
            count = self._receive(max(0.0, until - time.monotonic()))
            if count is not None or time.monotonic() >= ends:
                return count
            if time.monotonic() >= self.looks_at:
                self.look()

    def _receive(self, seconds: float | None) -> int | None:
        """How many bytes have come; 0 at the end, None if nothing comes."""
        if seconds is None:
            seconds = _FOREVER
        if seconds != self._timeout:
            self._sock.settimeout(seconds)
            self._timeout = seconds
        room = memoryview(self._buffer)[self._end :]
        try:
            if self._socket is not None:
                if not seconds:
                    return self._socket.recv_into(room)
                with kept_open(self._socket):
                    return self._socket.recv_into(room)
            data = self._sock.recv(len(room))
        except (TimeoutError, BlockingIOError):
            return None
        room[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the socket; whoever reads is woken up."""
        self.outbox.closed = True
        shut_down(self._sock)


def _buffer(size: int) -> bytearray:
    """A spare buffer of that size, or a new one."""
    try:
        return _spare[size].pop()
    except LookupError:  # not asked first: other threads take some too
        return bytearray(size)
