"""DistributedRun: a run whose hosts are worked on by several workers, and its results.

What is done on a host, and when it is tried again, each worker decides for its hosts. A host stays with its
worker; when that is lost, another gets those of its hosts on which nothing can have been started.
"""

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ..execution import Run
from ..model import (
    PATIENCE,
    Host,
    HostResult,
    Operation,
    Outcome,
    Output,
    OutputEvent,
    Rollout,
    Settings,
    UsageError,
    describe,
    unless_not_kept,
)
from .assignment import Assignment
from .channels import Link
from .host_sender import HostSender
from .messages import (
    BatchRefused,
    BeginRun,
    Cancel,
    EndRun,
    Halt,
    HostDone,
    Moved,
    Permit,
    PositionedHost,
    Ready,
    RelayFromWorker,
    RelayToWorker,
    Results,
    RunUpdate,
    Started,
    Written,
)
from .partial_outputs import PartialOutputs

if TYPE_CHECKING:
    from ..transfer import FileRelay

_MAY_HAVE_RUN = "the command may have run"


class Workers(Protocol):
    """What a run needs of its engine."""

    @property
    def shares_filesystem(self) -> bool:
        """Whether workers have this machine's files."""

    def assign(self, hosts: Iterable[PositionedHost], count: int) -> Mapping[Link, list[PositionedHost]]:
        """Which of the first `count` workers works on which hosts; none if all workers are lost."""

    def relay(self, operation: Operation) -> "FileRelay | None":
        """Brings files to workers that have not this machine's."""

    def remove(self, number: int) -> None:
        """A run is over."""


class _Moved:
    """How many bytes a run has moved, and how many it is going to, by what its workers say."""

    def __init__(self) -> None:
        self._latest: dict[Link, Moved] = {}

    def update(self, link: Link, message: Moved) -> None:
        """Note what a worker says."""
        self._latest[link] = message

    @property
    def moved(self) -> int:
        """Bytes that have moved."""
        return sum(message.moved for message in self._latest.values())

    def expected(self) -> float:
        """Bytes of all hosts."""
        return sum(message.expected for message in self._latest.values())


def _settings_of_each(settings: Settings, count: int) -> Settings:
    """What each of `count` workers is to keep to, so that all together keep to the settings."""
    rate = settings.limit_rate_all
    return replace(
        settings,
        engine="threads",
        fanout=settings.fanout if settings.together else settings.fanout // count,
        limit_rate_all=rate / count if rate else None,
        batch=None,
        canary=0,
        max_fail=None,
    )


def _host_result(done: HostDone, host: Host, description: str, out: Output, err: Output) -> HostResult:
    outcome, reason = done.outcome, done.reason
    if out.room is not None:
        outcome, reason = unless_not_kept(outcome, reason, out.room.trouble)
    return HostResult(
        host=host,
        index=done.position,
        description=description,
        outcome=outcome,
        return_code=done.return_code,
        out=out,
        err=err,
        attempts=done.attempts,
        reason=reason,
        started=done.started,
        finished=done.finished,
        requested=done.requested,
        confirmed=done.confirmed,
        dropped=done.dropped,
        unsupported=done.unsupported,
    )


def _is_picklable(function: object) -> bool:
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


