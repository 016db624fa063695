"""Scheduler: the one loop over hosts, with its threads and the tries of each host."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from ..model import Settings
from ..steps import MAY_BLOCK, Steps
from .host_queue import HostQueue

log = logging.getLogger("paramgmt_tasks")

#: Bytes of a worker's stack: of address space; memory is used for what is touched of it, some 50 kB.
_STACK = 1024 * 1024
#: Hosts that a description names.
_DESCRIBED = 50
_starting = threading.Lock()


def _start_thread(work: Callable[[], None]) -> None:
    with _starting:  # the size holds for all threads that start meanwhile
        before = threading.stack_size(_STACK)
        try:
            threading.Thread(target=work, name="paramgmt worker", daemon=True).start()
        finally:
            threading.stack_size(before)


class Work(Protocol):
    """What is done on each host, which is known by its index."""

    def attempt(self, index: int) -> Steps[None]:
        """One try on one host; raises if nothing came of it."""

    def on_error(self, index: int, error: BaseException) -> float | None:
        """A try has failed: the seconds after which another one follows, None if none does."""

    def on_end(self, index: int) -> None:
        """Nothing more is done on a host."""


class Attempts:
    """How often a host was tried, and since when."""

    def __init__(self) -> None:
        self.count = 0
        self.since = 0.0
        #: Why the last one failed, while another is to follow.
        self.last_error: BaseException | None = None

    def begin(self) -> None:
        """Another one."""
        self.since = self.since or time.monotonic()
        self.count += 1
        self.last_error = None


class Scheduler:
    """The one loop over `count` hosts, at most `settings.fanout` at once; nothing is done before `start`.

    `admitted` and `ask` are as for HostQueue.
    """

    def __init__(
        self,
        work: Work,
        count: int,
        settings: Settings,
        admitted: int | None = None,
        ask: Callable[[int], object] | None = None,
    ) -> None:
        self._work: Work | None = work
        self._count = count
        self._threads_allowed = fanout = 1 if settings.sequential else min(settings.fanout, count)
        self.queue = HostQueue(count, fanout, settings.sequential, admitted, ask)
        self.attempts = [Attempts() for _ in range(count)]
        self._threads = 0
        self._counting = threading.Lock()

    def start(self) -> None:
        """Begin with the hosts."""
        if self._count:
            self._start_worker()

    def stand_in(self) -> None:
        """Have another thread take over the other hosts, before this one blocks."""
        if not self.queue.take_over():
            self._start_worker()

    def _start_worker(self) -> None:
        with self._counting:
            if self._threads > self._threads_allowed:
                return
            self._threads += 1
        try:
            _start_thread(self._worker)
        except RuntimeError:
            with self._counting:
                self._threads -= 1
                if self._threads_allowed > self._threads:
                    log.warning("no more than %d threads can be started", self._threads)
                self._threads_allowed = self._threads
            if not self._threads:
                raise

    def _worker(self) -> None:
        if self._work is not None:
            self._loop(self._work)
        with self._counting:
            self._threads -= 1
            if not self._threads:
                self._work = None  # or only the search for cycles would free it

    def _loop(self, work: Work) -> None:
        """Work on hosts, in one of the threads, until there are none any more."""
        while (turn := self.queue.next()) is not None:
            index, steps = turn
            try:
                if steps is None:
                    self.attempts[index].begin()
                    steps = work.attempt(index)
                while (wait := next(steps, None)) is MAY_BLOCK:
                    self.stand_in()
                if wait is not None:
                    self.queue.park((index, steps), wait)
                    continue
            except BaseException as error:
                delay = work.on_error(index, error)
                if delay is not None:
                    self.attempts[index].last_error = error
                    self.queue.requeue(index, delay)
                    continue
            work.on_end(index)
            self.queue.finish()

    def describe(self, names: Callable[[int], str], begun: Iterable[int]) -> list[str]:
        """Lines that tell who waits for what; `begun` are the indexes of hosts that are not finished."""
        now = time.monotonic()
        queue = self.queue.statistics()
        lines = [
            f"{queue.under_way} of at most {queue.fanout} hosts under way, {queue.ready} of them ready; "
            f"{queue.pausing} pausing, {queue.not_begun} not begun; {self._threads} threads"
        ]
        shown = sorted({*begun, *queue.waits})
        for index in shown[:_DESCRIBED]:
            tries = self.attempts[index]
            wait = f"waits for {queue.waits[index]}" if index in queue.waits else "is being worked on"
            lines.append(f"{names(index)}: {wait} (try {tries.count}, {now - tries.since:.1f} s)")
        if len(shown) > _DESCRIBED:
            lines.append(f"and {len(shown) - _DESCRIBED} more hosts")
        return lines
