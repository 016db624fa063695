"""HostQueue: which host is worked on next."""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..steps import Gate, Reactor, Steps, Wait, WaitForIO, WaitForPermission, WaitForSlot

#: A host's index, and the steps to go on with; None for a host that is to be begun.
Turn = tuple[int, Steps[None] | None]


@dataclass(frozen=True)
class QueueStatistics:
    """How many hosts there are in each state, and what those wait for that wait, by their indexes."""

    not_begun: int
    pausing: int
    under_way: int
    fanout: int
    ready: int
    waits: dict[int, str]


class HostQueue:
    """What is to be done next, for the threads that ask; they need no more than one of them to be free.

        fresh ───── next ────▶ worked on by a thread ──── finish ───▶ finished
        ready ────── ″ ─────▶          │ │
        pausing ──── ″ ─────▶          │ └── requeue ──▶ pausing
                                       └──── park ─────▶ waiting for a descriptor (in the reactor), at the
                                                         handshake gate or for permission; then ready

    Hosts that are ready come before those at the gate, before those whose pause is over, before fresh ones.
    No more than `fanout` are under way at once (worked on, waiting or ready), and only the first `admitted`
    begin. `ask` is called with each host that waits for permission, which `permit` gives; without `ask` all
    are permitted together once no other can come. A thread that finds nothing to do polls the reactor; one
    that is about to block has another one take over.
    """

    def __init__(
        self,
        count: int,
        fanout: int,
        in_order: bool,
        admitted: int | None = None,
        ask: Callable[[int], object] | None = None,
    ) -> None:
        self._ask = ask
        self._changed = threading.Condition()
        self._admitted = count if admitted is None else admitted
        self._fresh = deque(range(count))
        self._pausing: list[tuple[float, int]] = []
        self._ready: deque[Turn] = deque()
        self._at_gate: deque[tuple[Turn, Gate]] = deque()
        self._waiting: dict[int, tuple[Turn, WaitForPermission]] = {}
        self._reactor: Reactor[Turn] = Reactor()  # closed by the last thread that asks
        self._is_polled = False
        self._stopped = False
        self._open = count
        self._under_way = 0
        self._fanout = fanout
        self._in_order = in_order
        self._idle = 0

    def next(self) -> Turn | None:
        """What to do next; waits until there is something. None when nothing will come any more."""
        with self._changed:
            while self._open > 0:
                turn, until = self._find()
                if turn is not None:
                    return turn
                if self._is_polled:
                    if until is not None:
                        self._reactor.wake()  # whoever polls may not know until when
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
                    continue
                self._is_polled = True
                self._reactor.open()
                self._changed.release()
                try:
                    ready = self._reactor.poll(until)
                finally:
                    self._changed.acquire()
                    self._is_polled = False
                self._ready.extend(ready)
            if not self._is_polled:
                self._reactor.close()
            return None

    def _find(self) -> tuple[Turn | None, float | None]:
        """A turn, or the monotonic second at which to look again if nothing comes before."""
        if self._ready:
            return self._ready.popleft(), None
        if self._at_gate:
            turn, gate = self._at_gate[0]
            free_at = gate.free_at()
            if free_at is None:
                self._at_gate.popleft()
                return turn, None
            return None, free_at
        if self._under_way >= self._fanout:
            return None, None
        if self._pausing and self._pausing[0][0] <= time.monotonic():
            self._under_way += 1
            return (heapq.heappop(self._pausing)[1], None), None
        if self._fresh and self._fresh[0] < self._admitted and not (self._in_order and self._pausing):
            self._under_way += 1
            return (self._fresh.popleft(), None), None
        return None, self._pausing[0][0] if self._pausing else None

    def park(self, turn: Turn, wait: Wait) -> None:
        """Put a turn aside until what it waits for is over."""
        if isinstance(wait, WaitForIO):
            self._reactor.add(turn, wait)
        elif isinstance(wait, WaitForSlot):
            with self._changed:
                self._at_gate.append((turn, wait.gate))
        elif isinstance(wait, WaitForPermission):
            with self._changed:
                if self._stopped:
                    self._ready.append(turn)
                    return
                self._waiting[turn[0]] = turn, wait
                self._permit_together()
            if self._ask is not None:
                self._ask(turn[0])
        else:
            raise TypeError(wait)

    def _permit_together(self) -> None:
        """Permit the hosts that wait for each other, once no other can come."""
        if self._ask is None and self._waiting and len(self._waiting) == self._open and not self._stopped:
            self.permit(list(self._waiting))

    def permit(self, indexes: Iterable[int]) -> None:
        """Let hosts go on that wait for permission."""
        with self._changed:
            permitted = [self._waiting.pop(index) for index in indexes if index in self._waiting]
            for _, wait in permitted:
                wait.on_permit()
            self._ready.extend(turn for turn, _ in permitted)
            self._wake()

    def _wake(self) -> None:
        """Have a thread look for what is ready."""
        self._changed.notify_all()
        if self._is_polled:
            self._reactor.wake()

    def take_over(self) -> bool:
        """Have another thread go on while the caller blocks; False if there is none."""
        with self._changed:
            if self._idle and not self._is_polled:
                self._changed.notify()
            return self._is_polled or self._idle > 0

    def requeue(self, index: int, delay: float) -> None:
        """Put a host back, to be tried again after `delay` seconds."""
        with self._changed:
            self._under_way -= 1
            heapq.heappush(self._pausing, (time.monotonic() + delay, index))
            self._reactor.wake()

    def finish(self) -> None:
        """One host needs no more work."""
        with self._changed:
            self._open -= 1
            self._under_way -= 1
            self._permit_together()
            self._wake_at_the_end()

    def admit(self, count: int) -> None:
        """Let the first `count` hosts begin."""
        with self._changed:
            if count > self._admitted:
                self._admitted = count
                self._reactor.wake()

    def stop(self) -> list[int]:
        """Begin with no more hosts; those that were not under way."""
        with self._changed:
            rest = [*self._fresh, *(index for _, index in self._pausing)]
            self._fresh.clear()
            self._pausing.clear()
            self._open = self._under_way
            self._stopped = True
            self._deny()
            self._wake_at_the_end()
            return rest

    def resume(self) -> None:
        """Have all hosts go on that wait."""
        with self._changed:
            if self._open:
                self._ready.extend(turn for turn, _ in self._at_gate)
                self._at_gate.clear()
                self._deny()
                self._reactor.resume_all()

    def _deny(self) -> None:
        """Have those go on that will not be permitted; they see that for themselves."""
        if self._waiting:
            self._ready.extend(turn for turn, _ in self._waiting.values())
            self._waiting.clear()
            self._wake()

    def _wake_at_the_end(self) -> None:
        if self._open == 0:
            self._wake()

    def statistics(self) -> QueueStatistics:
        """Who waits for what now."""
        with self._changed:
            waits = {turn[0]: str(wait) for turn, wait in self._reactor.waiting()}
            waits |= {turn[0]: str(WaitForSlot(gate)) for turn, gate in self._at_gate}
            waits |= {index: str(wait) for index, (_, wait) in self._waiting.items()}
            now = time.monotonic()
            waits |= {index: f"another try in {max(0.0, at - now):.1f} s" for at, index in self._pausing}
            return QueueStatistics(
                not_begun=len(self._fresh),
                pausing=len(self._pausing),
                under_way=self._under_way,
                fanout=self._fanout,
                ready=len(self._ready),
                waits=waits,
            )
