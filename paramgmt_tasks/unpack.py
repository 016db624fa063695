"""Unpacker: writes a tar stream of a host that is not to be trusted into a folder, whole or not at all."""

import contextlib
import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .errors import words

#: In a block of its own behind the archives: what follows is text, in lines, for `trailer`.
TRAILER = b"paramgmt-sums\n"
_BLOCK = 512
#: Kinds of headers that say more of the file whose header follows.
_EXTENDED = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)
#: Bytes that are written at once, and in how many pieces at most.
_WRITE, _PIECES = 512 * 1024, 64
_LONGEST_HEADER = 1024 * 1024
_TEMPORARY = ".paramgmt-pull-"
_HERE = f"{_TEMPORARY}{os.uname().nodename}-"


class Refused(Exception):
    """What the host sends is not to be written here; the text says what and why."""


class LocalError(Exception):
    """Something on this machine failed: the text names the file and the reason."""


@dataclass
class _File:
    """A file under its temporary name, on its way to its own."""

    parts: tuple[str, ...]
    temporary: str
    digest: str


class _Incoming:
    """A file that is being written, in its open descriptor: zeros become holes."""

    def __init__(self, parts: tuple[str, ...], descriptor: int) -> None:
        self.parts = parts
        self.descriptor = descriptor
        self.digest = hashlib.sha256()
        self._at = self._unwritten = 0
        self._pieces: list[memoryview] = []
        self._holed = False

    def take(self, piece: memoryview) -> int:
        """The next piece; how many bytes are not written yet."""
        self.digest.update(piece)
        self._holed = piece[0] == piece[-1] == 0 and not bytes(piece).strip(b"\0")
        if self._holed:
            self.write()
            self._at += len(piece)
        else:
            self._pieces.append(piece)
            self._unwritten += len(piece)
        return self._unwritten

    def write(self) -> None:
        """Write what was taken."""
        pieces, self._pieces, self._unwritten = self._pieces, [], 0
        while pieces:
            count = os.pwritev(self.descriptor, pieces[:_PIECES], self._at)
            self._at += count
            while pieces and count >= len(pieces[0]):
                count -= len(pieces.pop(0))
            if count:
                pieces[0] = pieces[0][count:]

    def finish(self, mode: int, mtime: float | None) -> None:
        """Give it its size, its mode and, unless None, its time, and close it."""
        try:
            if self._holed:
                os.ftruncate(self.descriptor, self._at)
            os.fchmod(self.descriptor, mode)
            if mtime is not None:
                os.utime(self.descriptor, (mtime, mtime))
        finally:
            os.close(self.descriptor)


