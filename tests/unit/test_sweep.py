import json
import threading
import time
from pathlib import Path

import pytest

from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.recipes import sweep
from paramgmt_tasks.recipes.sweep import ResultStore, Step, StepFailed, points, run_steps


@pytest.fixture
def kept(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "points")


def recorder(done: list[str], failing: tuple[str, ...] = ()):
    def make(name: str, *after: str, **more) -> Step:
        def action() -> str:
            done.append(name)
            if name in failing:
                raise StepFailed(f"{name} is broken")
            return name.upper()

        return Step(name, action, after, **more)

    return make


def test_steps_are_done_in_their_order_as_far_as_dependencies_allow(kept: ResultStore) -> None:
    done: list[str] = []
    step = recorder(done)
    run_steps([step("b", "a"), step("c"), step("a"), step("d", "b", "c")], kept)
    assert done == ["c", "a", "b", "d"]
    assert kept.read("a")["result"] == "A"


def test_what_is_done_is_not_done_again_and_what_failed_is(kept: ResultStore) -> None:
    done: list[str] = []
    step = recorder(done, failing=("b",))
    first = run_steps([step("a"), step("b"), step("c")], kept)
    assert (first.total, first.found, first.done, first.failed) == (3, 0, 3, 1)
    assert kept.read("b") == {"step": "b", "seconds": kept.read("b")["seconds"], "error": "b is broken"}
    done.clear()
    second = run_steps([recorder(done)(name) for name in "abc"], kept)
    assert (done, second.found, second.failed) == (["b"], 2, 0)


def test_steps_after_one_that_failed_are_left_out(kept: ResultStore) -> None:
    done: list[str] = []
    step = recorder(done, failing=("a",))
    run_steps([step("a"), step("b", "a"), step("c", "b"), step("d")], kept)
    assert done == ["a", "d"]
    assert kept.read("b") is None


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


@pytest.mark.parametrize("max_parallel", [1, 3])
def test_no_more_than_asked_for_are_under_way(kept: ResultStore, max_parallel: int) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def action() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    run_steps([Step(str(n), action) for n in range(9)], kept, max_parallel=max_parallel)
    assert most[0] == max_parallel


def test_a_circle_is_named(kept: ResultStore) -> None:
    step = recorder([])
    with pytest.raises(UsageError, match=r"steps that wait for each other: .*a"):
        run_steps([step("a", "b"), step("b", "a")], kept)


def test_an_interruption_ends_what_is_under_way_and_writes_nothing_of_it(kept: ResultStore) -> None:
    stopped = threading.Event()

    def action() -> str:
        assert stopped.wait(10)
        return "cut off"

    def on_progress(step, progress, error) -> None:
        if step is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_steps(
            [Step("a", lambda: 1), Step("b", action)],
            kept,
            max_parallel=2,
            on_progress=on_progress,
            interrupt=stopped.set,
        )
    assert kept.done("a")
    assert kept.read("b") is None


def test_the_time_left_is_that_of_steps_alike(kept: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_warm_ups_come_first_and_runs_are_interleaved() -> None:
    found = points({"size": [1, 2], "via": ["u", "t"]}, runs=2, warmup=1)
    assert [(p.run, dict(p.parameters)["size"], dict(p.parameters)["via"]) for p in found] == [
        (run, size, via) for run in (-1, 0, 1) for size in (1, 2) for via in ("u", "t")
    ]


def test_a_random_order_follows_its_seed() -> None:
    one, again, other = (points({"n": range(20)}, 2, 1, "random", seed) for seed in (1, 1, 2))
    assert one == again != other
    assert [p.run for p in one[:20]] == [-1] * 20
    assert sorted(p.name for p in one) == sorted(p.name for p in other)
