"""A ProxyCommand at the other end of a socket."""

import contextlib
import os
import signal
import socket
import subprocess


class Proxy:
    """Runs a ProxyCommand.

    Not paramiko's ProxyCommand: that one polls ten times a second, and never notices that its process
    has ended.
    """

    def __init__(self, command: str) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,
            )

    def _signal(self, number: int) -> None:
        # To the whole group: what it started holds the pipe that is read to its end below.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def end(self) -> str:
        """End the process; the last line of what it had to say."""
        self._signal(signal.SIGTERM)
        try:
            _, said = self._process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            _, said = self._process.communicate()
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""
