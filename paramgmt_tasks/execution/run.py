"""Run: an operation under way on many hosts, as its users see it."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

from ..model import PATIENCE, Host, HostResult, OutputEvent, Report, count_outcomes
from .result_stream import ResultStream

#: Characters of an operation that `repr` shows.
_SHOWN = 80
#: Hosts that a description names.
_DESCRIBED = 50


class Amounts(Protocol):
    """How much the transfers of a run move."""

    @property
    def moved(self) -> int:
        """Bytes that have moved."""

    def expected(self) -> float:
        """Bytes of all hosts."""


class Unmoved:
    """The amounts of a run that transfers nothing."""

    moved = 0

    def expected(self) -> float:
        """No bytes."""
        return 0.0


class Run(ABC):
    """An operation under way on many hosts: an iterator over their results, as they finish.

    Every host gives exactly one result, even if the run is cancelled. Iterating, also from several
    threads, gives each result once; `report` has all of them, whoever has iterated before.
    """

    #: How much its transfers move.
    shared: Amounts

    def __init__(self, hosts: int, operation: object) -> None:
        self._hosts, self._doing = hosts, operation
        self._results = ResultStream(hosts)
        #: For those who work on the hosts.
        self.publish, self.publish_output = self._results.publish, self._results.publish_output
        #: The hosts whose results have come.
        self.finished_hosts = self._results.finished

    def __repr__(self) -> str:
        counts = count_outcomes(self._results.results())
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
        """The results as they come, and between them, if asked for, that hosts have written more."""
        return self._results.events()

    def drain(self) -> list[HostResult | OutputEvent]:
        """All events that have come, one at least; none if all results were handed out.

        They are for the caller to keep: `report` is without them.
        """
        return self._results.drain()

    def report(self) -> Report:
        """Wait for all hosts: all results, those too that were iterated over."""
        self.wait()
        return Report(self._results.results())

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until every host has its result, at most `seconds`; whether that is so."""
        return self._results.wait(seconds)

    @abstractmethod
    def under_way(self) -> list[tuple[Host, float]]:
        """The hosts that are being worked on, and since which monotonic second."""

    @abstractmethod
    def cancel(self, patience: float = PATIENCE) -> None:
        """Start nothing more and end what runs, also on the hosts; may be called from any thread.

        Hosts on which nothing was started become `cancelled`, those with a command under way `lost`.
        `patience` is how many seconds these are given to end it; what is left is broken off then.
        """

    def describe(self) -> list[str]:
        """Lines that tell how far it is and, as far as is known here, which host waits for what."""
        now = time.monotonic()
        begun = self.under_way()
        lines = [f"{host}: under way for {now - since:.1f} s" for host, since in begun[:_DESCRIBED]]
        more = [f"and {len(begun) - _DESCRIBED} more hosts"] if len(begun) > _DESCRIBED else []
        return [repr(self), *lines, *more]
