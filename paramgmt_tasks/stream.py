"""What is under a transport: a socket read before a deadline and in large pieces, and packets over it."""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import paramiko
from paramiko.packet import Packetizer

from .waiting import Silence

_READ = 65536
#: Seconds that a thread may be kept by one host while others count on it.
_STALL = 0.05


class TooLate(Exception):
    """The deadline of a read has passed. Not an OSError: paramiko would go on and on."""


class Stream:
    """A socket read in large pieces before a deadline; what is sent leaves before it waits for more.

    So messages that follow each other leave together: half the packets of a handshake.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._buffer = b""
        self._at = 0
        self._unsent = bytearray()
        self._sending = threading.Lock()
        self._timeout: float | None = -1.0
        self._closed = False
        #: Whether what is sent may wait until the next read.
        self.gathers = False
        #: Seconds on the monotonic clock at which a read gives up.
        self.deadline: float | None = None
        #: Seconds more for the rest of a message of which a part has come.
        self.grace = 0.0
        #: Whether a read waits for a message to begin.
        self.waits = True
        #: Called before a read or a write keeps its thread, which others may count on, waiting for long.
        self.on_stall: Callable[[], object] = lambda: None
        #: Whether a part of a message was read, so that giving up would lose it.
        self.within_message = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: paramiko would wake up ten times a second."""

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        while len(self._buffer) - self._at < count:
            self._fill(count)
        self.within_message = True
        data = self._buffer[self._at : self._at + count]
        self._at += count
        return data

    def read_line(self, limit: int = 4096) -> bytes:
        """A line without its end."""
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            if len(self._buffer) - self._at > limit:
                raise paramiko.SSHException("no SSH banner: a line without an end")
            self._fill(0)
        line = self._buffer[self._at : end]
        self._at = end + 1
        return line.rstrip(b"\r")

    def _fill(self, wanted: int) -> None:
        self.flush()
        rest = self._buffer[self._at :]
        begun = bool(rest) or self.within_message
        left = None
        if self.deadline is not None:
            left = self.deadline - time.monotonic() + (self.grace if begun else 0.0)
            if left <= 0:
                raise TooLate
        if not (begun or self.waits):
            left = 0.0
        size = max(_READ, wanted - len(rest))
        if begun and (left is None or left > _STALL):
            data = self._receive(size, _STALL)
            if data is None:
                self.on_stall()
                data = self._receive(size, left)
        else:
            data = self._receive(size, left)
        if data is None:
            self.within_message = begun
            raise TooLate
        if not data:
            raise EOFError
        self._buffer, self._at = rest + data, 0

    def _receive(self, size: int, seconds: float | None) -> bytes | None:
        if seconds != self._timeout:
            self._sock.settimeout(seconds)
            self._timeout = seconds
        try:
            return self._sock.recv(size)  # type: ignore[no-any-return]
        except (TimeoutError, BlockingIOError):
            return None

    def write(self, data: bytes) -> None:
        """Send `data`, now or with what follows it."""
        with self._sending:
            self._unsent += data
        if not self.gathers:
            self.flush()

    def flush(self) -> None:
        """Send what was gathered.

        Raises:
            EOFError: the connection is gone.
        """
        if not self._unsent:
            return
        with self._sending:
            data, self._unsent = self._unsent, bytearray()
            while data and not self._closed:
                try:
                    del data[: self._sock.send(data)]
                except (TimeoutError, BlockingIOError):  # the time limit is that of a read
                    self.on_stall()
                    Silence(self._sock.fileno(), None, writable=True).block()
                except (OSError, ValueError):
                    raise EOFError from None

    def push(self) -> bool:
        """Send what was gathered as far as it goes without waiting; whether all has gone.

        Raises:
            EOFError: the connection is gone.
        """
        with self._sending:
            if self._timeout != 0.0:
                self._sock.settimeout(0.0)
                self._timeout = 0.0
            try:
                while self._unsent and not self._closed:
                    del self._unsent[: self._sock.send(self._unsent)]
            except BlockingIOError:
                return False
            except (OSError, ValueError):
                raise EOFError from None
            return True

    def close(self) -> None:
        """Close the socket; whoever reads is woken up."""
        self._closed = True
        shut_down(self._sock)


class StreamPacketizer(Packetizer):
    """paramiko's packets over a stream with a deadline and a buffer of its own."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._stream: Stream = stream
        self._aead = False

    def start_handshake(self, timeout: float) -> None:
        """Nothing: paramiko would start a timer thread for each host; the stream has a deadline."""

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Exactly `n` bytes."""
        return self._stream.read(n)

    def readline(self, timeout: float) -> str:
        """A line; the stream's deadline holds, not `timeout`."""
        return self._stream.read_line().decode("utf-8", "replace")

    def write_all(self, out: Any) -> None:
        """Send, now or with what follows."""
        self._stream.write(out)

    def _build_packet(self, payload: bytes) -> bytes:
        # As paramiko's for AEAD (RFC 5647), with one copy of the payload in place of three.
        if not self._aead:
            return super()._build_packet(payload)  # type: ignore[misc, no-any-return]
        padding = 19 - (len(payload) + 4) % 16
        head = struct.pack(">IB", len(payload) + padding + 1, padding)
        return b"".join((head, payload, os.urandom(padding)))

    def set_outbound_cipher(self, *args: Any, **kwargs: Any) -> None:
        """As paramiko's."""
        super().set_outbound_cipher(*args, **kwargs)
        self._aead = bool(kwargs.get("aead"))


def keep_alive(sock: Any) -> None:
    """Have the kernel find out where a peer is gone, and send small messages at once."""
    if not isinstance(sock, socket.socket) or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000)


def shut_down(sock: Any) -> None:
    """Close a socket and wake whoever is in recv(), which close() alone does not."""
    try:
        if isinstance(sock, socket.socket):
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    if sock is not None:
        sock.close()
