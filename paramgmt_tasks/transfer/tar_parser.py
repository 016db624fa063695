"""TarParser: bytes of tar archives in, what they say out. It reads and writes nothing, and believes nothing.

The archives come from hosts that are not to be trusted. So every name is one below the folder that an archive
is unpacked into, every number is one that a file can have, and all that is kept in memory has a bound. Which
of these names a host may write to is for others to decide: see tar_reader.
"""

import math
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import Refused

#: In a block of its own after the archives: what follows is text.
TRAILER = b"paramgmt-sums\n"
_BLOCK = 512
#: Kinds of headers that hold a long name of the file whose header follows, and which name that is.
_LONG = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
#: Kinds of headers that say more of the file whose header follows.
_EXTENDED = (*_LONG, tarfile.XHDTYPE, tarfile.XGLTYPE)
#: Bytes and records of a pax header, which may hold any attributes of a file.
_LONGEST_HEADER, _RECORDS = 1024 * 1024, 1000
#: Bytes of a path, and of each of its parts, as Linux has them; and how many folders deep.
_PATH, _PART, _DEPTH = 4096, 255, 250
#: Bytes of a path and its link that are usual; and by how many all of a pull may exceed that together.
_USUAL, _LONG_PATHS = 128, 48 * 1024 * 1024
#: No file is larger, and no time is further away.
_LARGEST = 2**62
_INTEGER, _NUMBER = re.compile(r"[0-9]{1,20}"), re.compile(r"-?[0-9]{1,20}(\.[0-9]{0,40})?")
_RECORD = re.compile(rb"([0-9]{1,8}) ([^=]{1,512})=")


@dataclass(slots=True)
class Header:
    """What every header says: a name as the archive writes it, and the parts of that."""

    name: str
    path: tuple[str, ...]


@dataclass(slots=True)
class File(Header):
    """A regular file begins: its content follows as pieces of type memoryview, then FileEnd."""

    size: int
    mode: int
    mtime: float


@dataclass(slots=True)
class FileEnd:
    """The file that began last is whole."""


@dataclass(slots=True)
class Folder(Header):
    """A folder."""

    mode: int


@dataclass(slots=True)
class SymbolicLink(Header):
    """A symbolic link, and where it points."""

    target: str


@dataclass(slots=True)
class HardLink(Header):
    """Another name for the member called `target`."""

    target: str


@dataclass(slots=True)
class Special(Header):
    """A device, a named pipe, or something that is not known."""


@dataclass(slots=True)
class TrailerText:
    """Some of the text after TRAILER."""

    text: memoryview


#: What TarParser says; a memoryview is a piece of the content of a file.
Event = File | memoryview | FileEnd | Folder | SymbolicLink | HardLink | Special | TrailerText
_FILE_END = FileEnd()


