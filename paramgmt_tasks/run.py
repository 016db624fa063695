"""A Run: an operation under way on many hosts, and the one result of each."""

import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence

from . import local, script, transfer
from .command import Execution, Sudo, converse, held, with_env
from .connection import HostConnection
from .errors import UsageError, words
from .failures import Denied, Known
from .operations import LocalCommand, Operation, RemoteCommand, Script
from .output import Output, Spool
from .results import HostResult, Outcome
from .retry import Failure
from .schedule import Work
from .settings import Settings
from .waiting import BLOCKING, Steps

_MAY_HAVE_RUN = "the command may have run"


class Run(Work):
    """An operation under way on many hosts: an iterator over their results, as they finish.

    Every host gives exactly one result, also where the run is cancelled.
    """

    def __init__(
        self, connections: Sequence[HostConnection], operation: Operation, settings: Settings
    ) -> None:
        self._operation = operation
        self._arrived = threading.Condition()
        self._results: deque[HostResult] = deque()
        self._told: set[int] = set()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._spool = Spool()
        self._outputs: dict[int, tuple[Output, Output]] = {}
        self._left = len(connections)
        #: What its transfers share.
        self.shared = transfer.Shared(settings, len(connections))
        super().__init__(connections, settings)

    def __iter__(self) -> "Run":
        return self

    def __next__(self) -> HostResult:
        with self._arrived:
            if not self._left:
                raise StopIteration
            while not self._results:
                self._arrived.wait()
            self._left -= 1
            return self._results.popleft()

    def cancel(self, patience: float = 2.0) -> None:
        """Start nothing more and break off what runs; may be called from any thread.

        Hosts on which nothing was started become `cancelled`, those with a command under way `lost`.
        `patience` is how many seconds those are given to say how they ended.
        """
        self.stopped = True
        for index in self.hosts.stop():
            self._tell_cancelled(index)
        for connection in self.connections:
            connection.abandon()
        self.hosts.hurry()
        for process in list(self._processes.values()):
            local.kill(process)
        deadline = time.monotonic() + patience
        with self._arrived:
            while len(self._told) < len(self.connections):
                if not self._arrived.wait(max(0.0, deadline - time.monotonic())):
                    break
        for index in range(len(self.connections)):
            self._tell_cancelled(index)

    def _tell_cancelled(self, index: int) -> None:
        if self.connections[index].started:
            self._tell(index, Outcome.LOST, f"interrupted; {_MAY_HAVE_RUN}")
        else:
            self._tell(index, Outcome.CANCELLED, "interrupted before it was started")

    def do(self, index: int) -> Steps[None]:
        """Do the operation on one host and tell its result."""
        connection = self.connections[index]
        operation = self._operation.on(connection.entry)
        connection.started = False
        out, err = self._outputs[index] = Output(spool=self._spool), Output(spool=self._spool)
        if self.stopped:
            self._tell_cancelled(index)
            return
        if isinstance(operation, LocalCommand):
            yield BLOCKING
            done = self._local(index, operation, out, err)
        elif isinstance(operation, RemoteCommand):
            text = held(operation.command) if operation.held else operation.command
            stdin = None if operation.held else self.settings.stdin
            done = yield from _command(connection, text, stdin, self.settings, out, err, operation.held)
        elif isinstance(operation, Script):
            done = yield from _scripts(connection, operation, self.settings, out, err)
        else:
            transfer.check(operation)
            done = yield from transfer.run(connection, operation, self.shared, out, err)
        if self.stopped and done.outcome is Outcome.LOST:
            self._tell_cancelled(index)
            return
        self._tell(index, done.outcome, done.reason, done)

    def _local(self, index: int, operation: LocalCommand, out: Output, err: Output) -> Execution:
        def started(process: "subprocess.Popen[bytes]") -> None:
            self._processes[index] = process
            self.connections[index].started = True
            if self.stopped:
                local.kill(process)

        try:
            done = local.run(operation.command, self.settings, started, out, err)
        except OSError as error:
            raise UsageError(f"/bin/sh here: {words(error)}") from None
        finally:
            self._processes.pop(index, None)
        if self.stopped and done.outcome is Outcome.SIGNALLED:
            return Execution(Outcome.LOST, None, "interrupted; killed")
        return done

    def may_repeat(self, index: int) -> bool:
        """A transfer may be repeated even where it had begun."""
        return self._operation.repeatable or super().may_repeat(index)

    def fail(self, index: int, failure: Failure, error: BaseException) -> None:
        """Tell why there is no result of the operation itself."""
        if isinstance(error, (Denied, Known)):
            self._tell(index, failure.outcome, failure.reason)
        elif self.stopped:
            self._tell_cancelled(index)
        elif self.connections[index].started:
            self._tell(index, *self._broken_off(error))
        else:
            self._tell(index, failure.outcome, failure.reason)

    def _broken_off(self, error: BaseException) -> tuple[Outcome, str]:
        silent = isinstance(error, TimeoutError)
        if self._operation.repeatable:
            return Outcome.LOST, "the transfer stalled" if silent else "connection lost in the transfer"
        if silent and self.settings.timeout is not None:
            return Outcome.TIMED_OUT, f"timed out after {self.settings.timeout:g} s; {_MAY_HAVE_RUN}"
        return Outcome.LOST, f"{'no answer' if silent else 'connection lost'}; {_MAY_HAVE_RUN}"

    def _tell(self, index: int, outcome: Outcome, reason: str, done: Execution | None = None) -> None:
        connection, tries = self.connections[index], self.tries[index]
        out, err = self._outputs.pop(index, (Output(), Output()))
        host = connection.entry
        user = self.settings.user if host.user is None and not self._operation.local else None
        name = f"{user}@{host.entry}" if user else host.entry
        result = HostResult(
            host=host,
            index=index,
            description=self._operation.on(host).description(name),
            outcome=outcome,
            return_code=done.return_code if done else None,
            out=out,
            err=err,
            attempts=tries.count,
            reason=reason,
            started=tries.since,
            finished=time.monotonic(),
            requested=connection.requested,
            confirmed=connection.confirmed,
        )
        with self._arrived:
            if index not in self._told:
                self._told.add(index)
                self._results.append(result)
                self._arrived.notify_all()


def _command(
    connection: HostConnection,
    text: str,
    stdin: bytes | None,
    settings: Settings,
    out: Output,
    err: Output,
    held: bool = False,
) -> Steps[Execution]:
    text = with_env(text, settings.env)
    sudo = Sudo(text, settings.password) if settings.sudo else None
    no_input = not stdin and sudo is None and not held
    channel = yield from connection.start(
        sudo.command if sudo else text, settings.timeout, no_input, settings.together
    )
    stdin = None if no_input or held else stdin or b""
    return (yield from converse(channel, out, err, stdin, settings.timeout, sudo))


def _scripts(
    connection: HostConnection, operation: Script, settings: Settings, out: Output, err: Output
) -> Steps[Execution]:
    bodies = [script.read(path, connection.entry) for path in operation.paths]
    for path, body in zip(operation.paths, bodies, strict=True):
        text, stdin = script.command(path, body, settings.stdin)
        done = yield from _command(connection, text, stdin, settings, out, err)
        if done.outcome is not Outcome.OK:
            reason = done.reason if len(bodies) == 1 else f"{path}: {done.reason}"
            return Execution(done.outcome, done.return_code, reason)
    return Execution(Outcome.OK, 0)
