import pytest

from paramgmt_tasks.model.results import Outcome
from paramgmt_tasks.model.retry import Failure, RetryPolicy

REFUSED = Failure(Outcome.UNREACHABLE, "refused", transient=True)
SHED = Failure(Outcome.UNREACHABLE, "closed", transient=True, congested=True)
DENIED = Failure(Outcome.DENIED, "denied")


def longest(low: float, high: float) -> float:
    assert low == 0
    return high


def test_the_pause_doubles_up_to_its_cap() -> None:
    policy = RetryPolicy(attempts=9, base=0.25, cap=1, uniform=longest)
    assert [policy.delay(REFUSED, attempt, 0) for attempt in (1, 2, 3, 4)] == [0.25, 0.5, 1, 1]


def test_the_pause_is_longer_after_a_connection_was_shed() -> None:
    policy = RetryPolicy(base=0.25, uniform=longest)
    assert policy.delay(SHED, 1, 0) == 4 * policy.delay(REFUSED, 1, 0)


def test_the_pause_is_drawn_from_nothing_up() -> None:
    assert RetryPolicy(uniform=lambda low, high: low).delay(REFUSED, 1, 0) == 0


@pytest.mark.parametrize(
    ("failure", "attempt", "spent"),
    [(DENIED, 1, 0.0), (REFUSED, 3, 0.0), (REFUSED, 1, 10.0)],
    ids=["a permanent failure", "the last attempt", "the time is used up"],
)
def test_no_further_try(failure: Failure, attempt: int, spent: float) -> None:
    assert RetryPolicy(attempts=3, budget=10).delay(failure, attempt, spent) is None
