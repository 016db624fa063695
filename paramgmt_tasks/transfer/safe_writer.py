"""Writer: writes what a host that is not to be trusted sends into one folder here, and nowhere else."""

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Container, Iterator
from typing import TypeVar

from ..model import reason_of

_Done = TypeVar("_Done")

#: How the names of files that are being written begin, and those that this machine's processes write.
TEMPORARY = ".paramgmt-pull-"
_HERE = f"{TEMPORARY}{os.uname().nodename}-"
#: Bytes that are written at once, and in how many pieces at most.
_WRITE, _PIECES = 512 * 1024, 64
#: Lines of one kind that are kept of what a host, or this machine, made of a pull.
_LINES = 1000
#: How often a folder is made again that another pull has just removed.
_TRIES = 3
#: Links behind one another in a destination, as many as Linux follows.
_LINKS = 40
_EXISTS = "exists already"


class Refused(Exception):
    """What the host sends is not to be written here; the text says what and why."""


class LocalError(Exception):
    """Something on this machine failed: the text names the file and the reason."""


class Lines(list[str]):
    """Lines of text, of which only the first are kept, as a host may cause any number.

    >>> lines = Lines()
    >>> for number in range(1002):
    ...     lines.append(str(number))
    >>> len(lines), lines.all()[-1]
    (1000, 'and 2 more')
    """

    more = 0

    def append(self, line: str) -> None:
        """Add one, or count it."""
        if len(self) < _LINES:
            super().append(line)
        else:
            self.more += 1

    def all(self) -> list[str]:
        """Those that are kept, and how many more there were."""
        return [*self, f"and {self.more} more"] if self.more else list(self)


def destination(path: str) -> tuple[str, str | None]:
    """The folder that a pull writes into, and the name in it that its source gets; None: the source's own.

    A destination that is a symbolic link is followed: it is the user's. One that an earlier pull has left
    leads only to where that pull could write, see Unpacker.

    Raises:
        LocalError: what is there is neither a folder nor a regular file.
    """
    place = os.path.expanduser(path)
    no_file = LocalError(f"{path}: not a regular file here, and never replaced")
    try:
        for _ in range(_LINKS):
            if os.path.isdir(place):
                return place, None
            if not os.path.islink(place):
                break
            folder = os.path.realpath(os.path.dirname(place))
            if folder.startswith("/proc/"):  # such as /dev/stdout: what is open, whatever it is
                raise no_file
            place = os.path.join(folder, os.readlink(place))
        if os.path.lexists(place) and not stat.S_ISREG(os.lstat(place).st_mode):
            raise no_file
    except (OSError, ValueError) as error:
        raise LocalError(f"{path}: {_words(error)}") from None
    return os.path.split(place)


