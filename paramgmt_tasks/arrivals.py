"""Arrivals: the results of a run as they come, each host's once, for whoever iterates."""

import threading
from collections import deque
from collections.abc import Iterator

from .results import Heard, HostResult, Report


class Arrivals:
    """An iterator over the results of so many hosts, as they come; safe for many threads."""

    def __init__(self, hosts: int) -> None:
        self._arrived = threading.Condition()
        self._events: deque[HostResult | Heard] = deque()
        self._heard: set[int] = set()
        self._hosts = self._left = hosts
        self._failed = 0
        #: The hosts whose results have come.
        self.told: set[int] = set()

    def __iter__(self) -> Iterator[HostResult]:
        return self

    def __next__(self) -> HostResult:
        for event in self.events():
            if isinstance(event, HostResult):
                return event
        raise StopIteration

    def events(self) -> Iterator[HostResult | Heard]:
        """The results as they come, and between them, if asked for, that hosts have more to say."""
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._events or not self._left)
                if not self._left:
                    return
                event = self._events.popleft()
                if isinstance(event, HostResult):
                    self._left -= 1
                    self._arrived.notify_all()
                else:
                    self._heard.discard(event.index)
            yield event

    def several(self) -> list[HostResult | Heard]:
        """As many events as have come, and one at least; none where all results were taken."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._events or not self._left)
            events, self._events = list(self._events), deque()
            for event in events:
                if isinstance(event, HostResult):
                    self._left -= 1
                else:
                    self._heard.discard(event.index)
            self._arrived.notify_all()
            return events

    def report(self) -> Report:
        """Wait for all results; those that nobody has taken yet."""
        return Report(self)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until every host has its result, at most so many seconds; whether that is so."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self.told) == self._hosts, seconds)

    def put(self, result: HostResult) -> tuple[int, int] | None:
        """A result has come; how many have, and how many of them failed. None where the host had one."""
        with self._arrived:
            if result.index in self.told:
                return None
            self.told.add(result.index)
            self._failed += not result.ok
            self._events.append(result)
            self._arrived.notify_all()
            return len(self.told), self._failed

    def hear(self, heard: Heard) -> None:
        """A host has more to say, unless that is known or its result has come."""
        with self._arrived:
            if heard.index not in self._heard and heard.index not in self.told:
                self._heard.add(heard.index)
                self._events.append(heard)
                self._arrived.notify_all()
