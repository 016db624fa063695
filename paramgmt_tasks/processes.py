"""The engine `processes`: worker processes on this machine, each with a slice of the hosts.

What is done on a host, and when it is tried again, is the group's in each worker. Here is decided where hosts
are worked on: they are dealt out in turn, stay with their worker, which keeps their connections, and go to
another where that has died. Nothing that may have been started is started again.
"""

import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from .arrivals import Arrivals
from .ending import PATIENCE
from .errors import UsageError
from .hosts import Host
from .operations import Operation, describe
from .output import Output, Spool
from .results import Heard, HostResult, Outcome
from .rolling import Rollout
from .settings import Settings
from .wire import Wire

log = logging.getLogger("paramgmt_tasks")

_DIED = "its worker process died"


class _Process:
    """A worker process. What it says goes to `told`; `gone` is called when it says no more."""

    def __init__(self, share: int, told: Callable[..., object], gone: Callable[["_Process"], object]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # It finds what this process has found, and nothing else.
            command = (
                f"import sys; sys.path[:] = {sys.path!r}; "
                f"from paramgmt_tasks.worker import main; main(['{theirs.fileno()}', '{share}'])"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-c", command],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.wire = Wire(ours)
        self.alive = True
        self._told, self._gone = told, gone
        threading.Thread(target=self._listen, name="paramgmt worker process", daemon=True).start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def _listen(self) -> None:
        while (message := self.wire.receive()) is not None:
            self._told(self, *message)
        self.alive = False
        self._gone(self)

    def close(self) -> None:
        """End it, by leaving it."""
        self.wire.shut()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.wire.close()


class Workers:
    """The worker processes of a pool, started when they are first needed."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._processes: list[_Process] = []
        self._homes: dict[Any, _Process] = {}
        self._turn = itertools.count()
        self._numbers = itertools.count(1)
        self._runs: dict[int, SplitRun] = {}

    def start(self, count: int) -> None:
        """Have so many of them."""
        with self._lock:
            for process in [process for process in self._processes if not process.alive]:
                self._processes.remove(process)
                process.close()
            while len(self._processes) < count:
                self._processes.append(_Process(count, self._told, self._gone))

    @property
    def pids(self) -> list[int]:
        """The numbers of those that are alive."""
        return [process.pid for process in self._processes if process.alive]

    def deal(self, hosts: Iterable[tuple[int, Host]]) -> dict[_Process, list[tuple[int, Host]]]:
        """Which process works on which hosts: the one that has a connection, else each in its turn."""
        seen: Counter[Any] = Counter()
        dealt: dict[_Process, list[tuple[int, Host]]] = {}
        with self._lock:
            alive = [process for process in self._processes if process.alive]
            for index, host in hosts if alive else ():
                key = (host.entry, tuple(host.options.items()))
                seen[key] += 1
                process = self._homes.get((key, seen[key]))
                if process is None or not process.alive:
                    process = self._homes[key, seen[key]] = alive[next(self._turn) % len(alive)]
                dealt.setdefault(process, []).append((index, host))
        return dealt

    def add(self, run: "SplitRun") -> int:
        """A number for a run, by which it is told of."""
        number = next(self._numbers)
        self._runs[number] = run
        return number

    def remove(self, number: int) -> None:
        """A run is over."""
        self._runs.pop(number, None)

    def _told(self, process: _Process, kind: str, number: int, *rest: Any) -> None:
        if kind == "log":
            log.log(*rest)
        elif (run := self._runs.get(number)) is not None:
            run.told_by(process, kind, *rest)

    def _gone(self, process: _Process) -> None:
        for run in list(self._runs.values()):
            run.lose(process)

    def close(self) -> None:
        """End them all."""
        with self._lock:
            processes, self._processes = self._processes, []
        for process in processes:
            process.close()


class _Moved:
    """How many bytes a run has moved, and how many it is going to, as its workers say."""

    def __init__(self) -> None:
        self._by: dict[_Process, tuple[int, float]] = {}

    def tell(self, process: _Process, moved: int, expected: float) -> None:
        """One of them has said so."""
        self._by[process] = moved, expected

    @property
    def moved(self) -> int:
        """Bytes that have moved."""
        return sum(moved for moved, _ in self._by.values())

    def expected(self) -> float:
        """Bytes of all hosts."""
        return sum(expected for _, expected in self._by.values())


class SplitRun(Arrivals):
    """An operation under way in several processes: as a Run, an iterator over results, with `cancel`."""

    def __init__(
        self,
        workers: Workers,
        hosts: Sequence[Host],
        operation: Operation,
        settings: Settings,
        count: int,
        *,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
    ) -> None:
        super().__init__(len(hosts))
        self.settings = settings
        self.shared = _Moved()
        self._workers, self._host_list, self._operation = workers, hosts, operation
        self._on_start, self._live = on_start, live
        self._rollout = Rollout.of(settings, len(hosts))
        rate = settings.limit_rate_all
        self._each = replace(
            settings,
            engine="threads",
            fanout=max(1, -(-settings.fanout // count)),
            limit_rate_all=rate / count if rate else None,
            batch=None,
            canary=0,
            max_fail=None,
        )
        self._lock = threading.RLock()
        self._pending = list(enumerate(hosts))
        self._with: dict[int, _Process] = {}
        self._since: dict[int, float] = {}
        self._spool = Spool()
        self._outputs: dict[int, tuple[Output, Output]] = {}
        self._halted = ""
        self._number = workers.add(self)
        self._deal(self._rollout.admitted(0))
        if not hosts:
            workers.remove(self._number)

    # -- dealing out

    def _deal(self, admitted: int) -> None:
        """Give the first so many hosts to workers, as far as that is not done."""
        with self._lock:
            given = [pair for pair in self._pending if pair[0] < admitted]
            self._pending = [pair for pair in self._pending if pair[0] >= admitted]
            self._give(given)

    def _give(self, hosts: Sequence[tuple[int, Host]]) -> None:
        dealt = self._workers.deal(hosts)
        for process, slice_ in dealt.items():
            self._with.update((index, process) for index, _ in slice_)
            process.wire.send(
                "run",
                self._number,
                os.getcwd(),
                self._operation,
                self._each,
                slice_,
                self._live,
                self._on_start,
            )
        if hosts and not dealt:
            for index, _ in hosts:
                self._tell(index, Outcome.ERROR, "all worker processes died")

    def told_by(self, process: _Process, kind: str, *rest: Any) -> None:
        """A worker has said something of this run."""
        if kind == "result":
            self._arrive(rest[0])
        elif kind == "started":
            self._since[rest[0]] = time.monotonic()
        elif kind == "written":
            self._written(*rest)
        elif kind == "moved":
            self.shared.tell(process, *rest)
        elif kind == "refused":
            for index in self._of(process):
                self._tell(index, Outcome.ERROR, rest[0])

    def _of(self, process: _Process) -> list[int]:
        with self._lock:
            return [index for index, who in self._with.items() if who is process and index not in self.told]

    def lose(self, process: _Process) -> None:
        """A worker has died: what it had started is lost, unless that may be repeated; others do the rest."""
        again = []
        for index in self._of(process):
            if index in self._since and not self._operation.repeatable:
                self._tell(index, Outcome.LOST, f"{_DIED}; the command may have run")
            elif self._halted:
                self._tell(index, Outcome.CANCELLED, self._halted)
            else:
                self._outputs.pop(index, None)
                self._since.pop(index, None)
                again.append((index, self._host_list[index]))
        with self._lock:
            self._give(again)

    # -- results

    def _written(self, index: int, stream: int, data: bytes) -> None:
        if index in self.told:
            return
        if index not in self._outputs:
            self._outputs[index] = Output(spool=self._spool), Output(spool=self._spool)
        out, err = self._outputs[index]
        (out, err)[stream].write(data)
        if self._live:
            self.hear(Heard(self._host_list[index], index, out, err))

    def _arrive(self, result: HostResult) -> None:
        out, err = self._outputs.pop(result.index, (Output(), Output()))
        counts = self.put(replace(result, out=out, err=err))
        self._since.pop(result.index, None)
        if counts is None:
            return
        finished, failed = counts
        objection = "" if self._halted else self._rollout.objection(finished, failed)
        if objection:
            self._halt(objection)
        elif not self._halted:
            self._deal(self._rollout.admitted(finished))
        if finished == len(self._host_list):
            self._workers.remove(self._number)

    def _tell(self, index: int, outcome: Outcome, reason: str) -> None:
        host = self._host_list[index]
        description = describe(self._operation, host, self.settings.user)
        now = time.monotonic()
        self._arrive(HostResult(host, index, description, outcome, reason=reason, started=now, finished=now))

    def _halt(self, reason: str) -> None:
        self._halted = reason
        with self._lock:
            rest, self._pending = self._pending, []
        for index, _ in rest:
            self._tell(index, Outcome.CANCELLED, reason)
        for process in set(self._with.values()):
            process.wire.send("halt", self._number, reason)

    def under_way(self) -> list[tuple[Host, float]]:
        """The hosts on which something was started, and since which monotonic second."""
        return [(self._host_list[index], since) for index, since in list(self._since.items())]

    def cancel(self, patience: float = PATIENCE) -> None:
        """As a Run's."""
        self._halt("interrupted before it was started")
        for process in set(self._with.values()):
            process.wire.send("cancel", self._number, patience)
        self.wait(patience + 1)
        for index in set(range(len(self._host_list))) - self.told:
            if index in self._since:
                self._tell(index, Outcome.LOST, "interrupted; the command may have run")
            else:
                self._tell(index, Outcome.CANCELLED, self._halted)


def fit(settings: Settings, hosts: int) -> int:
    """How many processes, as the settings say.

    Raises:
        UsageError: settings that this engine does not have.
    """
    if settings.together:
        raise UsageError("hosts start together in one process only: --together needs --engine threads")
    if settings.sequential:
        return 1
    return max(1, min(settings.workers or os.cpu_count() or 1, hosts))
