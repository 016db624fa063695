"""ResultStream: the results of a run as they come, and what its hosts write meanwhile, for any thread."""

import threading
from collections import deque
from collections.abc import Callable, Iterator

from ..model import HostResult, OutputEvent

#: Seconds after which a wait without an end looks again whether there was a signal.
_LOOKS_AGAIN = 0.5


class ResultStream:
    """One result for each of `hosts` hosts, kept from when it is published. Each event is handed out once."""

    def __init__(self, hosts: int) -> None:
        self._changed = threading.Condition()
        self._events: deque[HostResult | OutputEvent] = deque()
        #: The hosts whose next output was announced, and is not handed out yet.
        self._announced: set[int] = set()
        self._results: dict[int, HostResult] = {}
        self._hosts = self._not_handed_out = hosts
        self._failed = 0
        #: The hosts whose results have come.
        self.finished: set[int] = set()

    # -- for those who work on hosts

    def publish(self, result: HostResult) -> tuple[int, int] | None:
        """Add a result; how many have come, and how many of them failed. None if the host had one before."""
        with self._changed:
            if result.index in self.finished:
                return None
            self.finished.add(result.index)
            self._failed += not result.ok
            self._results[result.index] = result
            self._events.append(result)
            self._changed.notify_all()
            return len(self.finished), self._failed

    def publish_output(self, event: OutputEvent) -> None:
        """Announce that a host has written more, unless that was announced or its result has come."""
        with self._changed:
            if event.index not in self._announced and event.index not in self.finished:
                self._announced.add(event.index)
                self._events.append(event)
                self._changed.notify_all()

    # -- for those who want to know

    def events(self) -> Iterator[HostResult | OutputEvent]:
        """Results and announcements as they come, until all results were handed out."""
        while True:
            with self._changed:
                self._wait_until(lambda: self._events or not self._not_handed_out)
                if not self._not_handed_out:
                    return
                event = self._events.popleft()
                self._hand_out(event)
            yield event

    def drain(self) -> list[HostResult | OutputEvent]:
        """All events that have come, one at least; none if all results were handed out.

        They are for the caller to keep: `results` is without them.
        """
        with self._changed:
            self._wait_until(lambda: self._events or not self._not_handed_out)
            events, self._events = list(self._events), deque()
            for event in events:
                self._hand_out(event)
                if isinstance(event, HostResult):
                    del self._results[event.index]
            return events

    def _hand_out(self, event: HostResult | OutputEvent) -> None:
        if isinstance(event, HostResult):
            self._not_handed_out -= 1
            self._changed.notify_all()
        else:
            self._announced.discard(event.index)

    def results(self) -> list[HostResult]:
        """The results that have come, those too that were handed out."""
        with self._changed:
            return list(self._results.values())

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until every host has its result, at most `seconds`; whether that is so."""
        with self._changed:
            if seconds is None:
                self._wait_until(lambda: len(self.finished) == self._hosts)
                return True
            return self._changed.wait_for(lambda: len(self.finished) == self._hosts, seconds)

    def _wait_until(self, done: Callable[[], object]) -> None:
        """Wait for what comes, and heed signals meanwhile.

        A signal that comes right before Python waits for a lock, or to another thread, does not wake the main
        thread: without another look its handler would not run before something comes.
        """
        while not self._changed.wait_for(done, _LOOKS_AGAIN):
            pass
