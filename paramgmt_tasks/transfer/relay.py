"""Courier: brings files to workers on other machines, once to each, and brings back what hosts send.

Here the `Courier` of a run reads what is pushed, and unpacks what is pulled; there `Delivered` stands where
otherwise this machine's own files are. Everything goes in pieces.
"""

import os
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..model import Host, Operation, Outcome, Output, Pull, Push, Script, UsageError, reason_of
from ..ssh import CommandStatus, HostConnection
from ..steps import Steps, WaitForIO
from . import compression, over_sftp, scripts
from .errors import LocalError, Refused
from .local_files import LocalFiles, PullSink, status_of_error
from .local_tree import Member, Tree
from .tar_parser import TRAILER
from .temporary_names import left_behind

#: Bytes of files in one message.
_PIECE = 256 * 1024
#: What may come of a host that has sent all that it could.
_ALL_CAME = (Outcome.OK, Outcome.FAILED, Outcome.ERROR, Outcome.TIMED_OUT)
#: Seconds between two looks whether there is room for more.
_LOOK = 0.01
#: How folders for files on workers are called, before the number of their process.
_OURS = f"paramgmt-worker-{os.uname().nodename}-"


class FileRelay:
    """The files of a run, at the side that has them. Safe for many threads."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._files = LocalFiles()
        self._lock = threading.Lock()
        #: Held while something is written here, or given up: whoever cancels is another thread.
        self._writing = threading.RLock()
        self._trees: dict[Any, Tree] = {}
        self._scripts: dict[str, bytes] = {}
        #: What each worker has.
        self._sent: dict[Any, set[Any]] = {}
        self._landings: dict[int, PullSink] = {}
        self._landed: dict[int, int | None] = {}
        self._failed: dict[int, Exception] = {}

    @property
    def has_payload(self) -> bool:
        """Whether it may take long to send what workers have to know."""
        return isinstance(self._operation, Push)

    def check(self, host: Host) -> None:
        """Look for what is wrong on this side before a worker is bothered.

        Raises:
            UsageError: a file to send that there is not, or a place to write to.
        """
        operation = self._operation.on(host)
        if isinstance(operation, Script):
            for path in operation.paths:
                if path not in self._scripts:
                    self._scripts[path] = scripts.read(path)
        elif isinstance(operation, Push):
            self._files.check(operation)
        elif isinstance(operation, Pull):
            try:
                PullSink(operation, "").close()
            except LocalError as error:
                raise UsageError(str(error)) from None

    def messages_for(self, worker: Any, hosts: Sequence[Host]) -> Iterator[tuple[Any, ...]]:
        """The messages that a worker needs for its hosts, and has not had yet; to be sent before others'."""
        sent = self._sent.setdefault(worker, set())
        for host in hosts:
            operation = self._operation.on(host)
            if isinstance(operation, Script):
                for path in operation.paths:
                    if path not in sent:
                        sent.add(path)
                        yield "script", path, self._scripts[path]
            elif isinstance(operation, Push):
                key = operation.sources
                if key not in sent:
                    sent.add(key)
                    yield from self._tree(operation)

    def _tree(self, operation: Push) -> Iterator[tuple[Any, ...]]:
        key = operation.sources
        with self._lock:
            if key not in self._trees:
                self._trees[key] = self._files.tree(operation)
            tree = self._trees[key]
        yield "tree", key, tree
        changed = []
        pieces: list[tuple[str, bytes]] = []
        gathered = 0
        for member in tree.members.values():
            if not member.is_file:
                continue
            size = 0
            try:
                with open(member.path, "rb", buffering=0) as file:
                    while data := file.read(_PIECE):
                        size += len(data)
                        gathered += len(data)
                        pieces.append((member.name, data))
                        if gathered >= _PIECE:
                            yield "pieces", key, pieces
                            pieces, gathered = [], 0
                now = os.stat(member.path)
                same = (size, now.st_mtime_ns) == (member.info.st_size, member.info.st_mtime_ns)
            except OSError:
                same = False
            if not same:
                changed.append(f"{member.path}: changed while it was read")
        yield "pieces", key, pieces
        yield "whole", key, changed

    # -- what comes back

    def handle(self, kind: str, index: int, host: Host, *rest: Any) -> bool:
        """A worker has sent some of what a host sends; whether more is wanted."""
        with self._writing:
            return self._take(kind, index, host, *rest)

    def _take(self, kind: str, index: int, host: Host, *rest: Any) -> bool:
        if index in self._failed and kind != "landing":
            return False
        try:
            if kind == "landing":
                self.discard(index)
                operation = self._operation.on(host)
                assert isinstance(operation, Pull)
                self._landings[index] = PullSink(operation, *rest)
            elif index not in self._landings:
                return False  # its result has been told meanwhile
            elif kind == "pulled":
                self._landings[index].feed_nowait(*rest)
            elif kind == "landed":
                self._landed[index] = rest[0]
        except (LocalError, Refused, compression.Broken) as error:
            self._failed[index] = error
            return False
        return True

    def end(
        self, index: int, outcome: Outcome, return_code: int | None, reason: str, out: Output, err: Output
    ) -> tuple[Outcome, int | None, str]:
        """What came of a host, of which a worker says what came of it there."""
        done = CommandStatus(outcome, return_code, reason)
        with self._writing:
            if index in self._failed:
                done = status_of_error(self._failed[index], err)
            elif outcome in _ALL_CAME and index in self._landed:
                try:
                    kept = self._landings[index].end(self._landed[index], out, err)
                    # Over SFTP the worker knows what could not be had, and the rest is kept nevertheless.
                    done = kept if outcome is Outcome.OK or kept.outcome is Outcome.ERROR else done
                except EOFError as error:
                    done = CommandStatus(Outcome.LOST, None, str(error))
                except LocalError as error:
                    done = status_of_error(error, err)
        return done.outcome, done.return_code, done.reason

    def discard(self, index: int) -> None:
        """Nothing more is kept of what a host has sent."""
        with self._writing:
            landing = self._landings.pop(index, None)
            self._landed.pop(index, None)
            self._failed.pop(index, None)
            if landing is not None:
                landing.close()


