"""Ctrl-C and signals: they cancel a run, whose results still come."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from invoke import Exit

if TYPE_CHECKING:
    from ..execution import Run

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible(run: "Run") -> Iterator[list[int]]:
    """Ctrl-C, TERM and HUP cancel the run, and its results go on to come; a second one ends at once.

    The list that is yielded has the signal's number in it, once there was one.

    Raises:
        Exit: a second one.
    """
    interrupted: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(number)
        # Not here: a handler runs in between, and must not wait for a lock that is held.
        threading.Thread(target=_cancel, args=(run,), daemon=True).start()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread may handle signals
        return
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield interrupted
    except KeyboardInterrupt:
        run.cancel(patience=0)
        raise Exit(code=130) from None
    except BaseException:
        run.cancel()
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _cancel(run: "Run") -> None:
    if sys.stderr.isatty():
        print("\ninterrupted: ending what runs; once more ends at once", file=sys.stderr)
    run.cancel()
