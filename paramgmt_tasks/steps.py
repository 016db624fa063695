"""Steps: work that says what it waits for instead of waiting, so that one thread can do that of many hosts.

Steps are a generator that yields a Wait whenever it cannot go on. Who runs them waits for it, alone
(`finish`) or for many at once (`Watch`), and resumes them; they then see for themselves what has come.
"""

import contextlib
import heapq
import itertools
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

#: Seconds that the system can wait at once: as milliseconds they have 31 bits, and more is an error.
LONGEST_WAIT = 2_000_000.0

Job = TypeVar("Job")
Result = TypeVar("Result")


class Wait:
    """What steps wait for."""

    def block(self) -> None:
        """Wait for it in this thread."""


#: What follows may block the thread: another one has to look after the rest.
MAY_BLOCK = Wait()

Steps = Generator[Wait, None, Result]


class WaitForPermission(Wait):
    """What a host waits for that is ready to go on, but not before it may; `go` is called then."""

    def __init__(self, go: Callable[[], None]) -> None:
        self.on_permit = go


class WaitForIO(Wait):
    """A descriptor that is not ready, waited for until a deadline (monotonic seconds) if there is one.

    Without a descriptor it is a pause until then.
    """

    def __init__(self, descriptor: int | None, deadline: float | None, writable: bool = False) -> None:
        self.descriptor = descriptor
        self.deadline = deadline
        self.event = selectors.EVENT_WRITE if writable else selectors.EVENT_READ

    def on_watched(self, watch: "Reactor[Job]", number: int) -> bool:
        """It is watched from now on; whether it has been over before."""
        return False

    def block(self) -> None:
        """Wait until the descriptor is ready or the deadline has passed."""
        left = None
        if self.deadline is not None:
            left = min(LONGEST_WAIT, max(0.0, self.deadline - time.monotonic()))
        polled = select.poll()
        if self.descriptor is not None:
            wanted = select.POLLOUT if self.event == selectors.EVENT_WRITE else select.POLLIN
            polled.register(self.descriptor, wanted)
        polled.poll(None if left is None else left * 1000)


def run_to_end(steps: Steps[Result]) -> Result:
    """Take all steps in this thread, and return what they return."""
    try:
        while True:
            next(steps).block()
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


class Reactor(Generic[Job]):
    """Jobs that wait for descriptors. One thread polls; any thread may add a job, or hurry one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # what is collected as garbage while it is held may hurry a job
        self._numbers = itertools.count()
        self._waiting: dict[int, tuple[Job, int | None]] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._resumed_jobs: list[int] = []
        self._wakes_at = 0.0
        self._opened = False

    def open(self) -> None:
        """Make ready to add and to poll, unless that is done; takes three descriptors until `close`."""
        with self._lock:
            if self._opened:
                return
            self._opened = True
            self._selector = selectors.DefaultSelector()
            self._bell, self._ring = socket.socketpair()
            self._bell.setblocking(False)
            self._ring.setblocking(False)
            self._selector.register(self._bell, selectors.EVENT_READ, None)

    def add(self, job: Job, wait: WaitForIO) -> None:
        """Have a job given by `poll` when what it waits for is over, or its deadline has passed."""
        self.open()
        with self._lock:
            number = next(self._numbers)
            watched = wait.descriptor is not None and self._register(wait.descriptor, wait.event, number)
            self._waiting[number] = (job, wait.descriptor if watched else None)
            if wait.deadline is not None:
                heapq.heappush(self._deadlines, (wait.deadline, number))
                if wait.deadline < self._wakes_at:
                    self.wake()
        if wait.on_watched(self, number):
            self.resume(number)

    def _register(self, descriptor: int, event: int, number: int) -> bool:
        """Watch a descriptor; False, and its job goes on at once, where it was closed meanwhile."""
        try:
            with contextlib.suppress(KeyError):  # of a connection that was closed
                self._selector.unregister(descriptor)
            self._selector.register(descriptor, event, number)
        except (OSError, ValueError):
            self._resumed_jobs.append(number)
            return False
        return True

    def resume(self, number: int) -> None:
        """Have a job given at once, unless it was."""
        with self._lock:
            self._resumed_jobs.append(number)
        self.wake()

    def resume_all(self) -> None:
        """Have all jobs given at once."""
        with self._lock:
            self._resumed_jobs.extend(self._waiting)
        self.wake()

    def wake(self) -> None:
        """End a poll under way."""
        if not self._opened:
            return
        with contextlib.suppress(OSError):
            self._ring.send(b"!")

    def poll(self, until: float | None) -> list[Job]:
        """The jobs that can go on; waits for one, or until monotonic seconds, or to be woken."""
        with self._lock:
            ends = [until] if until is not None else []
            ends += [self._deadlines[0][0]] if self._deadlines else []
            wakes_at = self._wakes_at = 0.0 if self._resumed_jobs else min(ends, default=float("inf"))
        left = None if wakes_at == float("inf") else min(LONGEST_WAIT, max(0.0, wakes_at - time.monotonic()))
        ready = []
        for key, _ in self._selector.select(left):
            if key.data is None:
                self._bell.recv(4096)
            else:
                ready.append(key.data)
        now = time.monotonic()
        with self._lock:
            self._wakes_at = 0.0
            while self._deadlines and self._deadlines[0][0] <= now:
                ready.append(heapq.heappop(self._deadlines)[1])
            hurried, self._resumed_jobs = self._resumed_jobs, []
            return [job for number in (*ready, *hurried) for job in self._take(number)]

    def _take(self, number: int) -> list[Job]:
        found = self._waiting.pop(number, None)
        if found is None:
            return []
        job, descriptor = found
        key = None if descriptor is None else self._selector.get_map().get(descriptor)
        if descriptor is not None and key is not None and key.data == number:
            self._selector.unregister(descriptor)
        return [job]

    def close(self) -> None:
        """Free the descriptors; nobody polls, or will."""
        if not self._opened:
            return
        self._selector.close()
        self._bell.close()
        self._ring.close()
