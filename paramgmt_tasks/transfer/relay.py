"""The relay's side that has the files: sends them to workers on other machines, and keeps what comes back.

`FileRelay` reads what is pushed, once for each worker, and unpacks what is pulled. The workers' side is
`relayed_files`. Everything goes in pieces.
"""

import os
import threading
from collections.abc import Iterator, Sequence

from ..model import CommandStatus, Host, Operation, Outcome, Output, Pull, Push, Script, UsageError
from . import compression, scripts
from .errors import LocalError, Refused
from .local_files import LocalFiles, PullSink, status_of_error
from .local_tree import Tree
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

#: Bytes of files in one message.
_PIECE = 256 * 1024
#: Outcomes with which a host may have sent all that it could.
_ALL_CAME = (Outcome.OK, Outcome.FAILED, Outcome.ERROR, Outcome.TIMED_OUT)


class FileRelay:
    """The files of a run, at the side that has them. Safe for many threads."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._files = LocalFiles()
        self._trees: dict[TreeKey, Tree] = {}
        self._scanning = threading.Lock()
        self._scripts: dict[str, bytes] = {}
        #: The scripts and trees that each worker has been sent.
        self._sent: dict[object, set[str | TreeKey]] = {}
        #: Held while something is written here, or discarded: whoever cancels is another thread.
        self._writing = threading.RLock()
        self._sinks: dict[int, PullSink] = {}
        self._return_codes: dict[int, int] = {}
        self._failures: dict[int, Exception] = {}

    # -- to workers

    @property
    def has_payload(self) -> bool:
        """Whether it may take long to send a worker what it needs."""
        return isinstance(self._operation, Push)

    def check(self, host: Host) -> None:
        """Look for what is wrong on this side before a worker is asked.

        Raises:
            UsageError: a file to send does not exist, or the destination of a pull cannot be written to.
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

    def messages_for(self, worker: object, hosts: Sequence[Host]) -> Iterator[Delivery]:
        """What a worker needs for these hosts and has not been sent yet; to be sent before they are."""
        sent = self._sent.setdefault(worker, set())
        for host in hosts:
            operation = self._operation.on(host)
            if isinstance(operation, Script):
                for path in operation.paths:
                    if path not in sent:
                        sent.add(path)
                        yield ScriptText(path, self._scripts[path])
            elif isinstance(operation, Push) and operation.sources not in sent:
                sent.add(operation.sources)
                yield from self._tree_messages(operation)

    def _tree_messages(self, operation: Push) -> Iterator[Delivery]:
        key = operation.sources
        with self._scanning:
            if key not in self._trees:
                self._trees[key] = self._files.tree(operation)
            tree = self._trees[key]
        yield TreeBegins(key, tree)
        changed: list[str] = []
        pieces: list[tuple[str, bytes]] = []
        gathered = 0
        for name, data in _pieces_of_files(tree, changed):
            pieces.append((name, data))
            gathered += len(data)
            if gathered >= _PIECE:
                yield FilePieces(key, pieces)
                pieces, gathered = [], 0
        yield FilePieces(key, pieces)
        yield TreeEnds(key, changed)

    # -- what comes back

    def handle(self, message: Pulled, host: Host) -> Unwanted | None:
        """Keep what a worker sends of a host; what to answer, if no more of it is wanted."""
        with self._writing:
            return None if self._wanted(message, host) else Unwanted(message.position)

    def _wanted(self, message: Pulled, host: Host) -> bool:
        if message.position in self._failures and not isinstance(message, PullBegins):
            return False
        try:
            return self._keep(message, host)
        except (LocalError, Refused, compression.Broken) as error:
            self._failures[message.position] = error
            return False

    def _keep(self, message: Pulled, host: Host) -> bool:
        position = message.position
        if isinstance(message, PullBegins):
            self.discard(position)
            operation = self._operation.on(host)
            assert isinstance(operation, Pull)
            self._sinks[position] = PullSink(operation, message.coded)
        elif position not in self._sinks:
            return False  # the host has got its result meanwhile
        elif isinstance(message, PullData):
            self._sinks[position].feed_nowait(message.pieces)
        elif isinstance(message, PullEnds):
            self._return_codes[position] = message.return_code
        return True

    def end(
        self, position: int, outcome: Outcome, return_code: int | None, reason: str, out: Output, err: Output
    ) -> CommandStatus:
        """How it ended for a host, given how it ended at its worker."""
        done = CommandStatus(outcome, return_code, reason)
        with self._writing:
            if position in self._failures:
                return status_of_error(self._failures[position], err)
            if outcome in _ALL_CAME and position in self._return_codes:
                try:
                    kept = self._sinks[position].end(self._return_codes[position], out, err)
                except EOFError as error:
                    return CommandStatus(Outcome.LOST, None, str(error))
                except LocalError as error:
                    return status_of_error(error, err)
                # Over SFTP the worker knows what could not be had, and the rest is kept nevertheless.
                return kept if outcome is Outcome.OK or kept.outcome is Outcome.ERROR else done
        return done

    def discard(self, position: int) -> None:
        """Remove what a host has sent, unless it was kept at the end."""
        with self._writing:
            sink = self._sinks.pop(position, None)
            self._return_codes.pop(position, None)
            self._failures.pop(position, None)
            if sink is not None:
                sink.close()


def _pieces_of_files(tree: Tree, changed: list[str]) -> Iterator[tuple[str, bytes]]:
    """The files of a tree piece by piece; those that change while they are read are added to `changed`."""
    for member in tree.members.values():
        if not member.is_file:
            continue
        size = 0
        try:
            with open(member.path, "rb", buffering=0) as file:
                while data := file.read(_PIECE):
                    size += len(data)
                    yield member.name, data
            now = os.stat(member.path)
            same = (size, now.st_mtime_ns) == (member.info.st_size, member.info.st_mtime_ns)
        except OSError:
            same = False
        if not same:
            changed.append(f"{member.path}: changed while it was read")
