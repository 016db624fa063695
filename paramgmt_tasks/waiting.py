"""Where conversations wait while their hosts are quiet: all in one thread, which sleeps until one is not."""

import contextlib
import heapq
import itertools
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from .transport import Quiet

Job = TypeVar("Job")

#: Seconds after which hosts that have spoken, and are not yet attended to, are spoken of again.
_IMPATIENT = 0.05


class WaitingRoom(Generic[Job]):
    """Holds each job until its host speaks or its time is up, and gives it to `ready`, exactly once.

    `ready` says whether jobs are left that nobody attends to; it is asked again while they are, with None.
    """

    def __init__(self, ready: Callable[[Job | None], bool]) -> None:
        self._ready = ready
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, tuple[Job, Quiet, int]] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._wakes_at = float("inf")
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)
        threading.Thread(target=self._watch, name="paramgmt waiting room", daemon=True).start()

    def enter(self, job: Job, quiet: Quiet) -> None:
        """Let a job wait for its host."""
        with self._lock:
            number = next(self._numbers)
            quiet.transport.on_break = lambda: self._leave(number)
            descriptor = quiet.transport.fileno()
            self._waiting[number] = (job, quiet, descriptor)
            self._register(descriptor, number)
            if quiet.deadline is not None:
                heapq.heappush(self._deadlines, (quiet.deadline, number))
                if quiet.deadline < self._wakes_at:
                    self._wake()
        if quiet.over():  # before it was registered
            self._leave(number)

    def close(self) -> None:
        """End the thread; nobody waits any more."""
        with self._lock:
            self._closed = True
            self._wake()

    def _register(self, descriptor: int, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed already: over() says so
            with contextlib.suppress(KeyError):  # of a connection that was closed
                self._selector.unregister(descriptor)
            self._selector.register(descriptor, selectors.EVENT_READ, number)

    def _leave(self, number: int) -> bool:
        with self._lock:
            found = self._waiting.pop(number, None)
            if found is None:
                return False
            job, quiet, descriptor = found
            quiet.transport.on_break = None
            key = self._selector.get_map().get(descriptor)
            if key is not None and key.data == number:
                self._selector.unregister(descriptor)
        return self._ready(job)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._ring.send(b"!")

    def _watch(self) -> None:
        backlog, since = False, 0.0
        while True:
            now = time.monotonic()
            with self._lock:
                if self._closed:
                    break
                late = []
                while self._deadlines and self._deadlines[0][0] <= now:
                    late.append(heapq.heappop(self._deadlines)[1])
                self._wakes_at = self._deadlines[0][0] if self._deadlines else float("inf")
            for number in late:
                backlog = self._leave(number) or backlog
            if not backlog:
                since = now
            elif now - since >= _IMPATIENT:
                backlog, since = self._ready(None), now
            wakes_at = min(self._wakes_at, now + _IMPATIENT if backlog else float("inf"))
            for key, _ in self._selector.select(None if wakes_at == float("inf") else wakes_at - now):
                if key.data is None:
                    self._bell.recv(4096)
                else:
                    backlog = self._leave(key.data)
        self._selector.close()
        self._bell.close()
        self._ring.close()
