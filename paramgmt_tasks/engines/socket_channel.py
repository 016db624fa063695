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
#: Bytes that are read at once, and descriptors that may come with them.
_READ, _FILES = 256 * 1024, 16
#: Seconds in which messages are gathered, unless so many bytes have come.
_GATHER, _MUCH = 0.005, 64 * 1024


class SocketChannel:
    """Sends and receives messages, which are tuples of plain data; any thread may send, one receives."""

    #: Whether open files can be sent.
    sends_files = True

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._buffer = bytearray()
        self._received: deque[tuple[Any, ...]] = deque()
        self._came = 0
        #: Descriptors that have come, in the order of the messages they were sent with.
        self.files: deque[int] = deque()

    def send(self, *message: Any, file: int | None = None) -> bool:
        """Send a message, and a descriptor along with it; False where the other side is gone."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        head = _LENGTH.pack(len(data))
        try:
            with self._sending:
                if file is not None:
                    socket.send_fds(self._socket, [head], [file])
                    self._socket.sendall(data)
                elif len(data) < _MUCH:
                    self._socket.sendall(head + data)
                else:
                    self._socket.sendall(head)
                    self._socket.sendall(data)
        except OSError:
            return False
        return True

    def wait_for_room(self) -> None:
        """Nothing: to send waits."""

    def has_room(self) -> bool:
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

    def receive_several(self) -> list[tuple[Any, ...]] | None:
        """The next messages, one at least; None when the other side is gone."""
        self._came = 0
        while True:
            messages = list(self._whole_ones())
            if messages:
                return messages
            try:
                data, files, _, _ = socket.recv_fds(self._socket, _READ, _FILES)
            except OSError:
                return None
            self.files.extend(files)
            if not data:  # a process that was killed may have got no further than a part of one
                return None
            self._came += len(data)
            self._buffer += data

    def _whole_ones(self) -> Iterator[tuple[Any, ...]]:
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

    def gather(self) -> None:
        """Let more messages come, unless many have: to look for each costs more than to read it."""
        if self._came < _MUCH:
            time.sleep(_GATHER)

    def shut(self) -> None:
        """Say no more, and hear no more; whoever waits for a message is told so."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave; the other side is told so by that."""
        self._socket.close()
