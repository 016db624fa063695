import json
from pathlib import Path

import pytest

from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.recipes.result_folder import ResultFolder, folders, latest

PLAN = {"recipe": "r", "parameters": {"n": [1, 2]}, "runs": 2, "hosts": {}, "order": "random"}


def run_of(root: Path, seed: int | None = 7, **changes: object) -> ResultFolder:
    return ResultFolder.create(root, {**PLAN, **changes, "seed": seed})


def finish(run: ResultFolder) -> None:
    for name in run.counted():
        run.points.write(name, {"result": 1})
    (run.path / "report.html").touch()


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    made = [run_of(tmp_path).path for _ in range(3)]
    assert folders(tmp_path) == sorted(made)
    assert len(set(made)) == 3


def test_the_newest_run_of_the_same_plan_goes_on(tmp_path: Path) -> None:
    older, newer = run_of(tmp_path / "a"), run_of(tmp_path / "b", seed=8)
    older.path.rename(tmp_path / "1")
    newer.path.rename(tmp_path / "2")
    run_of(tmp_path, runs=3)
    for seed, name in ((None, "2"), (8, "2"), (7, "1")):
        found = ResultFolder.resumable(tmp_path, PLAN, seed)
        assert found is not None
        assert found.path.name == name
    assert ResultFolder.resumable(tmp_path, PLAN, 9) is None


def test_a_run_is_finished_when_all_was_tried_and_analyzed(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert run.unfinished() == 4
    run.points.write("n=1,run=0", {"error": "failed, but tried"})
    assert run.unfinished() == 3
    (run.path / "report.html").touch()
    assert ResultFolder.resumable(tmp_path, PLAN, None) is not None
    finish(run)
    assert ResultFolder.resumable(tmp_path, PLAN, None) is None


@pytest.mark.parametrize("plan", ["", "[]", "{}", '{"recipe": "r"}', "{cut off"])
def test_a_folder_without_a_whole_plan_has_no_results(tmp_path: Path, plan: str) -> None:
    (tmp_path / "plan.json").write_text(plan)
    with pytest.raises(UsageError, match="no results of a run"):
        ResultFolder.read(tmp_path)
    assert ResultFolder.resumable(tmp_path.parent, PLAN, None) is None


def test_the_latest_run_is_found_from_above_and_from_itself(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no results yet: run the benchmark first"):
        latest(tmp_path)
    run = run_of(tmp_path)
    assert latest(tmp_path) == latest(run.path) == run.path


def test_what_is_known_of_machines_is_kept(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    assert run.machines() == {}
    run.write_machines({"before": {"a": {"cores": 2}}})
    assert run.machines() == json.loads((run.path / "machine.json").read_text())
    (run.path / "machine.json").write_text("{cut")
    assert run.machines() == {}
