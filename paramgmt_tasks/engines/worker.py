"""A worker: works on its batches of the hosts of another process's runs, and keeps their connections."""

import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from ..execution import ConnectionPool, LocalRun
from ..model import IN_MEMORY, Spool, UsageError
from ..transfer import Delivery, FilesOfBatch, LocalFiles, RelayedFiles
from .batch import Batch, OutputSender
from .channels import MessageChannel
from .messages import (
    AddHosts,
    BatchRefused,
    BeginRun,
    Cancel,
    EndRun,
    FromWorker,
    Halt,
    LogLine,
    Moved,
    Permit,
    PositionedHost,
    Ready,
    RelayFromWorker,
    RelayToWorker,
    Results,
    RunCommand,
    Started,
    ToWorker,
    WorkerPid,
)
from .socket_channel import SocketChannel

#: Seconds between two messages of how much a transfer has moved.
_MOVED = 0.5
#: Seconds in which results are gathered.
_GATHER = 0.005
#: Seconds that it may take to close all connections.
_CLOSE = 2.0


class RunContext:
    """What this worker knows of a run, and its batches of hosts."""

    def __init__(self, begin: BeginRun, channel: MessageChannel, pool: ConnectionPool) -> None:
        self._begin, self._channel, self._pool = begin, channel, pool
        self._files: LocalFiles = LocalFiles()
        if begin.folder is None:
            self._files = RelayedFiles(
                lambda pulled: self._send(RelayFromWorker(begin.run, pulled)), channel.has_room
            )
        self._batches: list[Batch] = []
        self._count = 0

    def _send(self, message: FromWorker) -> None:
        self._channel.send(message)

    def add(self, hosts: Sequence[PositionedHost]) -> None:
        """Begin to work on hosts."""
        positions = [position for position, _ in hosts]
        spool = Spool(IN_MEMORY // self._pool.share)
        try:
            run = self._perform(hosts, positions, spool)
        except (UsageError, OSError) as error:
            self._send(BatchRefused(self._begin.run, str(error), positions))
            return
        self._count += 1
        output = OutputSender(self._channel, self._begin.run, self._count, spool)
        batch = Batch(self._count, run, positions, output)
        self._batches.append(batch)
        threading.Thread(target=self._report_results, args=(batch,), daemon=True).start()
        if self._begin.operation.repeatable:
            threading.Thread(target=self._report_moved, args=(batch,), daemon=True).start()

    def _perform(self, hosts: Sequence[PositionedHost], positions: list[int], spool: Spool) -> LocalRun:
        """Begin the LocalRun of a batch.

        Raises:
            UsageError, OSError: settings that cannot be used on this machine.
        """
        begin = self._begin

        def on_start(index: int) -> None:
            if begin.on_start is not None:
                begin.on_start(positions[index])
            if begin.reports_start:  # otherwise the coordinator has permitted it, and so knows
                self._send(Started(begin.run, positions[index]))

        def ask(index: int) -> None:
            self._send(Ready(begin.run, positions[index]))

        if begin.folder is not None:
            os.chdir(begin.folder)
        else:
            self._pool.require_identity(begin.settings, [host for _, host in hosts])
        return self._pool.perform(
            [host for _, host in hosts],
            begin.operation,
            begin.settings,
            on_start=on_start,
            live=begin.live,
            files=FilesOfBatch(self._files, positions),
            spool=spool,
            ask=ask if begin.needs_permission else None,
        )

    def _report_results(self, batch: Batch) -> None:
        while (done := batch.drain()) is not None:
            if done:
                self._send(Results(self._begin.run, batch.number, done))
            time.sleep(_GATHER)
        self._batches.remove(batch)

    def _report_moved(self, batch: Batch) -> None:
        over = False
        while not over:
            over = batch.wait(_MOVED)
            self._send(Moved(self._begin.run, *batch.moved()))

    # -- messages

    def permit(self, positions: Sequence[int]) -> None:
        """Let hosts start that are ready."""
        for batch in list(self._batches):
            batch.permit(positions)

    def halt(self, reason: str) -> None:
        """Start nothing more."""
        for batch in list(self._batches):
            batch.halt(reason)

    def cancel(self, patience: float) -> None:
        """End what runs, all batches at once."""
        for batch in list(self._batches):
            threading.Thread(target=batch.cancel, args=(patience,), daemon=True).start()

    def deliver(self, message: Delivery) -> None:
        """Keep what the relay sends."""
        if isinstance(self._files, RelayedFiles):
            self._files.handle(message)

    def close(self) -> None:
        """Break off what still runs, and remove the run's files."""
        for batch in list(self._batches):
            if not batch.wait(0):
                batch.cancel(0)
        if isinstance(self._files, RelayedFiles):
            self._files.close()


class Worker:
    """Does what comes by a channel, over connections of its own; `share` is as for ConnectionPool."""

    def __init__(self, channel: MessageChannel, share: int) -> None:
        self._channel = channel
        self._pool = ConnectionPool(share)
        self._runs: dict[int, RunContext] = {}

    def serve(self) -> None:
        """Handle messages until the coordinator is gone."""
        while (message := self._channel.receive()) is not None:
            if isinstance(message, BeginRun):
                self._runs[message.run] = RunContext(message, self._channel, self._pool)
            elif (run := self._runs.get(message.run)) is not None:
                self._handle(run, message)

    def _handle(self, run: RunContext, message: RunCommand) -> None:
        match message:
            case AddHosts(hosts=hosts):
                run.add(hosts)
            case Permit(positions=positions):
                run.permit(positions)
            case Halt(reason=reason):
                run.halt(reason)
            case Cancel(patience=patience):
                run.cancel(patience)
            case RelayToWorker(message=delivery):
                run.deliver(delivery)
            case EndRun(number):
                del self._runs[number]
                threading.Thread(target=run.close, daemon=True).start()

    def close(self) -> None:
        """Break off what still runs, and close all connections."""
        for run in list(self._runs.values()):
            run.close()
        self._pool.close()


class LogForwarder(logging.Handler):
    """Sends warnings to the process that has a user."""

    def __init__(self, channel: MessageChannel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record's text."""
        self._channel.send(LogLine(record.levelno, record.getMessage()))


def main(arguments: list[str]) -> None:
    """Serve whoever started this process, at one socket; and others, forked from it, at the other sockets.

    `arguments` are the numbers of the sockets. Forked before any thread runs, they share what is loaded.
    Not multiprocessing's forkserver: that would import the caller's `__main__` once more.
    """
    # Ctrl-C is for the coordinator, which sends Cancel.
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
    channel: SocketChannel[FromWorker, ToWorker] = SocketChannel(first)
    channel.send(WorkerPid(os.getpid()))
    log = logging.getLogger("paramgmt_tasks")
    log.addHandler(LogForwarder(channel))
    log.propagate = False
    worker = Worker(channel, len(sockets))
    worker.serve()
    closing = threading.Thread(target=worker.close, daemon=True)
    closing.start()
    for thread in (closing, *reapers):
        thread.join(_CLOSE)
    # Whatever still runs here is broken off with its connections.
    os._exit(0)


def _reap(child: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(child, 0)
