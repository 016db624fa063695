"""A ProxyCommand at the other end of a socket."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import time

#: Bytes of what it says that are kept, from the end.
_KEPT = 4096
_READ = 65536


def expand_tokens(command: str, host: str, name: str, port: int, user: str) -> str:
    """A ProxyCommand with its tokens filled in; `name` is the host's as it was written.

    >>> expand_tokens("nc %h %p # 100%%", "10.0.0.1", "web1", 22, "nic")
    'nc 10.0.0.1 22 # 100%'
    """
    values = {"%%": "%", "%h": host, "%n": name, "%p": str(port), "%r": user}
    return re.sub("%.", lambda match: values.get(match[0], match[0]), command)


class Proxy:
    """Runs a ProxyCommand.

    Not paramiko's ProxyCommand: that one polls ten times a second, and never notices that its process
    has ended.
    """

    def __init__(self, command: str, passes: bool = False) -> None:
        self.socket, theirs = socket.socketpair()
        #: Whether the command passes a connected descriptor back (ProxyUseFdpass), as `nc -F` does.
        self._passes = passes
        with theirs:
            # As ssh: by the user's shell.
            self._process = subprocess.Popen(
                [os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        self._said = b""
        # What it says is taken as it comes: it would wait for that, and hold up the connection.
        self._listener = threading.Thread(target=self._listen, name="paramgmt ProxyCommand", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        stream = self._process.stderr
        assert stream is not None
        with stream:
            while data := os.read(stream.fileno(), _READ):
                self._said = (self._said + data)[-_KEPT:]

    def connected(self, deadline: float) -> socket.socket:
        """The socket to the host: the command's own, or the one that it passes by a deadline (monotonic).

        Raises:
            TimeoutError, ConnectionError: it passes none.
        """
        if not self._passes:
            return self.socket
        self.socket.settimeout(max(0.1, deadline - time.monotonic()))
        _, descriptors, _, _ = socket.recv_fds(self.socket, 1, 1)
        if not descriptors:
            raise ConnectionResetError("no descriptor was passed")
        self.socket.close()
        self.socket = socket.socket(fileno=descriptors[0])
        return self.socket

    def _signal(self, number: int) -> None:
        # To the whole group: what it started holds the pipe that is read to its end below.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def end(self) -> str:
        """End the process; the last line of what it had to say."""
        self._signal(signal.SIGTERM)
        self._listener.join(1)
        if self._listener.is_alive():  # by something that it has started, if not itself
            self._signal(signal.SIGKILL)
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._listener.join(1)
        lines = self._said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""
