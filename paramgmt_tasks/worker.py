"""A worker process: works on its slices of the hosts as a fleet does, and keeps their connections.

Started by `processes`; ends when the process that did so is gone.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .errors import UsageError
from .fleet import Fleet, Pool
from .hosts import Host
from .operations import Operation
from .output import Output, Reader
from .results import Heard, HostResult
from .run import Run
from .settings import Settings
from .wire import Wire

#: Seconds between two words of how much a transfer has moved.
_MOVED = 0.5


class Worker:
    """Does what the other side of a wire asks for: `run` a slice, `halt` or `cancel` one."""

    def __init__(self, wire: Wire, share: int) -> None:
        self._wire = wire
        self._pool = Pool(share)
        self._lock = threading.Lock()
        #: What is under way of each run: where it rolls there may be several slices of one.
        self._runs: dict[int, list[Run]] = {}

    def serve(self) -> None:
        """Until the other side is gone."""
        while (message := self._wire.receive()) is not None:
            kind, number, *rest = message
            if kind == "run":
                self._begin(number, *rest)
                continue
            for run in list(self._runs.get(number, ())):
                if kind == "halt":
                    run.halt(*rest)
                else:
                    threading.Thread(target=run.cancel, args=rest, daemon=True).start()

    def _begin(
        self,
        number: int,
        folder: str,
        operation: Operation,
        settings: Settings,
        hosts: Sequence[tuple[int, Host]],
        live: bool,
        on_start: Callable[[int], object] | None,
    ) -> None:
        places = [place for place, _ in hosts]

        def started(index: int) -> None:
            if on_start is not None:
                on_start(places[index])
            self._wire.send("started", number, places[index])

        try:
            os.chdir(folder)
            fleet = Fleet([host for _, host in hosts], settings, self._pool)
            run = fleet.perform(operation, on_start=started, live=live)
            assert isinstance(run, Run)
        except (UsageError, OSError) as error:
            self._wire.send("refused", number, str(error))
            return
        with self._lock:
            self._runs.setdefault(number, []).append(run)
        threading.Thread(target=self._tell, args=(number, run, places), daemon=True).start()
        if operation.repeatable:
            threading.Thread(target=self._tell_moved, args=(number, run), daemon=True).start()

    def _tell(self, number: int, run: Run, places: list[int]) -> None:
        readers: dict[int, tuple[Reader, Reader]] = {}

        def written(event: Heard | HostResult) -> None:
            known = readers.setdefault(event.index, (Reader(event.out), Reader(event.err)))
            for stream, reader in enumerate(known):
                for data in reader.more():
                    self._wire.send("written", number, places[event.index], stream, bytes(data))

        for event in run.events():
            written(event)
            if isinstance(event, HostResult):
                del readers[event.index]
                bare = replace(event, index=places[event.index], out=Output(), err=Output())
                self._wire.send("result", number, bare)
        with self._lock:
            self._runs[number].remove(run)
            if not self._runs[number]:
                del self._runs[number]

    def _tell_moved(self, number: int, run: Run) -> None:
        while True:
            over = run.wait(_MOVED)
            self._wire.send("moved", number, run.shared.moved, run.shared.expected())
            if over:
                return


class _Forward(logging.Handler):
    """Warnings go to the process that has a user."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def emit(self, record: logging.LogRecord) -> None:
        """Send it."""
        self._wire.send("log", 0, record.levelno, record.getMessage())


def main(arguments: list[str]) -> Any:
    """Serve whoever started this process."""
    # Ctrl-C is for the one that started it, which tells what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wire = Wire(socket.socket(fileno=int(arguments[0])))
    log = logging.getLogger("paramgmt_tasks")
    log.addHandler(_Forward(wire))
    log.propagate = False
    Worker(wire, int(arguments[1])).serve()
    # Whatever still runs here is broken off with its connections.
    os._exit(0)
