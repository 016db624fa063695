"""The one loop over hosts: fan-out, what is next, and another try where a host was not reached."""

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from paramiko.ssh_exception import ChannelException

from .connection import HostConnection
from .failures import classify
from .retry import Failure, RetryPolicy
from .settings import Settings

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
    """Which host is next: those in order, and those whose pause is over. Safe for many threads."""

    def __init__(self, count: int, in_order: bool) -> None:
        self._changed = threading.Condition()
        self._fresh = deque(range(count))
        self._pausing: list[tuple[float, int]] = []
        self._open = count
        self._in_order = in_order
        self._idle = 0

    def wanting(self) -> bool:
        """Whether there is a host that nobody is free for."""
        return bool(self._fresh) and not self._idle

    def next(self) -> int | None:
        """The next host's index, waiting for a pause to end; None when there will be none any more."""
        with self._changed:
            while self._open > 0:
                now = time.monotonic()
                if self._pausing and self._pausing[0][0] <= now:
                    return heapq.heappop(self._pausing)[1]
                if self._fresh and not (self._in_order and self._pausing):
                    return self._fresh.popleft()
                self._idle += 1
                self._changed.wait(self._pausing[0][0] - now if self._pausing else None)
                self._idle -= 1
            return None

    def again(self, index: int, delay: float) -> None:
        """Give a host back, to be tried again after `delay` seconds."""
        with self._changed:
            heapq.heappush(self._pausing, (time.monotonic() + delay, index))
            self._changed.notify()

    def done(self) -> None:
        """One host needs no more work."""
        with self._changed:
            self._open -= 1
            if self._open <= 0:
                self._changed.notify_all()

    def stop(self) -> list[int]:
        """Start none any more: those that were not being worked on."""
        with self._changed:
            rest = [*self._fresh, *(index for _, index in self._pausing)]
            self._fresh.clear()
            self._pausing.clear()
            self._open = 0
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
        self.hosts = Hosts(len(connections), in_order=settings.sequential)
        self.stopped = False
        for connection in connections:
            connection.renew()
        self._fanout = 1 if settings.sequential else min(settings.fanout, len(connections))
        self._workers = 0
        self._counting = threading.Lock()
        for connection in connections:
            connection.on_admission = self._more_workers
        self._start_worker()

    def _more_workers(self, connection: HostConnection) -> None:
        """Start another worker, if a host is left and the handshake gate has let in all who are there.

        So there are as many as handshakes and commands are under way, up to the fan-out.
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
                self._workers = self._fanout = self._workers - 1
            if not self._workers:
                raise
            log.warning("no more than %d threads can be started: fan-out lowered to that", self._workers)

    def _work(self) -> None:
        while (index := self.hosts.next()) is not None:
            connection, tries = self.connections[index], self.tries[index]
            self._more_workers(connection)
            tries.begin()
            try:
                self.do(index)
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
            self.hosts.done()

    def _pause(self, index: int, failure: Failure) -> float | None:
        connection, tries = self.connections[index], self.tries[index]
        if self.stopped or not self.may_repeat(index):
            return None
        policy = RetryPolicy(self.settings.attempts, budget=connection.connect_timeout)
        return policy.delay(failure, tries.count, connection.spent)

    def do(self, index: int) -> None:
        """One try on one host; raises where nothing came of it."""
        raise NotImplementedError

    def may_repeat(self, index: int) -> bool:
        """Whether a try that failed has certainly started nothing."""
        return not self.connections[index].started

    def fail(self, index: int, failure: Failure, error: BaseException) -> None:
        """The last try failed."""
        raise NotImplementedError
