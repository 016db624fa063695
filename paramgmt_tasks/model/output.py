"""What commands write: in memory as long as it is little, then in one unnamed file for each run."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator

from .errors import reason_of

#: Bytes that the outputs of one run may take in memory, all hosts together.
IN_MEMORY = 16 * 1024 * 1024
_PIECE = 65536
#: Bytes that a piece takes in memory besides its text: a host may send very small ones.
_OVERHEAD = 64


class NotKept(Exception):
    """Output could not be kept: the text says why."""


class Extent:
    """A part of a spool's file for one output, so that small pieces of it are stored together."""

    SIZE = 65536

    def __init__(self) -> None:
        self.at = self.end = 0


class Room:
    """How much of one host's output may be kept, of both streams together.

    >>> room = Room(10)
    >>> out, err = Output(room=room), Output(room=room)
    >>> out.write(b"1234567"), err.write(b"1234567")
    (None, None)
    >>> bytes(err), room.dropped
    (b'123', 4)
    """

    def __init__(self, most: int) -> None:
        self.left = most
        #: Bytes that there was no room for.
        self.dropped = 0
        #: Why more was not kept although there was room.
        self.trouble = ""

    def fit(self, data: bytes) -> bytes:
        """What there is room for of `data`, whose length has been subtracted from `left` already."""
        over, self.left = -self.left, 0
        if not self.trouble:
            self.dropped += over
        return data[: len(data) - over]

    def close(self, trouble: str) -> None:
        """Keep no more, so that there is no gap in what is kept."""
        self.left, self.trouble = 0, trouble


class Spool:
    """Where the outputs of a run are kept. Safe for many threads.

    The file is in the folder for temporary files (TMPDIR), and gone with the last output kept in it.
    """

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._left = in_memory
        self._file: int | None = None
        self._end = 0
        self._lock = threading.Lock()

    def keep(self, data: bytes, extent: Extent) -> "bytes | tuple[int, int]":
        """Keep `data`: itself, or its offset and length in the file, in the output's extent.

        Raises:
            NotKept: it cannot be written.
        """
        size = len(data)
        with self._lock:
            if size + _OVERHEAD <= self._left:
                self._left -= size + _OVERHEAD
                return data
            if extent.at + size > extent.end:
                if extent.end != self._end:
                    extent.at = self._end
                self._end = extent.end = extent.at + max(size, Extent.SIZE)
            try:
                if self._file is None:
                    self._file = _unnamed_file()
                view, at = memoryview(data), extent.at
                while view.nbytes:
                    count = os.pwrite(self._file, view, at)
                    at, view = at + count, view[count:]
            except OSError as error:
                # Not gettempdir(), which itself fails if all such folders are full.
                where = f"{tempfile.tempdir}: " if tempfile.tempdir else ""
                raise NotKept(f"{where}{reason_of(error)}") from None
            extent.at = at
            return at - size, size

    @property
    def file(self) -> int:
        """The descriptor of the file, which exists once something has been kept in it."""
        assert self._file is not None
        return self._file

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the file."""
        return os.pread(self.file, count, offset)

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


class FileSpool(Spool):
    """Reads what another process keeps in its file, of which this is a descriptor."""

    def __init__(self, file: int) -> None:
        super().__init__()
        self._file = file


def _unnamed_file() -> int:
    with tempfile.TemporaryFile(prefix="paramgmt-") as file:
        return os.dup(file.fileno())


class Output:
    """What one command wrote to one of its streams. `on_write` is called when there is more.

    `room` limits how much is kept; the rest is dropped.

    >>> output = Output(b"some ")
    >>> output.write(b"text")
    >>> bytes(output)
    b'some text'
    """

    def __init__(
        self,
        data: bytes = b"",
        spool: Spool | None = None,
        on_write: Callable[[], object] | None = None,
        room: Room | None = None,
    ) -> None:
        self._spool = spool
        self._extent = Extent()
        self._on_write = on_write
        self.room = room
        self._parts: list[bytes | tuple[int, int]] = [data] if data else []

    def write(self, data: bytes) -> None:
        """Add to it, as far as there is room."""
        room = self.room
        if room is not None:
            room.left -= len(data)
            if room.left < 0:
                data = room.fit(data)
        if not data:
            return
        try:
            self._add(self._spool.keep(data, self._extent) if self._spool else data)
        except NotKept as error:
            if room is None:
                raise
            room.close(str(error))
            return
        if self._on_write is not None:
            self._on_write()

    def _add(self, part: "bytes | tuple[int, int]") -> None:
        last = self._parts[-1] if self._parts else b""
        if isinstance(part, tuple) and isinstance(last, tuple) and sum(last) == part[0]:
            self._parts[-1] = (last[0], last[1] + part[1])
        else:
            self._parts.append(part)

    def extend(self, parts: "Iterable[bytes | tuple[int, int]]", spool: Spool | None) -> None:
        """Add what was kept elsewhere: parts as Reader.parts gives them, of a file that `spool` reads."""
        self._spool = spool or self._spool
        for part in parts:
            self._add(part)

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces that fit in memory."""
        return Reader(self).more()

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces())

    def __bool__(self) -> bool:
        return bool(self._parts)


class Reader:
    """Reads an output that may still grow.

    >>> output = Output(b"some ")
    >>> reader = Reader(output)
    >>> list(reader.more()), list(reader.more())
    ([b'some '], [])
    >>> output.write(b"text")
    >>> list(reader.more())
    [b'text']
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        #: How many parts were read, and how much of the next one: the last part may grow.
        self._part = self._at = 0

    def more(self) -> Iterator[bytes]:
        """What has come since the last time, in pieces that fit in memory."""
        spool = self._output._spool
        for part in self.parts():
            if isinstance(part, bytes):
                yield part
                continue
            assert spool is not None
            at, end = part[0], sum(part)
            while at < end:
                size = min(_PIECE, end - at)
                yield spool.read(at, size)
                at += size

    def parts(self) -> "Iterator[bytes | tuple[int, int]]":
        """What has come since the last time, as it is kept: itself, or offset and length in the file."""
        parts = self._output._parts
        while self._part < len(parts):
            grows = (
                self._part == len(parts) - 1
            )  # checked first: a part that is not the last does not change any more
            part = parts[self._part]
            if isinstance(part, bytes):
                self._part += 1
                yield part
                continue
            at, self._at = self._at, part[1]
            if at < part[1]:
                yield part[0] + at, part[1] - at
            if grows:
                return
            self._part, self._at = self._part + 1, 0
