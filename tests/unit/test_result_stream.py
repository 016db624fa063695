"""Whoever waits for results heeds signals."""

import signal
import threading
from collections.abc import Callable

import pytest

from paramgmt_tasks import Host, HostResult, Outcome
from paramgmt_tasks.execution.result_stream import Run


class Waiting(Run):
    """A run of one host that is never worked on."""

    def under_way(self) -> list[tuple[Host, float]]:
        return []

    def cancel(self, patience: float = 0) -> None:
        self.publish(HostResult(Host("a", "a"), 0, "nothing", Outcome.CANCELLED, reason="interrupted"))


@pytest.mark.parametrize("wait", [next, Run.report, Run.drain])
def test_a_signal_that_does_not_wake_who_waits_is_heeded_all_the_same(wait: Callable[[Run], object]) -> None:
    run = Waiting(1, "nothing")
    # Received by another thread, as by this one right before it waits.
    send = threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
    never = threading.Timer(10, run.cancel)
    heed = lambda number, frame: threading.Thread(target=run.cancel).start()  # noqa: E731
    previous = signal.signal(signal.SIGUSR1, heed)
    try:
        send.start()
        never.start()
        assert wait(run)
        assert never.is_alive()
    finally:
        never.cancel()
        send.join()
        never.join()
        signal.signal(signal.SIGUSR1, previous)
