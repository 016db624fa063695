"""Commands on this machine, one for each host."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from ..model import (
    CommandStatus,
    Failure,
    Host,
    LocalCommand,
    Operation,
    Outcome,
    Output,
    Settings,
    UsageError,
    env_on,
    one_line,
    reason_of,
)
from ..ssh import PERMITTED, Permit
from ..steps import LONGEST_WAIT, MAY_BLOCK, Steps
from .run import Unmoved

_READ = 65536
#: Seconds that a command has to end by itself after TERM, as on hosts.
GRACE = 2.0


class LocalWorks:
    """A LocalCommand for each of some hosts."""

    def __init__(self, hosts: Sequence[Host], settings: Settings) -> None:
        self._hosts, self._settings = hosts, settings
        #: A command here transfers nothing.
        self.shared = Unmoved()

    def on(self, index: int, permit: Permit) -> "LocalWork":
        """The work for one host."""
        return LocalWork(self._hosts[index], permit, self._settings)


class LocalWork:
    """A LocalCommand for one host."""

    requested = confirmed = None
    unsupported = ()

    def __init__(self, host: Host, permit: Permit, settings: Settings) -> None:
        self.host = host
        self.started = False
        self._permit, self._settings = permit, settings
        self._process: subprocess.Popen[bytes] | None = None

    def attempt(self, operation: Operation, out: Output, err: Output) -> Steps[CommandStatus]:
        """Run the command.

        Raises:
            UsageError: it could not be started.
        """
        assert isinstance(operation, LocalCommand)
        yield MAY_BLOCK
        self._permit.on_start()
        try:
            env = env_on(self.host, self._settings)
            done = run(operation.command, env, self._settings, self._on_started, out, err)
        except OSError as error:
            raise UsageError(f"/bin/sh here: {reason_of(error)}") from None
        finally:
            self._process = None
        if self._permit.cancelled() and done.outcome is Outcome.SIGNALLED:
            return CommandStatus(Outcome.LOST, None, "interrupted; ended")
        return done

    def _on_started(self, process: "subprocess.Popen[bytes]") -> None:
        self._process, self.started = process, True
        if self._permit.cancelled():
            signal_all(process, signal.SIGTERM)

    def classify(self, error: BaseException) -> Failure:
        """Why a command could not be run."""
        text = one_line(str(error)) or type(error).__name__
        return Failure(
            Outcome.ERROR, text if isinstance(error, UsageError) else f"{type(error).__name__}: {text}"
        )

    def is_verdict(self, error: BaseException) -> bool:
        """Whether an error says by itself how it ended."""
        return False

    def retry_delay(self, failure: Failure, error: BaseException, attempts: int) -> float | None:
        """Never: what fails here fails again."""
        return None

    def interrupt(self) -> None:
        """Have the command end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the command."""
        self._signal(signal.SIGKILL)

    def abandon(self) -> None:
        """End the command."""
        self.kill()

    def _signal(self, number: int) -> None:
        process = self._process
        if process is not None:
            signal_all(process, number)

    def close_unless_kept(self) -> None:
        """Nothing is open."""

    def release(self) -> None:
        """Nothing is acquired, but the permit would keep the run."""
        self._permit = PERMITTED


def run(
    command: str,
    env: Sequence[tuple[str, str]],
    settings: Settings,
    on_start: Callable[[subprocess.Popen[bytes]], None],
    out: Output,
    err: Output,
) -> CommandStatus:
    """Run a command by /bin/sh in a process group of its own, with some variables more in its environment.

    `on_start` is called with its process.

    Raises:
        OSError: it could not be started.
    """
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        # Not in front of the command: all users may read that.
        env={**os.environ, **dict(env)} if env else None,
        stdin=subprocess.DEVNULL if settings.stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    on_start(process)
    try:
        if not _communicate(process, out, err, settings):
            ending = "ended" if end(process) else "it may still run"
            return CommandStatus(Outcome.TIMED_OUT, None, f"timed out after {settings.timeout:g} s; {ending}")
    finally:
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    code = process.returncode
    if code < 0:
        reason = f"killed by signal {signal.Signals(-code).name[3:]}"
        return CommandStatus(Outcome.SIGNALLED, None, reason)
    outcome = Outcome.FAILED if code else Outcome.OK
    return CommandStatus(outcome, code, f"return code {code}" if code else "")


def _communicate(process: "subprocess.Popen[bytes]", out: Output, err: Output, settings: Settings) -> bool:
    """Send the command its input and read its output until both streams end; False if time is up."""
    deadline = None if settings.timeout is None else time.monotonic() + min(settings.timeout, LONGEST_WAIT)
    unsent = memoryview(settings.stdin or b"")
    with selectors.DefaultSelector() as selector:
        for stream, output in ((process.stdout, out), (process.stderr, err)):
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ, output)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            left = None if deadline is None else deadline - time.monotonic()
            ready = selector.select(left) if left is None or left > 0 else []
            if not ready and left is not None:
                return False
            for key, _ in ready:
                ended = False
                if key.data is not None:
                    data = os.read(key.fd, _READ)
                    key.data.write(data)
                    ended = not data
                else:
                    try:
                        unsent = unsent[os.write(key.fd, unsent[:_READ]) :]
                    except BrokenPipeError:
                        unsent = memoryview(b"")  # it ended without reading all of it
                    ended = not unsent.nbytes
                if ended:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
    try:
        process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def end(process: "subprocess.Popen[bytes]") -> bool:
    """End a command and all it has started: TERM, and KILL if some of it is left after that.

    Returns whether it has ended: what runs as another user may not be ended.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        signal_all(process, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    return process.returncode is not None


def signal_all(process: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal to a command and all it has started, as far as that is left and may be sent one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
