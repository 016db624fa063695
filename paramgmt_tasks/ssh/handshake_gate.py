"""The handshake gate: how many connections may be in key exchange and authentication at once.

Handshakes cost processor time on both sides, and too many at once make each other time out; what runs
afterwards waits for free. So the gate is narrow at first, and while this process has time to spare (the
hosts are far away, or slow to let people in) it is doubled for as long as that lets more hosts in a second.
It closes a little when the processor is used up, and halves when servers shed connections, as OpenSSH's
MaxStartups makes them do.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..steps import Steps, WaitForSlot
from .failures import classify

#: How far it opens and closes, and where it begins: below MaxStartups' 10 of an sshd as it is installed.
NARROWEST, FIRST, WIDEST = 3, 8, 128
#: Seconds after which a handshake no longer counts: its host is silent, and must not hold up the others.
PATIENCE = 0.5
#: Share of one processor below which there is room for more, and above which there are too many.
IDLE, BUSY = 0.8, 0.95
#: Seconds between two looks, at least; and after an opening that let no more in, before the next one.
WINDOW, REST = 0.1, 2.0
#: How many times as many a doubled gate must let in to stay so.
GAIN = 1.3
#: Share of shed connections to halve at.
SHED = 0.1


class HandshakeGate:
    """Admits handshakes; see the module's text. Safe for many threads, `clock` and `cpu` are seconds.

    It is one of `share` gates, which together are as wide as one.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
        share: int = 1,
    ) -> None:
        self._narrowest, self._first, self._widest = (
            max(1, -(-width // share)) for width in (NARROWEST, FIRST, WIDEST)
        )
        self.limit = self._first
        self._clock, self._cpu = clock, cpu
        self._changed = threading.Condition()
        self._inside: dict[object, float] = {}
        #: How many wait to be let in.
        self.waiting = 0
        self._watched = False
        self._before: tuple[int, float] | None = None  # the limit and the rate before a trial
        self._resting_until = 0.0
        self._look()

    def _look(self) -> None:
        self._window = (self._clock(), self._cpu())
        self._finished = self._shed = 0
        self._took = 0.0

    def acquire_slot(self) -> Steps[object]:
        """Steps until there is a place, which they return."""
        place = object()
        while not self._enter(place):
            with self._changed:
                self.waiting += 1
            try:
                yield WaitForSlot(self)
            finally:
                with self._changed:
                    self.waiting -= 1
        return place

    def _enter(self, place: object) -> bool:
        with self._changed:
            if self._until_free() is not None:
                return False
            self._inside[place] = self._clock()
            self._changed.notify()
            return True

    @contextmanager
    def handshake(self, place: object) -> Iterator[None]:
        """Hold a place, and learn from how the handshake ends."""
        congested = False
        try:
            yield
        except BaseException as error:
            congested = classify(error).congested
            raise
        finally:
            with self._changed:
                self._took += self._clock() - self._inside.pop(place)
                self._finished += 1
                self._shed += congested
                self._adapt()
                self._changed.notify(2)

    def free_at(self) -> float | None:
        """None where there is a place, else the second at which the oldest handshake stops counting."""
        with self._changed:
            pause = self._until_free()
            return None if pause is None else self._clock() + pause

    def wait(self) -> None:
        """Wait in this thread until there may be a place."""
        with self._changed:
            pause = self._until_free()
            if pause is not None:
                self._wait(pause)

    def _until_free(self) -> float | None:
        """None where there is a place, else seconds until the oldest handshake stops counting."""
        now = self._clock()
        counted = [since for since in self._inside.values() if now - since < PATIENCE]
        if len(counted) < self.limit:
            return None
        return min(counted) + PATIENCE - now

    def _wait(self, pause: float) -> None:
        # Only one of those waiting watches the clock: a thousand would all wake up for nothing.
        watching = not self._watched
        self._watched = True
        try:
            self._changed.wait(pause if watching else None)
        finally:
            if watching:
                self._watched = False

    def _adapt(self) -> None:
        now, (since, used) = self._clock(), self._window
        elapsed = now - since
        # A changed limit shows in the rate only after a handshake's time.
        if elapsed < max(WINDOW, 1.5 * self._took / self._finished):
            return
        share, rate = (self._cpu() - used) / elapsed, self._finished / elapsed
        before, self._before = self._before, None
        if self._shed > SHED * self._finished:
            self._narrow(self.limit // 2, now)
        elif share > BUSY:
            self._narrow(min(self.limit, max(self._first, self.limit - self.limit // 8)), now)
        elif before is not None and (self._shed or rate < before[1] * GAIN):
            self._narrow(before[0], now)
        elif now < self._resting_until or not self.waiting:
            pass
        elif share < IDLE:
            self._before = (self.limit, rate)
            self.limit = min(self._widest, self.limit * 2)
        self._look()

    def _narrow(self, limit: int, now: float) -> None:
        self.limit = max(self._narrowest, limit)
        self._resting_until = now + REST
