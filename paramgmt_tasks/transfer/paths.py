"""Where files come from and go to: paths on a host, and the destination of a pull here."""

import fnmatch
import os
import posixpath
import stat

from ..model import Pull
from .errors import LocalError, Refused, reason_here

#: Symbolic links in a row that a destination may lead through, as many as Linux follows.
_LINKS = 40


def remote_path(path: str) -> str:
    """A path as SFTP wants it: relative to the remote home, which `~` stands for.

    >>> remote_path("~/logs"), remote_path("~"), remote_path("/etc")
    ('logs', '.', '/etc')
    """
    if path in ("", "~", "~/"):
        return "."
    return path[2:].lstrip("/") or "." if path.startswith("~/") else path


def remote_sources(operation: Pull) -> list[str]:
    """The sources as the host is asked for them."""
    return [_no_option(remote_path(source)) for source in operation.sources]


def _no_option(source: str) -> str:
    source = source.rstrip("/") or "/"
    return f"./{source}" if source.startswith("-") else source


def local_destination(path: str) -> tuple[str, str | None]:
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
        raise LocalError(f"{path}: {reason_here(error)}") from None
    return os.path.split(place)


class RequestedPaths:
    """What a pull asks a host for, and where that goes in the local folder `folder`.

    Raises:
        LocalError: several files for a destination that is no folder, or one that is no regular file.
    """

    def __init__(self, operation: Pull) -> None:
        sources = remote_sources(operation)
        self._no_folder = LocalError(f"{operation.destination}: no such folder here")
        self.folder, self._name = local_destination(operation.destination)
        if self._name is not None and (not self._name or len(sources) > 1):
            raise self._no_folder
        patterns = [posixpath.basename(source.rstrip("/")) or "." for source in sources]
        self._all = "." in patterns
        self._patterns = [pattern for pattern in patterns if pattern != "."]
        self._top: str | None = None

    def local(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """The path in the local folder for one of the archive.

        Raises:
            Refused: it was not asked for.
            LocalError: it is a second one for a name that is for one.
        """
        if self._all:
            return (self._name, *parts) if self._name else parts
        if not parts or not self._matches(parts[0]):
            raise Refused(f"{'/'.join(parts)[:100]!r}: sent by the host, but not asked for")
        if not self._name:
            return parts
        self._top = parts[0] if self._top is None else self._top
        if parts[0] != self._top:
            raise self._no_folder
        return (self._name, *parts[1:])

    def is_source(self, parts: tuple[str, ...]) -> bool:
        """Whether a path of the archive is a source itself, not something in it."""
        return not parts or (len(parts) == 1 and self._matches(parts[0]))

    def _matches(self, part: str) -> bool:
        return any(part == pattern or fnmatch.fnmatchcase(part, pattern) for pattern in self._patterns)
