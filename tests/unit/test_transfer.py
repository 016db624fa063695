import time

import pytest

from paramgmt_tasks.transfer import Pace


def test_a_pace_says_when_the_next_bytes_may_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    pace = Pace(1000)
    assert pace.free_at(500) == pytest.approx(100.4)  # a tenth of a second is made up for
    assert pace.free_at(500) == pytest.approx(100.9)
    monkeypatch.setattr(time, "monotonic", lambda: 200.0)
    assert pace.free_at(500) == pytest.approx(200.4), "idle time is not made up for"


def test_without_a_rate_bytes_may_move_at_once() -> None:
    assert Pace(None).free_at(10**12) == 0
