"""The relay's side on a worker: keeps the files that it is sent, and sends back what hosts send.

`RelayedFiles` replaces `LocalFiles` there, and `ForwardingSink` replaces `PullSink`.
"""

import os
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..model import CommandStatus, Host, Outcome, Output, Pull, Push, UsageError, reason_of
from ..ssh import HostRun
from ..steps import Steps, WaitForIO
from . import over_sftp, scripts
from .errors import LocalError, Refused
from .local_files import LocalFiles, PullSink, status_of_error
from .local_tree import Member, Tree
from .relay_messages import (
    Delivery,
    FilePieces,
    PullBegins,
    PullData,
    Pulled,
    PullEnds,
    ScriptText,
    TreeBegins,
    TreeEnds,
    TreeKey,
    Unwanted,
)
from .tar_parser import TRAILER
from .temporary_names import left_behind

#: Seconds between two looks whether there is room for more.
_LOOK = 0.01
#: How workers' folders for files are called, up to the number of their process.
_PREFIX = f"paramgmt-worker-{os.uname().nodename}-"


class RelayedFiles(LocalFiles):
    """The files of a run on a worker: those that it was sent, and the way back for what hosts send.

    `send` sends a message to the other side; `has_room` says whether more of what hosts send may be sent.
    """

    def __init__(self, send: Callable[[Pulled], object], has_room: Callable[[], bool]) -> None:
        self.send, self.has_room = send, has_room
        self._root = ""
        self._making_root = threading.Lock()
        self._trees: dict[TreeKey, Tree] = {}
        self._folders: dict[TreeKey, str] = {}
        self._scripts: dict[str, bytes] = {}
        self._unwanted: set[int] = set()
        #: Why a tree could not be kept here.
        self._trouble: dict[TreeKey, str] = {}

    # -- what is sent here

    def handle(self, message: Delivery) -> None:
        """Keep what the other side sends."""
        match message:
            case ScriptText(path, text):
                self._scripts[path] = text
            case Unwanted(position):
                self._unwanted.add(position)
            case TreeBegins() | FilePieces() | TreeEnds() if message.key not in self._trouble:
                try:
                    self._keep(message)
                except OSError as error:
                    folder = self._root or tempfile.gettempdir()
                    self._trouble[message.key] = f"{folder} on the worker: {reason_of(error)}"

    def _keep(self, message: TreeBegins | FilePieces | TreeEnds) -> None:
        match message:
            case TreeBegins(key, tree):
                self._make(key, tree)
            case FilePieces(key, pieces):
                for name, data in pieces:
                    _append(self._trees[key].members[name].path, data)
            case TreeEnds(key, changed):
                tree = self._trees[key]
                tree.problems += changed
                for member in reversed(tree.members.values()):
                    if not member.link:
                        _set_mode_and_times(member)

    def _make(self, key: TreeKey, tree: Tree) -> None:
        """Make the folders and links of a tree, and its files, which are empty so far."""
        top = self._folders[key] = os.path.join(self.folder(), str(len(self._folders)))
        os.mkdir(top)
        members = {}
        for name, member in tree.members.items():
            path = top if name == "." else os.path.join(top, name)
            if member.is_folder:
                os.makedirs(path, exist_ok=True)
            elif member.link:
                os.symlink(member.link, path)
            else:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            members[name] = replace(member, path=path)
        self._trees[key] = Tree(members, tree.tops, list(tree.problems))

    def folder(self) -> str:
        """A folder for the files of this run.

        Raises:
            OSError: it cannot be made.
        """
        with self._making_root:
            if not self._root:
                _remove_leftovers()
                self._root = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
            return self._root

    def close(self) -> None:
        """Remove the files of this run."""
        if self._root:
            shutil.rmtree(self._root, ignore_errors=True)

    # -- in place of LocalFiles

    def check(self, operation: Push | Pull) -> None:
        """Whether what is pushed could be kept here; the other side has checked the rest.

        Raises:
            UsageError: it could not.
        """
        trouble = self._trouble.get(operation.sources)
        if isinstance(operation, Push) and trouble:
            raise UsageError(trouble)

    def tree(self, operation: Push) -> Tree:
        """What was sent here of the sources of an operation for one host."""
        return self._trees[operation.sources]

    def script(self, path: str, host: Host) -> bytes:
        """The text of a script that was sent here, for one host."""
        return scripts.fill(self._scripts[path], host)

    def sink(self, position: int, operation: Pull, coded: str) -> "ForwardingSink":  # type: ignore[override]
        """The way back for what the host at this position in the run's list sends."""
        return ForwardingSink(self, position, coded)

    def by_sftp(
        self, position: int, connection: HostRun, operation: Push | Pull, err: Output
    ) -> CommandStatus:
        """Copy over SFTP between the host and a folder of this machine."""
        if isinstance(operation, Push):
            tops, folder = self._trees[operation.sources].tops, self._folders[operation.sources]
            sources = tuple(folder if top == "." else os.path.join(folder, top) for top in tops)
            return over_sftp.run(connection, replace(operation, sources=sources), err)
        try:
            folder = tempfile.mkdtemp(dir=self.folder())
        except OSError as error:
            return status_of_error(
                LocalError(f"{tempfile.gettempdir()} on the worker: {reason_of(error)}"), err
            )
        try:
            how = replace(operation.how, overwrite=True)
            done = over_sftp.run(connection, replace(operation, destination=f"{folder}/", how=how), err)
            self._forward(position, folder)
            return done
        except Refused as error:
            return status_of_error(error, err)
        finally:
            _remove(folder)

    def _forward(self, position: int, folder: str) -> None:
        """Send on what was pulled over SFTP, as a host with tar would have sent it."""
        sink = ForwardingSink(self, position, "")
        with tarfile.open(fileobj=_Writer(sink), mode="w|", format=tarfile.GNU_FORMAT) as stream:  # type: ignore[call-overload]
            for name in sorted(os.listdir(folder)):
                _add(stream, os.path.join(folder, name), name)
        sink.feed_nowait([TRAILER + b"none\nend 0\n"])
        sink.send_end(0)

    def unwanted(self, position: int) -> bool:
        """Whether nothing more is wanted of what a host sends."""
        return position in self._unwanted


