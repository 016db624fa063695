"""A run that is split over workers: who works on which hosts, and what holds where a worker is gone.

What is done on a host, and when it is tried again, is the group's in each worker. Here is decided where hosts
are worked on: they are dealt out in turn, stay with their worker, which keeps their connections, and go to
another where that is gone. Nothing that may have been started is started again.
"""

import itertools
import logging
import os
import pickle
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..execution import Run
from ..model import (
    PATIENCE,
    FileSpool,
    Host,
    HostResult,
    Operation,
    Outcome,
    Output,
    OutputEvent,
    Rollout,
    Room,
    Settings,
    Spool,
    UsageError,
    check_together,
    describe,
    unless_not_kept,
)

if TYPE_CHECKING:
    from ..transfer import FileRelay

log = logging.getLogger("paramgmt_tasks")

_MAY_HAVE_RUN = "the command may have run"


class Link(Protocol):
    """The way to a worker. What it says goes to Workers.told, and Workers.gone is called at its end."""

    #: What it is called where it is gone.
    name: str
    alive: bool
    #: How many seconds its monotonic clock is ahead of ours, and how uncertain that is.
    ahead: float
    uncertain: float
    #: The files that hold what its hosts wrote, by the numbers of run and slice.
    spools: dict[Any, FileSpool]

    def send(self, *message: Any) -> bool:
        """Send it a message; False where it is gone."""

    def wait_for_room(self) -> None:
        """Wait until it has taken most of what was sent, or is gone."""


class WorkerEngine:
    """The workers of an engine, and the hosts they keep connections to."""

    #: Whether they have this machine's files, and what they say comes even where they are gone by then.
    shares_filesystem = True

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.links: list[Any] = []
        self._homes: dict[Any, Any] = {}
        self._turn = itertools.count()
        self._numbers = itertools.count(1)
        self._runs: dict[int, DistributedRun] = {}

    def start(self, settings: Settings, hosts: int) -> int:
        """Have workers for so many hosts; how many share what the settings bound.

        Raises:
            UsageError: there are none.
        """
        raise NotImplementedError

    def relay(self, operation: Operation) -> "FileRelay | None":
        """What brings files to workers that have not this machine's."""
        return None

    def perform(
        self,
        hosts: Sequence[Host],
        operation: Operation,
        settings: Settings,
        *,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
    ) -> "DistributedRun":
        """Begin an operation on hosts; as Threads.perform."""
        if settings.together:
            check_together(settings, settings.fanout, len(hosts))
        # One after the other is one at a time, whoever works on it.
        rollout = Rollout.of(replace(settings, batch=1) if settings.sequential else settings, len(hosts))
        # No more workers than hosts may be worked on at once.
        count = max(1, min(self.start(settings, len(hosts)), settings.fanout))
        return DistributedRun(self, hosts, operation, settings, rollout, count, on_start, live)

    def assign(self, hosts: Iterable[tuple[int, Host]], count: int) -> dict[Link, list[tuple[int, Host]]]:
        """Which of `count` workers works on which hosts: who has a connection, else each in its turn."""
        seen: Counter[Any] = Counter()
        dealt: dict[Link, list[tuple[int, Host]]] = {}
        with self._lock:
            alive = [link for link in self.links if link.alive][:count]
            for index, host in hosts if alive else ():
                key = (host.entry, tuple(host.options.items()))
                seen[key] += 1
                link: Link = self._homes.get((key, seen[key]))  # type: ignore[assignment]
                if link not in alive:
                    link = self._homes[key, seen[key]] = alive[next(self._turn) % len(alive)]
                dealt.setdefault(link, []).append((index, host))
        return dealt

    def add(self, run: "DistributedRun") -> int:
        """A number for a run, by which it is told of."""
        number = next(self._numbers)
        self._runs[number] = run
        return number

    def remove(self, number: int) -> None:
        """A run is over."""
        self._runs.pop(number, None)

    def handle(self, link: Link, kind: str, number: int, *rest: Any) -> None:
        """A worker has said something."""
        if kind == "log":
            log.log(*rest)
        elif (run := self._runs.get(number)) is not None:
            run.handle(link, kind, *rest)

    def on_worker_lost(self, link: Link) -> None:
        """A worker is gone."""
        for run in list(self._runs.values()):
            run.lose(link)


