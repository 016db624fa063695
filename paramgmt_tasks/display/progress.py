"""A line on the terminal while files are copied: how far, how much, how fast, how many hosts are done."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_WIDTH = 24
_EVERY = 0.2
_ERASE = "\r\x1b[K"


class Progress:
    """Redraws a line on `stream` five times a second; `moved` gives the bytes, `expected` those of all."""

    def __init__(
        self, stream: TextIO, hosts: int, moved: Callable[[], int], expected: Callable[[], float]
    ) -> None:
        self.done = 0
        self._stream, self._hosts, self._moved, self._expected = stream, hosts, moved, expected
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._since = time.monotonic()
        self._thread = threading.Thread(target=self._redraw, name="paramgmt progress", daemon=True)
        self._thread.start()

    def line(self, seconds: float) -> str:
        """The line after so many seconds."""
        moved, expected = self._moved(), self._expected()
        share = max(self.done / self._hosts, min(1.0, moved / expected) if expected else 0.0)
        bar = "#" * int(share * _WIDTH)
        rate = f"{amount(moved / seconds)}/s" if seconds > 0 else ""
        return f"[{bar:{_WIDTH}}] {amount(moved):>8} {rate:>10}  {self.done}/{self._hosts} hosts"

    def _redraw(self) -> None:
        while not self._over.wait(_EVERY):
            with self._lock:
                if not self._over.is_set():
                    self._stream.write(_ERASE + self.line(time.monotonic() - self._since))
                    self._stream.flush()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The line is away while something else is written."""
        with self._lock:
            self._stream.write(_ERASE)
            self._stream.flush()
            yield

    def close(self) -> None:
        """Take the line away for good."""
        self._over.set()
        self._thread.join()
        self._stream.write(_ERASE)
        self._stream.flush()


def amount(count: float) -> str:
    """Bytes in words.

    >>> amount(512), amount(1_500_000), amount(2e10)
    ('512 B', '1.5 MB', '20.0 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
