import threading

from paramgmt_tasks import Fleet, Host, LocalCommand, Outcome, Settings
from paramgmt_tasks.schedule import Hosts


def test_hosts_come_in_order_and_those_given_back_after_their_pause() -> None:
    hosts = Hosts(3, in_order=False)
    assert (hosts.next(), hosts.next()) == (0, 1)
    hosts.again(0, 0)
    assert (hosts.next(), hosts.next()) == (0, 2)


def test_in_order_a_host_is_finished_with_before_the_next() -> None:
    hosts = Hosts(2, in_order=True)
    assert hosts.next() == 0
    hosts.again(0, 0.01)
    assert hosts.next() == 0
    hosts.done()
    assert hosts.next() == 1


def test_nobody_waits_for_more_after_a_stop() -> None:
    hosts = Hosts(3, in_order=False)
    assert hosts.next() == 0
    assert hosts.stop() == [1, 2]
    hosts.done()
    ended = threading.Event()
    threading.Thread(target=lambda: (hosts.next(), ended.set()), daemon=True).start()
    assert ended.wait(5)


def test_no_worker_is_left_when_a_run_is_over() -> None:
    with Fleet([Host(name, name) for name in "abc"], Settings(fanout=2)) as fleet:
        report = fleet.report(LocalCommand("true"))
    assert [result.outcome for result in report] == [Outcome.OK] * 3
    for thread in threading.enumerate():
        if thread.name == "paramgmt worker":
            thread.join(5)
            assert not thread.is_alive()


def test_a_run_of_no_hosts_is_over_at_once() -> None:
    with Fleet([]) as fleet:
        assert len(fleet.report(LocalCommand("true"))) == 0
