import queue
import socket
import threading
import time

from paramgmt_tasks.execution.host_queue import HostQueue
from paramgmt_tasks.ssh.handshake_gate import HandshakeGate
from paramgmt_tasks.steps import (
    MAY_BLOCK,
    Steps,
    WaitForIO,
    WaitForPermission,
    WaitForSlot,
    run_to_end,
)


def steps() -> Steps[None]:
    yield MAY_BLOCK


def begun(hosts: HostQueue) -> int:
    turn = hosts.next()
    assert turn is not None
    assert turn[1] is None
    return turn[0]


def end(hosts: HostQueue, under_way: int) -> None:
    for _ in range(under_way):
        hosts.finish()
    assert hosts.next() is None


def test_hosts_come_in_order_and_those_given_back_after_their_pause() -> None:
    hosts = HostQueue(3, fanout=3, in_order=False)
    assert [begun(hosts), begun(hosts)] == [0, 1]
    hosts.requeue(0, 0)
    assert [begun(hosts), begun(hosts)] == [0, 2]


def test_in_order_a_host_is_finished_with_before_the_next() -> None:
    hosts = HostQueue(2, fanout=1, in_order=True)
    assert begun(hosts) == 0
    hosts.requeue(0, 0.01)
    assert begun(hosts) == 0
    hosts.finish()
    assert begun(hosts) == 1
    end(hosts, 1)


def test_a_host_that_answered_goes_on_before_another_is_begun() -> None:
    hosts = HostQueue(3, fanout=3, in_order=False)
    assert begun(hosts) == 0
    here, there = socket.socketpair()
    with here, there:
        turn = (0, steps())
        hosts.park(turn, WaitForIO(here.fileno(), deadline=None))
        assert begun(hosts) == 1
        there.send(b"!")
        assert begun(hosts) == 2, "nobody has looked yet"
        assert hosts.next() is turn
    end(hosts, 3)


def test_no_more_hosts_are_under_way_than_the_fanout() -> None:
    hosts = HostQueue(2, fanout=1, in_order=False)
    assert begun(hosts) == 0
    here, there = socket.socketpair()
    with here, there:
        turn = (0, steps())
        hosts.park(turn, WaitForIO(here.fileno(), deadline=time.monotonic() + 0.05))
        assert hosts.next() is turn, "its deadline has passed, and host 1 was not begun"
    hosts.finish()
    assert begun(hosts) == 1
    end(hosts, 1)


def test_one_that_blocks_is_stood_in_for_by_one_that_was_idle() -> None:
    hosts = HostQueue(2, fanout=2, in_order=False)
    assert [begun(hosts), begun(hosts)] == [0, 1]
    assert not hosts.take_over()
    threads = [threading.Thread(target=hosts.next, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + 5
    while not hosts.take_over():  # until the threads have come to wait
        assert time.monotonic() < ends
    hosts.finish()
    hosts.finish()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_who_polls_learns_of_a_host_that_came_to_the_gate_meanwhile() -> None:
    hosts = HostQueue(2, fanout=2, in_order=False)
    assert [begun(hosts), begun(hosts)] == [0, 1]
    gate = HandshakeGate()
    gate.limit = 1
    run_to_end(gate.acquire_slot())  # by a host that never says a word
    turns: queue.SimpleQueue[object] = queue.SimpleQueue()
    work = [threading.Thread(target=lambda: turns.put(hosts.next()), daemon=True) for _ in range(2)]
    work[0].start()
    ends = time.monotonic() + 5
    while not hosts.take_over():  # until it polls
        assert time.monotonic() < ends
    turn = (1, steps())
    hosts.park(turn, WaitForSlot(gate))
    work[1].start()
    assert turns.get(timeout=10) is turn
    hosts.finish()
    hosts.finish()
    assert turns.get(timeout=10) is None


def test_nobody_waits_for_more_after_a_stop() -> None:
    hosts = HostQueue(3, fanout=3, in_order=False)
    assert begun(hosts) == 0
    assert hosts.stop() == [1, 2]
    hosts.finish()
    ended = threading.Event()
    threading.Thread(target=lambda: (hosts.next(), ended.set()), daemon=True).start()
    assert ended.wait(5)


def test_hosts_that_wait_to_start_together_are_not_started_once_all_is_stopped() -> None:
    gone: list[int] = []
    hosts = HostQueue(2, fanout=2, in_order=False)
    first, second = hosts.next(), hosts.next()
    assert first is not None
    assert second is not None
    hosts.park(first, WaitForPermission(lambda: gone.append(1)))
    hosts.stop()
    hosts.finish()  # the other one; now all that are left wait
    assert gone == []
    hosts.resume()
    assert hosts.next() == first


def asking(count: int) -> tuple[HostQueue, list[int], list[int]]:
    """Hosts of which each has asked for permission, and lists of those that asked and that had it."""
    asked: list[int] = []
    gone: list[int] = []
    hosts = HostQueue(count, fanout=count, in_order=False, ask=asked.append)
    for index in range(count):
        hosts.park((begun(hosts), None), WaitForPermission(lambda index=index: gone.append(index)))
    return hosts, asked, gone


def test_hosts_ask_for_permission_and_go_on_once_they_have_it() -> None:
    hosts, asked, gone = asking(3)
    assert asked == [0, 1, 2]
    assert gone == [], "that no other can come permits nothing"
    hosts.permit([1])
    hosts.permit([1, 7])
    assert gone == [1]
    assert hosts.next() == (1, None)
    hosts.permit([0, 2])
    assert gone == [1, 0, 2]
    assert [hosts.next(), hosts.next()] == [(0, None), (2, None)]
    end(hosts, 3)


def test_others_begin_while_one_waits_for_permission() -> None:
    hosts = HostQueue(2, fanout=2, in_order=False, ask=lambda index: None)
    hosts.park((begun(hosts), None), WaitForPermission(lambda: None))
    assert begun(hosts) == 1


def test_permission_that_is_given_while_it_is_asked_for_is_not_missed() -> None:
    gone: list[int] = []
    hosts = HostQueue(1, fanout=1, in_order=False, ask=lambda index: hosts.permit([index]))
    hosts.park((begun(hosts), None), WaitForPermission(lambda: gone.append(0)))
    assert gone == [0]
    assert hosts.next() == (0, None)


def test_permission_is_denied_once_all_is_stopped() -> None:
    hosts, asked, gone = asking(2)
    hosts.permit([0])
    assert hosts.stop() == []
    assert [hosts.next(), hosts.next()] == [(0, None), (1, None)], "they see for themselves that it is over"
    hosts.permit([1])
    hosts.park((1, None), WaitForPermission(lambda: gone.append(1)))
    assert hosts.next() == (1, None)
    assert (asked, gone) == ([0, 1], [0])
    end(hosts, 2)