def _append(path: str, data: bytes) -> None:
    with open(path, "ab", buffering=0) as file:
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]


def _set_mode_and_times(member: Member) -> None:
    mode = member.info.st_mode & 0o7777
    os.chmod(member.path, mode | (0o700 if member.is_folder else 0o400))
    os.utime(member.path, ns=(member.info.st_atime_ns, member.info.st_mtime_ns))


def _add(stream: tarfile.TarFile, path: str, name: str) -> None:
    """Add what was pulled, with its modes, which may forbid to read it."""
    info = stream.gettarinfo(path, name)
    os.chmod(path, 0o700)
    if not info.isdir():
        with open(path, "rb") as file:
            stream.addfile(info, file)
        return
    stream.addfile(info)
    for each in sorted(os.listdir(path)):
        _add(stream, os.path.join(path, each), f"{name}/{each}")


def _remove(folder: str) -> None:
    """Remove what was pulled over SFTP, files and folders, whatever their modes."""
    for parent, below, _ in os.walk(folder):
        for name in below:
            os.chmod(os.path.join(parent, name), 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers() -> None:
    """Remove the folders of workers that were killed."""
    folder = tempfile.gettempdir()
    for name in os.listdir(folder):
        if left_behind(name, _PREFIX):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


class FilesOfBatch(LocalFiles):
    """The files of some hosts of a run, which are at these `positions` of its list; `index` counts these."""

    def __init__(self, files: LocalFiles, positions: Sequence[int]) -> None:
        self._files, self._positions = files, positions

    def check(self, operation: Push | Pull) -> None:
        """As for the run's files."""
        self._files.check(operation)

    def tree(self, operation: Push) -> Tree:
        """As for the run's files."""
        return self._files.tree(operation)

    def script(self, path: str, host: Host) -> bytes:
        """As for the run's files."""
        return self._files.script(path, host)

    def sink(self, index: int, operation: Pull, coded: str) -> PullSink:
        """As for the run's files, of the host at its position in the run's list."""
        return self._files.sink(self._positions[index], operation, coded)

    def by_sftp(self, index: int, connection: HostRun, operation: Push | Pull, err: Output) -> CommandStatus:
        """As for the run's files, of the host at its position in the run's list."""
        return self._files.by_sftp(self._positions[index], connection, operation, err)


class ForwardingSink:
    """Sends on what a host sends, in place of a PullSink, which would write it here."""

    #: Nothing is kept or removed here.
    is_long = False

    def __init__(self, files: RelayedFiles, position: int, coded: str) -> None:
        self._files, self._position = files, position
        files.send(PullBegins(position, coded))

    def feed(self, pieces: Sequence[bytes | bytearray | memoryview]) -> Steps[None]:
        """Send on what comes next; waits while too much is on its way.

        Raises:
            Refused: no more is wanted.
        """
        while not self._files.has_room():
            yield WaitForIO(None, time.monotonic() + _LOOK)
        self.feed_nowait(pieces)

    def feed_nowait(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        """As `feed`, without waiting."""
        if self._files.unwanted(self._position):
            raise Refused("not wanted any more")
        self._files.send(PullData(self._position, [bytes(piece) for piece in pieces]))

    def end(self, code: int | None, out: Output, err: Output) -> CommandStatus:
        """Say that all was sent on; the other side finds out what came of it.

        Raises:
            EOFError: the connection to the host broke off.
        """
        if code is None:
            raise EOFError("connection lost")
        self.send_end(code)
        return CommandStatus(Outcome.OK, code)

    def send_end(self, code: int) -> None:
        """Say that all was sent on, and with which code the host's command ended."""
        self._files.send(PullEnds(self._position, code))

    def close(self) -> None:
        """Nothing: no file is kept here."""


class _Writer:
    """A file object that sends on what is written to it."""

    def __init__(self, sink: ForwardingSink) -> None:
        self._sink = sink

    def write(self, data: bytes) -> int:
        """Send it on, once there is room."""
        for wait in self._sink.feed([data]):
            wait.block()
        return len(data)
