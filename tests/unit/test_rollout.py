import time

import pytest

from paramgmt_tasks import Fleet, Host, LocalCommand, Outcome, Settings, UsageError
from paramgmt_tasks.model.rollout import Rollout
from paramgmt_tasks.model.settings import share

HOSTS = [Host(f"h{n}", "") for n in range(10)]


@pytest.mark.parametrize("value", ["", "-1", "1.5", "101%", "x", "%", "1 0"])
def test_anything_else_than_a_number_or_a_share_is_an_error(value: str) -> None:
    with pytest.raises(UsageError, match="must be a whole number of hosts"):
        share(value, 10)


def test_a_share_of_few_hosts_is_a_batch_of_one_all_the_same() -> None:
    assert Rollout.of(Settings(batch="10%"), 5).batch == 1


def test_a_batch_of_none_is_an_error_and_none_that_may_fail_is_not() -> None:
    with pytest.raises(UsageError, match="0: must be a whole number of hosts, 1 or more"):
        Rollout.of(Settings(batch=0), 5)
    assert Rollout.of(Settings(max_fail=0), 5).max_fail == 0


def test_a_host_that_waited_for_another_try_keeps_its_reason_where_no_more_begin() -> None:
    """One refuses and is to be tried again, when another fails."""
    hosts = [Host("refuses", "127.0.0.1", port=1), Host("fails", "127.0.0.1", port=1)]
    settings = Settings(attempts=50, connect_timeout=60, max_fail=0, fanout=1)
    with Fleet(hosts, settings) as fleet:
        run = fleet.run("true")
        while not any("refuses: waits for another try" in line for line in run.describe()):
            time.sleep(0.001)
        run.halt("not started: as a test has it")
        reasons = [(result.outcome, result.reason) for result in run.report()]
    assert reasons[0] == (Outcome.UNREACHABLE, "connection refused")


def outcomes(command: str, **settings) -> list[Outcome]:
    with Fleet(HOSTS, Settings(**settings)) as fleet:
        return [result.outcome for result in fleet.report(LocalCommand(command))]


def test_a_batch_is_finished_before_the_next_begins(tmp_path) -> None:
    log = tmp_path / "log"
    command = f"echo begin >>{log}; echo end >>{log}"
    assert set(outcomes(command, batch=3)) == {Outcome.OK}
    lines = log.read_text().split()
    for start in range(0, 20, 6):
        part = lines[start : start + 6]
        assert part.count("begin") == part.count("end") == len(part) / 2


def test_the_others_begin_only_where_the_canaries_are_ok() -> None:
    assert outcomes("test ?HOST != h1", canary=2) == [Outcome.OK, Outcome.FAILED, *[Outcome.CANCELLED] * 8]
    found = outcomes("test ?HOST != h5", canary=2)
    assert found.count(Outcome.OK) == 9
    assert found[5] is Outcome.FAILED


def test_no_more_begin_where_more_than_so_many_failed() -> None:
    command = "case ?HOST in h1|h2|h3) false;; esac"
    assert outcomes(command, sequential=True, max_fail=2)[3:] == [Outcome.FAILED, *[Outcome.CANCELLED] * 6]
    assert Outcome.CANCELLED not in outcomes(command, sequential=True, max_fail="30%")
    assert outcomes(command, sequential=True, max_fail=0)[2:] == [Outcome.CANCELLED] * 8


def test_batches_canaries_and_starting_together_exclude_each_other() -> None:
    for rolling in ({"batch": 2}, {"canary": 1}, {"max_fail": 0}):
        with (
            Fleet(HOSTS, Settings(together=True, **rolling)) as fleet,
            pytest.raises(UsageError, match="cannot start together"),
        ):
            fleet.report(LocalCommand("true"))
