"""What a program of this machine prints, bounded in time and size, and its end if it exceeds them."""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..model import UsageError, one_line, reason_of

#: Seconds that a program may take.
PATIENCE = 120
#: Bytes that it may print, some 100,000 hosts with their variables; and of what it says, from the start.
LARGEST, _KEPT = 256 * 2**20, 65536
_READ = 2**20
#: Seconds to end by itself; and until nothing more is expected of what it has left behind.
_GRACE, _SILENCE = 1.0, 0.5


@dataclass(frozen=True)
class Printed:
    """What a program printed, what it said on standard error, and its status: negative for a signal."""

    status: int
    out: bytes
    said: str

    @property
    def failure(self) -> str:
        """How it failed, with what it said in one line; empty if it did not."""
        if not self.status:
            return ""
        how = f"killed by signal {-self.status}" if self.status < 0 else f"exit status {self.status}"
        return f"{how}: {self.remark}" if self.remark else how

    @property
    def remark(self) -> str:
        """What it said in one line: of a traceback, which begins with where, its end."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        traceback = any(line.startswith("Traceback ") for line in lines)
        return one_line(lines[-1] if traceback else "\n".join(lines))


def output_of(
    words: Sequence[str],
    what: str,
    deadline: float,
    remedy: str = "",
    env: Mapping[str, str] | None = None,
    *,
    folder: str | None = None,
    patience: float = PATIENCE,
) -> Printed:
    """Run a program without standard input, in a folder or here, until a deadline in monotonic seconds.

    `what` is what errors begin with, `remedy` what is added to them if it takes too long or prints too much;
    `patience` is after how many seconds they say that the deadline was.

    Raises:
        UsageError: it cannot be started, is not done in time, or prints too much.
    """
    process = None
    try:
        with _interrupts_later():  # or the one that is being started would be lost
            process = _started(words, what, env, folder)
        out, said = _read(process, deadline)
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise UsageError(f"{what}: not done after {patience:g} s{remedy}") from None
    except _TooMuch:
        raise UsageError(f"{what}: prints more than {LARGEST // 2**20} MB{remedy}") from None
    finally:
        if process is not None:
            _end(process)
    return Printed(status, out, said.decode("utf-8", "replace"))


def _started(
    words: Sequence[str], what: str, env: Mapping[str, str] | None, folder: str | None
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        reason = reason_of(error)
        if isinstance(error, FileNotFoundError) and os.path.exists(words[0]):
            reason = "what its first line names is not there"
        raise UsageError(f"{what}: cannot be run: {reason}") from None


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Have Ctrl-C wait until this is over; it comes to the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


class _TooMuch(Exception):
    """More is printed than is read."""


def _read(process: "subprocess.Popen[bytes]", deadline: float) -> tuple[bytes, bytes]:
    """What the program prints and says, until both streams end, or it has ended and all is silent."""
    out, said = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, kept in ((process.stdout, out), (process.stderr, said)):
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ, kept)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, left)
            ready = selector.select(min(left, _SILENCE))
            if not ready and process.poll() is not None:
                break  # what it has left behind keeps them open
            for key, _ in ready:
                data = os.read(key.fd, _READ)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.data is out or len(said) < _KEPT:
                    key.data.extend(data)
                if len(out) > LARGEST:
                    raise _TooMuch
    return bytes(out), bytes(said[:_KEPT])


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program that still runs, with all it has started, and close its streams."""
    try:
        if process.poll() is None:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            _signal(process, signal.SIGKILL)
    finally:
        if process.poll() is None:  # interrupted once more
            _signal(process, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
