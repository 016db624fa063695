"""Outbox: what is to be sent over a socket, gathered until it leaves in one piece."""

import os
import socket
import threading
import time
from collections.abc import Callable

from ...steps import WaitForIO
from . import sockets
from .sockets import Piece, SocketLike, TooLate
from .tunnel import Tunnel

#: Pieces that are sent at once.
_PIECES = 64
#: Seconds between two tries to send over what does not say when it has room.
_PAUSE = 0.05


class Outbox:
    """Sends in the order of `gather`, from any thread; messages that follow each other leave together."""

    def __init__(self, sock: SocketLike) -> None:
        self._sock = sock
        self._is_socket = isinstance(sock, socket.socket)
        self._unsent: list[Piece] = []
        #: Bytes that have gone.
        self.sent = 0
        #: Held while something is added, or leaves.
        self.lock = threading.RLock()
        #: Whether nothing is sent any more.
        self.closed = False
        #: Whether what is gathered may wait until the next read.
        self.gathers = False
        #: When a write that has no deadline of its own gives up, in monotonic seconds.
        self.write_deadline: float | None = None
        #: Whether `flush` waits. If many share the connection it must not: it would hold up the others.
        self.waits = True
        #: Called before a thread, on which others may count, waits for long.
        self.on_stall: Callable[[], object] = lambda: None

    def write(self, *pieces: Piece) -> None:
        """Send `pieces`, now or with what follows them."""
        self.gather(*pieces)
        self.gathered()

    def gather(self, *pieces: Piece) -> None:
        """Add `pieces` to what is to be sent."""
        with self.lock:
            self._unsent += pieces

    def gathered(self) -> None:
        """Send what was gathered, unless it may wait."""
        if not self.gathers:
            self.flush()

    def flush(self, deadline: float | None = None) -> None:
        """Send what was gathered, by `deadline` in monotonic seconds.

        Raises:
            EOFError: the connection is gone, or its peer has received nothing for DEAD seconds.
            TooLate: the deadline has passed.
            TimeoutError: that for writes has passed.
        """
        if not self._unsent:
            return
        if not self.waits:
            self.push()
            return
        ends = self.write_deadline if deadline is None else deadline
        with self.lock:
            gives_up = time.monotonic() + sockets.DEAD
            while True:
                before = self.sent
                if self.push():
                    return
                now = time.monotonic()
                if self.sent > before:
                    gives_up = now + sockets.DEAD
                if now >= gives_up:
                    self._unsent.clear()
                    raise EOFError("the host takes nothing any more")
                if ends is not None and now >= ends:
                    raise TimeoutError("the host takes nothing") if deadline is None else TooLate
                self.on_stall()
                self.wait_for_room(min(gives_up, gives_up if ends is None else ends))

    def wait_for_room(self, until: float) -> None:
        """Wait in this thread until more may leave, or until monotonic seconds."""
        if self._is_socket:
            WaitForIO(self._sock.fileno(), until, writable=True).block()
        elif isinstance(self._sock, Tunnel):
            self._sock.wait_for_room(until)
        else:  # whose descriptor does not say
            time.sleep(max(0.0, min(until - time.monotonic(), _PAUSE)))

    def unsent(self) -> int:
        """How many pieces were gathered and have not gone yet."""
        return len(self._unsent)

    def push(self) -> bool:
        """Send what was gathered as far as it goes without waiting; whether all has gone.

        Raises:
            EOFError: the connection is gone.
        """
        with self.lock:
            return self._send()

    def _send(self) -> bool:
        unsent = self._unsent
        while unsent and not self.closed:
            try:
                if self._is_socket:  # not by a method of its own: the time limit of a read would hold
                    count = os.writev(self._sock.fileno(), unsent[:_PIECES])
                else:
                    count = self._sock.send(b"".join(unsent))
            except (TimeoutError, BlockingIOError):
                return False
            except (OSError, ValueError):
                unsent.clear()
                raise EOFError from None
            self.sent += count
            gone = 0
            while gone < len(unsent) and count >= len(unsent[gone]):
                count -= len(unsent[gone])
                gone += 1
            del unsent[:gone]
            if count:
                unsent[0] = memoryview(unsent[0])[count:]
        return True
