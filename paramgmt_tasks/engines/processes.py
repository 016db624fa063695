"""The engine `processes`: workers that are processes of this machine."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import Any

from ..model import FileSpool, Settings
from ..ssh import config as ssh_config
from .coordinator import WorkerEngine
from .socket_channel import SocketChannel


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Process:
    """A worker process, and the wire to it."""

    ahead = uncertain = 0.0
    name = "its worker process died"

    def __init__(self, sock: socket.socket, workers: WorkerEngine) -> None:
        self._wire = SocketChannel(sock)
        self.alive = True
        self.pid: int | None = None
        #: The files that hold what its hosts wrote, by the numbers of run and slice.
        self.spools: dict[Any, FileSpool] = {}
        self.send = self._wire.send
        self._workers = workers
        self._listener = threading.Thread(target=self._listen, name="paramgmt worker process", daemon=True)
        self._listener.start()

    def wait_for_room(self) -> None:
        """Nothing: to send waits."""

    def _listen(self) -> None:
        try:
            while (messages := self._wire.receive_several()) is not None:
                for message in messages:
                    if message[0] == "pid":
                        self.pid = message[2]
                    elif message[0] == "spool":
                        self.spools[message[1:]] = FileSpool(self._wire.files.popleft())
                    else:
                        self._workers.handle(self, *message)
                self._wire.gather()
        finally:
            self.alive = False
            self._wire.close()
            self._workers.on_worker_lost(self)

    def leave(self) -> None:
        """It ends by that."""
        self._wire.shut()

    def wait(self) -> None:
        """Until nothing is left of it here."""
        self._listener.join()


class ProcessEngine(WorkerEngine):
    """The worker processes of a pool, started when they are first needed."""

    def __init__(self) -> None:
        super().__init__()
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, settings: Settings, hosts: int) -> int:
        """Have as many as the settings say, else as there are processors.

        Raises:
            UsageError: an ssh_config that cannot be used.
        """
        wanted = settings.workers or processors()
        count = 1 if settings.sequential else max(1, min(wanted, hosts))
        with self._lock:
            for process in [process for process in self.links if not process.alive]:
                self.links.remove(process)
            if len(self.links) < count:
                self.links += self._start(count - len(self.links))
            return min(len(self.links), wanted)  # hosts stay with the one that has their connection

    def _start(self, count: int) -> list[_Process]:
        ssh_config.load()  # what is refused as a whole is so here, and not by each of them
        with ExitStack() as stack:
            pairs = [socket.socketpair() for _ in range(count)]
            theirs = [stack.enter_context(sock) for _, sock in pairs]
            # It finds what this process has found, and nothing else.
            code = (
                f"import sys; sys.path[:] = {sys.path!r}; "
                "from paramgmt_tasks.engines.worker import main; main(sys.argv[1:])"
            )
            numbers = [sock.fileno() for sock in theirs]
            self._started.append(
                subprocess.Popen(
                    [sys.executable, "-c", code, *map(str, numbers)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=numbers,
                    start_new_session=True,
                )
            )
        return [_Process(sock, self) for sock, _ in pairs]

    @property
    def pids(self) -> list[Any]:
        """The numbers of those that are alive."""
        return [process.pid for process in self.links if process.alive]

    def close(self) -> None:
        """End them all."""
        with self._lock:
            processes, self.links = self.links, []
            started, self._started = self._started, []
        for process in processes:
            process.leave()
        for first in started:
            try:
                first.wait(5)
            except subprocess.TimeoutExpired:
                first.kill()
                first.wait()
        for process in processes:
            process.wait()