class Incoming:
    """A file that is being written under a temporary name: zeros become holes. Hashed if `hashed`."""

    def __init__(self, parts: tuple[str, ...], number: int, descriptor: int, hashed: bool) -> None:
        self.parts = parts
        #: What its temporary name is made of.
        self.number = number
        self.descriptor = descriptor
        self._digest = hashlib.sha256() if hashed else None
        self._at = self._unwritten = 0
        self._pieces: list[memoryview] = []
        self._holed = False

    def take(self, piece: memoryview) -> bool:
        """The next piece, which is not empty; whether it is time to `write`."""
        if self._digest is not None:
            self._digest.update(piece)
        self._holed = piece[0] == piece[-1] == 0 and not bytes(piece).strip(b"\0")
        if self._holed:
            self.write()
            self._at += len(piece)
        else:
            self._pieces.append(piece)
            self._unwritten += len(piece)
        return self._unwritten >= _WRITE

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

    def finish(self, mode: int, mtime: float | None) -> bytes:
        """Give it its size, its mode and, unless None, its time, and close it; its SHA-256 if hashed."""
        try:
            self.write()
            if self._holed:
                os.ftruncate(self.descriptor, self._at)
            os.fchmod(self.descriptor, mode & 0o777)
            if mtime is not None:
                os.utime(self.descriptor, (mtime, mtime))
        finally:
            self.close()
        return self._digest.digest() if self._digest is not None else b""

    def close(self) -> None:
        """Close it, unless it is."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Writer:
    """Writes files, folders and symbolic links below `folder`, whose paths there are given in parts.

    Whatever the parts are and whatever is there, nothing is written elsewhere, as no symbolic link below
    `folder` is followed; and only a regular file is ever replaced, or a link by a link. A file has a
    temporary name until `place` gives it its own. For one thread.

    Raises:
        LocalError: the folder cannot be opened.
    """

    def __init__(self, folder: str) -> None:
        #: What could not be written.
        self.problems = Lines()
        self._token = secrets.token_hex(6)
        self._count = 0
        self._temporaries: dict[int, tuple[str, ...]] = {}
        self._open: Incoming | None = None
        self._made: list[tuple[str, ...]] = []
        self._swept: set[tuple[str, ...]] = set()
        self._settled = False
        with _named((folder or ".",)):
            self._root = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
        #: The folder that was written to last, and its path.
        self._folder = -1
        self._parents: tuple[str, ...] = ("..",)

    # -- files

    def create(self, parts: tuple[str, ...], hashed: bool = True) -> Incoming:
        """A new file, under a temporary name in the folder where it belongs. One at a time.

        Raises:
            LocalError: it cannot be made.
        """
        number = self._number()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        name = self._temporary(number)
        descriptor = self._in(parts, lambda folder: os.open(name, flags, 0o600, dir_fd=folder))
        parts = (*self._parents, parts[-1])  # so that the files of a folder share its parts
        self._temporaries[number] = parts
        self._open = Incoming(parts, number, descriptor, hashed)
        return self._open

    def flush(self) -> None:
        """Write what the file that is open has taken.

        Raises:
            LocalError: it cannot be written.
        """
        if self._open is not None:
            with _named(self._open.parts):
                self._open.write()

    def finish(self, mode: int, mtime: float | None) -> bytes:
        """End the file that is open; see Incoming.

        Raises:
            LocalError: it cannot be written.
        """
        file, self._open = self._open, None
        assert file is not None
        with _named(file.parts):
            return file.finish(mode, mtime)

    def refuses(self, parts: tuple[str, ...], overwrite: bool = True) -> bool:
        """Whether a file could not get this name, as what is there now; then it stands in `problems`.

        Raises:
            LocalError: its folder cannot be made.
        """
        objection = self._in(parts, lambda folder: _objection(folder, parts[-1], overwrite=overwrite))
        if objection:
            self.problems.append(f"{'/'.join(parts)}: {objection}")
        return bool(objection)

    def give_up(self) -> None:
        """Remove the file that is open, if one is."""
        file, self._open = self._open, None
        if file is not None:
            file.close()
            self.remove(file.number)

    def link(self, number: int, parts: tuple[str, ...]) -> int:
        """Another name for a file that has not been given its own yet, temporary as well; its number.

        Raises:
            LocalError: it cannot be made.
        """
        first, name = self._temporary(number), self._temporary(new := self._number())
        with _named(parts):
            there = os.dup(self._enter(self._temporaries[number][:-1]))
        try:
            self._in(parts, lambda here: os.link(first, name, src_dir_fd=there, dst_dir_fd=here))
        finally:
            os.close(there)
        self._temporaries[new] = parts
        return new

    def place(self, number: int, overwrite: bool = True) -> bool:
        """Give a file its name; whether that could be, else it stands in `problems`."""
        parts, temporary = self._temporaries[number], self._temporary(number)
        placed = self._put(parts, temporary, overwrite)
        if placed:
            del self._temporaries[number]
        return placed

    def symlink(self, parts: tuple[str, ...], target: str, overwrite: bool = True) -> bool:
        """Make a symbolic link; whether that could be, else it stands in `problems`."""
        temporary = self._temporary(number := self._number())
        try:
            self._in(parts, lambda folder: os.symlink(target, temporary, dir_fd=folder))
        except LocalError as error:
            self.problems.append(str(error))
            return False
        self._temporaries[number] = parts
        return self._put(parts, temporary, overwrite, link=True) and bool(self._temporaries.pop(number))

    def has_link(self, parts: tuple[str, ...], known: Container[tuple[str, ...]]) -> bool:
        """Whether a path leads through a symbolic link that is there, or to one; not behind a `known` one."""
        for depth, name in enumerate(parts):
            if parts[: depth + 1] in known:
                return False
            try:
                folder = self._enter(parts[:depth], make=False)
                if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    return True
            except (OSError, ValueError, LocalError):
                return False  # nothing is there
        return False

    def parts(self, number: int) -> tuple[str, ...]:
        """The path of a file that has not been given its name."""
        return self._temporaries[number]

    def remove(self, number: int) -> None:
        """Remove a file that has not been given its name."""
        parts = self._temporaries.pop(number)
        with contextlib.suppress(OSError, LocalError):
            os.unlink(self._temporary(number), dir_fd=self._enter(parts[:-1], make=False))

    def _put(self, parts: tuple[str, ...], temporary: str, overwrite: bool, link: bool = False) -> bool:
        try:
            folder = self._enter(parts[:-1])
            objection = _objection(folder, parts[-1], link, overwrite)
            if not objection and overwrite:
                os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            elif not objection:
                os.link(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                os.unlink(temporary, dir_fd=folder)
        except FileExistsError:
            objection = _EXISTS
        except (OSError, ValueError) as error:
            objection = _words(error)
        except LocalError as error:
            self.problems.append(str(error))
            return False
        if objection:
            self.problems.append(f"{'/'.join(parts)}: {objection}")
        return not objection

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _temporary(self, number: int) -> str:
        return f"{_HERE}{os.getpid()}-{number}-{self._token}"

    # -- folders

    def folder(self, parts: tuple[str, ...]) -> None:
        """Make a folder, unless it is there.

        Raises:
            LocalError: it cannot be made.
        """
        self._in((*parts, ""), lambda folder: None)

    def chmod(self, parts: tuple[str, ...], mode: int) -> None:
        """Give a folder its mode; where that cannot be, it stands in `problems`."""
        try:
            self._in((*parts, ""), lambda folder: os.fchmod(folder, mode & 0o777))
        except LocalError as error:
            self.problems.append(str(error))

    def _in(self, parts: tuple[str, ...], action: Callable[[int], _Done]) -> _Done:
        """What `action` does in the folder where `parts` belongs, which is made if it is missing."""
        with _named(parts):
            for _ in range(_TRIES):
                try:
                    return action(self._enter(parts[:-1]))
                except FileNotFoundError:
                    # Another host's pull had made it, was refused, and has removed it again.
                    self._leave()
            return action(self._enter(parts[:-1]))

    def _enter(self, parents: tuple[str, ...], make: bool = True) -> int:
        """A folder's descriptor, open until the next call."""
        if parents == self._parents:
            return self._folder
        folder = os.dup(self._root)
        try:
            for depth, part in enumerate(parents, start=1):
                below = self._below(folder, parents[:depth], part, make)
                os.close(folder)
                folder = below
            if parents not in self._swept:
                self._swept.add(parents)
                _sweep(folder)
        except BaseException:
            os.close(folder)
            raise
        self._leave()
        self._folder, self._parents = folder, parents
        return folder

    def _leave(self) -> None:
        folder, self._folder, self._parents = self._folder, -1, ("..",)
        if folder >= 0:
            os.close(folder)

    def _below(self, folder: int, parts: tuple[str, ...], name: str, make: bool) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        try:
            return os.open(name, flags, dir_fd=folder)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            what = _objection(folder, name) or _words(error)
            raise LocalError(f"{'/'.join(parts)}: {what}") from None
        with contextlib.suppress(FileExistsError):  # another host's pull was first
            os.mkdir(name, 0o755, dir_fd=folder)
            self._made.append(parts)
        return os.open(name, flags, dir_fd=folder)

    # -- the end

    def settle(self) -> None:
        """What was made is to stay."""
        self._settled = True

    def close(self) -> None:
        """Remove what has not been given its name and, unless settled, the folders that were made for it."""
        if self._root < 0:
            return
        if self._open is not None:
            self._open.close()
        for number in list(self._temporaries):
            self.remove(number)
        if not self._settled:
            for parts in reversed(self._made):  # those that are not empty stay
                with contextlib.suppress(OSError, LocalError):
                    os.rmdir(parts[-1], dir_fd=self._enter(parts[:-1], make=False))
        self._leave()
        os.close(self._root)
        self._root = -1


def _objection(folder: int, name: str, link: bool = False, overwrite: bool = True) -> str:
    """Why what has this name, if anything, is not to be replaced by a file, or by a link if `link`."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""
    if not overwrite:
        return _EXISTS
    if stat.S_ISREG(mode) or (link and stat.S_ISLNK(mode)):
        return ""
    if stat.S_ISDIR(mode):
        return "is a folder here"
    if stat.S_ISLNK(mode):
        return "is a symbolic link here, which is neither followed nor replaced"
    return "not a regular file here, and never replaced"


@contextlib.contextmanager
def _named(parts: tuple[str, ...]) -> Iterator[None]:
    """What this machine refuses, under the name of what it refuses it for.

    Raises:
        LocalError: instead of what came.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # or a name that the locale has no bytes for
        raise LocalError(f"{'/'.join(parts).rstrip('/')}: {_words(error)}") from None


def _words(error: Exception) -> str:
    return reason_of(error) if isinstance(error, OSError) else f"not a name here: {error}"


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
    except (OSError, OverflowError, ValueError):
        return False
    return False
