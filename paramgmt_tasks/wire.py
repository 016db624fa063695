"""Messages between this process and its workers, over a socket that nobody else has."""

import contextlib
import pickle
import socket
import struct
import threading
from typing import Any

_LENGTH = struct.Struct("!I")


class Wire:
    """Sends and receives messages, which are tuples of plain data; any thread may send, one receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._stream = sock.makefile("rb")

    def send(self, *message: Any) -> bool:
        """Send a message; False where the other side is gone."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        try:
            with self._sending:
                self._socket.sendall(_LENGTH.pack(len(data)))
                self._socket.sendall(data)
        except OSError:
            return False
        return True

    def wait_for_room(self) -> None:
        """Nothing: to send waits."""

    def roomy(self) -> bool:
        """Always: to send waits."""
        return True

    def receive(self) -> tuple[Any, ...] | None:
        """The next message; None when the other side is gone."""
        try:
            length = self._stream.read(_LENGTH.size)
            data = self._stream.read(_LENGTH.unpack(length)[0]) if len(length) == _LENGTH.size else b""
        except OSError:
            return None
        # A process that was killed may have got no further than a part of it.
        if len(length) < _LENGTH.size or len(data) < _LENGTH.unpack(length)[0]:
            return None
        return pickle.loads(data)  # type: ignore[no-any-return]

    def shut(self) -> None:
        """Say no more, and hear no more; whoever waits for a message is told so."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave; the other side is told so by that."""
        self._stream.close()
        self._socket.close()
