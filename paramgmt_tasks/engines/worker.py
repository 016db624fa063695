"""A worker: works on its slices of the hosts of other processes' runs, and keeps their connections."""

import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ..execution import ConnectionPool, LocalRun
from ..model import IN_MEMORY, Host, HostResult, Operation, Reader, Settings, Spool, UsageError
from ..transfer import FilesOfBatch, LocalFiles, RelayedFiles
from .socket_channel import SocketChannel

#: Seconds between two words of how much a transfer has moved.
_MOVED = 0.5
#: Bytes of output that go along with a result.
_SMALL = 32 * 1024
#: Seconds in which results are gathered.
_GATHER = 0.005
#: Seconds that it may take to leave all hosts.
_LEAVE = 2.0


class MessageChannel(Protocol):
    """The way to the process whose runs these are."""

    #: Whether open files can be sent.
    sends_files: bool

    def send(self, *message: Any, file: int | None = None) -> object:
        """Send a message, and a descriptor along with it."""

    def receive(self) -> tuple[Any, ...] | None:
        """The next message; None when the other side is gone."""

    def wait_for_room(self) -> None:
        """Wait until the other side has taken most of what was sent, or is gone."""

    def has_room(self) -> bool:
        """Whether it has."""


class Batch:
    """Hosts of a run that came together, and what works on them."""

    def __init__(self, number: int, run: LocalRun, places: list[int]) -> None:
        self.number, self.run, self.places = number, run, places
        #: Whether the file that holds what its hosts write was sent.
        self.file_sent = False
        self._indexes = {place: index for index, place in enumerate(places)}

    def permit(self, places: Sequence[int]) -> None:
        """Let those of these hosts start that are among `places`."""
        self.run.permit([self._indexes[place] for place in places if place in self._indexes])


def _facts(place: int, result: HostResult, rest: list[list[Any]]) -> tuple[Any, ...]:
    done = (result.outcome, result.return_code, result.attempts, result.reason, result.dropped)
    times = (result.started, result.finished, result.requested, result.confirmed)
    return place, done, times, rest


