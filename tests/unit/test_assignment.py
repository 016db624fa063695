"""Which worker works on which hosts, and which of them another gets when it is lost."""

import pytest

from paramgmt_tasks.engines.assignment import Assignment


@pytest.fixture
def finished() -> set[int]:
    return set()


@pytest.fixture
def assignment(finished: set[int]) -> Assignment[str]:
    """Six hosts: the even ones at one worker, the odd ones at two."""
    assignment = Assignment[str](6, finished)
    assignment.admit(6)
    assignment.assign("one", [0, 2, 4])
    assignment.assign("two", [1, 3, 5])
    return assignment


def test_each_host_is_admitted_once() -> None:
    assignment = Assignment[str](5, set())
    assert assignment.admit(2) == [0, 1]
    assert assignment.admit(2) == []
    assert assignment.admit(4) == [2, 3]
    assert assignment.drop_pending() == [4]
    assert assignment.admit(5) == []


def test_unfinished_hosts_of_a_lost_worker_that_were_not_started_may_be_assigned_again(
    assignment: Assignment[str], finished: set[int]
) -> None:
    assignment.start(0, 1.0)
    finished.add(2)
    assert assignment.lose("one", repeatable=False) == ([0], [4])
    assert not assignment.works_on("one", 4)
    assignment.assign("two", [4])
    assert assignment.works_on("two", 4)
    lost, again = assignment.lose("two", repeatable=False)
    assert (lost, sorted(again)) == ([], [1, 3, 4, 5])


def test_what_is_repeatable_is_never_lost(assignment: Assignment[str]) -> None:
    assignment.start(0, 1.0)
    assert assignment.lose("one", repeatable=True) == ([], [0, 2, 4])
    assert not assignment.has_started(0)
    assert assignment.workers() == {"two"}


def test_ready_hosts_are_permitted_once_at_their_worker(
    assignment: Assignment[str], finished: set[int]
) -> None:
    for worker, position in (("one", 0), ("two", 1), ("one", 2)):
        assignment.mark_ready(worker, position)
    finished.add(2)
    assert assignment.pop_ready() == {"one": [0], "two": [1]}
    assert assignment.pop_ready() == {}


def test_what_a_lost_worker_says_late_counts_no_more(assignment: Assignment[str]) -> None:
    assignment.mark_ready("one", 0)
    assignment.lose("one", repeatable=False)
    assert assignment.pop_ready() == {}
    assignment.assign("two", [0])
    assignment.mark_ready("one", 0)
    assert assignment.pop_ready() == {}


def test_all_are_ready_once_each_host_is_ready_or_started_or_finished(
    assignment: Assignment[str], finished: set[int]
) -> None:
    for position in (1, 3, 5):
        assignment.mark_ready("two", position)
    assignment.start(0, 1.0)
    finished.add(2)
    assert not assignment.all_ready()
    assignment.mark_ready("one", 4)
    assert assignment.all_ready()


def test_a_host_that_is_both_started_and_finished_is_not_counted_twice(
    assignment: Assignment[str], finished: set[int]
) -> None:
    for position in (1, 3, 5):
        assignment.mark_ready("two", position)
    assignment.start(0, 1.0)
    finished.update({0, 2})
    assert not assignment.all_ready(), "host 4 is missing"


def test_under_way_is_what_was_started_and_has_no_result(assignment: Assignment[str]) -> None:
    assignment.start(0, 1.0)
    assignment.start(1, 2.0)
    assignment.finish(0)
    assert assignment.under_way() == [(1, 2.0)]
