"""Pulse: finds out that a host does not answer any more (ServerAliveInterval of ssh_config(5))."""

import array
import fcntl
import math
import termios
import time
from collections.abc import Callable

from ..failures import Silent
from .stream import Stream


class Pulse:
    """Asks a host for a sign of life when nothing has come from it for a while, as whoever waits has it do.

    It costs nothing until then: what has come is compared each `interval` seconds, and there is no thread.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._interval, self._most, self._asked = math.inf, 0, 0
        self._before: object = None
        #: When to look next, in monotonic seconds.
        self.due = math.inf

    def begin(self, interval: float, most: int) -> None:
        """Ask after each `interval` seconds of silence; `most` questions may be without an answer."""
        self._interval, self._most = interval, most
        self.due = time.monotonic() + interval

    def earlier(self, deadline: float | None) -> float | None:
        """A deadline, or when to look if that comes before."""
        if self.due == math.inf:
            return deadline
        return self.due if deadline is None else min(deadline, self.due)

    def look(self, ask: Callable[[], None]) -> None:
        """Look whether the host lives, if it is time to; `ask` asks it for a sign of life.

        Raises:
            Silent: it does not.
        """
        now = time.monotonic()
        if now < self.due:
            return
        self.due = now + self._interval
        progress = self._progress()
        if progress != self._before:
            self._before, self._asked = progress, 0
        if self._asked >= self._most:
            raise Silent(f"no answer for {self._interval * (self._asked + 1):g} s")
        self._asked += 1
        if not self._stream.outbox.unsent():  # or it would not leave
            ask()

    def _progress(self) -> object:
        """What changes as long as the host lives: what came from it, and what it took of what waits to go."""
        outbox = self._stream.outbox
        if not outbox.unsent() or not self._stream.waitable:
            return self._stream.received
        queued = array.array("i", [0])
        fcntl.ioctl(self._stream.fileno(), termios.TIOCOUTQ, queued)
        return self._stream.received, outbox.sent - queued[0]
