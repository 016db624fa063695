"""Assignment: which worker works on which hosts of a run, and how far they are. No threads, no messages."""

from collections import deque
from collections.abc import Iterable, Set
from typing import Generic, TypeVar

_Worker = TypeVar("_Worker")


class Assignment(Generic[_Worker]):
    """The hosts of a run, by their position in its list, on their way to results.

        pending → admitted → assigned → (ready →) started → finished
                     ↑___________|___________________|
                              worker lost

    `finished` is the run's own set of hosts that have results. Not safe for many threads.

    >>> assignment = Assignment[str](3, finished=set())
    >>> assignment.admit(2)
    [0, 1]
    >>> assignment.assign("one", [0]), assignment.assign("two", [1])
    (None, None)
    >>> assignment.start(0, 12.5)
    >>> assignment.lose("one", repeatable=False), assignment.lose("two", repeatable=False)
    (([0], []), ([], [1]))
    """

    def __init__(self, hosts: int, finished: Set[int]) -> None:
        self._hosts, self._finished = hosts, finished
        self._pending = deque(range(hosts))
        self._workers: dict[int, _Worker] = {}
        self._ready: set[int] = set()
        self._started: dict[int, float] = {}

    def admit(self, count: int) -> list[int]:
        """Those of the first `count` hosts that were not admitted before."""
        admitted = []
        while self._pending and self._pending[0] < count:
            admitted.append(self._pending.popleft())
        return admitted

    def drop_pending(self) -> list[int]:
        """Admit no more; the hosts that were not admitted."""
        pending, self._pending = list(self._pending), deque()
        return pending

    def assign(self, worker: _Worker, positions: Iterable[int]) -> None:
        """Have a worker work on these hosts."""
        self._workers.update(dict.fromkeys(positions, worker))

    def works_on(self, worker: _Worker, position: int) -> bool:
        """Whether a host is this worker's, and has no result yet."""
        return self._workers.get(position) is worker and position not in self._finished

    def workers(self) -> set[_Worker]:
        """The workers of all hosts."""
        return set(self._workers.values())

    # -- starting

    def mark_ready(self, worker: _Worker, position: int) -> None:
        """A host waits for permission to start at its worker."""
        if self.works_on(worker, position):
            self._ready.add(position)

    def all_ready(self) -> bool:
        """Whether no host is left that could still become ready."""
        if len(self._ready) + len(self._started) + len(self._finished) < self._hosts:
            return False  # which is so nearly always, and costs nothing to see
        return len(self._ready | self._started.keys() | self._finished) == self._hosts

    def pop_ready(self) -> dict[_Worker, list[int]]:
        """The hosts that wait for permission, by worker; they are not ready any more."""
        waiting, self._ready = self._ready - self._finished, set()
        by_worker: dict[_Worker, list[int]] = {}
        for position in waiting:
            by_worker.setdefault(self._workers[position], []).append(position)
        return by_worker

    def start(self, position: int, now: float) -> None:
        """Something may run on a host, since `now` in monotonic seconds."""
        self._started[position] = now

    def has_started(self, position: int) -> bool:
        """Whether something may run on a host."""
        return position in self._started

    def under_way(self) -> list[tuple[int, float]]:
        """The hosts on which something may run, and since when."""
        return list(self._started.items())

    # -- the end

    def finish(self, position: int) -> None:
        """A host has its result."""
        self._started.pop(position, None)

    def lose(self, worker: _Worker, *, repeatable: bool) -> tuple[list[int], list[int]]:
        """A worker is lost; its unfinished hosts: those not to be started again, and those that may be.

        The latter have no worker any more.
        """
        unfinished = [position for position in self._workers if self.works_on(worker, position)]
        lost = [position for position in unfinished if not repeatable and position in self._started]
        again = [position for position in unfinished if repeatable or position not in self._started]
        for position in again:
            del self._workers[position]
            self._ready.discard(position)
            self._started.pop(position, None)
        return lost, again
