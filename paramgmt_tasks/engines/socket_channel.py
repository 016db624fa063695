"""Messages between this process and its workers, over a socket that nobody else has.

Not multiprocessing.connection: here many small messages are read at once, and descriptors go along with them.
"""

import contextlib
import pickle
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

_LENGTH = struct.Struct("!I")
#: Bytes that are read at once, and descriptors that may come with them.
_READ, _FILES = 256 * 1024, 16
#: Seconds in which messages are gathered, unless that many bytes have come.
_GATHER, _MUCH = 0.005, 64 * 1024

_Sent = TypeVar("_Sent")
_Received = TypeVar("_Received")


class SocketChannel(Generic[_Sent, _Received]):
    """Sends and receives messages, which are plain data; any thread may send, one receives."""

    #: Whether open files can be sent.
    sends_files = True

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._buffer = bytearray()
        self._received: deque[_Received] = deque()
        self._came = 0
        #: Descriptors that have come, in the order of the messages they were sent with.
        self.files: deque[int] = deque()

    def send(self, message: _Sent, file: int | None = None) -> bool:
        """Send a message, and a descriptor along with it; False if the other side is gone."""
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
        """Nothing: `send` waits until the message fits into the socket."""

    def has_room(self) -> bool:
        """Always True: `send` waits until the message fits into the socket."""
        return True

    def receive(self) -> _Received | None:
        """The next message; None when the other side is gone."""
        while not self._received:
            messages = self.receive_several()
            if messages is None:
                return None
            self._received.extend(messages)
        return self._received.popleft()

    def receive_several(self) -> list[_Received] | None:
        """The next messages, one at least; None when the other side is gone."""
        self._came = 0
        while True:
            messages = list(self._complete_messages())
            if messages:
                return messages
            try:
                data, files, _, _ = socket.recv_fds(self._socket, _READ, _FILES)
            except OSError:
                return None
            self.files.extend(files)
            if not data:  # a process that was killed may have sent a part of a message
                return None
            self._came += len(data)
            self._buffer += data

    def _complete_messages(self) -> Iterator[_Received]:
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

    def shut_down(self) -> None:
        """Send and receive nothing more; whoever waits for a message gets None."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket, by which the other side learns that this one is gone."""
        self._socket.close()
