"""Writer: writes what a host that is not to be trusted sends into one folder here, and nowhere else."""

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Container
from typing import TypeVar

from .errors import BoundedLines, LocalError, reason_here
from .safe_folders import EXISTS, SafeFolders, naming, obstacle
from .temporary_names import PULL_HERE

_Done = TypeVar("_Done")

#: Bytes that are written at once, and in how many pieces at most.
_WRITE, _PIECES = 512 * 1024, 64


class IncomingFile:
    """A file that is being written under a temporary name: zeros become holes. Hashed if `hashed`."""

    def __init__(self, parts: tuple[str, ...], number: int, descriptor: int, hashed: bool) -> None:
        self.parts = parts
        #: What its temporary name is made of.
        self.number = number
        self._descriptor = descriptor
        self._digest = hashlib.sha256() if hashed else None
        self._at = self._unwritten = 0
        self._pieces: list[memoryview] = []
        self._ends_in_hole = False

    def add(self, piece: memoryview) -> bool:
        """The next piece, which is not empty; whether it is time to `write`."""
        if self._digest is not None:
            self._digest.update(piece)
        self._ends_in_hole = piece[0] == piece[-1] == 0 and not bytes(piece).strip(b"\0")
        if self._ends_in_hole:
            self.write()
            self._at += len(piece)
        else:
            self._pieces.append(piece)
            self._unwritten += len(piece)
        return self._unwritten >= _WRITE

    def write(self) -> None:
        """Write the pieces that have come."""
        pieces, self._pieces, self._unwritten = self._pieces, [], 0
        while pieces:
            count = os.pwritev(self._descriptor, pieces[:_PIECES], self._at)
            self._at += count
            while pieces and count >= len(pieces[0]):
                count -= len(pieces.pop(0))
            if count:
                pieces[0] = pieces[0][count:]

    def finish(self, mode: int, mtime: float | None) -> bytes:
        """Give it its size, its mode and, unless None, its time, and close it; its SHA-256 if hashed."""
        try:
            self.write()
            if self._ends_in_hole:
                os.ftruncate(self._descriptor, self._at)
            os.fchmod(self._descriptor, mode & 0o777)
            if mtime is not None:
                os.utime(self._descriptor, (mtime, mtime))
        finally:
            self.close()
        return self._digest.digest() if self._digest is not None else b""

    def close(self) -> None:
        """Close it, unless it is closed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Writer:
    """Writes files, folders and symbolic links below `folder`, whose paths there are given in parts.

    Whatever the parts are and whatever is there, nothing is written elsewhere, as no symbolic link below
    `folder` is followed; and only a regular file is ever replaced, or a link by a link. A file has a
    temporary name until `commit` gives it its own. For one thread.

    Raises:
        LocalError: the folder cannot be opened.
    """

    def __init__(self, folder: str) -> None:
        #: What could not be written.
        self.problems = BoundedLines()
        self._token = secrets.token_hex(6)
        self._count = 0
        #: The paths of the files that have temporary names, by their numbers.
        self._temporaries: dict[int, tuple[str, ...]] = {}
        self._open: IncomingFile | None = None
        self._folders = SafeFolders(folder)

    # -- the file that is coming

    def create(self, parts: tuple[str, ...], hashed: bool = True) -> IncomingFile:
        """A new file, under a temporary name in the folder where it belongs. One at a time.

        Raises:
            LocalError: it cannot be made.
        """
        number = self._number()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        name = self._temporary(number)
        descriptor = self._beside(parts, lambda folder: os.open(name, flags, 0o600, dir_fd=folder))
        parts = (*self._folders.entered, parts[-1])  # so that the files of a folder share its parts
        self._temporaries[number] = parts
        self._open = IncomingFile(parts, number, descriptor, hashed)
        return self._open

    def flush(self) -> None:
        """Write what has come of the file that is open.

        Raises:
            LocalError: it cannot be written.
        """
        if self._open is not None:
            with naming(self._open.parts):
                self._open.write()

    def finish(self, mode: int, mtime: float | None) -> bytes:
        """End the file that is open; see IncomingFile.

        Raises:
            LocalError: it cannot be written.
        """
        file, self._open = self._open, None
        assert file is not None
        with naming(file.parts):
            return file.finish(mode, mtime)

    def discard(self) -> None:
        """Remove the file that is open, if one is."""
        file, self._open = self._open, None
        if file is not None:
            file.close()
            self.remove(file.number)

    # -- files and links that have come

    def refuses(self, parts: tuple[str, ...], overwrite: bool = True) -> bool:
        """Whether a file could not get this name because of what is there now; then `problems` says so.

        Raises:
            LocalError: its folder cannot be made.
        """
        reason = self._beside(parts, lambda folder: obstacle(folder, parts[-1], overwrite=overwrite))
        if reason:
            self.problems.append(f"{'/'.join(parts)}: {reason}")
        return bool(reason)

    def link(self, number: int, parts: tuple[str, ...]) -> int:
        """Another name for a file that has not been given its own yet, temporary as well; its number.

        Raises:
            LocalError: it cannot be made.
        """
        first, name = self._temporary(number), self._temporary(new := self._number())
        with naming(parts):
            there = os.dup(self._folders.enter(self._temporaries[number][:-1]))
        try:
            self._beside(parts, lambda here: os.link(first, name, src_dir_fd=there, dst_dir_fd=here))
        finally:
            os.close(there)
        self._temporaries[new] = parts
        return new

    def commit(self, number: int, overwrite: bool = True) -> bool:
        """Give a file its name; whether that could be, else `problems` says why."""
        committed = self._rename(self._temporaries[number], self._temporary(number), overwrite)
        if committed:
            del self._temporaries[number]
        return committed

    def symlink(self, parts: tuple[str, ...], target: str, overwrite: bool = True) -> bool:
        """Make a symbolic link; whether that could be, else `problems` says why."""
        temporary = self._temporary(number := self._number())
        try:
            self._beside(parts, lambda folder: os.symlink(target, temporary, dir_fd=folder))
        except LocalError as error:
            self.problems.append(str(error))
            return False
        self._temporaries[number] = parts
        committed = self._rename(parts, temporary, overwrite, link=True)
        if committed:
            del self._temporaries[number]
        return committed

    def has_link(self, parts: tuple[str, ...], known: Container[tuple[str, ...]]) -> bool:
        """Whether a path leads through a symbolic link that is there, or to one; not after a `known` one."""
        for depth, name in enumerate(parts):
            if parts[: depth + 1] in known:
                return False
            try:
                folder = self._folders.enter(parts[:depth], make=False)
                if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    return True
            except (OSError, ValueError, LocalError):
                return False  # nothing is there
        return False

    def path_of(self, number: int) -> tuple[str, ...]:
        """The path of a file that has not been given its name."""
        return self._temporaries[number]

    def remove(self, number: int) -> None:
        """Remove a file that has not been given its name."""
        parts = self._temporaries.pop(number)
        with contextlib.suppress(OSError, LocalError):
            os.unlink(self._temporary(number), dir_fd=self._folders.enter(parts[:-1], make=False))

    def _rename(self, parts: tuple[str, ...], temporary: str, overwrite: bool, link: bool = False) -> bool:
        name = parts[-1]
        try:
            folder = self._folders.enter(parts[:-1])
            reason = obstacle(folder, name, link, overwrite)
            if not reason and overwrite:
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            elif not reason:
                os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                os.unlink(temporary, dir_fd=folder)
        except FileExistsError:
            reason = EXISTS
        except (OSError, ValueError) as error:
            reason = reason_here(error)
        except LocalError as error:
            self.problems.append(str(error))
            return False
        if reason:
            self.problems.append(f"{'/'.join(parts)}: {reason}")
        return not reason

    def _beside(self, parts: tuple[str, ...], action: Callable[[int], _Done]) -> _Done:
        """What `action` does with the descriptor of the folder where `parts` belongs, which is made."""
        with naming(parts):
            return self._folders.act_in(parts[:-1], action)

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _temporary(self, number: int) -> str:
        return f"{PULL_HERE}{os.getpid()}-{number}-{self._token}"

    # -- folders

    def folder(self, parts: tuple[str, ...]) -> None:
        """Make a folder, unless it is there.

        Raises:
            LocalError: it cannot be made.
        """
        self._beside((*parts, ""), lambda folder: None)

    def chmod(self, parts: tuple[str, ...], mode: int) -> None:
        """Give a folder its mode; if that cannot be, `problems` says why."""
        try:
            self._beside((*parts, ""), lambda folder: os.fchmod(folder, mode & 0o777))
        except LocalError as error:
            self.problems.append(str(error))

    def keep_folders(self) -> None:
        """Let the folders stay that were made for files."""
        self._folders.keep()

    def close(self) -> None:
        """Remove what has not been given its name and, unless they are to stay, the folders made for it."""
        if self._open is not None:
            self._open.close()
        for number in list(self._temporaries):
            self.remove(number)
        self._folders.close()
