"""Whoever waits for results heeds signals."""

import signal
import threading
from collections.abc import Callable

import pytest

from paramgmt_tasks import Host, HostResult, Outcome
from paramgmt_tasks.execution import result_stream
from paramgmt_tasks.execution.result_stream import ResultStream


def next_event(stream: ResultStream) -> object:
    return next(stream.events())


@pytest.mark.parametrize("wait", [next_event, ResultStream.wait, ResultStream.drain])
def test_a_signal_that_does_not_wake_who_waits_is_heeded_all_the_same(
    wait: Callable[[ResultStream], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_stream, "_LOOKS_AGAIN", 0.05)
    stream = ResultStream(1)

    def finish() -> None:
        stream.publish(HostResult(Host("a", "a"), 0, "nothing", Outcome.CANCELLED, reason="interrupted"))

    # Received by another thread, as by this one right before it waits.
    send = threading.Timer(0.1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
    never = threading.Timer(10, finish)
    heed = lambda number, frame: threading.Thread(target=finish).start()  # noqa: E731
    previous = signal.signal(signal.SIGUSR1, heed)
    try:
        send.start()
        never.start()
        assert wait(stream)
        assert never.is_alive()
    finally:
        never.cancel()
        send.join()
        never.join()
        signal.signal(signal.SIGUSR1, previous)