class RelayedFiles(LocalFiles):
    """The files of a run where its hosts are worked on: those that were sent, and the way back.

    `send` sends a message; `room` tells whether more of what hosts send may be.
    """

    def __init__(self, send: Callable[..., Any], room: Callable[[], bool]) -> None:
        self._send, self._room = send, room
        self._root = ""
        self._trees: dict[Any, Tree] = {}
        self._places: dict[Any, str] = {}
        self._scripts: dict[str, bytes] = {}
        self._unwanted: set[int] = set()
        self._trouble: dict[Any, str] = {}
        self._lock = threading.Lock()

    # -- what is delivered

    def handle(self, kind: str, *rest: Any) -> None:
        """A message of the Courier's."""
        if kind == "script":
            path, text = rest
            self._scripts[path] = text
        elif kind == "unwanted":
            self._unwanted.update(rest)
        else:
            key, what = rest
            if key in self._trouble:
                return  # what follows would find nothing
            try:
                getattr(self, f"_{kind}")(key, what)
            except OSError as error:
                self._trouble.setdefault(
                    key, f"{self._root or tempfile.gettempdir()} on the worker: {reason_of(error)}"
                )

    def folder(self) -> str:
        """A folder for the files of this run.

        Raises:
            OSError: it cannot be made.
        """
        with self._lock:
            if not self._root:
                _sweep()
                self._root = tempfile.mkdtemp(prefix=f"{_OURS}{os.getpid()}-")
            return self._root

    def _tree(self, key: Any, tree: Tree) -> None:
        place = self._places[key] = os.path.join(self.folder(), str(len(self._places)))
        os.mkdir(place)
        members = {}
        for name, member in tree.members.items():
            path = place if name == "." else os.path.join(place, name)
            if member.is_folder:
                os.makedirs(path, exist_ok=True)
            elif member.link:
                os.symlink(member.link, path)
            else:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            members[name] = replace(member, path=path)
        self._trees[key] = Tree(members, tree.tops, list(tree.problems))

    def _pieces(self, key: Any, pieces: list[tuple[str, bytes]]) -> None:
        for name, data in pieces:
            with open(self._trees[key].members[name].path, "ab", buffering=0) as file:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]

    def _whole(self, key: Any, changed: list[str]) -> None:
        tree = self._trees[key]
        tree.problems += changed
        for member in reversed(tree.members.values()):
            if not member.link:
                self._finish(member)

    def _finish(self, member: Member) -> None:
        mode = member.info.st_mode & 0o7777
        os.chmod(member.path, mode | (0o700 if member.is_folder else 0o400))
        os.utime(member.path, ns=(member.info.st_atime_ns, member.info.st_mtime_ns))

    def close(self) -> None:
        """Remove them."""
        if self._root:
            shutil.rmtree(self._root, ignore_errors=True)

    # -- as Files

    def check(self, operation: Push | Pull) -> None:
        """That was done where the files are."""
        trouble = self._trouble.get(operation.sources)
        if isinstance(operation, Push) and trouble:
            raise UsageError(trouble)

    def tree(self, operation: Push) -> Tree:
        """What was delivered."""
        return self._trees[operation.sources]

    def script(self, path: str, host: Host) -> bytes:
        """What was delivered, for one host."""
        return scripts.fill(self._scripts[path], host)

    def sink(self, place: int, operation: Pull, coded: str) -> "ForwardingSink":  # type: ignore[override]
        """The way back for what a host sends."""
        return ForwardingSink(self, place, coded)

    def by_sftp(
        self, place: int, connection: HostConnection, operation: Push | Pull, err: Output
    ) -> CommandStatus:
        """Over SFTP between the host and a folder of this machine."""
        if isinstance(operation, Push):
            tops, folder = self._trees[operation.sources].tops, self._places[operation.sources]
            here = tuple(folder if top == "." else os.path.join(folder, top) for top in tops)
            return over_sftp.run(connection, replace(operation, sources=here), err)
        try:
            folder = tempfile.mkdtemp(dir=self.folder())
        except OSError as error:
            return status_of_error(
                LocalError(f"{tempfile.gettempdir()} on the worker: {reason_of(error)}"), err
            )
        try:
            how = replace(operation.how, overwrite=True)
            done = over_sftp.run(connection, replace(operation, destination=f"{folder}/", how=how), err)
            forwarded = ForwardingSink(self, place, "")
            with tarfile.open(fileobj=_Writer(forwarded), mode="w|", format=tarfile.GNU_FORMAT) as stream:  # type: ignore[call-overload]
                for name in sorted(os.listdir(folder)):
                    _add(stream, os.path.join(folder, name), name)
            forwarded.feed_nowait([TRAILER + b"none\nend 0\n"])
            forwarded.landed(0)
            return done
        except Refused as error:
            return status_of_error(error, err)
        finally:
            _remove(folder)

    def unwanted(self, place: int) -> bool:
        """Whether nothing more is wanted of what a host sends."""
        return place in self._unwanted

    def roomy(self) -> bool:
        """Whether more of what hosts send may be sent."""
        return self._room()

    def send(self, kind: str, *rest: Any) -> None:
        """Send a message of the way back."""
        self._send(kind, *rest)


