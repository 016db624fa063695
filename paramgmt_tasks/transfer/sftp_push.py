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


def push(transfer: SftpTransfer, operation: Push) -> None:
    """Copy files and folders to the host; what fails is recorded in `transfer`."""
    destination = remote_path(operation.destination)
    mode = transfer.kind(destination)
    folder = mode is not None and stat.S_ISDIR(mode)
    if not folder and (len(operation.sources) > 1 or destination.endswith("/")):
        transfer.fail(operation.destination, "no such folder on the host")
        return
    uploads: list[_Upload] = []
    refused: list[str] = []
    for source in operation.sources:
        path = os.path.expanduser(source)
        name = os.path.basename(path.rstrip("/")) or "."
        target = posixpath.join(destination, name) if folder else destination
        _plan(transfer, path, target, uploads, refused)
    if refused:
        transfer.failures += refused
        return
    made: list[_Upload] = []
    missing: set[str] = set()
    for upload in uploads:
        if posixpath.dirname(upload.target) in missing:
            missing.add(upload.target)
        elif not stat.S_ISDIR(upload.info.st_mode):
            _push_file(transfer, upload)
        elif upload.is_new and not transfer.attempt(upload.target, transfer.sftp.mkdir, upload.target, 0o700):
            missing.add(upload.target)
        else:
            made.append(upload)
    for upload in reversed(made):
        transfer.attempt(upload.target, transfer.sftp.chmod, upload.target, stat.S_IMODE(upload.info.st_mode))


def _plan(
    transfer: SftpTransfer,
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
            transfer.fail_here(f"{source}: not a regular file")
            return
    except OSError as error:
        transfer.fail_here(f"{source}: {reason_of(error)}")
        return
    if is_folder and depth > _DEPTH:
        transfer.fail_here(f"{source}: folders nested too deeply, or a loop of symbolic links")
        return
    upload = _Upload(source, target, info)
    try:
        if is_folder:
            upload.is_new = within_new or not _is_remote_folder(transfer, target)
        elif not within_new:
            _find_target(transfer, upload)
    except _Obstacle as reason:
        refused.append(f"{target}: {reason}")
        return
    uploads.append(upload)
    for name in names:
        below = os.path.join(source, name), posixpath.join(target, name)
        _plan(transfer, *below, uploads, refused, depth + 1, upload.is_new)


class _Obstacle(Exception):
    """Why something may not be put where something else is."""


def _is_remote_folder(transfer: SftpTransfer, target: str) -> bool:
    there = transfer.kind(target)
    if there is not None and stat.S_ISDIR(there):
        return True
    if transfer.kind(target, transfer.sftp.lstat) is not None:
        raise _Obstacle("not a folder")
    return False


def _find_target(transfer: SftpTransfer, upload: _Upload) -> None:
    """Find out where a file is to be written: to where a symbolic link points, if one is there.

    Raises:
        _Obstacle: what is there may not be replaced.
    """
    path, there = upload.target, transfer.kind(upload.target, transfer.sftp.lstat)
    if there is not None and not transfer.how.overwrite:
        raise _Obstacle("exists already")
    followed = 0
    while there is not None and stat.S_ISLNK(there):
        link = transfer.link(path)
        followed += 1
        if not link or followed > _LINKS:
            raise _Obstacle("a loop of symbolic links" if link else "where it points to cannot be read")
        path = posixpath.join(posixpath.dirname(path), link)
        there = transfer.kind(path, transfer.sftp.lstat)
    kind = _KINDS.get(stat.S_IFMT(there or 0))
    if kind is not None:
        raise _Obstacle(f"is a {kind}, which is not replaced")
    upload.is_new = there is None
    if not followed:
        return
    upload.link, upload.target = upload.target, path
    if not stat.S_ISDIR(transfer.kind(posixpath.dirname(path) or ".") or 0):
        raise _Obstacle(f"points into a folder that is not there: {path}")
    if not upload.is_new:
        try:
            transfer.touch(upload.link)
        except BROKEN:
            raise
        except OSError:
            raise _Obstacle("what it points to may not be written") from None


def _push_file(transfer: SftpTransfer, upload: _Upload) -> None:
    source, target = upload.source, upload.target
    try:
        file = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        transfer.fail_here(f"{source}: {reason_of(error)}")
        return
    temporary = _temporary(posixpath.dirname(target))
    with file:
        transfer.sweep(posixpath.dirname(target))
        transfer.attempt(upload.link or target, _send, transfer, file, upload, temporary)


def _send(transfer: SftpTransfer, file: BinaryIO, upload: _Upload, temporary: str) -> None:
    """Send a file, whole or not at all, unless a link leads to it in a folder where nothing may be made."""
    info = os.fstat(file.fileno())
    transfer.left_there.add(temporary)
    try:
        _write(transfer, file, temporary, "wx")
        transfer.sftp.chmod(temporary, stat.S_IMODE(upload.info.st_mode))
        if transfer.how.preserve:
            transfer.sftp.utime(temporary, (info.st_atime, info.st_mtime))
        if upload.link and upload.is_new:
            transfer.touch(upload.link)  # by the system's own rules for who may follow which link
        transfer.sftp.posix_rename(temporary, upload.target)
        transfer.left_there.discard(temporary)
    except BROKEN:
        raise
    except OSError as error:
        transfer.remove(temporary)
        if not upload.link or upload.is_new or not isinstance(error, PermissionError):
            raise
        file.seek(0)
        _write(transfer, file, upload.link, "w")


def _write(transfer: SftpTransfer, file: BinaryIO, path: str, mode: str) -> None:
    """Send the content of a file; nobody else may read what that makes before it gets its mode."""
    with transfer.sftp.open(path, mode) as there:
        if "x" in mode:
            there.chmod(0o600)
        there.set_pipelined(True)
        sent = 0
        while data := file.read(_PIECE):
            there.write(data)
            sent += len(data)
            transfer.check_time()
    if transfer.sftp.stat(path).st_size != sent:
        raise OSError("did not arrive whole")


def _temporary(folder: str) -> str:
    """A path for a file that is being written, whose name has the process's number and no more."""
    return posixpath.join(folder, f"{SFTP_HERE}{os.getpid()}-{secrets.token_hex(8)}")
