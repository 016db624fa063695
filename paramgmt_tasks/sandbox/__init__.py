"""A local fleet of SSH servers, for trying and testing: real commands, loopback only, keys of its own."""

import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from ..model import UsageError

#: Seconds the servers may take to come up, and to go away.
PATIENCE = 60.0


class Sandbox:
    """The fleet whose keys, homes and state are in `folder`; at most one process serves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        #: The host list, which carries all that is needed to reach the servers.
        self.hosts = self.folder / "hosts.txt"
        self.log = self.folder / "server.log"

    def up(self, count: int) -> None:
        """Start `count` servers and wait until they listen.

        Raises:
            UsageError: asyncssh is missing, it is up already, or the servers could not start.
        """
        if importlib.util.find_spec("asyncssh") is None:
            raise UsageError("the sandbox needs asyncssh: pip install 'paramgmt-tasks[sandbox]'")
        if self.pid() is not None:
            raise UsageError("the sandbox is up already: inv sandbox.status, or first inv sandbox.down")
        self._remove()
        self.folder.mkdir(parents=True, mode=0o700)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "paramgmt_tasks.sandbox.server", str(self.folder), str(count)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not self.hosts.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                lines = self.log.read_text("utf-8", "replace").strip().splitlines()
                raise UsageError(f"the sandbox did not start: {lines[-1] if lines else 'no answer'}")
            time.sleep(0.02)

    def down(self) -> bool:
        """Stop the servers and remove all that they left; False if none were up."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            while self.pid() is not None and time.monotonic() < deadline:
                time.sleep(0.02)
        self._remove()
        return pid is not None

    def pid(self) -> int | None:
        """The process that serves the fleet, None if it is down.

        It holds a lock for as long as it lives: no process that has its number later is mistaken for it.
        """
        try:
            with (self.folder / "lock").open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read() or 0) or None
        except FileNotFoundError:
            pass
        return None

    def _remove(self) -> None:
        if self.folder.exists():
            if not self.log.exists() and any(self.folder.iterdir()):
                raise UsageError(f"{self.folder} holds something else: it is left alone")
            shutil.rmtree(self.folder)
