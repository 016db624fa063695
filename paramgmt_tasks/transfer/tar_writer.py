"""Archive: local files and folders as one tar stream, made once and sent to many hosts."""

import hashlib
import os
import stat
import tarfile
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from .install_script import install_script
from .local_tree import Member
from .sums import sum_line

CHUNK = 256 * 1024
#: Chunks kept in memory for the hosts that are a little behind; others read the disk again.
_KEPT = 64
_BLOCK = 512
_RWX = stat.S_IRWXU
#: Where things are in the archive: the files, their sums, and the script that gives the files their names.
FILES, SUMS, FINISH = "files", "sums", "finish"


class Archive:
    """A tree as one stream, in chunks of CHUNK bytes. Safe for many threads; memory is bounded.

    The files are followed by their SHA-256 sums, computed as they are read, in the format of sha256sum. A
    file that has changed since it was looked at gets a sum that nothing can have, and is named in `changed`.
    """

    def __init__(self, members: Iterable[Member], preserve: bool = False) -> None:
        self.changed: list[str] = []
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._starts: list[int] = []
        self._segments: list[bytes | Member | None] = []  # None is for the sums
        self._hashing: dict[str, tuple[hashlib._Hash, int]] = {}
        self._end = 0
        members = list(members)
        self._files = [member for member in members if member.is_file]
        #: Whether no name has a character that sha256sum escapes.
        self.has_plain_names = not any(set(member.name) & set("\\\n\r") for member in members)
        self._names = [member.name for member in members]
        for member in members:
            self._add(self._header(member, preserve))
            if member.is_file:
                self._hashing[member.name] = (hashlib.sha256(), 0)
                self._add(member, member.info.st_size)
                self._add(bytes(-member.info.st_size % _BLOCK))
        length = sum(len(sum_line(member.name, "0" * 64)) for member in self._files)
        self._add(_header(SUMS, length))
        self._add(None, length)
        self._add(bytes(-length % _BLOCK))
        # The last, so that once it has come all has.
        text = install_script(members).encode("utf-8", "surrogateescape")
        self._add(_header(FINISH, len(text)) + text + bytes(-len(text) % _BLOCK) + bytes(2 * _BLOCK))

    @property
    def size(self) -> int:
        """Bytes of the whole stream."""
        return self._end

    @property
    def listing(self) -> bytes:
        """The names of all members, a line each."""
        return "".join(f"{name}\n" for name in self._names).encode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[bytes]:
        """The chunks, from the first; each host goes through them at its own pace."""
        return map(self._chunk, range(-(-self._end // CHUNK)))

    def _chunk(self, number: int) -> bytes:
        with self._lock:
            data = self._kept.get(number)
            if data is None:
                start = number * CHUNK
                data = b"".join(self._pieces(start, min(start + CHUNK, self._end)))
                self._kept[number] = data
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return data

    def _add(self, segment: bytes | Member | None, length: int | None = None) -> None:
        length = len(segment) if isinstance(segment, bytes) else length or 0
        if length:
            self._starts.append(self._end)
            self._segments.append(segment)
            self._end += length

    def _header(self, member: Member, preserve: bool) -> bytes:
        name = FILES if member.name == "." else f"{FILES}/{member.name}"
        mode, mtime = stat.S_IMODE(member.info.st_mode), member.info.st_mtime if preserve else 0
        if member.link:
            return _header(name, 0, mode, mtime, tarfile.SYMTYPE, member.link)
        if member.is_file:
            return _header(name, member.info.st_size, mode, mtime)
        # Until all is in place; the install script gives it its own.
        return _header(name, 0, mode | _RWX, mtime, tarfile.DIRTYPE)

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        index = bisect_right(self._starts, start) - 1
        while start < end:
            segment, begins = self._segments[index], self._starts[index]
            ends = self._starts[index + 1] if index + 1 < len(self._starts) else self._end
            low, high = start - begins, min(end, ends) - begins
            if isinstance(segment, Member):
                yield self._read(segment, low, high - low)
            else:
                yield (self._sums() if segment is None else segment)[low:high]
            start, index = begins + high, index + 1

    def _read(self, member: Member, offset: int, count: int) -> bytes:
        try:
            with open(member.path, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), count, offset)
                while data and len(data) < count:
                    more = os.pread(file.fileno(), count - len(data), offset + len(data))
                    if not more:
                        break
                    data += more
        except OSError:
            data = b""
        whole = len(data) == count
        data += bytes(count - len(data))
        hasher, hashed = self._hashing[member.name]
        if hashed == offset:
            hasher.update(data if whole else data + b"short")
            self._hashing[member.name] = (hasher, offset + count)
            if offset + count == member.info.st_size:
                member.digest = hasher.hexdigest() if self._unchanged(member) and whole else ""
                if not member.digest:
                    self.changed.append(member.path)
                    member.digest = "0" * 64
        return data

    def _unchanged(self, member: Member) -> bool:
        try:
            now = os.stat(member.path)
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (member.info.st_size, member.info.st_mtime_ns)

    def _sums(self) -> bytes:
        empty = hashlib.sha256().hexdigest()
        return b"".join(sum_line(member.name, member.digest or empty) for member in self._files)


def _header(
    name: str, size: int, mode: int = 0o600, mtime: float = 0, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime, info.type, info.linkname = size, mode, int(mtime), kind, link
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
