"""The one loop over hosts: fan-out, what is next, and another try where a host was not reached."""

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from paramiko.ssh_exception import ChannelException

from .connection import HostConnection
from .failures import classify
from .retry import Failure, RetryPolicy
from .settings import Settings
from .transport import Quiet
from .waiting import WaitingRoom

log = logging.getLogger("paramgmt_tasks")


#: Bytes of a worker's stack: of address space; memory is taken for what is used of it, some 50 kB.
_STACK = 1024 * 1024
_starting = threading.Lock()


def _start_thread(work: Callable[[], None]) -> None:
    with _starting:  # the size holds for all threads that start meanwhile
        before = threading.stack_size(_STACK)
        try:
            threading.Thread(target=work, name="paramgmt worker", daemon=True).start()
        finally:
            threading.stack_size(before)


class Hosts:
    """What there is to do next: hosts that answered, those whose pause is over, and those in order.

    No more than `fanout` are under way at once. Safe for many threads.
    """

    def __init__(self, count: int, fanout: int, in_order: bool) -> None:
        self._changed = threading.Condition()
        self._fresh = deque(range(count))
        self._pausing: list[tuple[float, int]] = []
        self._ready: deque[tuple[int, Iterator[Quiet]]] = deque()
        self._open = count
        self._under_way = 0
        self._fanout = fanout
        self._in_order = in_order
        self._idle = 0

    def wanting(self) -> bool:
        """Whether there is a host to begin with that nobody is free for."""
        return bool(self._fresh) and self._under_way < self._fanout and not self._idle

    def next(self) -> tuple[int, Iterator[Quiet] | None] | None:
        """The next host's index, with the steps to go on with or None where it is to be begun.

        Waits until there is one; None when there will be none any more.
        """
        with self._changed:
            while self._open > 0:
                if self._ready:
                    return self._ready.popleft()
                wait = None
                if self._under_way < self._fanout:
                    if self._pausing:
                        wait = self._pausing[0][0] - time.monotonic()
                        if wait <= 0:
                            self._under_way += 1
                            return heapq.heappop(self._pausing)[1], None
                    if self._fresh and not (self._in_order and self._pausing):
                        self._under_way += 1
                        return self._fresh.popleft(), None
                self._idle += 1
                self._changed.wait(wait)
                self._idle -= 1
            return None

    def resume(self, job: tuple[int, Iterator[Quiet]] | None) -> bool:
        """Have a host that was waited for gone on with; whether some are left that nobody is free for."""
        with self._changed:
            if job is not None:
                self._ready.append(job)
                self._changed.notify()
            return len(self._ready) > self._idle

    def again(self, index: int, delay: float) -> None:
        """Give a host back, to be tried again after `delay` seconds."""
        with self._changed:
            self._under_way -= 1
            heapq.heappush(self._pausing, (time.monotonic() + delay, index))
            self._changed.notify()

    def done(self) -> bool:
        """One host needs no more work; whether it was the last."""
        with self._changed:
            self._open -= 1
            self._under_way -= 1
            if self._open <= 0:
                self._changed.notify_all()
            else:
                self._changed.notify()
            return self._open <= 0

    def stop(self) -> list[int]:
        """Begin with none any more: those that were not under way."""
        with self._changed:
            rest = [*self._fresh, *(index for _, index in self._pausing)]
            self._fresh.clear()
            self._pausing.clear()
            self._open = self._under_way
            self._changed.notify_all()
            return rest


class _Tries:
    """How often a host was tried, and since when."""

    def __init__(self) -> None:
        self.count = 0
        self.since = 0.0

    def begin(self) -> None:
        self.since = self.since or time.monotonic()
        self.count += 1


class Work:
    """The one loop over hosts: fan-out, and a next try where a host was not reached."""

    def __init__(self, connections: Sequence[HostConnection], settings: Settings) -> None:
        self.connections = connections
        self.settings = settings
        self.tries = [_Tries() for _ in connections]
        self.stopped = False
        for connection in connections:
            connection.renew()
        fanout = 1 if settings.sequential else min(settings.fanout, len(connections))
        self.hosts = Hosts(len(connections), fanout, in_order=settings.sequential)
        self._fanout = fanout
        self._workers = 0
        self._counting = threading.Lock()
        self._room: WaitingRoom[tuple[int, Iterator[Quiet]]] | None = None
        for connection in connections:
            connection.on_admission = self._more_workers
        self._start_worker()

    def _more_workers(self, connection: HostConnection) -> None:
        """Start another worker, if a host is left and the handshake gate has let in all who are there.

        So there are as many as handshakes, and transfers or Fabric's methods, are under way, up to the
        fan-out. Commands that keep a worker waiting leave it, and wait in the room.
        """
        if self._workers < self._fanout and not connection.resources.gate.waiting and self.hosts.wanting():
            self._start_worker()

    def _start_worker(self) -> None:
        with self._counting:
            if self._workers == self._fanout:
                return
            self._workers += 1
        try:
            _start_thread(self._work)
        except RuntimeError:
            with self._counting:
                self._workers -= 1
                if self._fanout > self._workers:
                    log.warning("no more than %d threads can be started", self._workers)
                self._fanout = self._workers
            if not self._workers:
                raise

    def _work(self) -> None:
        while (turn := self.hosts.next()) is not None:
            index, steps = turn
            connection, tries = self.connections[index], self.tries[index]
            try:
                self._more_workers(connection)
                if steps is None:
                    tries.begin()
                    steps = self.do(index)
                quiet = next(steps, None)
                if quiet is not None:
                    self._waiting_room().enter((index, steps), quiet)
                    continue
            except BaseException as error:
                failure = classify(error)
                if failure.transient and not isinstance(error, ChannelException):
                    connection.discard()
                delay = self._pause(index, failure)
                if delay is not None:
                    self.hosts.again(index, delay)
                    continue
                self.fail(index, failure, error)
            if not self.settings.keep:
                connection.discard()
            if self.hosts.done() and self._room is not None:
                self._room.close()

    def _waiting_room(self) -> "WaitingRoom[tuple[int, Iterator[Quiet]]]":
        with self._counting:
            if self._room is None:
                self._room = WaitingRoom(self._resume)
            return self._room

    def _resume(self, job: tuple[int, Iterator[Quiet]] | None) -> bool:
        """Have a worker go on with a host; a backlog that lasts gets another worker."""
        left = self.hosts.resume(job)
        if left and job is None:
            self._start_worker()
        return left

    def _pause(self, index: int, failure: Failure) -> float | None:
        connection, tries = self.connections[index], self.tries[index]
        if self.stopped or not self.may_repeat(index):
            return None
        policy = RetryPolicy(self.settings.attempts, budget=connection.connect_timeout)
        return policy.delay(failure, tries.count, connection.spent)

    def do(self, index: int) -> Iterator[Quiet]:
        """One try on one host; raises where nothing came of it. Yields what it is kept waiting by."""
        raise NotImplementedError

    def may_repeat(self, index: int) -> bool:
        """Whether a try that failed has certainly started nothing."""
        return not self.connections[index].started

    def fail(self, index: int, failure: Failure, error: BaseException) -> None:
        """The last try failed."""
        raise NotImplementedError
