"""What is on this machine to be sent: files, folders and symbolic links under some sources."""

import hashlib
import os
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..model import reason_of

_DEPTH = 250
_PIECE = 256 * 1024
#: Held while a file is read for its sum alone.
_hashing = threading.Lock()


@dataclass
class Member:
    """A file, folder or symbolic link: its name in the archive and its path here."""

    name: str
    path: str
    info: os.stat_result
    link: str = ""
    digest: str = ""
    #: The top-level name it is under; `.` if a folder's contents are sent without it.
    top: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return not self.link and stat.S_ISDIR(self.info.st_mode)

    def matches(self, digest: str) -> bool:
        """Whether it has that SHA-256. Safe for many threads, of which one reads it."""
        if not self.digest:
            with _hashing:
                try:
                    self.digest = self.digest or _digest(self.path)
                except OSError:
                    return False  # said when it is sent
        return self.digest == digest

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return not self.link and stat.S_ISREG(self.info.st_mode)


@dataclass
class Tree:
    """What is to be sent: the members, the top-level names, and what cannot be sent, with its reason."""

    members: dict[str, Member] = field(default_factory=dict)
    tops: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def scan(sources: Sequence[str], follow: bool = False) -> Tree:
    """The files, folders and symbolic links under `sources`; if `follow`, what the links point to.

    A source that is itself a link is followed, as cp -H does. Of two sources with one name the last counts.
    """
    tree = Tree()
    for source in sources:
        path = os.path.expanduser(source)
        name = os.path.basename(path.rstrip("/")) or "."
        top = "." if name == ".." else name
        if top not in tree.tops:
            tree.tops.append(top)
        _scan(tree, path, top, top, follow, follow_this=True)
    return tree


def _scan(
    tree: Tree,
    path: str,
    name: str,
    top: str,
    follow: bool,
    follow_this: bool = False,
    above: tuple[tuple[int, int], ...] = (),
) -> None:
    try:
        info = os.stat(path) if follow or follow_this else os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            tree.members[name] = Member(name, path, info, link=os.readlink(path), top=top)
        elif stat.S_ISREG(info.st_mode):
            with open(path, "rb"):
                tree.members[name] = Member(name, path, info, top=top)
        elif not stat.S_ISDIR(info.st_mode):
            tree.problems.append(f"{path}: not a regular file")
        elif (info.st_dev, info.st_ino) in above:
            tree.problems.append(f"{path}: a loop of symbolic links")
        elif len(above) > _DEPTH:
            tree.problems.append(f"{path}: folders nested too deeply")
        else:
            above = (*above, (info.st_dev, info.st_ino))
            names = sorted(os.listdir(path))
            tree.members[name] = Member(name, path, info, top=top)
            for entry in names:
                below = entry if name == "." else f"{name}/{entry}"
                _scan(tree, os.path.join(path, entry), below, top, follow, above=above)
    except OSError as error:
        tree.problems.append(f"{path}: {reason_of(error)}")


def _digest(path: str) -> str:
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(_PIECE):
            hasher.update(data)
    return hasher.hexdigest()
