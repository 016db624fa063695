"""Commands on this machine, one for each host."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

from .command import Execution, with_env
from .results import Outcome
from .settings import Settings


def run(command: str, settings: Settings, started: Callable[[subprocess.Popen[bytes]], None]) -> Execution:
    """Run a command by /bin/sh in a process group of its own; `started` is told of it.

    Raises:
        OSError: it could not be started.
    """
    process = subprocess.Popen(
        ["/bin/sh", "-c", with_env(command, settings.env)],
        stdin=subprocess.DEVNULL if settings.stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    started(process)
    try:
        out, err = process.communicate(settings.stdin, settings.timeout)
    except subprocess.TimeoutExpired:
        kill(process)
        out, err = process.communicate()
        return Execution(Outcome.TIMED_OUT, None, out, err, f"timed out after {settings.timeout:g} s; killed")
    code = process.returncode
    if code < 0:
        reason = f"killed by signal {signal.Signals(-code).name[3:]}"
        return Execution(Outcome.SIGNALLED, None, out, err, reason)
    outcome = Outcome.FAILED if code else Outcome.OK
    return Execution(outcome, code, out, err, f"return code {code}" if code else "")


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End a command and all it has started, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
