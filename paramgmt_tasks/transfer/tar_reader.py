"""Unpacker: reads the tar stream of a host that is not to be trusted, and writes it, whole or not at all."""

import math
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .safe_writer import TEMPORARY, Incoming, Lines, LocalError, Refused, Writer

#: In a block of its own behind the archives: what follows is text, in lines, for `trailer`.
TRAILER = b"paramgmt-sums\n"
_BLOCK = 512
#: Kinds of headers that say more of the file whose header follows.
_LONG = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_EXTENDED = (*_LONG, tarfile.XHDTYPE, tarfile.XGLTYPE)
#: Bytes and records of a header of pax, which may hold any attributes of a file.
_LONGEST_HEADER, _RECORDS = 1024 * 1024, 1000
#: Bytes of a path, and of each of its parts, as Linux has them; and how many folders deep.
_PATH, _PART, _DEPTH = 4096, 255, 250
#: Bytes by which the paths and links of a pull may be longer than most are, all together.
_USUAL, _LONG_PATHS = 128, 48 * 1024 * 1024
#: No file is larger, and no time is further away.
_LARGEST = 2**62
#: Bytes of the trailer: some for each file, beside its name, and some for what there is without files.
_SUM, _TRAILER = 160, 256 * 1024
_INTEGER, _NUMBER = re.compile(r"[0-9]{1,20}"), re.compile(r"-?[0-9]{1,20}(\.[0-9]{0,40})?")
_RECORD = re.compile(rb"([0-9]{1,8}) ([^=]{1,512})=")


@dataclass(slots=True)
class _File:
    """A file that has come, under its temporary name."""

    number: int
    digest: bytes