class DistributedRun(Run):
    """A Run on several workers: on `count` of those that its engine has. `number` is its own in messages."""

    def __init__(
        self,
        workers: Workers,
        number: int,
        hosts: Sequence[Host],
        operation: Operation,
        settings: Settings,
        count: int,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
    ) -> None:
        super().__init__(len(hosts), operation)
        self.settings = settings
        self.shared: _Moved = _Moved()
        self._workers, self._number, self._count = workers, number, count
        self._host_list, self._operation = hosts, operation
        self._on_start, self._live = on_start, live
        # One after the other is one at a time, whoever works on it.
        rolled = replace(settings, batch=1) if settings.sequential else settings
        self._rollout = Rollout.of(rolled, len(hosts))
        #: Whether workers call `on_start`; otherwise this process does.
        self._callback_travels = workers.shares_filesystem and _is_picklable(on_start)
        #: Whether workers ask before they start what must not be repeated: if all are to start together, or
        #: if a worker can be lost before its message that something was started has come.
        self._needs_permission = not operation.repeatable and (
            settings.together or not self._callback_travels
        )
        self._relay = workers.relay(operation)
        self._lock = threading.RLock()
        self._assignment: Assignment[Link] = Assignment(len(hosts), self.finished_hosts)
        self._admitted: list[int] = []
        self._assigning = False
        self._outputs = PartialOutputs(settings.max_output, kept_by_workers=workers.shares_filesystem)
        self._halted = ""
        begin = BeginRun(
            number,
            folder=os.getcwd() if workers.shares_filesystem else None,
            operation=operation,
            settings=_settings_of_each(settings, count),
            live=live,
            needs_permission=self._needs_permission,
            reports_start=self._callback_travels or not self._needs_permission,
            on_start=on_start if self._callback_travels else None,
        )
        self._sender = HostSender(begin, self._relay, lambda: self._halted)

    def start(self) -> None:
        """Send the first hosts to workers."""
        self._admit(self._rollout.admitted(0))
        if not self._host_list:
            self._end()

    # -- hosts to workers

    def _admit(self, count: int) -> None:
        """Send the first `count` hosts to workers, those that were not sent before."""
        with self._lock:
            self._admitted += self._assignment.admit(count)
            if self._assigning:
                return  # results that come while hosts are assigned end here, not in recursion
            self._assigning = True
        while True:
            with self._lock:
                admitted, self._admitted = self._admitted, []
                self._assigning = bool(admitted)
            if not admitted:
                return
            self._assign(admitted)

    def _assign(self, positions: Iterable[int]) -> None:
        good = []
        for position in positions:
            host = self._host_list[position]
            try:
                if self._relay:
                    self._relay.check(host)
                good.append((position, host))
            except UsageError as error:
                self._conclude(position, Outcome.ERROR, str(error))
        with self._lock:
            assigned = self._workers.assign(good, self._count)
            for link, hosts in assigned.items():
                self._assignment.assign(link, [position for position, _ in hosts])
        for link, hosts in assigned.items():
            if self._sender.may_take_long:
                threading.Thread(target=self._send, args=(link, hosts), daemon=True).start()
            else:
                self._send(link, hosts)
        if good and not assigned:
            for position, _ in good:
                self._conclude(position, Outcome.ERROR, "no worker is left")

    def _send(self, link: Link, hosts: list[PositionedHost]) -> None:
        if not self._sender.send(link, hosts):
            for position, _ in hosts:
                self._conclude(position, Outcome.CANCELLED, self._halted)

    # -- messages from workers

    def handle(self, link: Link, message: RunUpdate) -> None:
        """Note what a worker says of this run."""
        match message:
            case Results(_, batch, hosts):
                for done in hosts:
                    self._finish_at_worker(link, batch, done)
            case Started(_, position):
                self._start(position)
            case Ready(_, position):
                with self._lock:
                    self._assignment.mark_ready(link, position)
                self._permit_ready()
            case Written():
                self._add_output(link, message)
            case Moved():
                self.shared.update(link, message)
            case BatchRefused(_, reason, positions):
                for position in positions:
                    self._conclude(position, Outcome.ERROR, reason)
            case RelayFromWorker(_, pulled):
                host = self._host_list[pulled.position]
                if self._relay is not None and (answer := self._relay.handle(pulled, host)) is not None:
                    link.send(RelayToWorker(self._number, answer))

    def _start(self, position: int) -> None:
        with self._lock:
            self._assignment.start(position, time.monotonic())
        if not self._callback_travels and self._on_start is not None:
            self._on_start(position)

    def _permit_ready(self) -> None:
        """Let hosts start that are ready to; if all are to start together, once all are."""
        with self._lock:
            if self._halted or (self.settings.together and not self._assignment.all_ready()):
                return
            ready = self._assignment.pop_ready()
            if not self._callback_travels:
                for positions in ready.values():
                    for position in positions:
                        self._start(position)
        for link, positions in ready.items():
            link.send(Permit(self._number, positions))

    def lose(self, link: Link) -> None:
        """A worker is lost: so is what it had started, unless that may be repeated; others do the rest."""
        with self._lock:
            lost, again = self._assignment.lose(link, repeatable=self._operation.repeatable)
        for position in lost:
            self._conclude(position, Outcome.LOST, f"{link.name}; {_MAY_HAVE_RUN}")
        for position in again:
            self._outputs.pop(position)
        if self._halted:
            for position in again:
                self._conclude(position, Outcome.CANCELLED, self._halted)
        else:
            self._assign(again)

    # -- output and results

    def _add_output(self, link: Link, message: Written) -> None:
        position = message.position
        if not self._assignment.works_on(link, position):
            return
        out, err = self._outputs.add(
            position, message.written, link.spools.get((self._number, message.batch))
        )
        if self._live:
            self.publish_output(OutputEvent(self._host_list[position], position, out, err))

    def _finish_at_worker(self, link: Link, batch: int, done: HostDone) -> None:
        position = done.position
        if not self._assignment.works_on(link, position):
            return  # it has been lost, or is done elsewhere by now
        if any(done.written):
            self._outputs.add(position, done.written, link.spools.get((self._number, batch)))
        done = done.without_skew(link.ahead, link.uncertain)
        if self._relay is not None:
            out, err = self._outputs.of(position)
            status = self._relay.end(position, done.outcome, done.return_code, done.reason, out, err)
            done = done._replace(outcome=status.outcome, return_code=status.return_code, reason=status.reason)
        self._finish(done)

    def _conclude(self, position: int, outcome: Outcome, reason: str) -> None:
        """End a host of which no worker says how it ended."""
        now = time.monotonic()
        self._finish(HostDone(position, outcome, reason=reason, started=now, finished=now))

    def _finish(self, done: HostDone) -> None:
        host = self._host_list[done.position]
        description = describe(self._operation, host, self.settings.user)
        counts = self.publish(_host_result(done, host, description, *self._outputs.pop(done.position)))
        with self._lock:
            self._assignment.finish(done.position)
        if counts is None:
            return
        if self._relay is not None:
            self._relay.discard(done.position)
        finished, failed = counts
        objection = "" if self._halted else self._rollout.objection(finished, failed)
        if objection:
            self._halt(objection)
        elif not self._halted:
            self._admit(self._rollout.admitted(finished))
            if self.settings.together:
                self._permit_ready()
        if finished == len(self._host_list):
            self._end()

    def _end(self) -> None:
        self._workers.remove(self._number)
        links = list(self._sender.links)
        for link in links:
            for key in [key for key in link.spools if key[0] == self._number]:
                del link.spools[key]  # outputs have it as long as they are there
        for link in links:
            link.send(EndRun(self._number))

    # -- its early end

    def _halt(self, reason: str) -> None:
        with self._lock:
            self._halted = reason
            pending = self._assignment.drop_pending()
            links = self._assignment.workers()
        for position in pending:
            self._conclude(position, Outcome.CANCELLED, reason)
        for link in links:
            link.send(Halt(self._number, reason))

    def under_way(self) -> list[tuple[Host, float]]:
        """The hosts on which something was started, and since which monotonic second."""
        return [(self._host_list[position], since) for position, since in self._assignment.under_way()]

    def cancel(self, patience: float = PATIENCE) -> None:
        """As every Run's."""
        self._halt("interrupted before it was started")
        with self._lock:
            links = self._assignment.workers()
        for link in links:
            link.send(Cancel(self._number, patience))
        self.wait(patience + 1)
        for position in set(range(len(self._host_list))) - self.finished_hosts:
            if self._assignment.has_started(position):
                self._conclude(position, Outcome.LOST, f"interrupted; {_MAY_HAVE_RUN}")
            else:
                self._conclude(position, Outcome.CANCELLED, self._halted)
