"""SafeFolders: opens and makes the folders below one folder, through no symbolic link whatever is there."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import TypeVar

from .errors import LocalError, reason_here
from .temporary_names import sweep

_Done = TypeVar("_Done")

#: How often a folder is made again that another pull has just removed.
_TRIES = 3
EXISTS = "exists already"


class SafeFolders:
    """The folders below `root`, whose paths there are given in parts. For one thread.

    One folder at a time is open: that which was entered last.

    Raises:
        LocalError: the root cannot be opened.
    """

    def __init__(self, root: str) -> None:
        self._made: list[tuple[str, ...]] = []
        self._kept = False
        self._swept: set[tuple[str, ...]] = set()
        with naming((root or ".",)):
            self._root = os.open(root or ".", os.O_RDONLY | os.O_DIRECTORY)
        self._folder = -1
        #: The path of the folder that is open; no folder has this one.
        self.entered: tuple[str, ...] = ("..",)

    def act_in(self, parents: tuple[str, ...], action: Callable[[int], _Done]) -> _Done:
        """What `action` does with the descriptor of a folder, which is made if it is missing.

        Raises:
            OSError, LocalError: that cannot be.
        """
        for _ in range(_TRIES):
            try:
                return action(self.enter(parents))
            except FileNotFoundError:
                # Another host's pull had made it, was refused, and has removed it again.
                self._close_folder()
        return action(self.enter(parents))

    def enter(self, parents: tuple[str, ...], make: bool = True) -> int:
        """A folder's descriptor, open until the next call.

        Raises:
            OSError, LocalError: it cannot be opened, or made.
        """
        if parents == self.entered:
            return self._folder
        folder = os.dup(self._root)
        try:
            for depth, part in enumerate(parents, start=1):
                below = self._below(folder, parents[:depth], part, make)
                os.close(folder)
                folder = below
            if parents not in self._swept:
                self._swept.add(parents)
                sweep(folder)
        except BaseException:
            os.close(folder)
            raise
        self._close_folder()
        self._folder, self.entered = folder, parents
        return folder

    def _close_folder(self) -> None:
        folder, self._folder, self.entered = self._folder, -1, ("..",)
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
            what = obstacle(folder, name) or reason_here(error)
            raise LocalError(f"{'/'.join(parts)}: {what}") from None
        with contextlib.suppress(FileExistsError):  # another host's pull was first
            os.mkdir(name, 0o755, dir_fd=folder)
            self._made.append(parts)
        return os.open(name, flags, dir_fd=folder)

    def keep(self) -> None:
        """Let the folders that were made stay."""
        self._kept = True

    def close(self) -> None:
        """Remove the folders that were made and are empty, unless they are to stay."""
        if self._root < 0:
            return
        for parts in reversed([] if self._kept else self._made):
            with contextlib.suppress(OSError, LocalError):
                os.rmdir(parts[-1], dir_fd=self.enter(parts[:-1], make=False))
        self._close_folder()
        os.close(self._root)
        self._root = -1


def obstacle(folder: int, name: str, link: bool = False, overwrite: bool = True) -> str:
    """Why what has this name, if anything, is not to be replaced by a file, or by a link if `link`."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""
    if not overwrite:
        return EXISTS
    if stat.S_ISREG(mode) or (link and stat.S_ISLNK(mode)):
        return ""
    if stat.S_ISDIR(mode):
        return "is a folder here"
    if stat.S_ISLNK(mode):
        return "is a symbolic link here, which is neither followed nor replaced"
    return "not a regular file here, and never replaced"


@contextlib.contextmanager
def naming(parts: tuple[str, ...]) -> Iterator[None]:
    """What this machine refuses, under the name of what it refuses it for.

    Raises:
        LocalError: in place of the error.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # or a name that the locale has no bytes for
        raise LocalError(f"{'/'.join(parts).rstrip('/')}: {reason_here(error)}") from None