class TarParser:
    """Parses tar archives (ustar, GNU, pax), one after the other, that come in pieces of any size."""

    def __init__(self) -> None:
        #: Bytes and line ends in the names of all members so far.
        self.name_bytes = self.name_lines = 0
        self._long_paths = 0
        #: The beginning of a header.
        self._block = b""
        #: Bytes that are still to come of a content, and of what fills its last block.
        self._left = self._padding = 0
        self._in_file = False
        #: The kind and the text of an extended header, while it comes.
        self._extension: bytes | None = None
        self._text = bytearray()
        #: What extended headers say of the next member.
        self._attributes: dict[str, str] = {}
        self._in_trailer = False

    def feed(self, data: bytes | memoryview) -> Iterator[Event]:
        """What the next piece of the stream says. Contents are views of `data`, not copies.

        Raises:
            Refused: it is no archive, or says more than any archive would, or names what is elsewhere.
        """
        view = memoryview(data)
        while view and not self._in_trailer:
            if self._left:
                piece = view[: self._left]
                self._left -= len(piece)
                if self._in_file:
                    yield piece
                elif self._extension is not None:
                    self._text += piece
                if not self._left:
                    yield from self._end_content()
            elif self._padding:
                piece = view[: self._padding]
                self._padding -= len(piece)
            else:
                piece = view[: _BLOCK - len(self._block)]
                self._block += bytes(piece)
                if self._block.startswith(TRAILER):
                    self._in_trailer = True
                    yield TrailerText(memoryview(self._block)[len(TRAILER) :])
                elif len(self._block) == _BLOCK:
                    block, self._block = self._block, b""
                    yield from self._header(block)
            view = view[len(piece) :]
        if view:
            yield TrailerText(view)

    def _expect(self, size: int) -> None:
        self._left, self._padding = size, -size % _BLOCK

    def _end_content(self) -> Iterator[Event]:
        if self._in_file:
            self._in_file = False
            yield _FILE_END
        elif self._extension is not None:
            kind, self._extension = self._extension, None
            text, self._text = self._text, bytearray()
            if kind in _LONG:
                self._attributes[_LONG[kind]] = text.rstrip(b"\0").decode("utf-8", "surrogateescape")
            else:
                self._attributes.update(_records(bytes(text)))

    # -- headers

    def _header(self, block: bytes) -> Iterator[Event]:
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return
        except tarfile.HeaderError as error:
            raise Refused(f"not a tar archive: {error}") from None
        if info.type in _EXTENDED:
            self._extended(info)
        else:
            yield self._event(info)
        if not self._left:
            yield from self._end_content()

    def _extended(self, info: tarfile.TarInfo) -> None:
        size = _size(info.size)
        if info.type != tarfile.XGLTYPE:  # a global header, which is passed over
            if size > (_PATH + _BLOCK if info.type in _LONG else _LONGEST_HEADER):
                raise Refused("a header longer than any name")
            self._extension = info.type
        self._expect(size)

    def _event(self, info: tarfile.TarInfo) -> Event:
        said, self._attributes = self._attributes, {}
        if info.type == tarfile.GNUTYPE_SPARSE or "GNU.sparse" in said:
            raise Refused("an archive with sparse files of a kind that is not known")
        name, link = said.get("path", info.name), said.get("linkpath", info.linkname)
        size = _size(said.get("size", info.size))
        mtime = _time(said.get("mtime", info.mtime))
        path = self._path(name, link if info.issym() or info.islnk() else "")
        if info.isreg():
            self._in_file = True
            self._expect(size)
            return File(name, path, size, info.mode, mtime)
        if info.isdir():
            return Folder(name, path, info.mode)
        if info.issym():
            return SymbolicLink(name, path, link)
        if info.islnk():
            return HardLink(name, path, link)
        return Special(name, path)

    def _path(self, name: str, link: str) -> tuple[str, ...]:
        """The parts of a name, none of which leads out of the folder."""
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise Refused(f"{shown(name)}: a name that would leave the destination")
        if "\0" in link:
            raise Refused(f"{shown(name)}: a link that is no path")
        size, link_size = _length(name), _length(link)
        self.name_bytes += size
        self.name_lines += name.count("\n")
        self._long_paths += max(0, size + link_size - _USUAL)
        if max(size, link_size) > _PATH or any(_length(part) > _PART for part in parts):
            raise Refused(f"{shown(name)}: a name that is too long")
        if len(parts) > _DEPTH:
            raise Refused(f"{shown(name)}: more than {_DEPTH} folders deep")
        if self._long_paths > _LONG_PATHS:
            raise Refused("more long names than there is room for")
        return parts


def normalise(name: str) -> str:
    """A path without empty parts and those that mean nothing.

    >>> normalise("./a//b/.")
    'a/b'
    """
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def shown(name: str) -> str:
    """A name in a reason: quoted, and not too long."""
    return repr(name if len(name) <= 100 else f"{name[:100]}…")


def _length(name: str) -> int:
    return len(name) if name.isascii() else len(name.encode("utf-8", "surrogateescape"))


def _size(given: int | str) -> int:
    size = given if isinstance(given, int) else int(given) if _INTEGER.fullmatch(given) else -1
    if not 0 <= size <= _LARGEST:
        raise Refused(f"not a tar archive: {str(given)[:30]!r} as a file's size")
    return size


def _time(given: float | str) -> float:
    number = given if not isinstance(given, str) else float(given) if _NUMBER.fullmatch(given) else math.nan
    if not -_LARGEST <= number <= _LARGEST:
        raise Refused(f"not a tar archive: {str(given)[:30]!r} as a file's time")
    return float(number)


def _records(text: bytes) -> dict[str, str]:
    """The records of a pax header that say something of a file's name, link, size or time."""
    found: dict[str, str] = {}
    at = 0
    for _ in range(_RECORDS):
        if at == len(text):
            return found
        record = _RECORD.match(text, at)
        end = at + int(record[1]) if record else 0
        if record is None or not record.end() < end <= len(text):
            raise Refused("not a tar archive: a broken pax header")
        key = record[2].decode("utf-8", "replace")
        if key.startswith("GNU.sparse"):
            found["GNU.sparse"] = ""  # that there is one: each may be long, and of a key of its own
        elif key in ("path", "linkpath", "size", "mtime"):
            found[key] = text[record.end() : end].removesuffix(b"\n").decode("utf-8", "surrogateescape")
        at = end
    raise Refused("not a tar archive: a pax header with too many records")
