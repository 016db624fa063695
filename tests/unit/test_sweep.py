import json
import threading
from pathlib import Path

import pytest

from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.recipes import sweep
from paramgmt_tasks.recipes.result_folder import ResultStore
from paramgmt_tasks.recipes.sweep import Step, StepFailed, run_steps


@pytest.fixture
def kept(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "points")


def recorder(done: list[str], failing: tuple[str, ...] = ()):
    def make(name: str, **more) -> Step:
        def action() -> str:
            done.append(name)
            if name in failing:
                raise StepFailed(f"{name} is broken")
            return name.upper()

        return Step(name, action, **more)

    return make


def test_steps_are_done_in_their_order_and_a_failure_stops_none(kept: ResultStore) -> None:
    done: list[str] = []
    step = recorder(done, failing=("a",))
    run_steps([step("c"), step("a"), step("b")], kept)
    assert done == ["c", "a", "b"]
    assert kept.read("b")["result"] == "B"


def test_what_is_done_is_not_done_again_and_what_failed_is(kept: ResultStore) -> None:
    done: list[str] = []
    step = recorder(done, failing=("b",))
    first = run_steps([step("a"), step("b"), step("c")], kept)
    assert (first.total, first.found, first.done, first.failed) == (3, 0, 3, 1)
    assert kept.read("b") == {"step": "b", "seconds": kept.read("b")["seconds"], "error": "b is broken"}
    done.clear()
    second = run_steps([recorder(done)(name) for name in "abc"], kept)
    assert (done, second.found, second.failed) == (["b"], 2, 0)


def test_the_rest_is_left_where_one_failure_is_to_stop_all(kept: ResultStore) -> None:
    done: list[str] = []
    step = recorder(done, failing=("a",))
    run_steps([step("a"), step("b"), step("c")], kept, stop_on_failure=True)
    assert done == ["a"]


def test_what_is_not_kept_is_done_each_time(kept: ResultStore) -> None:
    done: list[str] = []
    steps = [recorder(done)("warm", kept=False), recorder(done)("a")]
    run_steps(steps, kept)
    progress = run_steps(steps, kept)
    assert done == ["warm", "a", "warm"]
    assert (progress.total, progress.found) == (1, 1)


def test_an_interruption_ends_what_is_under_way_and_writes_nothing_of_it(
    kept: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stopped = threading.Event(), threading.Event()
    real_wait = sweep.wait

    def action() -> str:
        begun.set()
        assert stopped.wait(10)
        return "cut off"

    def wait(futures: list) -> None:
        if kept.done("a"):
            assert begun.wait(10)
            raise KeyboardInterrupt
        real_wait(futures)

    monkeypatch.setattr(sweep, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        run_steps([Step("a", lambda: 1), Step("b", action)], kept, interrupt=stopped.set)
    assert kept.read("b") is None


def test_the_time_left_is_that_of_steps_alike() -> None:
    timing = sweep._Timing()
    steps = {name: Step(name, lambda: None, like=name[0]) for name in ("s1", "s2", "l1", "l2", "x1")}
    timing.add(steps["s1"], 1.0)
    timing.add(steps["l1"], 5.0)
    assert timing.left([steps["s2"], steps["l2"], steps["x1"]]) == 1 + 5 + 3


def test_a_result_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "points").write_text("in the way")
    with pytest.raises(UsageError, match=r"points.*: "):
        run_steps([Step("a", lambda: 1)], ResultStore(tmp_path / "points"))


def test_a_file_that_was_cut_off_counts_as_nothing(kept: ResultStore) -> None:
    kept.folder.mkdir()
    (kept.folder / "a.json").write_text('{"step": "a", "resu')
    run_steps([Step("a", lambda: 1)], kept)
    assert json.loads((kept.folder / "a.json").read_text())["result"] == 1
