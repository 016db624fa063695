"""Who reads a connection: one of those who wait, for all of them. There is no socket here."""

import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from paramgmt_tasks.ssh.failures import NoAnswer
from paramgmt_tasks.ssh.paramiko_internals import message_pump
from paramgmt_tasks.ssh.paramiko_internals.message_pump import Awaited, MessagePump, WaitForMessage
from paramgmt_tasks.ssh.paramiko_internals.sockets import TooLate
from paramgmt_tasks.steps import MAY_BLOCK, Reactor, run_to_end

PATIENCE = 10


class Stream:
    """As much of one as a pump uses."""

    def __init__(self) -> None:
        self.waitable = True
        self.deadline: float | None = None
        self.waits = self.within_message = False
        self.enough: Callable[[], bool] = lambda: False
        self.settled = self.stalls = 0
        self.outbox = SimpleNamespace(flush=lambda deadline=None: None, on_stall=self.stall)

    def stall(self) -> None:
        self.stalls += 1

    def settle(self) -> None:
        self.settled += 1

    def fileno(self) -> int:
        return 7


class Source:
    """A connection whose messages are what is called for each."""

    def __init__(self) -> None:
        self.active, self.in_kex = True, False
        self.saved_exception: Exception | None = None
        self.messages: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.come: list[object] = []
        self.readers: list[str] = []
        self.stream = Stream()
        self.pump = MessagePump(self.stream)  # type: ignore[arg-type]

    def step(self) -> None:
        self.readers.append(threading.current_thread().name)
        if not self.stream.waits and self.messages.empty():
            raise TooLate
        self.messages.get()()

    def send(self, *messages: object) -> None:
        for message in messages:
            self.messages.put(lambda message=message: self.come.append(message))

    def has(self, *messages: object) -> Callable[[], bool]:
        return lambda: set(messages) <= set(self.come)

    def break_off(self, error: BaseException) -> None:
        assert isinstance(error, Exception)
        self.saved_exception, self.active = error, False
        self.pump.broken()

    def is_alive(self) -> bool:
        return False

    def wait(self, done: Callable[[], bool], deadline: float | None = None) -> bool:
        return self.pump.pump(self, done, deadline)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def start() -> Iterator[Callable[..., list[object]]]:
    """Call a function in a thread; the list has what it returned or raised once it has ended."""
    threads = []

    def begin(name: str, function: Callable[..., object], *args: Any) -> list[object]:
        results: list[object] = []

        def call() -> None:
            try:
                results.append(function(*args))
            except Exception as error:
                results.append(error)

        threads.append(threading.Thread(target=call, name=name))
        threads[-1].start()
        return results

    yield begin
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_it_reads_until_what_is_waited_for_has_come(source: Source) -> None:
    source.send("a", "b", "c")
    assert source.wait(source.has("b"))
    assert source.come == ["a", "b"], "and no further"
    assert source.wait(source.has("a")), "which came before"
    assert len(source.readers) == 2
    assert source.stream.settled == 1


def test_nothing_is_over_in_the_middle_of_a_key_exchange(source: Source) -> None:
    source.in_kex = True
    source.send("a", "b")
    source.messages.put(lambda: setattr(source, "in_kex", False))
    assert source.wait(source.has("a"))
    assert source.come == ["a", "b"]


def test_steps_wait_for_a_message_and_go_on_when_it_has_come(source: Source) -> None:
    steps = source.pump.until(source, source.has("a"))
    waits = [next(steps), next(steps)]  # its turn, and then for something to come
    assert isinstance(waits[1], WaitForMessage)
    assert waits[1].descriptor == 7
    source.send("a")
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value is True


def test_steps_end_at_their_deadline(source: Source) -> None:
    steps = source.pump.until(source, source.has("a"), time.monotonic() - 1)
    with pytest.raises(StopIteration) as end:
        [next(steps) for _ in range(3)]
    assert end.value.value is False
    assert source.active, "others may go on"


def test_a_key_exchange_that_stalls_breaks_the_connection(source: Source) -> None:
    source.in_kex = True
    assert run_to_end(source.pump.until(source, source.has("a"), time.monotonic() - 1)) is False
    assert not source.active


