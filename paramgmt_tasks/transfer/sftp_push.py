"""Push over SFTP: each file is written under a temporary name, and appears whole or not at all."""

import os
import posixpath
import secrets
import stat
from dataclasses import dataclass
from typing import BinaryIO

from ..model import Push, reason_of
from .paths import remote_path
from .sftp_client import BROKEN
from .sftp_session import SftpTransfer
from .temporary_names import SFTP_HERE

_DEPTH = 64
#: Symbolic links in a row that are followed.
_LINKS = 40
_PIECE = 32768
#: What is never replaced.
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "named pipe",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFSOCK: "socket",
}


@dataclass
class _Upload:
    """A local file or folder, its target on the host, and whether that is not there yet.

    `link` is the symbolic link on the host by which a file gets there.
    """

    source: str
    target: str
    info: os.stat_result
    is_new: bool = True
    link: str = ""


def push(copy: SftpTransfer, operation: Push) -> None:
    """Copy files and folders to the host; what fails is recorded in `copy`."""
    destination = remote_path(operation.destination)
    mode = copy.kind(destination)
    folder = mode is not None and stat.S_ISDIR(mode)
    if not folder and (len(operation.sources) > 1 or destination.endswith("/")):
        copy.fail(operation.destination, "no such folder on the host")
        return
    uploads: list[_Upload] = []
    refused: list[str] = []
    for source in operation.sources:
        path = os.path.expanduser(source)
        name = os.path.basename(path.rstrip("/")) or "."
        target = posixpath.join(destination, name) if folder else destination
        _plan(copy, path, target, uploads, refused)
    if refused:
        copy.failures += refused
        return
    made: list[_Upload] = []
    missing: set[str] = set()
    for upload in uploads:
        if posixpath.dirname(upload.target) in missing:
            missing.add(upload.target)
        elif not stat.S_ISDIR(upload.info.st_mode):
            _push_file(copy, upload)
        elif upload.is_new and not copy.attempt(upload.target, copy.sftp.mkdir, upload.target, 0o700):
            missing.add(upload.target)
        else:
            made.append(upload)
    for upload in reversed(made):
        copy.attempt(upload.target, copy.sftp.chmod, upload.target, stat.S_IMODE(upload.info.st_mode))


def _plan(
    copy: SftpTransfer,
    source: str,
    target: str,
    uploads: list[_Upload],
    refused: list[str],
    depth: int = 0,
    within_new: bool = False,
) -> None:
    """Add to `uploads` what there is to do for a source, and to `refused` what is in its way on the host."""
    names: list[str] = []
    try:
        info = os.stat(source)
        is_folder = stat.S_ISDIR(info.st_mode)
        if is_folder:
            names = sorted(os.listdir(source))
        elif not stat.S_ISREG(info.st_mode):
            copy.fail_here(f"{source}: not a regular file")
            return
    except OSError as error:
        copy.fail_here(f"{source}: {reason_of(error)}")
        return
    if is_folder and depth > _DEPTH:
        copy.fail_here(f"{source}: folders nested too deeply, or a loop of symbolic links")
        return
    upload = _Upload(source, target, info)
    try:
        if is_folder:
            upload.is_new = within_new or not _is_remote_folder(copy, target)
        elif not within_new:
            _find_target(copy, upload)
    except _Obstacle as reason:
        refused.append(f"{target}: {reason}")
        return
    uploads.append(upload)
    for name in names:
        below = os.path.join(source, name), posixpath.join(target, name)
        _plan(copy, *below, uploads, refused, depth + 1, upload.is_new)


class _Obstacle(Exception):
    """Why something may not be put where something else is."""


def _is_remote_folder(copy: SftpTransfer, target: str) -> bool:
    there = copy.kind(target)
    if there is not None and stat.S_ISDIR(there):
        return True
    if copy.kind(target, copy.sftp.lstat) is not None:
        raise _Obstacle("not a folder")
    return False


def _find_target(copy: SftpTransfer, upload: _Upload) -> None:
    """Find out where a file is to be written: to where a symbolic link points, if one is there.

    Raises:
        _Obstacle: what is there may not be replaced.
    """
    path, there = upload.target, copy.kind(upload.target, copy.sftp.lstat)
    if there is not None and not copy.how.overwrite:
        raise _Obstacle("exists already")
    followed = 0
    while there is not None and stat.S_ISLNK(there):
        link = copy.link(path)
        followed += 1
        if not link or followed > _LINKS:
            raise _Obstacle("a loop of symbolic links" if link else "where it points to cannot be read")
        path = posixpath.join(posixpath.dirname(path), link)
        there = copy.kind(path, copy.sftp.lstat)
    kind = _KINDS.get(stat.S_IFMT(there or 0))
    if kind is not None:
        raise _Obstacle(f"is a {kind}, which is not replaced")
    upload.is_new = there is None
    if not followed:
        return
    upload.link, upload.target = upload.target, path
    if not stat.S_ISDIR(copy.kind(posixpath.dirname(path) or ".") or 0):
        raise _Obstacle(f"points into a folder that is not there: {path}")
    if not upload.is_new:
        try:
            copy.touch(upload.link)
        except BROKEN:
            raise
        except OSError:
            raise _Obstacle("what it points to may not be written") from None


def _push_file(copy: SftpTransfer, upload: _Upload) -> None:
    source, target = upload.source, upload.target
    try:
        file = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        copy.fail_here(f"{source}: {reason_of(error)}")
        return
    temporary = _temporary(posixpath.dirname(target))
    with file:
        copy.sweep(posixpath.dirname(target))
        copy.attempt(upload.link or target, _send, copy, file, upload, temporary)


def _send(copy: SftpTransfer, file: BinaryIO, upload: _Upload, temporary: str) -> None:
    """Send a file, whole or not at all, unless a link leads to it in a folder where nothing may be made."""
    info = os.fstat(file.fileno())
    copy.left_there.add(temporary)
    try:
        _write(copy, file, temporary, "wx")
        copy.sftp.chmod(temporary, stat.S_IMODE(upload.info.st_mode))
        if copy.how.preserve:
            copy.sftp.utime(temporary, (info.st_atime, info.st_mtime))
        if upload.link and upload.is_new:
            copy.touch(upload.link)  # by the system's own rules for who may follow which link
        copy.sftp.posix_rename(temporary, upload.target)
        copy.left_there.discard(temporary)
    except BROKEN:
        raise
    except OSError as error:
        copy.remove(temporary)
        if not upload.link or upload.is_new or not isinstance(error, PermissionError):
            raise
        file.seek(0)
        _write(copy, file, upload.link, "w")


def _write(copy: SftpTransfer, file: BinaryIO, path: str, mode: str) -> None:
    """Send the content of a file; nobody else may read what that makes before it gets its mode."""
    with copy.sftp.open(path, mode) as there:
        if "x" in mode:
            there.chmod(0o600)
        there.set_pipelined(True)
        sent = 0
        while data := file.read(_PIECE):
            there.write(data)
            sent += len(data)
            copy.check_time()
    if copy.sftp.stat(path).st_size != sent:
        raise OSError("did not arrive whole")


def _temporary(folder: str) -> str:
    """A path for a file that is being written, whose name has the process's number and no more."""
    return posixpath.join(folder, f"{SFTP_HERE}{os.getpid()}-{secrets.token_hex(8)}")