def _may_be_sent(function: Any) -> bool:
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


class _Moved:
    """How many bytes a run has moved, and how many it is going to, as its workers say."""

    def __init__(self) -> None:
        self._by: dict[Link, tuple[int, float]] = {}

    def tell(self, link: Link, moved: int, expected: float) -> None:
        """One of them has said so."""
        self._by[link] = moved, expected

    @property
    def moved(self) -> int:
        """Bytes that have moved."""
        return sum(moved for moved, _ in self._by.values())

    def expected(self) -> float:
        """Bytes of all hosts."""
        return sum(expected for _, expected in self._by.values())


class DistributedRun(Run):
    """A Run at several workers."""

    def __init__(
        self,
        workers: WorkerEngine,
        hosts: Sequence[Host],
        operation: Operation,
        settings: Settings,
        rollout: Rollout,
        count: int,
        on_start: Callable[[int], object] | None,
        live: bool,
    ) -> None:
        super().__init__(len(hosts), operation)
        self.settings = settings
        self.shared: _Moved = _Moved()
        self._workers, self._host_list, self._operation = workers, hosts, operation
        self._on_start, self._live, self._rollout = on_start, live, rollout
        self._count = count
        rate = settings.limit_rate_all
        self._each = replace(
            settings,
            engine="threads",
            fanout=settings.fanout if settings.together else settings.fanout // count,
            limit_rate_all=rate / count if rate else None,
            batch=None,
            canary=0,
            max_fail=None,
        )
        #: Whether workers are given `on_start`; otherwise it is called here.
        self._callback_travels = workers.shares_filesystem and _may_be_sent(on_start)
        #: Whether workers ask before they start what is not to be repeated: where all are to start together,
        #: and where it would be told too late that one has begun.
        self._needs_permission = not operation.repeatable and (
            settings.together or not self._callback_travels
        )
        self._relay = workers.relay(operation)
        self._lock = threading.RLock()
        self._pending = deque(enumerate(hosts))
        self._given: list[tuple[int, Host]] = []
        self._giving = False
        self._with: dict[int, Link] = {}
        self._begun: set[Link] = set()
        self._turns: dict[Link, threading.Lock] = {}
        self._ready: set[int] = set()
        self._since: dict[int, float] = {}
        self._spool = Spool()
        self._outputs: dict[int, tuple[Output, Output]] = {}
        self._halted = ""
        self._number = workers.add(self)
        self._deal(self._rollout.admitted(0))
        if not hosts:
            self._end()

    # -- dealing out

    def _deal(self, admitted: int) -> None:
        """Give the first so many hosts to workers, as far as that is not done."""
        with self._lock:
            while self._pending and self._pending[0][0] < admitted:
                self._given.append(self._pending.popleft())
            if self._giving:
                return  # whoever does so goes on with these
            self._giving = True
        while True:
            with self._lock:
                given, self._given = self._given, []
                self._giving = bool(given)
            if not given:
                return
            self._give(given)

    def _give(self, hosts: Sequence[tuple[int, Host]]) -> None:
        good = []
        for index, host in hosts:
            try:
                if self._relay:
                    self._relay.check(host)
                good.append((index, host))
            except UsageError as error:
                self._tell(index, Outcome.ERROR, str(error))
        with self._lock:
            dealt = self._workers.assign(good, self._count)
            for link, slice_ in dealt.items():
                self._with.update((index, link) for index, _ in slice_)
        for link, slice_ in dealt.items():
            if self._relay and self._relay.has_payload:
                threading.Thread(target=self._send, args=(link, slice_), daemon=True).start()
            else:
                self._send(link, slice_)
        if good and not dealt:
            for index, _ in good:
                self._tell(index, Outcome.ERROR, "no worker is left")

    def _send(self, link: Link, slice_: list[tuple[int, Host]]) -> None:
        """Send a worker its hosts, and before them what it has to know for that."""
        with self._lock:
            turn = self._turns.setdefault(link, threading.Lock())
        with turn:  # or hosts could come before files that are on their way for others
            self._begin(link)
            if self._relay:
                for kind, *rest in self._relay.messages_for(link, [host for _, host in slice_]):
                    if self._halted or not link.send(kind, self._number, *rest):
                        break
                    link.wait_for_room()
            if not self._halted:
                link.send("hosts", self._number, slice_)
                if self._halted:  # that was said before it had these
                    link.send("halt", self._number, self._halted)
                return
        for index, _ in slice_:
            self._tell(index, Outcome.CANCELLED, self._halted)

    def _begin(self, link: Link) -> None:
        """Tell a worker of this run, once."""
        if link in self._begun:
            return
        self._begun.add(link)
        link.send(
            "begin",
            self._number,
            os.getcwd() if self._workers.shares_filesystem else None,
            self._operation,
            self._each,
            self._live,
            self._needs_permission,
            self._callback_travels or not self._needs_permission,
            self._on_start if self._callback_travels else None,
        )

    def handle(self, link: Link, kind: str, *rest: Any) -> None:
        """A worker has said something of this run."""
        if kind == "results":
            number, results = rest
            for facts in results:
                self._result(link, number, *facts)
        elif kind == "started":
            self._started(rest[0])
        elif kind == "ready":
            self._let_start(rest)
        elif kind == "written":
            self._written(link, *rest)
        elif kind == "moved":
            self.shared.tell(link, *rest)
        elif kind == "refused":
            reason, places = rest
            for index in places:
                self._tell(index, Outcome.ERROR, reason)
        elif self._relay is not None:
            index, *what = rest
            if not self._relay.handle(kind, index, self._host_list[index], *what):
                link.send("unwanted", self._number, index)

    def _started(self, index: int) -> None:
        self._since[index] = time.monotonic()
        if not self._callback_travels and self._on_start is not None:
            self._on_start(index)

    def _let_start(self, places: Iterable[int] = ()) -> None:
        """Let hosts start that are ready to; where all are to start together, once all are."""
        with self._lock:
            self._ready.update(places)
            if not self._ready or self._halted or (self.settings.together and not self._all_ready()):
                return
            waiting = self._ready - self.finished_hosts
            self._ready.clear()
            leave: dict[Link, list[int]] = {}
            for index in waiting:
                if not self._callback_travels:
                    self._started(index)
                leave.setdefault(self._with[index], []).append(index)
        for link, indexes in leave.items():
            link.send("go", self._number, indexes)

    def _all_ready(self) -> bool:
        """Whether no host is left that could still become ready."""
        hosts = len(self._host_list)
        if (
            len(self._ready) + len(self._since) + len(self.finished_hosts) < hosts
        ):  # it mostly is so, and soon found
            return False
        return len(self._ready | self._since.keys() | self.finished_hosts) == hosts

    def _of(self, link: Link) -> list[int]:
        with self._lock:
            return [
                index for index, who in self._with.items() if who is link and index not in self.finished_hosts
            ]

    def lose(self, link: Link) -> None:
        """A worker is gone: what it had started is lost, unless that may be repeated; others do the rest."""
        again = []
        for index in self._of(link):
            if index in self._since and not self._operation.repeatable:
                self._tell(index, Outcome.LOST, f"{link.name}; {_MAY_HAVE_RUN}")
            elif self._halted:
                self._tell(index, Outcome.CANCELLED, self._halted)
            else:
                with self._lock:
                    self._ready.discard(index)
                self._outputs.pop(index, None)
                self._since.pop(index, None)
                again.append((index, self._host_list[index]))
        self._give(again)

    # -- results

    def _streams(self, index: int) -> tuple[Output, Output]:
        if index not in self._outputs:
            room = Room(self.settings.max_output)
            out, err = (Output(spool=self._spool, room=room) for _ in range(2))
            self._outputs[index] = out, err
        return self._outputs[index]

    def _add(self, link: Link, number: int, output: Output, parts: list[Any]) -> None:
        """Add what a worker says to an output: itself, or where it is in its slice's file."""
        if self._workers.shares_filesystem:
            output.extend(parts, link.spools.get((self._number, number)))
            return
        for data in parts:
            output.write(data)

    def _written(self, link: Link, number: int, index: int, stream: int, parts: list[Any]) -> None:
        if index in self.finished_hosts:
            return
        out, err = self._streams(index)
        self._add(link, number, (out, err)[stream], parts)
        if self._live:
            self.publish_output(OutputEvent(self._host_list[index], index, out, err))

    def _result(
        self,
        link: Link,
        number: int,
        index: int,
        done: tuple[Outcome, int | None, int, str, int],
        times: tuple[float, float, float | None, float | None],
        written: list[list[Any]],
    ) -> None:
        if index in self.finished_hosts or self._with.get(index) is not link:
            return  # it was told to be lost, or is done elsewhere by now
        for stream, parts in enumerate(written):
            if parts:
                self._add(link, number, self._streams(index)[stream], parts)
        outcome, return_code, attempts, reason, dropped = done
        if self._relay is not None:
            out, err = self._streams(index)
            outcome, return_code, reason = self._relay.end(index, outcome, return_code, reason, out, err)
        started, finished, requested, confirmed = times
        unsure = link.uncertain
        self._arrive(
            index,
            outcome,
            reason,
            return_code=return_code,
            attempts=attempts,
            dropped=dropped,
            started=started and started - link.ahead,
            finished=finished - link.ahead,
            requested=None if requested is None else requested - link.ahead - unsure,
            confirmed=None if confirmed is None else confirmed - link.ahead + unsure,
        )

    def _tell(self, index: int, outcome: Outcome, reason: str) -> None:
        now = time.monotonic()
        self._arrive(index, outcome, reason, started=now, finished=now)

    def _arrive(self, index: int, outcome: Outcome, reason: str, **known: Any) -> None:
        host = self._host_list[index]
        out, err = self._outputs.pop(index, (Output(), Output()))
        if out.room is not None:
            outcome, reason = unless_not_kept(outcome, reason, out.room.trouble)
        description = describe(self._operation, host, self.settings.user)
        result = HostResult(host, index, description, outcome, out=out, err=err, reason=reason, **known)
        counts = self.publish(result)
        self._since.pop(index, None)
        if counts is None:
            return
        if self._relay is not None:
            self._relay.discard(index)
        finished, failed = counts
        objection = "" if self._halted else self._rollout.objection(finished, failed)
        if objection:
            self._halt(objection)
        elif not self._halted:
            self._deal(self._rollout.admitted(finished))
            if self.settings.together:
                self._let_start()
        if finished == len(self._host_list):
            self._end()

    def _end(self) -> None:
        self._workers.remove(self._number)
        for link in self._begun:
            for key in [key for key in link.spools if key[0] == self._number]:
                del link.spools[key]  # outputs have it as long as they are there
        for link in self._begun:
            link.send("end", self._number)

    def _halt(self, reason: str) -> None:
        with self._lock:
            self._halted = reason
            rest, self._pending = self._pending, deque()
            links = set(self._with.values())
        for index, _ in rest:
            self._tell(index, Outcome.CANCELLED, reason)
        for link in links:
            link.send("halt", self._number, reason)

    def under_way(self) -> list[tuple[Host, float]]:
        """The hosts on which something was started, and since which monotonic second."""
        return [(self._host_list[index], since) for index, since in list(self._since.items())]

    def cancel(self, patience: float = PATIENCE) -> None:
        """As every Run's."""
        self._halt("interrupted before it was started")
        with self._lock:
            links = set(self._with.values())
        for link in links:
            link.send("cancel", self._number, patience)
        self.wait(patience + 1)
        for index in set(range(len(self._host_list))) - self.finished_hosts:
            if index in self._since:
                self._tell(index, Outcome.LOST, f"interrupted; {_MAY_HAVE_RUN}")
            else:
                self._tell(index, Outcome.CANCELLED, self._halted)