def _add(stream: tarfile.TarFile, path: str, name: str) -> None:
    """Add what was pulled, with its modes, by which it need not be readable."""
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


def _sweep() -> None:
    """Remove what workers have left that were killed."""
    folder = tempfile.gettempdir()
    for name in os.listdir(folder):
        if left_behind(name, _OURS):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


class FilesOfBatch(LocalFiles):
    """The files of some hosts of a run: those that are at these places in its list."""

    def __init__(self, files: LocalFiles, places: Sequence[int]) -> None:
        self._files, self._places = files, places
        self.check, self.tree, self.script = files.check, files.tree, files.script  # type: ignore[method-assign]

    def sink(self, place: int, operation: Pull, coded: str) -> PullSink:
        """As of its place in the whole list."""
        return self._files.sink(self._places[place], operation, coded)

    def by_sftp(
        self, place: int, connection: HostConnection, operation: Push | Pull, err: Output
    ) -> CommandStatus:
        """As of its place in the whole list."""
        return self._files.by_sftp(self._places[place], connection, operation, err)


class ForwardingSink:
    """Sends on what a host sends; stands where a PullSink is where files are written here."""

    #: Nothing is kept or removed here.
    is_long = False

    def __init__(self, files: RelayedFiles, place: int, coded: str) -> None:
        self._files, self._place = files, place
        files.send("landing", place, coded)

    def feed(self, pieces: list[Any]) -> Steps[None]:
        """What comes next: waits where too much is on its way.

        Raises:
            Refused: no more is wanted.
        """
        while not self._files.roomy():
            yield WaitForIO(None, time.monotonic() + _LOOK)
        self.feed_nowait(pieces)

    def feed_nowait(self, pieces: list[Any]) -> None:
        """As `take`, without waiting."""
        if self._files.unwanted(self._place):
            raise Refused("not wanted any more")
        self._files.send("pulled", self._place, [bytes(piece) for piece in pieces])

    def end(self, code: int | None, out: Output, err: Output) -> CommandStatus:
        """All was sent on; the other side finds out what came of it.

        Raises:
            EOFError: the host's part broke off.
        """
        if code is None:
            raise EOFError("connection lost")
        self.landed(code)
        return CommandStatus(Outcome.OK, code)

    def landed(self, code: int) -> None:
        """All was sent on."""
        self._files.send("landed", self._place, code)

    def close(self) -> None:
        """Nothing is kept here."""


class _Writer:
    """A file to write to that sends on what is written."""

    def __init__(self, forwarded: ForwardingSink) -> None:
        self._forwarded = forwarded

    def write(self, data: bytes) -> int:
        """Send it on, once there is room."""
        for wait in self._forwarded.feed([data]):
            wait.block()
        return len(data)
