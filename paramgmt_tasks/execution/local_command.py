"""Commands on this machine, one for each host."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable

from ..model import Outcome, Output, Settings
from ..ssh import GRACE, CommandStatus
from ..steps import LONGEST_WAIT

_READ = 65536


def run(
    command: str,
    settings: Settings,
    started: Callable[[subprocess.Popen[bytes]], None],
    out: Output,
    err: Output,
) -> CommandStatus:
    """Run a command by /bin/sh in a process group of its own; `started` is told of it.

    Raises:
        OSError: it could not be started.
    """
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        # Not in front of the command: all users may read that.
        env={**os.environ, **dict(settings.env)} if settings.env else None,
        stdin=subprocess.DEVNULL if settings.stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    started(process)
    try:
        if not _converse(process, out, err, settings):
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


def _converse(process: "subprocess.Popen[bytes]", out: Output, err: Output, settings: Settings) -> bool:
    """Send the command its input and take its output until both streams end; False where time is up."""
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
    """End a command and all it has started: TERM, and KILL where some of it is left after that.

    Whether it has ended: what runs as another user may not be ended.
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
