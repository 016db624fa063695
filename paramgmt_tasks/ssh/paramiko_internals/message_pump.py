"""Who reads a connection: of those who wait for something to come over it, one reads for all.

paramiko gives each connection a thread that reads, and wakes up those who wait. Here the one who waits reads:
it reads messages from the connection until what it waits for has come. If several threads wait, the others
look again after each message, and one of them goes on reading when the first has what it waits for.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from ...steps import LONGEST_WAIT, MAY_BLOCK, Job, Reactor, Steps, WaitForIO
from ..failures import NoAnswer
from .pulse import Pulse
from .sockets import TooLate
from .stream import Stream

#: Seconds after which a host that is always ready lets others have the thread.
TURN = 0.005


def _never() -> bool:
    return False


class Source(Protocol):
    """What a pump reads: a transport. It is an argument of each call: the two must not keep each other."""

    active: bool
    #: Whether a key exchange is under way, before whose end nothing can be sent.
    in_kex: bool
    saved_exception: Exception | None

    def step(self) -> None:
        """Read a message and handle it.

        Raises:
            TooLate, EOFError, OSError, paramiko.SSHException: there is none, or none that can be used.
        """

    def ask_for_sign(self) -> None:
        """Send what the host answers at once if it lives."""

    def break_off(self, error: BaseException) -> None:
        """The connection is of no use any more."""

    def is_alive(self) -> bool:
        """Whether a thread of its own reads it."""


class MessagePump:
    """Elects who reads the messages of one connection, and has them wait for each other."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        #: Finds out that the host does not answer any more.
        self.pulse = Pulse(stream)
        self._turn = threading.Condition()
        #: The thread that reads.
        self._reader: int | None = None
        #: How many threads wait for what another reads.
        self._followers = 0
        #: When what waits here last went on, in monotonic seconds.
        self._resumed = 0.0
        #: Called when the connection breaks.
        self.on_break: Callable[[], object] | None = None

    def until(self, source: Source, done: Callable[[], bool], deadline: float | None = None) -> Steps[bool]:
        """Steps that read messages until `done`; they return False if the deadline passes first.

        Raises: as pump.
        """
        if not self._stream.waitable or source.is_alive():
            yield MAY_BLOCK
            return self.pump(source, done, deadline)
        now = time.monotonic()
        if now - self._resumed > TURN:
            yield WaitForIO(None, now)
            self._resumed = time.monotonic()
        while not self.pump(source, done, deadline, waits=False):
            if deadline is not None and time.monotonic() >= deadline:
                if source.in_kex:
                    source.break_off(EOFError("stalled in a key exchange"))
                return False
            self.look(source)
            now = time.monotonic()
            if now - self._resumed > TURN:
                yield WaitForIO(None, now)
            else:
                yield WaitForMessage(self, source, done, self.pulse.earlier(deadline))
            self._resumed = time.monotonic()
        return True

    def pump(
        self, source: Source, done: Callable[[], bool], deadline: float | None = None, waits: bool = True
    ) -> bool:
        """Read messages until `done`, which is asked after each; False if the deadline passes first.

        False also, unless it `waits`, if no message has begun to come, or others are to have the thread.

        Raises:
            EOFError, OSError, paramiko.SSHException: the connection is broken.
        """

        def over() -> bool:
            # Not in the middle of a key exchange: nothing can be sent before that is over.
            return done() and not (source.in_kex and source.active)

        try:
            self._stream.outbox.flush(deadline)
        except TooLate:
            return over()
        except BaseException as error:
            source.break_off(error)
            raise
        answer = self._wait_for_turn(source, over, deadline, waits)
        if answer is not None:
            return answer
        try:
            return self._read(source, over, deadline, waits)
        except TooLate:
            if self._stream.within_message or (source.in_kex and waits):
                source.break_off(EOFError("stalled in the middle of a message"))
                return done()
            return over()
        except BaseException as error:
            source.break_off(error)
            raise
        finally:
            self._stream.settle()
            self._stream.look, self._stream.looks_at = _never, math.inf
            if not self._stream.waitable:
                self._stream.enough = _never  # what was waited for is not to be kept
            self._reader = None
            self._wake_followers()

    def _wait_for_turn(
        self, source: Source, over: Callable[[], bool], deadline: float | None, waits: bool
    ) -> bool | None:
        """Wait while another thread reads: what `pump` returns, or None if this thread is to read now."""
        with self._turn:
            self._followers += 1
            try:
                while self._reader is not None and not over():
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    if not waits:
                        self._stream.outbox.on_stall()
                    self._turn.wait(None if left is None else min(left, LONGEST_WAIT))
            finally:
                self._followers -= 1
            if over():
                return True
            if not source.active:
                raise source.saved_exception or EOFError("connection closed")
            self._reader = threading.get_ident()
            return None

    def _read(self, source: Source, over: Callable[[], bool], deadline: float | None, waits: bool) -> bool:
        stream = self._stream
        while not over():
            if not waits and time.monotonic() - self._resumed > TURN:
                return False
            stream.deadline = deadline
            stream.waits = waits
            if self.pulse.due < math.inf:
                stream.look, stream.looks_at = partial(self._look_on, source), self.pulse.due
            if not stream.waitable:
                stream.enough = over
            stream.within_message = False
            source.step()
            self._wake_followers()
        return True

    def _look_on(self, source: Source) -> None:
        self.look(source)
        self._stream.looks_at = self.pulse.due

    def look(self, source: Source) -> None:
        """Look whether the host lives, if it is time to.

        Raises:
            Silent: it does not.
        """
        if self.pulse.due == math.inf:
            return
        try:
            self.pulse.look(source.ask_for_sign)
        except BaseException as error:
            source.break_off(error)
            raise

    def reads_here(self) -> bool:
        """Whether this thread is the one that reads."""
        return self._reader == threading.get_ident()

    def is_read_elsewhere(self) -> bool:
        """Whether another thread is the one that reads."""
        return self._reader not in (None, threading.get_ident())

    def attended(self, source: Source) -> bool:
        """Whether a thread reads what comes, or nothing can come any more."""
        with self._turn:
            return self._reader is not None or not source.active

    def look_again(self) -> None:
        """Have all threads that wait ask again whether what they wait for is there."""
        with self._turn:
            self._turn.notify_all()

    def broken(self) -> None:
        """The connection has broken: wake up all who wait."""
        self._wake_followers()
        if self.on_break is not None:
            self.on_break()

    def _wake_followers(self) -> None:
        if self._followers:
            self.look_again()

    @property
    def descriptor(self) -> int:
        """The descriptor that becomes readable when a message comes; -1 once closed."""
        return self._stream.fileno()


