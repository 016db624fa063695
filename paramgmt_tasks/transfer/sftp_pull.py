"""Pull over SFTP: a server that is not to be trusted says what there is, and a Writer writes it."""

import fnmatch
import posixpath
import stat
from collections.abc import Iterator
from contextlib import closing

import paramiko
from paramiko.sftp_attr import SFTPAttributes

from ..model import Pull, reason_of
from .errors import LocalError
from .paths import local_destination, remote_path
from .safe_writer import IncomingFile, Writer
from .sftp_client import BROKEN, room_of
from .sftp_session import SftpTransfer
from .temporary_names import PULL

_DEPTH = 64


def pull(transfer: SftpTransfer, operation: Pull) -> None:
    """Copy what there is on the host; what fails is recorded in `transfer`."""
    found = [(source, path) for source in operation.sources for path in _matches(transfer, source)]
    try:
        folder, name = local_destination(operation.destination)
        if name is not None and (not name or len(found) > 1 or len(operation.sources) > 1):
            raise LocalError(f"{operation.destination}: no such folder here")
        writer = Writer(folder)
    except LocalError as error:
        transfer.fail_here(str(error))
        return
    with closing(writer):
        for source, path in found:
            own = posixpath.basename(posixpath.normpath(path))
            if name is None and own == "..":
                transfer.fail(source, "has no name to be stored under: name the folder itself")
                continue
            top = name or own
            _pull_one(transfer, writer, path, () if top in ("", ".") else (top,))
        writer.keep_folders()
        for problem in writer.problems.all():
            transfer.fail_here(problem)


def _matches(transfer: SftpTransfer, source: str) -> list[str]:
    path = remote_path(source)
    if not any(character in path for character in "*?["):
        return [path]
    matches = list(_glob(transfer.sftp, path))
    if not matches:
        transfer.fail(source, "no such file")
    return matches


def _glob(sftp: paramiko.SFTPClient, pattern: str) -> Iterator[str]:
    folder, name = posixpath.split(pattern)
    magic = any(character in folder for character in "*?[")
    for parent in _glob(sftp, folder) if magic else [folder]:
        if not any(character in name for character in "*?["):
            candidate = posixpath.join(parent, name)
            try:
                sftp.lstat(candidate)
            except BROKEN:
                raise
            except OSError:
                continue
            yield candidate
            continue
        try:
            names = sorted(sftp.listdir(parent or "."))
        except BROKEN:
            raise
        except OSError:
            continue
        for match in fnmatch.filter(names, name):
            if _is_name(match) and match.startswith(".") <= name.startswith("."):
                yield posixpath.join(parent, match)


def _is_name(name: str) -> bool:
    # What a host calls its files is not to be trusted: a name must stay within its folder.
    return name not in ("", ".", "..") and not set(name) & {"/", "\0"} and not name.startswith(PULL)


def _pull_one(
    transfer: SftpTransfer, writer: Writer, source: str, parts: tuple[str, ...], depth: int = 0
) -> None:
    transfer.check_time()
    try:
        info = transfer.sftp.stat(source)
        mode = info.st_mode or 0
        entries = sorted(transfer.sftp.listdir(source)) if stat.S_ISDIR(mode) and depth <= _DEPTH else []
    except BROKEN:
        raise
    except OSError as error:
        transfer.fail(source, reason_of(error))
        return
    if stat.S_ISREG(mode) and parts:
        _pull_file(transfer, writer, source, parts, info)
    elif not stat.S_ISDIR(mode):
        transfer.fail(source, "not a regular file")
    elif depth > _DEPTH:
        transfer.fail(source, "folders nested too deeply, or a loop of symbolic links")
    else:
        _pull_folder(transfer, writer, source, parts, entries, depth)
        if parts:  # what was there before anything was pulled keeps its mode
            writer.chmod(parts, mode)


def _pull_folder(
    transfer: SftpTransfer,
    writer: Writer,
    source: str,
    parts: tuple[str, ...],
    entries: list[str],
    depth: int,
) -> None:
    try:
        writer.folder(parts)
    except LocalError as error:
        transfer.fail_here(str(error))
        return
    held = sum(map(room_of, entries))
    transfer.sftp.held += held
    for name in entries:
        if _is_name(name):
            _pull_one(transfer, writer, posixpath.join(source, name), (*parts, name), depth + 1)
        else:
            transfer.fail(posixpath.join(source, name), "a name that would leave its folder")
    transfer.sftp.held -= held


def _pull_file(
    transfer: SftpTransfer, writer: Writer, source: str, parts: tuple[str, ...], info: SFTPAttributes
) -> None:
    try:
        if writer.refuses(parts, transfer.how.overwrite):
            return
        file = writer.create(parts, hashed=False)
        if transfer.attempt(source, _read, transfer, writer, file, source, info.st_size or 0):
            writer.finish(info.st_mode or 0, info.st_mtime if transfer.how.preserve else None)
            writer.commit(file.number, transfer.how.overwrite)
        else:
            writer.discard()
    except LocalError as error:
        writer.discard()
        transfer.fail_here(str(error))


def _read(transfer: SftpTransfer, writer: Writer, file: IncomingFile, source: str, size: int) -> None:
    with closing(transfer.sftp.pieces(source, size)) as pieces:
        for data in pieces:
            transfer.check_time()
            if file.add(memoryview(data)):
                writer.flush()
