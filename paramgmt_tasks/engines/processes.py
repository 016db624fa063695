"""The engine `processes`: workers that are processes of this machine."""

import socket
import subprocess
import sys
import threading
from contextlib import ExitStack

from ..model import FileSpool, Settings
from ..ssh import config as ssh_config
from .coordinator import WorkerEngine
from .machine import processors
from .messages import FromWorker, OutputFile, ToWorker, WorkerPid
from .socket_channel import SocketChannel


class ProcessLink:
    """A worker process, and the socket to it. What it sends is handled once `start` was called."""

    name = "its worker process died"
    ahead: float = 0.0
    uncertain: float = 0.0

    def __init__(self, sock: socket.socket, engine: "ProcessEngine") -> None:
        self._channel: SocketChannel[ToWorker, FromWorker] = SocketChannel(sock)
        self._engine = engine
        self.alive = True
        self.pid: int | None = None
        self.spools: dict[tuple[int, int], FileSpool] = {}
        self._listener = threading.Thread(target=self._listen, name="paramgmt worker process", daemon=True)

    def start(self) -> None:
        """Listen to it."""
        self._listener.start()

    def send(self, message: ToWorker) -> bool:
        """Send it a message; False if it is gone."""
        return self._channel.send(message)

    def wait_for_room(self) -> None:
        """Nothing: `send` waits."""

    def _listen(self) -> None:
        try:
            while (messages := self._channel.receive_several()) is not None:
                for message in messages:
                    self._handle(message)
                self._channel.gather()
        finally:
            self.alive = False
            self._channel.close()
            self._engine.on_worker_lost(self)

    def _handle(self, message: FromWorker) -> None:
        match message:
            case WorkerPid(pid):
                self.pid = pid
            case OutputFile(run, batch):
                self.spools[run, batch] = FileSpool(self._channel.files.popleft())
            case _:
                self._engine.handle(self, message)

    def disconnect(self) -> None:
        """Send and receive nothing more, by which the process ends."""
        self._channel.shut_down()

    def wait(self) -> None:
        """Wait until nothing of it is handled here any more."""
        self._listener.join()


class ProcessEngine(WorkerEngine[ProcessLink]):
    """The worker processes of a session, started when they are first needed."""

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
            self.links = [link for link in self.links if link.alive]
            if len(self.links) < count:
                self.links += self._start(count - len(self.links))
            return min(len(self.links), wanted)  # hosts stay with the one that has their connection

    def _start(self, count: int) -> list[ProcessLink]:
        ssh_config.load()  # what is refused as a whole is so here, and not by each of them
        with ExitStack() as stack:
            pairs = [socket.socketpair() for _ in range(count)]
            theirs = [stack.enter_context(sock) for _, sock in pairs]
            # It imports what this process would import, and nothing else.
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
        links = [ProcessLink(sock, self) for sock, _ in pairs]
        for link in links:
            link.start()
        return links

    @property
    def pids(self) -> list[int | None]:
        """The process numbers of the workers that are alive; None if a worker has not sent its own yet."""
        return [link.pid for link in self.links if link.alive]

    def close(self) -> None:
        """End them all."""
        with self._lock:
            links, self.links = self.links, []
            started, self._started = self._started, []
        for link in links:
            link.disconnect()
        for process in started:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for link in links:
            link.wait()
