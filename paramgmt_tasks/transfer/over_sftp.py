"""Push and Pull over SFTP, for hosts without tar or a shell: each file whole or not at all."""

import fnmatch
import os
import posixpath
import secrets
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import paramiko
from paramiko.sftp_attr import SFTPAttributes

from ..model import CommandStatus, Copying, Failure, Outcome, Output, Pull, Push, reason_of
from ..ssh import START_TIMEOUT, Classified, HostRun, Sudo
from ..steps import run_to_end
from .connection_state import ConnectionState
from .safe_writer import TEMPORARY, Incoming, Lines, LocalError, Writer, destination, left_behind
from .sftp_client import BROKEN, Client, Nonsense, room_of

#: Seconds without any progress after which a transfer is given up.
STALLED = 60.0
_NEITHER = "neither tar nor SFTP on this host"
_DEPTH = 64
_LINKS = 40
_PIECE = 32768
#: Names of one folder that are looked at for what was left behind.
_NAMES = 10_000
#: What is never replaced.
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "named pipe",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFSOCK: "socket",
}
_SERVERS = (
    "/usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server "
    "/usr/libexec/sftp-server /usr/lib/sftp-server"
)
_FIND_SERVER = (
    f'for s in {_SERVERS}; do if [ -x "$s" ]; then exec "$s"; fi; done; '
    'echo "no sftp-server found" >&2; exit 127'
)