class Unpacker:
    """Takes tar archives, one after the other, as they come, in pieces of any size: `feed`.

    A piece is kept until the next call of `flush`, and not to be changed before.

    `target` gives the path in `folder` for one of an archive, and raises Refused for one not asked for.
    Nothing stands under its own name before `keep`, which gives the files theirs. Names with `..` are
    refused, and no symbolic link below `folder` is followed.
    """

    def __init__(
        self, folder: str, target: Callable[[tuple[str, ...]], tuple[str, ...]], preserve: bool = False
    ) -> None:
        #: What could not be had from the host, and what could not be written here.
        self.failures: list[str] = []
        self.problems: list[str] = []
        #: Files whose name and content have come, by their name in the archive.
        self.files: dict[str, _File] = {}
        #: What was given its name.
        self.kept: list[str] = []
        #: The text behind the archives; None as long as they have not all come.
        self.trailer: bytes | None = None
        self._target = target
        self._preserve = preserve
        self._links: dict[tuple[str, ...], str] = {}
        self._modes: dict[tuple[str, ...], int] = {}
        self._block = b""
        self._left = self._padding = 0
        self._take: Callable[[memoryview], None] = _drop
        self._done: Callable[[], None] = _nothing
        self._long: dict[str, Any] = {}
        self._open: _Incoming | None = None
        self._temporaries: set[tuple[tuple[str, ...], str]] = set()
        self._swept: set[tuple[str, ...]] = set()
        self._count = 0
        self._parents: tuple[str, ...] | None = None
        try:
            self._root = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise LocalError(f"{folder}: {words(error)}") from None
        self._folder = os.dup(self._root)

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next piece of the stream.

        Raises:
            Refused: it is no archive, or wants to write elsewhere.
            LocalError: it cannot be written.
        """
        view = memoryview(data)
        while view:
            if self.trailer is not None:
                self.trailer += bytes(view)
                return
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
                    self.trailer, view = self._block[len(TRAILER) :] + bytes(view[len(piece) :]), view[:0]
                    continue
                if len(self._block) == _BLOCK:
                    block, self._block = self._block, b""
                    self._header(block)
            view = view[len(piece) :]

    # -- headers

    def _header(self, block: bytes) -> None:
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return
        except tarfile.HeaderError as error:
            raise Refused(f"not a tar archive: {error}") from None
        if info.type in (
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
        ):
            self._extended(info)
            return
        long, self._long = self._long, {}
        if any(key.startswith("GNU.sparse") for key in long):
            raise Refused("an archive with sparse files of a kind that is not known")
        name, link = long.get("path", info.name), long.get("linkpath", info.linkname)
        info.size, info.mtime = int(long.get("size", info.size)), float(long.get("mtime", info.mtime))
        size = info.size if info.isreg() else 0
        self._expect(size, _drop, _nothing)
        parts = self._parts(name)
        if info.isreg():
            self._begin(info, name, parts)
        elif info.isdir():
            self._folder_of((*parts, ""))
            self._modes[parts] = stat.S_IMODE(info.mode) & 0o777
        elif info.issym():
            self._links[parts] = link
        elif info.islnk():
            self._link(name, parts, link)
        else:
            self.failures.append(f"{name}: not a regular file")

    def _expect(self, size: int, take: Callable[[memoryview], None], done: Callable[[], None]) -> None:
        self._left, self._padding, self._take, self._done = size, -size % _BLOCK, take, done

    def _extended(self, info: tarfile.TarInfo) -> None:
        if info.size > _LONGEST_HEADER:
            raise Refused("a name of more than a megabyte")
        text = bytearray()

        def done() -> None:
            if info.type == tarfile.GNUTYPE_LONGNAME:
                self._long["path"] = _name(bytes(text))
            elif info.type == tarfile.GNUTYPE_LONGLINK:
                self._long["linkpath"] = _name(bytes(text))
            elif info.type == tarfile.XHDTYPE:
                self._long.update(_records(bytes(text)))

        self._expect(info.size, text.extend, done)
        if not info.size:
            done()

    def _parts(self, name: str) -> tuple[str, ...]:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise Refused(f"{name!r}: a name that would leave the destination")
        if any(part.startswith(_TEMPORARY) for part in parts):
            raise Refused(f"{name!r}: a name kept for temporary files")
        return self._target(tuple(parts))

    # -- files

    def _begin(self, info: tarfile.TarInfo, name: str, parts: tuple[str, ...]) -> None:
        if not parts:
            raise Refused(f"{name!r}: a file without a name")
        self._count += 1
        temporary = f"{_HERE}{os.getpid()}-{self._count}-{id(self):x}"
        with self._named(parts):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(temporary, flags, 0o600, dir_fd=self._folder_of(parts))
        self._temporaries.add((parts, temporary))
        self._open = file = _Incoming(parts, descriptor)

        def take(piece: memoryview) -> None:
            if file.take(piece) >= _WRITE:
                self.flush()

        def done() -> None:
            self.flush()
            self._open = None
            with self._named(parts):
                file.finish(stat.S_IMODE(info.mode) & 0o777, info.mtime if self._preserve else None)
            self.files[plain(name)] = _File(parts, temporary, file.digest.hexdigest())

        self._expect(info.size, take, done)
        if not info.size:
            done()

    def flush(self) -> None:
        """Write what was taken.

        Raises:
            LocalError: it cannot be written.
        """
        if self._open is not None:
            with self._named(self._open.parts):
                self._open.write()

    def _link(self, name: str, parts: tuple[str, ...], target: str) -> None:
        """A further name of a file that has come."""
        first = self.files.get(plain(target))
        if first is None:
            self.failures.append(f"{name}: a link to a file that was not sent")
            return
        self._count += 1
        temporary = f"{_HERE}{os.getpid()}-{self._count}-{id(self):x}"
        with self._named(parts):
            there = os.dup(self._folder_of(first.parts))
            try:
                here = self._folder_of(parts)
                os.link(first.temporary, temporary, src_dir_fd=there, dst_dir_fd=here)
            finally:
                os.close(there)
        self._temporaries.add((parts, temporary))
        self.files[plain(name)] = _File(parts, temporary, first.digest)

    def _folder_of(self, parts: tuple[str, ...]) -> int:
        """The folder in which `parts` is, open until the next call; made where it is missing.

        No symbolic link is followed.
        """
        parents = parts[:-1]
        if parents == self._parents:
            return self._folder
        folder = os.dup(self._root)
        try:
            for depth, part in enumerate(parents, start=1):
                with self._named(parents[:depth]):
                    below = _enter(folder, part)
                os.close(folder)
                folder = below
            if parents not in self._swept:
                self._swept.add(parents)
                _sweep(folder)
        except BaseException:
            os.close(folder)
            raise
        os.close(self._folder)
        self._folder, self._parents = folder, parents
        return folder

    @contextlib.contextmanager
    def _named(self, parts: tuple[str, ...]) -> Any:
        try:
            yield
        except OSError as error:
            raise LocalError(f"{'/'.join(parts)}: {words(error)}") from None

    # -- the end

    def keep(self, names: Iterable[str], overwrite: bool = True) -> None:
        """Give files their names, and make the links: those of `names` as they stand in the archive."""
        for name in names:
            self._place(self.files[name].parts, self.files[name].temporary, overwrite)
        for parts, target in self._links.items():
            self._count += 1
            temporary = f"{_HERE}{os.getpid()}-{self._count}-{id(self):x}"
            with self._named(parts):
                os.symlink(target, temporary, dir_fd=self._folder_of(parts))
            self._temporaries.add((parts, temporary))
            self._place(parts, temporary, overwrite)
        for parts, mode in sorted(self._modes.items(), reverse=True):
            with self._named(parts):
                os.fchmod(self._folder_of((*parts, "")), mode)

    def _place(self, parts: tuple[str, ...], temporary: str, overwrite: bool) -> None:
        folder = self._folder_of(parts)
        try:
            if overwrite:
                os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            else:
                os.link(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                os.unlink(temporary, dir_fd=folder)
        except FileExistsError:
            self.problems.append(f"{'/'.join(parts)}: exists already")
        except OSError as error:
            self.problems.append(f"{'/'.join(parts)}: {words(error)}")
        else:
            self._temporaries.discard((parts, temporary))
            self.kept.append("/".join(parts))

    def close(self) -> None:
        """Remove what has not been given its name."""
        if self._open is not None:
            os.close(self._open.descriptor)
        for parts, temporary in self._temporaries:
            with contextlib.suppress(OSError, LocalError):
                os.unlink(temporary, dir_fd=self._folder_of(parts))
        os.close(self._folder)
        os.close(self._root)


def _enter(folder: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=folder)
        return os.open(name, flags, dir_fd=folder)


def _sweep(folder: int) -> None:
    """Remove temporary files of processes that are gone."""
    for name in os.listdir(folder):
        if left_behind(name, _HERE):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)


def left_behind(name: str, prefix: str) -> bool:
    """Whether a file named `prefix` and the number of a process of this machine outlived that process."""
    process = name.removeprefix(prefix).partition("-")[0]
    if not name.startswith(prefix) or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _drop(piece: memoryview) -> None:
    pass


def _nothing() -> None:
    pass


def plain(name: str) -> str:
    """A path without empty parts and those that mean nothing."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _name(text: bytes) -> str:
    return text.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _records(text: bytes) -> dict[str, str]:
    """The records of a pax header."""
    found: dict[str, str] = {}
    while text:
        length = text.partition(b" ")[0]
        if not length.isdigit() or not 0 < int(length) <= len(text):
            raise Refused("not a tar archive: a broken pax header")
        record, text = text[: int(length)], text[int(length) :]
        key, _, value = record.partition(b" ")[2].rstrip(b"\n").partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    return found
