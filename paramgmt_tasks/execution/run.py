"""A LocalRun: an operation under way over the connections of a group, and the one result of each host."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial

from ..model import (
    PATIENCE,
    Failure,
    Host,
    HostResult,
    LocalCommand,
    Operation,
    Outcome,
    Output,
    OutputEvent,
    RemoteCommand,
    Rollout,
    Room,
    Script,
    Settings,
    Spool,
    UsageError,
    describe,
    reason_of,
    unless_not_kept,
)
from ..ssh import (
    GRACE,
    Classified,
    CommandStatus,
    Denied,
    HostConnection,
    Sudo,
    communicate,
    kill_on_disconnect,
    with_env,
)
from ..steps import MAY_BLOCK, Steps
from ..transfer import LocalFiles, SharedTransfers, over_tar, scripts
from . import local_command
from .result_stream import Run
from .scheduler import Scheduler

_MAY_HAVE_RUN = "the command may have run"
_INTERRUPTED = "interrupted before it was started"


class LocalRun(Scheduler, Run):
    """A Run over connections, in this process.

    `on_start` is called with a host's place in the list right before something may be started there; with
    `live`, `events` tells also what commands write while they run. Each connection is given to `release`
    when it is not needed any more. `ask` is called where all is ready to start what is not to be repeated,
    which then waits for `go`. `files` are those that are copied, of this machine without it; `spool` keeps
    what commands write.
    """

    def __init__(
        self,
        connections: Sequence[HostConnection],
        operation: Operation,
        settings: Settings,
        *,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
        release: Callable[[HostConnection], object] = lambda connection: None,
        ask: Callable[[int], object] | None = None,
        files: LocalFiles | None = None,
        spool: Spool | None = None,
    ) -> None:
        self._operation = operation
        self._on_start = on_start = on_start or (lambda index: None)
        self._live = live
        self._rollout = Rollout.of(settings, len(connections))
        self._halted = ""
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        #: Where the outputs are kept.
        self.spool = spool or Spool()
        self._outputs: dict[int, tuple[Output, Output]] = {}
        Run.__init__(self, len(connections), operation)
        #: What its transfers share.
        self.shared: SharedTransfers = SharedTransfers(settings, len(connections), files or LocalFiles())
        waits = not operation.repeatable and (settings.together or ask is not None)
        for index, connection in enumerate(connections):
            connection.on_start = partial(on_start, index)
            connection.objection = self._objection
            connection.waits = waits
        Scheduler.__init__(self, connections, settings, self._rollout.admitted(0), release, ask)

    def under_way(self) -> list[tuple[Host, float]]:
        """The hosts that are being worked on, and since which monotonic second."""
        begun = [(self.connections[index].entry, self.tries[index].since) for index in list(self.in_use)]
        return [(host, since) for host, since in begun if since]

    def cancel(self, patience: float = PATIENCE) -> None:
        """As every Run's."""
        self.stopped = True
        self.halt(_INTERRUPTED)
        ends = patience > 0 and not self._operation.repeatable
        self.for_each_in_use(
            lambda connection: (
                connection.look_again() if ends and connection.started else connection.abandon()
            )
        )
        self.hosts.resume()
        self._signal_processes(signal.SIGTERM if ends else signal.SIGKILL)
        if not self.wait(min(GRACE, patience)):
            self._signal_processes(signal.SIGKILL)
            self.wait(patience - GRACE)
        self.for_each_in_use(lambda connection: connection.abandon())
        self.hosts.resume()
        for index in set(range(len(self.connections))) - self.finished_hosts:
            self._tell_cancelled(index)

    def _signal_processes(self, number: int) -> None:
        for process in list(self._processes.values()):
            local_command.signal_all(process, number)

    def halt(self, reason: str) -> None:
        """Start nothing on hosts on which nothing was started."""
        self._halted = self._halted or reason
        for index in self.hosts.stop():
            last = self.tries[index].last
            if last is not None:
                self.fail(index, *last)
            else:
                self._tell_cancelled(index)
            self.release(index)

    def _objection(self) -> str:
        return self._halted

    def _tell_cancelled(self, index: int) -> None:
        if self.connections[index].started:
            self._tell(index, Outcome.LOST, f"interrupted; {_MAY_HAVE_RUN}")
        else:
            self._tell(index, Outcome.CANCELLED, self._halted)

    def do(self, index: int) -> Steps[None]:
        """Do the operation on one host and tell its result."""
        connection = self.connections[index]
        operation = self._operation.on(connection.entry)
        connection.started = False
        out, err = self._streams(index)
        if self._halted:
            self.close_unless_kept(index)
            self._tell(index, Outcome.CANCELLED, self._halted)
            return
        if isinstance(operation, LocalCommand):
            yield MAY_BLOCK
            done = self._local(index, operation, out, err)
        elif isinstance(operation, RemoteCommand):
            text = kill_on_disconnect(operation.command) if operation.held else operation.command
            stdin = None if operation.held else self.settings.stdin
            done = yield from self._command(connection, text, stdin, out, err, operation.held)
        elif isinstance(operation, Script):
            done = yield from self._scripts(connection, operation, out, err)
        else:
            self.shared.files.check(operation)
            done = yield from over_tar.run(index, connection, operation, self.shared, out, err)
        self.close_unless_kept(index)
        self._tell(index, done.outcome, done.reason, done)

    def _streams(self, index: int) -> tuple[Output, Output]:
        """Where a host's output goes, and who is told of it."""

        def tell() -> None:
            self.publish_output(OutputEvent(self.connections[index].entry, index, out, err))

        more = tell if self._live else None
        room = Room(self.settings.max_output)
        out, err = (Output(spool=self.spool, on_write=more, room=room) for _ in range(2))
        self._outputs[index] = out, err
        return out, err

    def _local(self, index: int, operation: LocalCommand, out: Output, err: Output) -> CommandStatus:
        def started(process: "subprocess.Popen[bytes]") -> None:
            self._processes[index] = process
            self.connections[index].started = True
            if self.stopped:
                local_command.signal_all(process, signal.SIGTERM)

        self._on_start(index)
        try:
            done = local_command.run(operation.command, self.settings, started, out, err)
        except OSError as error:
            raise UsageError(f"/bin/sh here: {reason_of(error)}") from None
        finally:
            self._processes.pop(index, None)
        if self.stopped and done.outcome is Outcome.SIGNALLED:
            return CommandStatus(Outcome.LOST, None, "interrupted; ended")
        return done

    def may_repeat(self, index: int) -> bool:
        """A transfer may be repeated even where it had begun; nothing where no more is to begin."""
        if self._halted:
            return False
        return self._operation.repeatable or super().may_repeat(index)

    def fail(self, index: int, failure: Failure, error: BaseException) -> None:
        """Tell why there is no result of the operation itself."""
        if isinstance(error, (Denied, Classified)):
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

    def _tell(self, index: int, outcome: Outcome, reason: str, done: CommandStatus | None = None) -> None:
        connection, tries = self.connections[index], self.tries[index]
        out, err = self._outputs.pop(index, (Output(), Output()))
        dropped = 0
        if out.room is not None:
            dropped = out.room.dropped
            outcome, reason = unless_not_kept(outcome, reason, out.room.trouble)
        host = connection.entry
        result = HostResult(
            host=host,
            index=index,
            description=describe(self._operation, host, self.settings.user),
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
            dropped=dropped,
        )
        counts = self.publish(result)
        if counts is not None:
            self._roll(*counts)

    def _roll(self, finished: int, failed: int) -> None:
        """Let more hosts begin, or no more."""
        if not self._halted:
            objection = self._rollout.objection(finished, failed)
            if objection:
                self.halt(objection)
            else:
                self.hosts.admit(self._rollout.admitted(finished))

    def _command(
        self,
        connection: HostConnection,
        text: str,
        stdin: bytes | None,
        out: Output,
        err: Output,
        held: bool = False,
    ) -> Steps[CommandStatus]:
        settings = self.settings
        text, values = with_env(text, settings.env, more=bool(stdin) or held, login=not settings.sudo)
        sudo = Sudo(text, settings.password) if settings.sudo else None
        no_input = not stdin and sudo is None and not held
        # Behind sudo nothing may be sent before the command itself runs.
        first = b"" if sudo else values
        timeout, spent = settings.timeout, 0.0
        limit = None if timeout is None else connection.time_left(timeout)
        channel = yield from connection.start(sudo.command if sudo else text, limit, no_input, first)
        if timeout is not None:
            if connection.ends_at is None:
                connection.ends_at = time.monotonic() + timeout - connection.starting
            spent = timeout - connection.time_left(timeout)
        values = values if sudo else channel.unsent
        stdin = values or None if no_input or held else values + (stdin or b"")
        stop = lambda: self.stopped  # noqa: E731
        return (yield from communicate(channel, out, err, stdin, timeout, sudo, held, stop, spent))

    def _scripts(
        self, connection: HostConnection, operation: Script, out: Output, err: Output
    ) -> Steps[CommandStatus]:
        bodies = [self.shared.files.script(path, connection.entry) for path in operation.paths]
        for path, body in zip(operation.paths, bodies, strict=True):
            if self.stopped:
                return CommandStatus(Outcome.LOST, None, f"interrupted before {path}")
            text, stdin = scripts.command(path, body, self.settings.stdin)
            done = yield from self._command(connection, text, stdin, out, err)
            if done.outcome is not Outcome.OK:
                reason = done.reason if len(bodies) == 1 else f"{path}: {done.reason}"
                return CommandStatus(done.outcome, done.return_code, reason)
        return CommandStatus(Outcome.OK, 0)