class _Copy:
    """The state of one transfer: its SFTP session, what failed, and when to give up."""

    def __init__(self, connection: HostRun, how: Copying, err: Output) -> None:
        self.err = err
        self.how = how
        self.settings = connection.settings
        self._deadline = connection.ends_at
        #: Temporary files on the host that have not got their names.
        self.left_there = connection.attached(ConnectionState).left_there
        self.sftp = self._session(connection)
        self._swept: set[str] = set()
        self.failures = Lines()
        self.local_failure = False
        self._limit = 0.0
        connection.transport.bound_writes(self._deadline)
        self.tick(0, 0)

    def _session(self, connection: HostRun) -> Client:
        if self.settings.sudo:
            sudo = Sudo(_FIND_SERVER, self.settings.password)
            channel = run_to_end(connection.start(sudo.command, connection.time_left(START_TIMEOUT)))
            run_to_end(sudo.negotiate(channel, time.monotonic() + connection.time_left(STALLED)))
            connection.transport.read_in_background()
            channel.settimeout(connection.time_left(STALLED))
            return Client(channel)
        state = connection.attached(ConnectionState)
        kept, state.sftp_session = state.sftp_session, None
        there = kept.get_channel() if kept is not None else None
        if kept is not None and there is not None and not there.closed:
            connection.begin()
            return kept
        channel = run_to_end(connection.session(connection.time_left(START_TIMEOUT)))
        try:
            channel.invoke_subsystem("sftp")
        except (paramiko.SSHException, EOFError):
            if connection.is_connected:
                raise Classified(Failure(Outcome.FAILED, _NEITHER)) from None
            raise
        connection.begin()
        connection.transport.read_in_background()
        channel.settimeout(connection.time_left(STALLED))
        try:
            return Client(channel)
        except (paramiko.SSHException, paramiko.SFTPError, EOFError, struct.error, Nonsense):
            if connection.is_connected:
                raise Classified(Failure(Outcome.FAILED, _NEITHER)) from None
            raise

    def tick(self, done: int, total: int) -> None:
        """Called as bytes move.

        Raises:
            _OutOfTime: the operation's timeout has passed.
        """
        left = STALLED if self._deadline is None else self._deadline - time.monotonic()
        if left <= 0:
            self.sftp.close()
            raise _OutOfTime
        if left != self._limit:
            self._limit = left
            self.sftp.get_channel().settimeout(min(STALLED, left))  # type: ignore[union-attr]

    @property
    def late(self) -> bool:
        """Whether the operation's timeout has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def remote(self, name: str, action: Callable[..., Any], *args: Any) -> bool:
        """Do something on the host; an error of the file's is a failure under its name."""
        try:
            action(*args)
        except BROKEN:
            raise
        except OSError as error:
            self.failures.append(f"{name}: {reason_of(error)}")
            return False
        return True

    def fail(self, name: str, reason: str) -> None:
        """Record a failure of the host's."""
        self.failures.append(f"{name}: {reason}")

    def fail_here(self, line: str) -> None:
        """Record a failure of this machine, which the line names."""
        self.failures.append(line)
        self.local_failure = True

    def kind(self, path: str, look: Callable[[str], paramiko.SFTPAttributes] | None = None) -> int | None:
        """The mode of a remote path, None where there is none or it may not be seen; 0 where it is not told.

        Links are followed, unless `look` does not.
        """
        try:
            return (look or self.sftp.stat)(path).st_mode or 0
        except BROKEN:
            raise
        except OSError:
            return None

    def link(self, path: str) -> str | None:
        """Where a symbolic link on the host points; None where that is not told, or no text."""
        try:
            link: str | bytes | None = self.sftp.readlink(path)
        except BROKEN:
            raise
        except (OSError, paramiko.SFTPError):
            return None
        return link if isinstance(link, str) else None

    def touch(self, path: str) -> None:
        """Open a file on the host as whoever adds to it does: it is there then, and may be written."""
        self.sftp.open(path, "a").close()

    def sweep(self, folder: str) -> None:
        """Remove what processes that are gone have left in a folder on the host, once in a transfer."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        with _unless_broken():
            for name in self.sftp.listdir(folder or ".", _NAMES):
                if left_behind(name, _TEMPORARY):
                    self.sftp.remove(posixpath.join(folder, name))

    def remove(self, path: str) -> None:
        """Remove a temporary file on the host, where there is one."""
        with _unless_broken():
            self.sftp.remove(path)
        self.left_there.discard(path)

    def execution(self) -> CommandStatus:
        """The outcome of the whole."""
        if not self.failures:
            return CommandStatus(Outcome.OK, 0)
        others = len(self.failures) - 1 + self.failures.more
        more = f" (and {others} more)" if others else ""
        outcome = Outcome.ERROR if self.local_failure else Outcome.FAILED
        text = "".join(f"{failure}\n" for failure in self.failures.all())
        reason = " ".join(self.failures[0].split()) + more
        self.err.write(text.encode("utf-8", "surrogateescape"))
        return CommandStatus(outcome, 1, reason)


@contextmanager
def _unless_broken() -> Iterator[None]:
    """What the host says of a file does not matter, but that the connection is of no use any more does."""
    try:
        yield
    except BROKEN:
        raise
    except OSError:
        pass


_TEMPORARY = f".paramgmt-sftp-{os.uname().nodename}-"


def _temporary(folder: str) -> str:
    """A path for a file that is being written, whose name tells the process and no more."""
    return posixpath.join(folder, f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}")


class _OutOfTime(Exception):
    pass


def remote_path(path: str) -> str:
    """A path as SFTP wants it: relative to the remote home, which `~` stands for."""
    if path in ("", "~", "~/"):
        return "."
    return path[2:].lstrip("/") or "." if path.startswith("~/") else path


def run(connection: HostRun, operation: Push | Pull, err: Output) -> CommandStatus:
    """Copy what `operation` says; the files that failed are named in `err`.

    Raises:
        OSError, EOFError, paramiko.SSHException: the host was not reached, or the connection broke.
    """
    copy = _Copy(connection, operation.how, err)
    try:
        for path in list(copy.left_there):  # by a try that broke off
            copy.remove(path)
        if isinstance(operation, Push):
            _push(copy, operation)
        else:
            _pull(copy, operation)
        connection.transport.bound_writes(None)
    except BaseException as error:
        copy.sftp.close()
        if isinstance(error, _OutOfTime) or (isinstance(error, TimeoutError) and copy.late):
            return CommandStatus(Outcome.TIMED_OUT, None, f"timed out after {copy.settings.timeout:g} s")
        raise
    if copy.settings.sudo:
        copy.sftp.close()
    else:
        connection.attached(ConnectionState).sftp_session = copy.sftp  # the next transfer's
    return copy.execution()


# -- to the host


@dataclass
class _Step:
    """A local file or folder, where it goes, and whether that is not there yet.

    `link` is the symbolic link on the host by which a file gets there.
    """

    source: str
    target: str
    info: os.stat_result
    is_new: bool = True
    link: str = ""


def _push(copy: _Copy, operation: Push) -> None:
    destination = remote_path(operation.destination)
    mode = copy.kind(destination)
    folder = mode is not None and stat.S_ISDIR(mode)
    if not folder and (len(operation.sources) > 1 or destination.endswith("/")):
        copy.fail(operation.destination, "no such folder on the host")
        return
    steps: list[_Step] = []
    refused: list[str] = []
    for source in operation.sources:
        path = os.path.expanduser(source)
        name = os.path.basename(path.rstrip("/")) or "."
        target = posixpath.join(destination, name) if folder else destination
        _plan(copy, path, target, steps, refused)
    if refused:
        copy.failures += refused
        return
    made: list[_Step] = []
    missing: set[str] = set()
    for step in steps:
        if posixpath.dirname(step.target) in missing:
            missing.add(step.target)
        elif not stat.S_ISDIR(step.info.st_mode):
            _push_file(copy, step)
        elif step.is_new and not copy.remote(step.target, copy.sftp.mkdir, step.target, 0o700):
            missing.add(step.target)
        else:
            made.append(step)
    for step in reversed(made):
        copy.remote(step.target, copy.sftp.chmod, step.target, stat.S_IMODE(step.info.st_mode))


def _plan(
    copy: _Copy,
    source: str,
    target: str,
    steps: list[_Step],
    refused: list[str],
    depth: int = 0,
    within_new: bool = False,
) -> None:
    """Add what there is to do for a source, and what stands in its way on the host, to be `refused`."""
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
    step = _Step(source, target, info)
    try:
        if is_folder:
            step.is_new = within_new or not _is_remote_folder(copy, target)
        elif not within_new:
            _place(copy, step)
    except _Refused as reason:
        refused.append(f"{target}: {reason}")
        return
    steps.append(step)
    for name in names:
        below = os.path.join(source, name), posixpath.join(target, name)
        _plan(copy, *below, steps, refused, depth + 1, step.is_new)


class _Refused(Exception):
    """Why something may not be put where something else is."""


def _is_remote_folder(copy: _Copy, target: str) -> bool:
    there = copy.kind(target)
    if there is not None and stat.S_ISDIR(there):
        return True
    if copy.kind(target, copy.sftp.lstat) is not None:
        raise _Refused("not a folder")
    return False


def _place(copy: _Copy, step: _Step) -> None:
    """Look where a file goes: to where a symbolic link points that is there.

    Raises:
        _Refused: what is there may not be replaced.
    """
    path, there = step.target, copy.kind(step.target, copy.sftp.lstat)
    if there is not None and not copy.how.overwrite:
        raise _Refused("exists already")
    followed = 0
    while there is not None and stat.S_ISLNK(there):
        link = copy.link(path)
        followed += 1
        if not link or followed > _LINKS:
            raise _Refused("a loop of symbolic links" if link else "where it points to cannot be read")
        path = posixpath.join(posixpath.dirname(path), link)
        there = copy.kind(path, copy.sftp.lstat)
    kind = _KINDS.get(stat.S_IFMT(there or 0))
    if kind is not None:
        raise _Refused(f"is a {kind}, which is not replaced")
    step.is_new = there is None
    if not followed:
        return
    step.link, step.target = step.target, path
    if not stat.S_ISDIR(copy.kind(posixpath.dirname(path) or ".") or 0):
        raise _Refused(f"points into a folder that is not there: {path}")
    if not step.is_new:
        try:
            copy.touch(step.link)
        except BROKEN:
            raise
        except OSError:
            raise _Refused("what it points to may not be written") from None


def _push_file(copy: _Copy, step: _Step) -> None:
    source, target = step.source, step.target
    try:
        file = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        copy.fail_here(f"{source}: {reason_of(error)}")
        return
    temporary = _temporary(posixpath.dirname(target))
    with file:
        copy.sweep(posixpath.dirname(target))
        copy.remote(step.link or target, _put, copy, file, step, temporary)


def _put(copy: _Copy, file: BinaryIO, step: _Step, temporary: str) -> None:
    """Send a file, whole or not at all unless it is behind a link in a folder where nothing may be made."""
    info = os.fstat(file.fileno())
    copy.left_there.add(temporary)
    try:
        _write(copy, file, temporary, "wx")
        copy.sftp.chmod(temporary, stat.S_IMODE(step.info.st_mode))
        if copy.how.preserve:
            copy.sftp.utime(temporary, (info.st_atime, info.st_mtime))
        if step.link and step.is_new:
            copy.touch(step.link)  # by the system's own rules for who may follow which link
        copy.sftp.posix_rename(temporary, step.target)
        copy.left_there.discard(temporary)
    except BROKEN:
        raise
    except OSError as error:
        copy.remove(temporary)
        if not step.link or step.is_new or not isinstance(error, PermissionError):
            raise
        file.seek(0)
        _write(copy, file, step.link, "w")


def _write(copy: _Copy, file: BinaryIO, path: str, mode: str) -> None:
    """Send what is in a file; nobody else may read what is made by that before it gets its mode."""
    with copy.sftp.open(path, mode) as there:
        if "x" in mode:
            there.chmod(0o600)
        there.set_pipelined(True)
        sent = 0
        while data := file.read(_PIECE):
            there.write(data)
            sent += len(data)
            copy.tick(sent, 0)
    if copy.sftp.stat(path).st_size != sent:
        raise OSError("did not arrive whole")


# -- from the host


def _pull(copy: _Copy, operation: Pull) -> None:
    found = [(source, path) for source in operation.sources for path in _matches(copy, source)]
    try:
        folder, name = destination(operation.destination)
        if name is not None and (not name or len(found) > 1 or len(operation.sources) > 1):
            raise LocalError(f"{operation.destination}: no such folder here")
        writer = Writer(folder)
    except LocalError as error:
        copy.fail_here(str(error))
        return
    with closing(writer):
        for source, path in found:
            own = posixpath.basename(posixpath.normpath(path))
            if name is None and own == "..":
                copy.fail(source, "has no name to be stored under: name the folder itself")
                continue
            top = name or own
            _pull_one(copy, writer, path, () if top in ("", ".") else (top,))
        writer.settle()
        for problem in writer.problems.all():
            copy.fail_here(problem)


def _matches(copy: _Copy, source: str) -> list[str]:
    path = remote_path(source)
    if not any(character in path for character in "*?["):
        return [path]
    matches = list(_glob(copy.sftp, path))
    if not matches:
        copy.fail(source, "no such file")
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
    return name not in ("", ".", "..") and not set(name) & {"/", "\0"} and not name.startswith(TEMPORARY)


def _pull_one(copy: _Copy, writer: Writer, source: str, parts: tuple[str, ...], depth: int = 0) -> None:
    copy.tick(0, 0)
    try:
        info = copy.sftp.stat(source)
        mode = info.st_mode or 0
        entries = sorted(copy.sftp.listdir(source)) if stat.S_ISDIR(mode) and depth <= _DEPTH else []
    except BROKEN:
        raise
    except OSError as error:
        copy.fail(source, reason_of(error))
        return
    if stat.S_ISREG(mode) and parts:
        _pull_file(copy, writer, source, parts, info)
    elif not stat.S_ISDIR(mode):
        copy.fail(source, "not a regular file")
    elif depth > _DEPTH:
        copy.fail(source, "folders nested too deeply, or a loop of symbolic links")
    else:
        _pull_folder(copy, writer, source, parts, entries, depth)
        if parts:  # what was there before anything was pulled keeps its mode
            writer.chmod(parts, mode)


def _pull_folder(
    copy: _Copy, writer: Writer, source: str, parts: tuple[str, ...], entries: list[str], depth: int
) -> None:
    try:
        writer.folder(parts)
    except LocalError as error:
        copy.fail_here(str(error))
        return
    held = sum(map(room_of, entries))
    copy.sftp.held += held
    for name in entries:
        if _is_name(name):
            _pull_one(copy, writer, posixpath.join(source, name), (*parts, name), depth + 1)
        else:
            copy.fail(posixpath.join(source, name), "a name that would leave its folder")
    copy.sftp.held -= held


def _pull_file(
    copy: _Copy, writer: Writer, source: str, parts: tuple[str, ...], info: SFTPAttributes
) -> None:
    try:
        if writer.refuses(parts, copy.how.overwrite):
            return
        file = writer.create(parts, hashed=False)
        if copy.remote(source, _read, copy, writer, file, source, info.st_size or 0):
            writer.finish(info.st_mode or 0, info.st_mtime if copy.how.preserve else None)
            writer.place(file.number, copy.how.overwrite)
        else:
            writer.give_up()
    except LocalError as error:
        writer.give_up()
        copy.fail_here(str(error))


def _read(copy: _Copy, writer: Writer, file: Incoming, source: str, size: int) -> None:
    with closing(copy.sftp.pieces(source, size)) as pieces:
        for data in pieces:
            copy.tick(0, 0)
            if file.take(memoryview(data)):
                writer.flush()
