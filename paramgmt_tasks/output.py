"""What commands write: in memory while it is little, beyond that in one unnamed file a run."""

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator

from .errors import words

log = logging.getLogger("paramgmt_tasks")

#: Bytes that the outputs of one run may take in memory, all hosts together.
IN_MEMORY = 16 * 1024 * 1024
_PIECE = 65536


class Spool:
    """Where the outputs of a run are kept. Safe for many threads.

    The file is in the folder for temporary files (TMPDIR), and gone with the last output kept in it.
    """

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._left = in_memory
        self._file: int | None = None
        self._end = 0
        self._lock = threading.Lock()
        self._full = False

    def keep(self, data: bytes) -> "bytes | tuple[int, int]":
        """Keep `data`: itself, or its offset and length in the file."""
        with self._lock:
            if len(data) <= self._left:
                self._left -= len(data)
                return data
            try:
                if self._file is None:
                    self._file = _unnamed_file()
                offset = self._end
                view = memoryview(data)
                while view.nbytes:
                    count = os.pwrite(self._file, view, self._end)
                    self._end, view = self._end + count, view[count:]
            except OSError as error:
                if not self._full:
                    self._full = True
                    reason = words(error)
                    log.warning("%s: %s: output of commands is cut off", tempfile.gettempdir(), reason)
                return b""
            return offset, len(data)

    @property
    def file(self) -> int:
        """The descriptor of the file, which is there once something was kept in it."""
        assert self._file is not None
        return self._file

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the file."""
        return os.pread(self.file, count, offset)

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


class FileSpool(Spool):
    """What another process keeps in its file, of which this is a descriptor."""

    def __init__(self, file: int) -> None:
        super().__init__()
        self._file = file


def _unnamed_file() -> int:
    with tempfile.TemporaryFile(prefix="paramgmt-") as file:
        return os.dup(file.fileno())


class Output:
    """What one command wrote to one of its streams. `tell` is called when there is more.

    >>> output = Output(b"some ")
    >>> output.write(b"text")
    >>> bytes(output)
    b'some text'
    """

    def __init__(
        self, data: bytes = b"", spool: Spool | None = None, tell: Callable[[], object] | None = None
    ) -> None:
        self._spool = spool
        self._tell = tell
        self._parts: list[bytes | tuple[int, int]] = [data] if data else []

    def write(self, data: bytes) -> None:
        """Add to it."""
        kept = self._spool.keep(data) if self._spool else data
        last = self._parts[-1] if self._parts else b""
        if isinstance(kept, tuple) and isinstance(last, tuple) and sum(last) == kept[0]:
            self._parts[-1] = (last[0], last[1] + kept[1])
        elif kept:
            self._parts.append(kept)
        if self._tell is not None:
            self._tell()

    def extend(self, parts: "Iterable[bytes | tuple[int, int]]", spool: Spool | None) -> None:
        """Add what was kept elsewhere: parts as Reader.parts gives them, of a file that `spool` reads."""
        self._spool = spool or self._spool
        self._parts += parts

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
        """The same as it is kept: itself, or its offset and length in the spool's file."""
        parts = self._output._parts
        while self._part < len(parts):
            grows = self._part == len(parts) - 1  # asked first: one that is not the last is as it stays
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
