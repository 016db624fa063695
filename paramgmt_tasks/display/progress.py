"""A line on the terminal while hosts are worked on: how many are done, how fast, time left, who is slow."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from ..model import Host, HostResult, amount, duration, escaped

_WIDTH = 24
_EVERY = 0.2
#: Seconds before the line is drawn for the first time: a quick run needs none.
_FIRST = 1.0
_SLOWEST = 3
_ERASE = "\r\x1b[K"
#: Set while somebody is asked on the terminal: the line would be drawn over the question.
ASKING = threading.Event()


class StatusLine:
    """One line of a terminal, drawn over itself."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = False

    def draw(self, text: str) -> None:
        """Show as much of a text as the line holds, in place of what it showed before."""
        self._drawn = True
        self._stream.write(_ERASE + escaped(text)[: _columns(self._stream) - 1])
        self._stream.flush()

    def erase(self) -> None:
        """Show nothing, if something was drawn."""
        if self._drawn:
            self._drawn = False
            self._stream.write(_ERASE)
            self._stream.flush()


class ProgressLine:
    """Redraws a line on `stream` five times a second while it is entered as a context.

    `under_way` gives the hosts that are worked on, and since when; `copied`, if files are, the bytes that
    have moved and those of all hosts together.
    """

    def __init__(
        self,
        stream: TextIO,
        hosts: int,
        under_way: Callable[[], list[tuple[Host, float]]],
        copied: Callable[[], tuple[int, float]] | None = None,
    ) -> None:
        self._line, self._hosts, self._under_way, self._copied = StatusLine(stream), hosts, under_way, copied
        self._done = self._failed = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._since = time.monotonic()
        self._thread = threading.Thread(target=self._redraw, name="paramgmt progress", daemon=True)

    def __enter__(self) -> "ProgressLine":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the line away for good."""
        self._over.set()
        self._thread.join()
        self._line.erase()

    def on_result(self, result: HostResult) -> None:
        """One more host is done."""
        self._done += 1
        self._failed += not result.ok

    def line(self, now: float) -> str:
        """The line at `now`, a second of the monotonic clock."""
        elapsed = max(now - self._since, 1e-9)
        share = self._done / self._hosts
        bar = ""
        if self._copied is not None:
            moved, expected = self._copied()
            share = max(share, min(1.0, moved / expected) if expected else 0.0)
            bar = f"[{'#' * int(share * _WIDTH):{_WIDTH}}] {amount(moved)} {amount(moved / elapsed)}/s  "
        running = sorted(self._under_way(), key=lambda pair: pair[1])
        parts = [f"{self._done}/{self._hosts} hosts"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        parts.append(f"{len(running)} running")
        if self._done:
            parts.append(f"{self._done / elapsed:.3g}/s")
        if 0 < share < 1:
            parts.append(f"{duration(elapsed * (1 - share) / share)} left")
        slowest = ", ".join(f"{host} {duration(now - since)}" for host, since in running[:_SLOWEST])
        return bar + ", ".join(parts) + (f"; slowest: {slowest}" if slowest else "")

    def _redraw(self) -> None:
        pause = _FIRST
        while not self._over.wait(pause):
            pause = _EVERY
            with self._lock:
                if not self._over.is_set() and not ASKING.is_set():
                    self._line.draw(self.line(time.monotonic()))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the line away while something else is written."""
        with self._lock:
            self._line.erase()
            yield


def _columns(stream: TextIO) -> int:
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or 80
    return 80
