"""sudo: a command under it, and the talk with sudo before the command runs."""

import secrets
import shlex
import time
from collections.abc import Callable

from ..steps import Steps
from .failures import Denied
from .paramiko_internals import ExecChannel, OutOfTime

#: Seconds that sudo may take to run the command, as for a second factor, and to say why it does not.
SUDO_TIMEOUT, _LAST_WORD = 60.0, 5.0
#: Bytes that sudo may write before the command runs.
TALK = 64 * 1024
#: Bytes of that which may say why it does not.
_LAST_WORDS = 500


class Sudo:
    """A command under sudo, and the talk with sudo before it starts.

    The password is sent only when sudo asks for it, so that it can never become the command's input,
    and nothing else is sent before the command itself has said that it runs.
    """

    def __init__(self, command: str, password: str | None) -> None:
        token = secrets.token_hex(8)
        self._prompt = f"[paramgmt {token} password]".encode()
        self._ready = f"[paramgmt {token} ready]".encode()
        self.password = password
        self.elevate = "sudo -n --" if password is None else "sudo -S -p '' --"
        inner = f"printf %s {shlex.quote(self._ready.decode())} >&2; exec /bin/sh -c {shlex.quote(command)}"
        how = "-n" if password is None else f"-S -p {shlex.quote(self._prompt.decode())}"
        self.command = f"sudo {how} -- /bin/sh -c {shlex.quote(inner)}"

    def negotiate(
        self, channel: ExecChannel, deadline: float | None, stop: Callable[[], bool] = lambda: False
    ) -> Steps[bytes]:
        """Talk with sudo until the command runs; what it has written to standard error by then.

        Raises:
            Denied: sudo did not run it.
            ConnectionAbortedError: `stop` says so.
            TimeoutError: the deadline (seconds on the monotonic clock) passed.
        """
        written, prompts = bytearray(), 0
        gives_up = time.monotonic() + SUDO_TIMEOUT

        def news() -> bool:
            return stop() or channel.recv_stderr_ready() or channel.at_eof()

        while True:
            patient = gives_up if deadline is None else min(gives_up, deadline)
            try:
                yield from channel.wait_for(news, patient)
            except OutOfTime:
                if patient == deadline or channel.eof_sent:
                    raise
                channel.shutdown_write()  # it asks for something that is not known here: let it give up
                gives_up += _LAST_WORD
                continue
            if stop():
                raise ConnectionAbortedError
            data = channel.read_stderr()
            searched = max(0, len(written) - len(self._ready))
            written += data
            at = written.find(self._ready, searched)
            if at >= 0:
                return bytes(written[at + len(self._ready) :])
            if not data or len(written) > TALK:
                raise Denied(self._refusal(bytes(written[-_LAST_WORDS:])))
            if written.count(self._prompt) > prompts:
                prompts += 1
                if prompts == 1 and self.password is not None:
                    yield from channel.send_all(f"{self.password}\n".encode(), deadline)
                else:
                    channel.shutdown_write()  # the password was wrong: it is not tried again

    def _refusal(self, written: bytes) -> str:
        text = written.replace(self._prompt, b"").decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else "sudo did not run the command"
