"""RemoteWork: an operation on one host over its connection."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paramiko.ssh_exception import ChannelException

from ..model import (
    CommandStatus,
    Failure,
    Host,
    Operation,
    Outcome,
    Output,
    Pull,
    Push,
    RemoteCommand,
    RetryPolicy,
    Script,
    Settings,
    env_on,
)
from ..ssh import (
    Classified,
    Denied,
    HostConnection,
    HostRun,
    Permit,
    as_user,
    by_sh,
    check_command,
    classify,
    communicate,
    has_terminal,
    kill_on_disconnect,
    with_env,
)
from ..steps import Steps
from .run import Amounts, Unmoved

if TYPE_CHECKING:
    from ..transfer import LocalFiles, SharedTransfers


def retry_delay(
    connection: HostConnection, settings: Settings, failure: Failure, error: BaseException, attempts: int
) -> float | None:
    """Seconds after which to try again, None if that is of no use. A broken connection is dropped."""
    if failure.transient and not isinstance(error, ChannelException):
        connection.discard()
    policy = RetryPolicy(settings.attempts, budget=connection.connect_timeout)
    return policy.delay(failure, attempts, connection.spent)


class RemoteWork:
    """An operation on one host; `release` gets the connection back when it is not needed any more."""

    def __init__(
        self,
        index: int,
        host: Host,
        connection: HostConnection,
        permit: Permit,
        settings: Settings,
        transfers: "SharedTransfers | None",
        release: Callable[[HostConnection], object],
    ) -> None:
        self.host = host
        connection.renew()
        self._index, self._connection, self._run = index, connection, HostRun(connection, permit)
        self._settings, self._transfers, self._release = settings, transfers, release

    @property
    def started(self) -> bool:
        """Whether something may have been started in the last try."""
        return self._run.started

    @property
    def requested(self) -> float | None:
        """When the last command's start was asked for, in monotonic seconds."""
        return self._run.requested

    @property
    def confirmed(self) -> float | None:
        """When the last command's start was confirmed, in monotonic seconds."""
        return self._run.confirmed

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Options of ssh_config that ask for something which is not done here."""
        return self._connection.target.unsupported

    def attempt(self, operation: Operation, out: Output, err: Output) -> Steps[CommandStatus]:
        """Try once; raises as over_tar.run and HostRun.start."""
        self._run.started = False
        return _HANDLERS[type(operation)](self, operation, out, err)

    # -- the operations

    def _remote_command(self, operation: RemoteCommand, out: Output, err: Output) -> Steps[CommandStatus]:
        if operation.held:
            return self._command(kill_on_disconnect(operation.command), None, out, err, held=True)
        return self._command(operation.command, self._settings.stdin, out, err)

    def _script(self, operation: Script, out: Output, err: Output) -> Steps[CommandStatus]:
        from ..transfer import scripts

        assert self._transfers is not None
        bodies = [self._transfers.files.script(path, self.host) for path in operation.paths]
        for path, body in zip(operation.paths, bodies, strict=True):
            if self._run.permit.cancelled():
                return CommandStatus(Outcome.LOST, None, f"interrupted before {path}")
            text, stdin = scripts.command(path, body, self._settings.stdin)
            try:
                done = yield from self._command(text, stdin, out, err)
            except Denied as error:
                if path is operation.paths[0]:
                    raise
                # Not as denied: whoever goes on with the hosts on which nothing ran would run those again.
                return CommandStatus(Outcome.FAILED, None, f"{path}: {error}; those before it have run")
            if done.outcome is not Outcome.OK:
                reason = done.reason if len(bodies) == 1 else f"{path}: {done.reason}"
                return CommandStatus(done.outcome, done.return_code, reason)
        return CommandStatus(Outcome.OK, 0)

    def _transfer(self, operation: Push | Pull, out: Output, err: Output) -> Steps[CommandStatus]:
        from ..transfer import over_tar

        assert self._transfers is not None
        self._transfers.files.check(operation)
        return over_tar.run(self._index, self._run, operation, self._transfers, out, err)

    def _command(
        self, text: str, stdin: bytes | None, out: Output, err: Output, held: bool = False
    ) -> Steps[CommandStatus]:
        settings, run = self._settings, self._run
        yield from self._connection.settling()
        options = self._connection.ssh_config
        check_command(options)
        terminal = settings.tty or has_terminal(options)
        env = env_on(self.host, settings)
        text, values = with_env(text, env, more=bool(stdin) or held, login=not settings.way)
        way = as_user(settings, text, terminal, not terminal, bool(stdin or values or held))
        no_input = not stdin and way is None and not held
        # On the way to another user nothing may be sent before the command itself runs.
        first = b"" if way else values
        timeout, spent = settings.timeout, 0.0
        limit = None if timeout is None else run.time_left(timeout)
        if way:
            text, terminal = by_sh(way.command), way.terminal
        channel = yield from run.start(text, limit, no_input, first, terminal)
        if timeout is not None:
            if run.ends_at is None:
                run.ends_at = time.monotonic() + timeout - run.starting
            spent = timeout - run.time_left(timeout)
        values = values if way else channel.unsent
        stdin = values or None if no_input or held else values + (stdin or b"")
        stop = run.permit.cancelled
        return (yield from communicate(channel, out, err, stdin, timeout, way, held, stop, spent))

    # -- failing and ending

    def classify(self, error: BaseException) -> Failure:
        """Why a try failed."""
        return classify(error)

    def is_verdict(self, error: BaseException) -> bool:
        """Whether an error says by itself how it ended, whatever was started."""
        return isinstance(error, (Denied, Classified))

    def retry_delay(self, failure: Failure, error: BaseException, attempts: int) -> float | None:
        """Seconds after which to try again; None if that is of no use."""
        transport = self._connection.transport
        if (transport is not None and transport.is_silent) or self._run.has_stalled(error):
            return None  # it would only take as long again
        return retry_delay(self._connection, self._settings, failure, error, attempts)

    def interrupt(self) -> None:
        """Have what runs on the host end by itself, and then be killed there."""
        self._run.interrupt()

    def kill(self) -> None:
        """The host itself kills what was interrupted."""

    def abandon(self) -> None:
        """Break the connection off."""
        self._run.abandon()

    def close_unless_kept(self) -> None:
        """Close the connection unless it is kept, before anybody learns that the host is finished."""
        if not self._settings.keep:
            self._connection.discard()

    def release(self) -> None:
        """Nothing more is done on the host."""
        self._run.release()
        self._release(self._connection)


_Handler = Callable[[RemoteWork, Any, Output, Output], Steps[CommandStatus]]
_HANDLERS: Mapping[type, _Handler] = {
    RemoteCommand: RemoteWork._remote_command,
    Script: RemoteWork._script,
    Push: RemoteWork._transfer,
    Pull: RemoteWork._transfer,
}


def _shared(settings: Settings, hosts: int, files: "LocalFiles | None") -> "SharedTransfers":
    from ..transfer import LocalFiles, SharedTransfers

    return SharedTransfers(settings, hosts, files or LocalFiles())


class RemoteWorks:
    """An operation on each of some hosts; `files` are those that are copied, of this machine without it.

    What transfers need is imported for them alone: commands start sooner.

    `release` gets each connection back when it is not needed any more.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        connections: Sequence[HostConnection],
        settings: Settings,
        operation: Operation,
        files: "LocalFiles | None" = None,
        release: Callable[[HostConnection], object] = lambda connection: None,
    ) -> None:
        self._hosts, self._connections, self._settings = hosts, connections, settings
        commands = isinstance(operation, RemoteCommand)
        self._transfers = None if commands else _shared(settings, len(hosts), files)
        self.shared: Amounts = self._transfers or Unmoved()
        self.release = release

    def on(self, index: int, permit: Permit) -> RemoteWork:
        """The work on one host."""
        return RemoteWork(
            index,
            self._hosts[index],
            self._connections[index],
            permit,
            self._settings,
            self._transfers,
            self.release,
        )
