"""Run: an operation under way on many hosts, and its results as they arrive, for whoever wants them."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from ..model import PATIENCE, Host, HostResult, OutputEvent, Report, count_outcomes

#: Characters of an operation that `repr` shows.
_SHOWN = 80
#: Seconds after which a wait without an end looks again whether there was a signal.
_LOOKS_AGAIN = 0.5


class Amounts(Protocol):
    """How much the transfers of a run move."""

    @property
    def moved(self) -> int:
        """Bytes that have moved."""

    def expected(self) -> float:
        """Bytes of all hosts."""


class Run(ABC):
    """An operation under way on many hosts: an iterator over their results, as they finish.

    Every host gives exactly one result, also where the run is cancelled. Iterating, also from several
    threads, gives each result once; `report` has all of them, whoever has iterated before.
    """

    #: How much its transfers move.
    shared: Amounts

    def __init__(self, hosts: int, operation: object) -> None:
        self._doing = operation
        self._arrived = threading.Condition()
        self._events: deque[HostResult | OutputEvent] = deque()
        self._announced: set[int] = set()
        self._results: dict[int, HostResult] = {}
        self._hosts = self._left = hosts
        self._failed = 0
        #: The hosts whose results have come.
        self.finished_hosts: set[int] = set()

    def __repr__(self) -> str:
        with self._arrived:
            counts = count_outcomes(self._results.values())
        left = self._hosts - len(self.finished_hosts)
        known = ", ".join([*counts, *([f"{left} not finished"] if left else [])])
        doing = repr(self._doing)
        doing = doing if len(doing) <= _SHOWN else f"{doing[:_SHOWN]}…"
        hosts = f"{self._hosts} host{'s' * (self._hosts != 1)}"
        return f"<Run of {doing} on {hosts}{': ' * bool(known)}{known}>"

    def __iter__(self) -> Iterator[HostResult]:
        return self

    def __next__(self) -> HostResult:
        for event in self.events():
            if isinstance(event, HostResult):
                return event
        raise StopIteration

    def events(self) -> Iterator[HostResult | OutputEvent]:
        """The results as they come, and between them, if asked for, that hosts have more to say."""
        while True:
            with self._arrived:
                self._wait_until(lambda: self._events or not self._left)
                if not self._left:
                    return
                event = self._events.popleft()
                if isinstance(event, HostResult):
                    self._left -= 1
                    self._arrived.notify_all()
                else:
                    self._announced.discard(event.index)
            yield event

    def drain(self) -> list[HostResult | OutputEvent]:
        """As many events as have come, and one at least; none where all results were taken.

        They are for somebody else to keep: `report` is without them.
        """
        with self._arrived:
            self._wait_until(lambda: self._events or not self._left)
            events, self._events = list(self._events), deque()
            for event in events:
                if isinstance(event, HostResult):
                    self._left -= 1
                    del self._results[event.index]
                else:
                    self._announced.discard(event.index)
            self._arrived.notify_all()
            return events

    def report(self) -> Report:
        """Wait for all hosts: all results, those too that were iterated over."""
        self.wait()
        with self._arrived:
            return Report(self._results.values())

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until every host has its result, at most so many seconds; whether that is so."""
        with self._arrived:
            if seconds is None:
                self._wait_until(lambda: len(self.finished_hosts) == self._hosts)
                return True
            return self._arrived.wait_for(lambda: len(self.finished_hosts) == self._hosts, seconds)

    def _wait_until(self, done: Callable[[], object]) -> None:
        """Wait for what arrives, and heed signals meanwhile.

        A signal that comes right before Python waits for a lock, or to another thread, does not wake the main
        thread: without another look its handler would not run before something arrives.
        """
        while not self._arrived.wait_for(done, _LOOKS_AGAIN):
            pass

    @abstractmethod
    def under_way(self) -> list[tuple[Host, float]]:
        """The hosts that are being worked on, and since which monotonic second."""

    @abstractmethod
    def cancel(self, patience: float = PATIENCE) -> None:
        """Start nothing more and end what runs, also on the hosts; may be called from any thread.

        Hosts on which nothing was started become `cancelled`, those with a command under way `lost`.
        `patience` is how many seconds these are given to end it; what is left is broken off then.
        """

    def publish(self, result: HostResult) -> tuple[int, int] | None:
        """A result has come; how many have, and how many of them failed. None where the host had one."""
        with self._arrived:
            if result.index in self.finished_hosts:
                return None
            self.finished_hosts.add(result.index)
            self._failed += not result.ok
            self._results[result.index] = result
            self._events.append(result)
            self._arrived.notify_all()
            return len(self.finished_hosts), self._failed

    def publish_output(self, heard: OutputEvent) -> None:
        """A host has more to say, unless that is known or its result has come."""
        with self._arrived:
            if heard.index not in self._announced and heard.index not in self.finished_hosts:
                self._announced.add(heard.index)
                self._events.append(heard)
                self._arrived.notify_all()
