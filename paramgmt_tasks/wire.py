"""Messages between this process and its workers, over a socket that nobody else has."""

import contextlib
import pickle
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

_LENGTH = struct.Struct("!I")
#: Bytes that are read at once.
_READ = 256 * 1024
#: Seconds in which messages are gathered.
_GATHER = 0.005


class Wire:
    """Sends and receives messages, which are tuples of plain data; any thread may send, one receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._buffer = bytearray()
        self._received: deque[Any] = deque()

    def send(self, *message: Any) -> bool:
        """Send a message; False where the other side is gone."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        try:
            with self._sending:
                self._send([_LENGTH.pack(len(data)), data])
        except OSError:
            return False
        return True

    def _send(self, parts: list[bytes]) -> None:
        left = sum(map(len, parts)) - self._socket.sendmsg(parts)
        if left:
            self._socket.sendall(
                memoryview(parts[-1])[-left:] if left <= len(parts[-1]) else b"".join(parts)[-left:]
            )

    def wait_for_room(self) -> None:
        """Nothing: to send waits."""

    def roomy(self) -> bool:
        """Always: to send waits."""
        return True

    def receive(self) -> tuple[Any, ...] | None:
        """The next message; None when the other side is gone."""
        while not self._received:
            messages = self.receive_several()
            if messages is None:
                return None
            self._received.extend(messages)
        return self._received.popleft()

    def receive_several(self) -> list[Any] | None:
        """The next messages, one at least; None when the other side is gone."""
        while True:
            messages = list(self._whole_ones())
            if messages:
                return messages
            try:
                data = self._socket.recv(_READ)
            except OSError:
                return None
            if not data:  # a process that was killed may have got no further than a part of one
                return None
            self._buffer += data

    def _whole_ones(self) -> Iterator[Any]:
        at = 0
        while len(self._buffer) >= at + _LENGTH.size:
            start = at + _LENGTH.size
            end = start + _LENGTH.unpack_from(self._buffer, at)[0]
            if end > len(self._buffer):
                break
            with memoryview(self._buffer) as view, view[start:end] as data:
                yield pickle.loads(data)
            at = end
        del self._buffer[:at]

    def pause(self) -> None:
        """Let more messages come, unless much has come: to look for each costs more than to read it."""
        if len(self._buffer) < _READ // 4:
            time.sleep(_GATHER)

    def shut(self) -> None:
        """Say no more, and hear no more; whoever waits for a message is told so."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave; the other side is told so by that."""
        self._socket.close()
