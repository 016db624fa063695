"""Steps: work that says what it waits for instead of waiting, so that one thread can do that of many hosts.

Steps are a generator that yields a Wait whenever it cannot go on. Whoever runs them waits for it, for one
host (`run_to_end`) or for many at once (`Reactor`), and resumes them; they then look for themselves what has
come.
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
from typing import Generic, Protocol, TypeVar

#: Seconds that the system can wait at once: as milliseconds they have 31 bits, and more is an error.
LONGEST_WAIT = 2_000_000.0

Job = TypeVar("Job")
Result = TypeVar("Result")


class Wait:
    """What steps wait for."""

    def block(self) -> None:
        """Wait for it in this thread."""


#: What follows may block the thread: another one has to take over the other hosts.
MAY_BLOCK = Wait()

Steps = Generator[Wait, None, Result]


class WaitForPermission(Wait):
    """The wait of a host that is ready to start; `on_permit` is called when it may."""

    def __init__(self, on_permit: Callable[[], None]) -> None:
        self.on_permit = on_permit

    def __str__(self) -> str:
        return "permission to start"


class Gate(Protocol):
    """What lets only some hosts do something at once."""

    def free_at(self) -> float | None:
        """The monotonic second at which there may be a free slot; None if there is one now."""

    def wait(self) -> None:
        """Wait in this thread until there may be a free slot."""


class WaitForSlot(Wait):
    """The wait for a free slot of a gate."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __str__(self) -> str:
        return "a slot of the handshake gate"

    def block(self) -> None:
        """Wait for it in this thread."""
        self.gate.wait()


class WaitForIO(Wait):
    """A descriptor that is not ready, waited for until a deadline (monotonic seconds) if there is one.

    Without a descriptor it is a pause until then.
    """

    def __init__(self, descriptor: int | None, deadline: float | None, writable: bool = False) -> None:
        self.descriptor = descriptor
        self.deadline = deadline
        self.event = selectors.EVENT_WRITE if writable else selectors.EVENT_READ

    def __str__(self) -> str:
        what = "a pause" if self.descriptor is None else f"the host (descriptor {self.descriptor})"
        if self.deadline is None:
            return what
        return f"{what}, at most {max(0.0, self.deadline - time.monotonic()):.1f} s more"

    def on_watched(self, watch: "Reactor[Job]", number: int) -> bool:
        """The reactor `watch` has it from now on, under this number; whether it has been over before."""
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
    """Run steps to their end in this thread, and return what they return."""

    results: list[Result] = []

    def run() -> Generator[Wait, None, None]:
        results.append((yield from steps))

    for wait in run():
        wait.block()
    return results[0]


class Reactor(Generic[Job]):
    """Jobs that wait for descriptors. One thread polls; any thread may add a job, or resume one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # what is collected as garbage while it is held may resume a job
        self._numbers = itertools.count()
        self._waiting: dict[int, tuple[Job, WaitForIO, bool]] = {}
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
        """Have `poll` return a job when what it waits for is over, or its deadline has passed."""
        self.open()
        with self._lock:
            number = next(self._numbers)
            watched = wait.descriptor is not None and self._register(wait.descriptor, wait.event, number)
            self._waiting[number] = (job, wait, watched)
            if wait.deadline is not None:
                heapq.heappush(self._deadlines, (wait.deadline, number))
                if wait.deadline < self._wakes_at:
                    self.wake()
        if wait.on_watched(self, number):
            self.resume(number)

    def _register(self, descriptor: int, event: int, number: int) -> bool:
        """Watch a descriptor; if it was closed meanwhile, return False and resume its job at once."""
        try:
            with contextlib.suppress(KeyError):  # of a connection that was closed
                self._selector.unregister(descriptor)
            self._selector.register(descriptor, event, number)
        except (OSError, ValueError):
            self._resumed_jobs.append(number)
            return False
        return True

    def waiting(self) -> list[tuple[Job, WaitForIO]]:
        """The jobs that wait now, and what for."""
        with self._lock:
            return [(job, wait) for job, wait, _ in self._waiting.values()]

    def resume(self, number: int) -> None:
        """Have `poll` return a job at once, unless it has returned it."""
        with self._lock:
            self._resumed_jobs.append(number)
        self.wake()

    def resume_all(self) -> None:
        """Have `poll` return all jobs at once."""
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
            resumed, self._resumed_jobs = self._resumed_jobs, []
            return [job for number in (*ready, *resumed) for job in self._remove(number)]

    def _remove(self, number: int) -> list[Job]:
        """The job of this number, unless it was removed before."""
        found = self._waiting.pop(number, None)
        if found is None:
            return []
        job, wait, watched = found
        if watched and wait.descriptor is not None:
            key = self._selector.get_map().get(wait.descriptor)
            if key is not None and key.data == number:
                self._selector.unregister(wait.descriptor)
        return [job]

    def close(self) -> None:
        """Free the descriptors; nobody polls, or will."""
        if not self._opened:
            return
        self._selector.close()
        self._bell.close()
        self._ring.close()
