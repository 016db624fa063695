import gc
import socket
import subprocess
import sys
import threading
import time
import weakref

from paramgmt_tasks import Fleet, Host, LocalCommand, Outcome, ParallelGroup, Settings
from paramgmt_tasks.execution.scheduler import Scheduler
from paramgmt_tasks.steps import Steps, WaitForIO, WaitForPermission


def test_no_worker_is_left_when_a_run_is_over() -> None:
    with Fleet([Host(name, name) for name in "abc"], Settings(fanout=2)) as fleet:
        report = fleet.report(LocalCommand("true"))
    assert [result.outcome for result in report] == [Outcome.OK] * 3
    for thread in threading.enumerate():
        if thread.name == "paramgmt worker":
            thread.join(5)
            assert not thread.is_alive()


def test_a_run_that_is_over_is_freed_without_a_search_for_cycles() -> None:
    gc.collect()
    gc.disable()
    try:
        with Fleet([Host(name, name) for name in "abc"]) as fleet:
            run = fleet.perform(LocalCommand("true"))
            assert run.report().ok
            freed = weakref.ref(run)
            del run
            ends = time.monotonic() + 5
            while freed() is not None:  # until its threads have ended
                assert time.monotonic() < ends
    finally:
        gc.enable()


def test_local_commands_need_neither_fabric_nor_connections() -> None:
    program = (
        "import sys; from paramgmt_tasks import Fleet; assert Fleet(['a', 'b']).local('true').report().ok; "
        "print([name for name in ('fabric', 'paramiko') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class Waiting:
    """Work that waits: host 0 for a descriptor, host 1 for permission, host 2 for its second try."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.tried, self.over = descriptor, False, threading.Semaphore(0)

    def attempt(self, index: int) -> Steps[None]:
        if index == 0:
            yield WaitForIO(self.descriptor, None)
        elif index == 1:
            yield WaitForPermission(lambda: None)
        elif not self.tried:
            self.tried = True
            raise OSError

    def on_error(self, index: int, error: BaseException) -> float | None:
        return 60.0 if isinstance(error, OSError) else None

    def on_end(self, index: int) -> None:
        self.over.release()


def test_a_scheduler_tells_who_waits_for_what() -> None:
    here, there = socket.socketpair()
    with here, there:
        work = Waiting(here.fileno())
        scheduler = Scheduler(work, 4, Settings(fanout=3), admitted=3)
        begins = scheduler.describe(str, [])
        scheduler.start()
        ends = time.monotonic() + 5
        while len(scheduler.queue.statistics().waits) < 3:
            assert time.monotonic() < ends
        first, *each = scheduler.describe(str, range(3))
        there.send(b"!")
        scheduler.queue.stop()
        assert work.over.acquire(timeout=5)
        assert work.over.acquire(timeout=5)
    assert begins == [
        "0 of at most 3 hosts under way, 0 of them ready; 0 pausing, 4 not begun; 0 threads",
    ]
    assert first == "2 of at most 3 hosts under way, 0 of them ready; 1 pausing, 1 not begun; 1 threads"
    assert each[0].startswith("0: waits for the host (descriptor ")
    assert each[1].startswith("1: waits for permission to start (try 1, ")
    assert each[2].startswith("2: waits for another try in ")


def test_a_run_of_no_hosts_is_over_at_once() -> None:
    assert len(ParallelGroup().perform(LocalCommand("true")).report()) == 0
