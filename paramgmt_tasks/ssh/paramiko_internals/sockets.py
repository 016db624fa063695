"""What a connection runs over: a socket, or something like one that a jump host opens."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

#: Seconds after which a peer that receives nothing, or that the kernel cannot reach, counts as dead.
DEAD = 120.0
#: What is sent.
Piece = bytes | bytearray | memoryview


class SocketLike(Protocol):
    """What a stream reads and writes: a socket, or a channel to a host that a jump host reaches."""

    def recv(self, size: int, /) -> bytes:
        """What comes next, at most that many bytes."""

    def send(self, data: bytes, /) -> int:
        """Send some of it; how many bytes."""

    def settimeout(self, seconds: float | None, /) -> None:
        """Let `recv` and `send` wait that long."""

    def fileno(self) -> int:
        """The descriptor."""

    def close(self) -> None:
        """Close it."""


class TooLate(Exception):
    """A deadline has passed. Not an OSError: paramiko would go on and on."""


def keep_alive(sock: SocketLike, probes: bool = True) -> None:
    """Have the kernel find out if a peer is gone, and send small messages at once.

    Without `probes` it finds out only when something is sent.
    """
    if not isinstance(sock, socket.socket) or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if probes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD * 1000))


#: The sockets on which a thread waits, and whether they are to be closed after that.
_waited_on: dict[socket.socket, bool] = {}
_waiting = threading.Lock()


@contextmanager
def kept_open(sock: socket.socket) -> Iterator[None]:
    """Keep the descriptor of a socket while this thread waits in recv().

    If another thread closed it, a socket that is made next could have the same number, and this thread would
    wait for that one.
    """
    with _waiting:
        _waited_on[sock] = False
    try:
        yield
    finally:
        with _waiting:
            if _waited_on.pop(sock):
                sock.close()


def shut_down(sock: SocketLike | None) -> None:
    """Close a socket and wake whoever is in recv(), which close() alone does not."""
    if not isinstance(sock, socket.socket):
        if sock is not None:
            sock.close()
        return
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    with _waiting:
        if sock in _waited_on:
            _waited_on[sock] = True
        else:
            sock.close()