class RunContext:
    """What is done here of a run."""

    def __init__(
        self,
        number: int,
        post: MessageChannel,
        threads: ConnectionPool,
        folder: str | None,
        operation: Operation,
        settings: Settings,
        live: bool,
        asks: bool,
        tells: bool,
        on_start: Callable[[int], object] | None,
    ) -> None:
        self._number, self._post, self._threads = number, post, threads
        self._folder, self._operation, self._settings = folder, operation, settings
        self._live, self._asks, self._tells, self._on_start = live, asks, tells, on_start
        self.files = LocalFiles() if folder is not None else RelayedFiles(self.send, post.has_room)
        self.slices: list[Batch] = []
        self._count = 0

    def send(self, kind: str, *rest: Any) -> None:
        """Tell of this run."""
        self._post.send(kind, self._number, *rest)

    def begin(self, hosts: Sequence[tuple[int, Host]]) -> None:
        """Begin with some of its hosts."""
        places = [place for place, _ in hosts]

        def started(index: int) -> None:
            if self._on_start is not None:
                self._on_start(places[index])
            if self._tells:  # unless that is known, as it was let start
                self.send("started", places[index])

        watching: dict[str, Any] = {
            "on_start": started,
            "live": self._live,
            "files": FilesOfBatch(self.files, places),
            "spool": Spool(IN_MEMORY // self._threads.share),
        }
        if self._asks:
            watching["ask"] = lambda index: self.send("ready", places[index])
        try:
            if self._folder is not None:
                os.chdir(self._folder)
            elif self._settings.identity:
                self._threads.require_identity(self._settings.identity)
            run = self._threads.perform(
                [host for _, host in hosts], self._operation, self._settings, **watching
            )
        except (UsageError, OSError) as error:
            self.send("refused", str(error), places)
            return
        self._count += 1
        slice_ = Batch(self._count, run, places)
        self.slices.append(slice_)
        threading.Thread(target=self._tell, args=(slice_,), daemon=True).start()
        if self._operation.repeatable:
            threading.Thread(target=self._tell_moved, args=(run,), daemon=True).start()

    def _tell(self, slice_: Batch) -> None:
        places = slice_.places
        readers: dict[int, tuple[Reader, Reader]] = {}
        while events := slice_.run.drain():
            results = []
            for event in events:
                place = places[event.index]
                known = readers.pop(event.index, None) or (Reader(event.out), Reader(event.err))
                if isinstance(event, HostResult):
                    rest = [self._rest(slice_, place, stream, reader) for stream, reader in enumerate(known)]
                    results.append(_facts(place, event, rest))
                else:
                    readers[event.index] = known
                    for stream, reader in enumerate(known):
                        self._write(slice_, place, stream, reader)
            if results:
                self.send("results", slice_.number, results)
            time.sleep(_GATHER)
        self.slices.remove(slice_)

    def _rest(self, slice_: Batch, place: int, stream: int, reader: Reader) -> list[Any]:
        """What goes along with a result: all of it where files can be sent, else what is little."""
        if self._post.sends_files:
            parts = list(reader.parts())
            self._send_file(slice_, parts)
            return parts
        text = self._write(slice_, place, stream, reader, at_most=_SMALL)
        return [text] if text else []

    def _write(self, slice_: Batch, place: int, stream: int, reader: Reader, at_most: int = 0) -> bytes:
        """Tell what was written, but not the last of it where that is little: this is returned."""
        if self._post.sends_files:
            parts = list(reader.parts())
            self._send_file(slice_, parts)
            if parts:
                self.send("written", slice_.number, place, stream, parts)
            return b""
        text = b""
        for data in reader.more():
            self._written(slice_, place, stream, text)
            text = data
        if len(text) <= at_most:
            return text
        self._written(slice_, place, stream, text)
        return b""

    def _written(self, slice_: Batch, place: int, stream: int, text: bytes) -> None:
        if text:
            self._post.wait_for_room()
            self.send("written", slice_.number, place, stream, [text])

    def _send_file(self, slice_: Batch, parts: list[Any]) -> None:
        """Send the file in which parts are kept, the first time."""
        if not slice_.file_sent and any(isinstance(part, tuple) for part in parts):
            slice_.file_sent = True
            self._post.send("spool", self._number, slice_.number, file=slice_.run.spool.file)

    def _tell_moved(self, run: LocalRun) -> None:
        while True:
            over = run.wait(_MOVED)
            self.send("moved", run.shared.moved, run.shared.expected())
            if over:
                return

    def close(self) -> None:
        """Nothing more is wanted of it."""
        for slice_ in list(self.slices):
            if not slice_.run.wait(0):
                slice_.run.cancel(0)
        if isinstance(self.files, RelayedFiles):
            self.files.close()


class Worker:
    """Does what comes by a post, over connections of its own; `share` as for Threads."""

    def __init__(self, post: MessageChannel, share: int) -> None:
        self._post = post
        self._threads = ConnectionPool(share)
        self._jobs: dict[int, RunContext] = {}

    def serve(self) -> None:
        """Until the other side is gone."""
        while (message := self._post.receive()) is not None:
            kind, number, *rest = message
            if kind == "begin":
                self._jobs[number] = RunContext(number, self._post, self._threads, *rest)
            elif (job := self._jobs.get(number)) is not None:
                self._do(job, kind, number, *rest)

    def _do(self, job: RunContext, kind: str, number: int, *rest: Any) -> None:
        if kind == "hosts":
            job.begin(*rest)
        elif kind == "go":
            for slice_ in list(job.slices):
                slice_.permit(*rest)
        elif kind == "halt":
            for slice_ in list(job.slices):
                slice_.run.halt(*rest)
        elif kind == "cancel":
            for slice_ in list(job.slices):
                threading.Thread(target=slice_.run.cancel, args=rest, daemon=True).start()
        elif kind == "end":
            del self._jobs[number]
            threading.Thread(target=job.close, daemon=True).start()
        elif isinstance(job.files, RelayedFiles):
            job.files.handle(kind, *rest)

    def close(self) -> None:
        """Break off whatever still runs, and leave all hosts."""
        for job in list(self._jobs.values()):
            job.close()
        self._threads.close()


class LogForwarder(logging.Handler):
    """Warnings go to the process that has a user."""

    def __init__(self, post: MessageChannel) -> None:
        super().__init__()
        self._post = post

    def emit(self, record: logging.LogRecord) -> None:
        """Send it."""
        self._post.send("log", 0, record.levelno, record.getMessage())


def main(arguments: list[str]) -> None:
    """Serve whoever started this process, at one socket; and others, forked from it, at the other sockets.

    `arguments` are the numbers of the sockets. Forked before any thread is there, they share what is loaded.
    """
    # Ctrl-C is for the one that started it, which tells what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first, *others = sockets = [socket.socket(fileno=int(number)) for number in arguments]
    children: list[int] = []
    gc.freeze()  # what is collected is written to, and no longer shared
    for other in others:
        child = os.fork()
        if not child:
            first, children = other, []
            break
        children.append(child)
    for sock in sockets:
        if sock is not first:
            sock.close()
    reapers = [threading.Thread(target=_reap, args=(child,), daemon=True) for child in children]
    for reaper in reapers:
        reaper.start()
    wire = SocketChannel(first)
    wire.send("pid", 0, os.getpid())
    log = logging.getLogger("paramgmt_tasks")
    log.addHandler(LogForwarder(wire))
    log.propagate = False
    worker = Worker(wire, len(sockets))
    worker.serve()
    closing = threading.Thread(target=worker.close, daemon=True)
    closing.start()
    for thread in (closing, *reapers):
        thread.join(_LEAVE)
    # Whatever still runs here is broken off with its connections.
    os._exit(0)


def _reap(child: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(child, 0)