def test_what_is_no_socket_is_waited_for_in_a_thread(source: Source) -> None:
    source.stream.waitable = False
    source.send("a")
    steps = source.pump.until(source, source.has("a"))
    assert next(steps) is MAY_BLOCK
    with pytest.raises(StopIteration):
        next(steps)
    assert not source.stream.enough(), "which is not kept"


def test_a_host_that_is_always_ready_lets_others_have_the_thread(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(message_pump.time, "monotonic", lambda: now[0])

    def another() -> None:
        now[0] += message_pump.TURN / 10
        source.messages.put(another)

    source.messages.put(another)
    steps = source.pump.until(source, lambda: False)
    for _ in range(5):
        before = len(source.readers)
        wait = next(steps)
        assert (wait.descriptor, wait.deadline) == (None, now[0])  # type: ignore[attr-defined]
        assert len(source.readers) - before <= 12


def test_one_reads_for_all_and_another_goes_on_after_it(source: Source, start) -> None:
    first = start("first", source.wait, source.has("a"))
    until(lambda: bool(source.readers))
    second = start("second", source.wait, source.has("b"))
    third = start("third", source.wait, source.has("a"))
    source.send("a")
    until(lambda: bool(first and third))
    until(lambda: source.readers[-1] == "second")
    assert source.readers == ["first", "second"]
    source.send("b")
    until(lambda: bool(second))
    assert first == second == third == [True]


def test_who_does_not_read_gives_up_at_its_own_deadline(source: Source, start) -> None:
    first = start("first", source.wait, source.has("a"))
    until(lambda: bool(source.readers))
    assert source.wait(source.has("b"), time.monotonic() + 0.02) is False
    source.send("a")
    until(lambda: bool(first))
    assert source.readers == ["first"]


def test_who_does_not_read_looks_again_when_asked_to(source: Source, start) -> None:
    first = start("first", source.wait, source.has("a"))
    until(lambda: bool(source.readers))
    stop = threading.Event()
    second = start("second", source.wait, stop.is_set)
    stop.set()
    source.pump.look_again()
    until(lambda: bool(second))
    assert (first, second) == ([], [True])
    source.send("a")


def test_a_connection_that_breaks_wakes_all(source: Source, start) -> None:
    first = start("first", source.wait, source.has("a"))
    until(lambda: bool(source.readers))
    second = start("second", source.wait, source.has("b"))
    error = EOFError("gone")

    def fail() -> None:
        raise error

    source.messages.put(fail)
    until(lambda: bool(first and second))
    assert first == second == [error]
    with pytest.raises(EOFError, match="gone"):
        source.wait(source.has("b"))
    assert source.wait(lambda: True), "what has come has"


def test_a_message_that_breaks_off_breaks_the_connection(source: Source) -> None:
    def half() -> None:
        source.stream.within_message = True
        raise TooLate

    source.messages.put(half)
    assert source.wait(source.has("a"), time.monotonic() + 1) is False
    assert isinstance(source.saved_exception, EOFError)


def test_a_watched_wait_is_resumed_when_the_connection_breaks(source: Source) -> None:
    steps = source.pump.until(source, source.has("a"))
    wait = [next(steps), next(steps)][1]
    resumed: list[int] = []
    reactor = Reactor[str]()
    reactor.resume = resumed.append  # type: ignore[method-assign]
    assert isinstance(wait, WaitForMessage)
    assert wait.on_watched(reactor, 3) is False
    source.break_off(EOFError("gone"))
    assert resumed == [3]
    assert wait.on_watched(reactor, 4) is True, "nothing can come any more"


def test_an_event_is_waited_for_by_reading(source: Source) -> None:
    event = Awaited(source.wait, limit=5, what="no answer")
    source.messages.put(event.set)
    assert event.wait(0.1)
    assert source.readers


def test_an_event_that_does_not_come_in_time_says_so(source: Source) -> None:
    with pytest.raises(NoAnswer, match="no answer to it"):
        Awaited(lambda done, deadline: False, limit=5, what="no answer to it").wait()


def test_an_event_says_nothing_of_a_broken_connection_that_paramiko_explains(source: Source) -> None:
    source.break_off(EOFError("gone"))
    assert Awaited(source.wait, limit=5, what="").wait() is False