class Unpacker:
    """Takes tar archives, one after the other, as they come, in pieces of any size: `steps`, or `feed`.

    A piece is kept until the next call of `flush`, and not to be changed before.

    `target` gives the path in `folder` for one of an archive, and raises Refused for one not asked for.
    Nothing stands under its own name before `keep`, which gives the files theirs. Names with `..` are
    refused, and no symbolic link below `folder` is followed.

    Links come last, and only those that lead to where the host may write anyway: `target` takes the path
    they lead to, which goes through no link that was there before. So whoever follows links that pulls have
    left gets no further than hosts could write.
    What else would link is left out and stands in `notes`, unless `unsafe_links`. A path that is `own`, of
    what was asked for itself, is no link in any case.

    Raises:
        LocalError: the folder cannot be opened.
    """

    def __init__(
        self,
        folder: str,
        target: Callable[[tuple[str, ...]], tuple[str, ...]],
        preserve: bool = False,
        *,
        own: Callable[[tuple[str, ...]], bool] = lambda parts: not parts,
        unsafe_links: bool = False,
        kept: Callable[[str], object] = lambda path: None,
    ) -> None:
        #: What could not be had from the host, and what was left out.
        self.failures = Lines()
        self.notes = Lines()
        #: Files whose name and content have come, by their name in the archive.
        self.files: dict[str, _File] = {}
        #: The text behind the archives; None as long as they have not all come.
        self.trailer: bytearray | None = None
        self._writer = Writer(folder)
        self._target = target
        self._own = own
        self._preserve = preserve
        self._unsafe_links = unsafe_links
        self._kept = kept
        #: Where links point, and the path here to which that leads.
        self._links: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}
        self._modes: dict[tuple[str, ...], int] = {}
        self._block = b""
        self._left = self._padding = 0
        self._take: Callable[[memoryview], None] = _drop
        self._done: Callable[[], None] = _nothing
        self._long: dict[str, str] = {}
        #: Bytes and ends of lines of all names, and ends of lines of the trailer.
        self._names = self._names_lines = self._long_paths = self._trailer_lines = 0

    @property
    def problems(self) -> Lines:
        """What could not be written here."""
        return self._writer.problems

    @property
    def count(self) -> int:
        """How many files, folders and links have come, which are to be kept or removed."""
        return len(self.files) + len(self._modes) + len(self._links)

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next piece of the stream at once."""
        for _ in self.steps(data):
            pass

    def steps(self, data: bytes | memoryview) -> Iterator[None]:
        """Take the next piece of the stream; yields behind each header, as a file was made, and at the end.

        Raises:
            Refused: it is no archive, or wants to write elsewhere, or says more than any archive would.
            LocalError: it cannot be written.
        """
        view = memoryview(data)
        while view:
            if self.trailer is not None:
                self._read_trailer(view)
                break
            if self._left:
                piece = view[: self._left]
                self._take(piece)
                self._left -= len(piece)
                if not self._left:
                    self._done()
            elif self._padding:
                piece = view[: self._padding]
                self._padding -= len(piece)
            else:
                piece = view[: _BLOCK - len(self._block)]
                self._block += bytes(piece)
                if self._block.startswith(TRAILER):
                    self.trailer = bytearray()
                    self._read_trailer(memoryview(self._block)[len(TRAILER) :])
                elif len(self._block) == _BLOCK:
                    block, self._block = self._block, b""
                    self._header(block)
                    yield
            view = view[len(piece) :]
        yield

    def flush(self) -> None:
        """Write what was taken.

        Raises:
            LocalError: it cannot be written.
        """
        self._writer.flush()

    def _read_trailer(self, view: memoryview) -> None:
        assert self.trailer is not None
        self.trailer += view
        self._trailer_lines += bytes(view).count(b"\n")
        # A name may have two characters for one where it is escaped, and a line is much larger in memory.
        size, lines = _SUM * len(self.files) + 2 * self._names, len(self.files) + self._names_lines
        if len(self.trailer) > _TRAILER + size or self._trailer_lines > _TRAILER // _SUM + lines:
            raise Refused("more checksums than there are files")

    # -- headers

    def _header(self, block: bytes) -> None:
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return
        except tarfile.HeaderError as error:
            raise Refused(f"not a tar archive: {error}") from None
        if info.type in _EXTENDED:
            self._extended(info)
            return
        long, self._long = self._long, {}
        if info.type == tarfile.GNUTYPE_SPARSE or "GNU.sparse" in long:
            raise Refused("an archive with sparse files of a kind that is not known")
        name, link = long.get("path", info.name), long.get("linkpath", info.linkname)
        size = _size(long.get("size", info.size))
        mtime = _time(long.get("mtime", info.mtime))
        self._expect(size if info.isreg() else 0, _drop, _nothing)
        path = self._path(name, link if info.issym() or info.islnk() else "")
        parts = self._target(path)
        if info.isreg():
            self._begin(name, parts, size, info.mode, mtime)
        elif info.isdir():
            self._writer.folder(parts)
            if parts:  # what was there before anything was pulled keeps its mode
                self._modes[parts] = info.mode & 0o777
        elif info.issym():
            self._link(name, path, parts, link)
        elif info.islnk():
            self._another_name(name, parts, link)
        else:
            self.failures.append(f"{name}: not a regular file")

    def _expect(self, size: int, take: Callable[[memoryview], None], done: Callable[[], None]) -> None:
        self._left, self._padding, self._take, self._done = size, -size % _BLOCK, take, done

    def _extended(self, info: tarfile.TarInfo) -> None:
        size = _size(info.size)
        if info.type == tarfile.XGLTYPE:
            self._expect(size, _drop, _nothing)
            return
        if size > (_PATH + _BLOCK if info.type in _LONG else _LONGEST_HEADER):
            raise Refused("a header longer than any name")
        text = bytearray()

        def done() -> None:
            if info.type in _LONG:
                self._long[_LONG[info.type]] = text.rstrip(b"\0").decode("utf-8", "surrogateescape")
            else:
                self._long.update(_records(bytes(text)))

        self._expect(size, text.extend, done)
        if not size:
            done()

    def _path(self, name: str, link: str) -> tuple[str, ...]:
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise Refused(f"{_shown(name)}: a name that would leave the destination")
        if "\0" in link:
            raise Refused(f"{_shown(name)}: a link that is no path")
        self._names += _length(name)
        self._names_lines += name.count("\n")
        self._long_paths += max(0, _length(name) + _length(link) - _USUAL)
        if max(_length(name), _length(link)) > _PATH or any(_length(part) > _PART for part in parts):
            raise Refused(f"{_shown(name)}: a name that is too long")
        if len(parts) > _DEPTH:
            raise Refused(f"{_shown(name)}: more than {_DEPTH} folders deep")
        if self._long_paths > _LONG_PATHS:
            raise Refused("more long names than there is room for")
        if any(part.startswith(TEMPORARY) for part in parts):
            raise Refused(f"{_shown(name)}: a name kept for temporary files")
        return parts

    # -- files

    def _begin(self, name: str, parts: tuple[str, ...], size: int, mode: int, mtime: float) -> None:
        if not parts:
            raise Refused(f"{_shown(name)}: a file without a name")
        file: Incoming = self._writer.create(parts)

        def take(piece: memoryview) -> None:
            if file.take(piece):
                self._writer.flush()

        def done() -> None:
            digest = self._writer.finish(mode, mtime if self._preserve else None)
            self._came(name, _File(file.number, digest))

        self._expect(size, take, done)
        if not size:
            done()

    def _came(self, name: str, file: _File) -> None:
        before = self.files.pop(plain(name), None)
        if before is not None:
            self._writer.remove(before.number)
        self.files[plain(name)] = file

    def _another_name(self, name: str, parts: tuple[str, ...], target: str) -> None:
        """A further name of a file that has come."""
        first = self.files.get(plain(target))
        if first is None:
            self.failures.append(f"{name}: a link to a file that was not sent")
        elif not parts:
            raise Refused(f"{_shown(name)}: a file without a name")
        elif plain(target) != plain(name):
            self._came(name, _File(self._writer.link(first.number, parts), first.digest))

    # -- symbolic links

    def _link(self, name: str, path: tuple[str, ...], parts: tuple[str, ...], target: str) -> None:
        if self._own(path) or not parts:
            raise Refused(f"{_shown(name)}: sent as a symbolic link, and followed by nobody")
        aim = () if self._unsafe_links else self._aim(path, parts, target)
        if aim is None:
            self._leave_out(plain(name), target)
        else:
            self._links[parts] = target, aim

    def _leave_out(self, name: str, target: str) -> None:
        self.notes.append(f"{name}: left out: a symbolic link to {_shown(target)}; see --unsafe-links")

    def _aim(self, path: tuple[str, ...], parts: tuple[str, ...], target: str) -> tuple[str, ...] | None:
        """Where a link leads here, whatever other links of the archive it leads through.

        None where the host may not write there. So it may go up only first, from the folder it is in: behind
        another link `..` is somewhere else. And it has to lead to the same here, from `parts`, as in the
        archive, where what is on top may be called otherwise.
        """
        if not target or target.startswith("/"):
            return None
        above, down = path[:-1], [part for part in target.split("/") if part not in ("", ".")]
        up = next((index for index, part in enumerate(down) if part != ".."), len(down))
        if up > len(above) or ".." in down[up:]:
            return None
        here = (*parts[: len(parts) - 1 - up], *down[up:])
        try:
            return here if self._target((*above[: len(above) - up], *down[up:])) == here else None
        except (Refused, LocalError):
            return None

    # -- the end

    def keep(self, names: Iterable[str], overwrite: bool = True) -> None:
        """Give files their names, and make the links: those of `names` as they stand in the archive.

        What cannot be kept stands in `problems`.
        """
        writer = self._writer
        for name in names:
            number = self.files[name].number
            parts = writer.parts(number)
            if writer.place(number, overwrite):
                self._kept("/".join(parts))
        made: set[tuple[str, ...]] = set()
        for parts, (target, aim) in self._links.items():
            # Of a link that was there before nobody knows where it leads, unless it is replaced.
            if writer.has_link(aim, self._links if overwrite else made):
                self._leave_out("/".join(parts), target)
            elif writer.symlink(parts, target, overwrite):
                made.add(parts)
                self._kept("/".join(parts))
        for parts, mode in sorted(self._modes.items(), reverse=True):
            writer.chmod(parts, mode)
        writer.settle()

    def close(self) -> None:
        """Remove what has not been given its name, and what was made for it."""
        self._writer.close()


def _drop(piece: memoryview) -> None:
    pass


def _nothing() -> None:
    pass


def plain(name: str) -> str:
    """A path without empty parts and those that mean nothing."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _length(name: str) -> int:
    return len(name) if name.isascii() else len(name.encode("utf-8", "surrogateescape"))


def _shown(name: str) -> str:
    """A name in a reason: quoted, and not too long."""
    return repr(name if len(name) <= 100 else f"{name[:100]}…")


def _size(given: "int | str") -> int:
    size = given if isinstance(given, int) else int(given) if _INTEGER.fullmatch(given) else -1
    if not 0 <= size <= _LARGEST:
        raise Refused(f"not a tar archive: {str(given)[:30]!r} as a file's size")
    return size


def _time(given: "float | str") -> float:
    number = given if not isinstance(given, str) else float(given) if _NUMBER.fullmatch(given) else math.nan
    if not -_LARGEST <= number <= _LARGEST:
        raise Refused(f"not a tar archive: {str(given)[:30]!r} as a file's time")
    return float(number)


def _records(text: bytes) -> dict[str, str]:
    """The records of a pax header that say something of a file's name, place, size or time."""
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
