"""KnownHostsCommand: a program of this machine that writes lines of known_hosts for one host."""

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time

from ..model import UsageError, one_line, reason_of
from .config_lookup import known_hosts_command
from .host_certificate import ShownKey
from .known_hosts import Lines

#: Bytes of what it writes that are read, some 50,000 keys; and of what it says, from the end.
_LARGEST, _KEPT = 10_000_000, 4096
_NOTHING = "NONE"


class KnownHostsCommand:
    """The command as ssh_config has it for a host; see ssh_config(5) for its tokens."""

    def __init__(self, command: str) -> None:
        self._command = command
        #: Why it cannot be run, in which case ssh goes on with what is in files.
        self.fault = ""

    def lines(self, name: str, reason: str, shown: ShownKey | None, deadline: float) -> Lines:
        """What it writes for `name`, until a deadline in monotonic seconds. `reason` is its %I.

        Raises:
            UsageError: it fails, or is not done in time.
        """
        words = known_hosts_command(
            self._command,
            name=name,
            reason=reason,
            key=shown.base64 if shown else _NOTHING,
            key_type=shown.name if shown else _NOTHING,
            fingerprint=shown.fingerprint if shown else _NOTHING,
        )
        lines = Lines(f"KnownHostsCommand-{reason}")
        lines.parse(self._run(words, deadline))
        return lines

    def _run(self, words: list[str], deadline: float) -> bytes:
        if not words[0].startswith("/"):
            self.fault = f"KnownHostsCommand {words[0]}: its path has to be absolute"
            return b""
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                reason = reason_of(error) if isinstance(error, OSError) else str(error)
                self.fault = f"KnownHostsCommand {words[0]}: {reason}"
                return b""
            with process:
                fault = ""
                try:
                    written = _read(process, deadline)
                    status = process.wait(max(0.1, deadline - time.monotonic()))
                except (ValueError, subprocess.TimeoutExpired) as error:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    late = isinstance(error, subprocess.TimeoutExpired)
                    fault = "not done in the time to connect" if late else str(error)
                else:
                    if status:
                        said.seek(max(0, said.tell() - _KEPT))
                        fault = _failure(status, said.read().decode("utf-8", "replace"))
            if fault:
                raise UsageError(f"KnownHostsCommand {words[0]}: {fault}")
            return written


def _read(process: "subprocess.Popen[bytes]", deadline: float) -> bytes:
    assert process.stdout is not None
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    written = bytearray()
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise subprocess.TimeoutExpired(process.args, left)
        data = os.read(process.stdout.fileno(), 65536)
        if not data:
            return bytes(written)
        written += data
        if len(written) > _LARGEST:
            raise ValueError(f"writes more than {_LARGEST} bytes")


def _failure(status: int, said: str) -> str:
    lines = said.strip().splitlines()
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return f"{how}: {one_line(lines[-1])}" if lines else how
