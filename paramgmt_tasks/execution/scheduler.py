"""The one loop over hosts: fan-out, what is next, and another try where a host was not reached."""

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from paramiko.ssh_exception import ChannelException

from ..model import Failure, RetryPolicy, Settings
from ..ssh import HandshakeGate, HostConnection, WaitForSlot, classify
from ..steps import MAY_BLOCK, Reactor, Steps, Wait, WaitForIO, WaitForPermission

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


#: A host's index, and the steps to go on with; None where it is to be begun.
Turn = tuple[int, Steps[None] | None]


class HostQueue:
    """What is to be done next, for the threads that ask; they need no more than one of them to be free.

    Hosts that answered come before those at the handshake gate, whose pause is over, and that are fresh.
    No more than `fanout` are under way at once, and only the first `admitted` begin. Those that wait for
    leave are told to `ask`, and have it from `go`; without `ask` they have it all together, once no other
    can come. A thread that finds nothing to do watches what is waited for; one that is about to block has
    another one take over.
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
        self._at_gate: deque[tuple[Turn, HandshakeGate]] = deque()
        self._waiting: dict[int, tuple[Turn, WaitForPermission]] = {}
        self._watch: Reactor[Turn] = Reactor()  # closed by the last thread that asks
        self._watching = False
        self._stopped = False
        self._open = count
        self._under_way = 0
        self._fanout = fanout
        self._in_order = in_order
        self._idle = 0

    def next(self) -> Turn | None:
        """What to do next; waits until there is something. None when there will not be any more."""
        with self._changed:
            while self._open > 0:
                turn, until = self._find()
                if turn is not None:
                    return turn
                if self._watching:
                    if until is not None:
                        self._watch.wake()  # who watches may not know that there is something to look at then
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
                    continue
                self._watching = True
                self._watch.open()
                self._changed.release()
                try:
                    ready = self._watch.poll(until)
                finally:
                    self._changed.acquire()
                    self._watching = False
                self._ready.extend(ready)
            if not self._watching:
                self._watch.close()
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
        """Have a turn taken when what it waits for is over."""
        if isinstance(wait, WaitForIO):
            self._watch.add(turn, wait)
        elif isinstance(wait, WaitForSlot):
            with self._changed:
                self._at_gate.append((turn, wait.gate))
        elif isinstance(wait, WaitForPermission):
            with self._changed:
                if self._stopped:
                    self._ready.append(turn)
                    return
                self._waiting[turn[0]] = turn, wait
                self._go_together()
            if self._ask is not None:
                self._ask(turn[0])
        else:
            raise TypeError(wait)

    def _go_together(self) -> None:
        """Let those go on that wait for each other, once no other can come."""
        if self._ask is None and self._waiting and len(self._waiting) == self._open and not self._stopped:
            self.permit(list(self._waiting))

    def permit(self, indexes: Iterable[int]) -> None:
        """Let hosts go on that wait for leave."""
        with self._changed:
            gone = [self._waiting.pop(index) for index in indexes if index in self._waiting]
            for _, wait in gone:
                wait.on_permit()
            self._ready.extend(turn for turn, _ in gone)
            self._wake()

    def _wake(self) -> None:
        """Have somebody look for what is ready."""
        self._changed.notify_all()
        if self._watching:
            self._watch.wake()

    def take_over(self) -> bool:
        """Have another thread go on while the caller blocks; False where there is none."""
        with self._changed:
            if self._idle and not self._watching:
                self._changed.notify()
            return self._watching or self._idle > 0

    def requeue(self, index: int, delay: float) -> None:
        """Give a host back, to be tried again after `delay` seconds."""
        with self._changed:
            self._under_way -= 1
            heapq.heappush(self._pausing, (time.monotonic() + delay, index))
            self._watch.wake()

    def finish(self) -> None:
        """One host needs no more work."""
        with self._changed:
            self._open -= 1
            self._under_way -= 1
            self._go_together()
            self._see_to_the_end()

    def admit(self, count: int) -> None:
        """Let the first `count` hosts begin."""
        with self._changed:
            if count > self._admitted:
                self._admitted = count
                self._watch.wake()

    def stop(self) -> list[int]:
        """Begin with none any more: those that were not under way."""
        with self._changed:
            rest = [*self._fresh, *(index for _, index in self._pausing)]
            self._fresh.clear()
            self._pausing.clear()
            self._open = self._under_way
            self._stopped = True
            self._deny()
            self._see_to_the_end()
            return rest

    def resume(self) -> None:
        """Have all go on that wait."""
        with self._changed:
            if self._open:
                self._ready.extend(turn for turn, _ in self._at_gate)
                self._at_gate.clear()
                self._deny()
                self._watch.resume_all()

    def _deny(self) -> None:
        """Have those go on that will not get leave; they see that for themselves."""
        if self._waiting:
            self._ready.extend(turn for turn, _ in self._waiting.values())
            self._waiting.clear()
            self._wake()

    def _see_to_the_end(self) -> None:
        if self._open == 0:
            self._wake()


class Attempts:
    """How often a host was tried, and since when."""

    def __init__(self) -> None:
        self.count = 0
        self.since = 0.0
        #: Why the last one failed, where another is to follow.
        self.last: tuple[Failure, BaseException] | None = None

    def begin(self) -> None:
        """Another one."""
        self.since = self.since or time.monotonic()
        self.count += 1
        self.last = None


class Scheduler:
    """The one loop over hosts: fan-out, and a next try where a host was not reached."""

    def __init__(
        self,
        connections: Sequence[HostConnection],
        settings: Settings,
        admitted: int | None = None,
        release: Callable[[HostConnection], object] = lambda connection: None,
        ask: Callable[[int], object] | None = None,
    ) -> None:
        self.connections = connections
        self._release = release
        self._leaving = threading.RLock()
        #: The hosts whose connections are in use.
        self.in_use = set(range(len(connections)))
        self.settings = settings
        self.tries = [Attempts() for _ in connections]
        self.stopped = False
        for connection in connections:
            connection.renew()
        fanout = 1 if settings.sequential else min(settings.fanout, len(connections))
        self.hosts = HostQueue(len(connections), fanout, settings.sequential, admitted, ask)
        self._fanout = fanout
        self._workers = 0
        self._counting = threading.Lock()
        for connection in connections:
            connection.on_stall = self._stand_in
        if connections:
            self._start_worker()

    def _stand_in(self) -> None:
        """Have another worker take over, before this one blocks."""
        if not self.hosts.take_over():
            self._start_worker()

    def _start_worker(self) -> None:
        with self._counting:
            if self._workers > self._fanout:
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
                if steps is None:
                    tries.begin()
                    steps = self.do(index)
                while (wait := next(steps, None)) is MAY_BLOCK:
                    self._stand_in()
                if wait is not None:
                    self.hosts.park((index, steps), wait)
                    continue
            except BaseException as error:
                failure = classify(error)
                if failure.transient and not isinstance(error, ChannelException):
                    connection.discard()
                delay = self._pause(index, failure)
                if delay is not None:
                    tries.last = failure, error
                    self.hosts.requeue(index, delay)
                    continue
                self.close_unless_kept(index)
                self.fail(index, failure, error)
            self.release(index)
            self.hosts.finish()

    def close_unless_kept(self, index: int) -> None:
        """Close the connection to a host unless it is kept, before whoever may close it too is told."""
        if not self.settings.keep:
            self.connections[index].discard()

    def release(self, index: int) -> None:
        """The connection to a host is not needed any more."""
        with self._leaving:
            if index not in self.in_use:
                return
            self.in_use.discard(index)
        self.connections[index].leave()
        self._release(self.connections[index])

    def for_each_in_use(self, action: Callable[[HostConnection], object]) -> None:
        """Do something with the connections in use, none of which is left meanwhile."""
        with self._leaving:
            for index in self.in_use:
                action(self.connections[index])

    def _pause(self, index: int, failure: Failure) -> float | None:
        connection, tries = self.connections[index], self.tries[index]
        if self.stopped or not self.may_repeat(index):
            return None
        policy = RetryPolicy(self.settings.attempts, budget=connection.connect_timeout)
        return policy.delay(failure, tries.count, connection.spent)

    def do(self, index: int) -> Steps[None]:
        """One try on one host, at the end of which it parts; raises where nothing came of it."""
        raise NotImplementedError

    def may_repeat(self, index: int) -> bool:
        """Whether a try that failed has certainly started nothing."""
        return not self.connections[index].started

    def fail(self, index: int, failure: Failure, error: BaseException) -> None:
        """The last try failed."""
        raise NotImplementedError