class WaitForMessage(WaitForIO):
    """A connection over which nothing comes, and what is waited for there."""

    def __init__(
        self, pump: MessagePump, source: Source, done: Callable[[], bool], deadline: float | None
    ) -> None:
        super().__init__(pump.descriptor, deadline)
        self._pump, self._source, self._done = pump, source, done

    def on_watched(self, watch: Reactor[Job], number: int) -> bool:
        """It is watched from now on; whether it has been over before."""
        self._pump.on_break = lambda: watch.resume(number)
        return self._pump.attended(self._source) or self._done()

    def block(self) -> None:
        """Wait in this thread."""
        with contextlib.suppress(Exception):  # whoever goes on meets it again
            self._pump.pump(self._source, self._done, self.deadline)


class Awaited(threading.Event):
    """An event that a message sets; to wait for it is to read messages, for `limit` seconds at most."""

    def __init__(self, pump: Callable[[Callable[[], bool], float], bool], limit: float, what: str) -> None:
        super().__init__()
        self._pump, self._limit, self._what = pump, limit, what

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set: if the connection breaks it is not, and paramiko says why.

        `timeout` is not heeded: paramiko gives a tenth of a second, again and again.

        Raises:
            NoAnswer: the limit has passed.
        """
        try:
            come = self._pump(self.is_set, time.monotonic() + self._limit)
        except Exception:
            return self.is_set()
        if not come:
            raise NoAnswer(self._what)
        return True
