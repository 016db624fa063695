"""SIGUSR1: which host of a run waits for what, on standard error, for reports of hangs."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from ..model import escaped

if TYPE_CHECKING:
    from ..execution import Run


@contextmanager
def described_on_signal(run: "Run") -> Iterator[None]:
    """Describe the run on standard error at each SIGUSR1, unless the signal is used for something else."""

    def describe() -> None:
        print("\n".join(map(escaped, run.describe())), file=sys.stderr, flush=True)

    def on_signal(number: int, frame: FrameType | None) -> None:
        # Not here: a handler runs in between, and must not wait for a lock that is held.
        threading.Thread(target=describe, daemon=True).start()

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGUSR1, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
