"""What type checkers make of programs over this package, as it is installed."""

import os
import subprocess
import sys
from pathlib import Path

from paramgmt_tasks.model.settings import Changes, Settings

#: Of the lines with a comment a checker has to complain, of all others it must not.
PROGRAM = """
from paramgmt_tasks import Cycle, Fleet, HostResult, Report, Results, Run, Settings
from paramgmt_tasks import Fleett  # type: ignore[attr-defined]


def deploy() -> bool:
    with Fleet(["web[1-3]"], Settings(env={"JOBS": "8"}, timeout=5)) as fleet:
        run: Run = fleet.run("uptime", timeout=60, env={"JOBS": "8"}, batch="10%")
        for result in run:
            print(result.host, result.outcome)
        report: Report = run.report()
        first: HostResult = report[0]
        some: list[HostResult] = report[1:]
        pairs: tuple[tuple[str, str], ...] = fleet.settings.env
        fleet.run("uptime", tiemout=60)  # type: ignore[call-arg]
        fleet.run("uptime", timeout="60")  # type: ignore[arg-type]
        fleet.run(["ls", "-l"])  # type: ignore[arg-type]
        fleet.run("uptime").reprot()  # type: ignore[attr-defined]
        Settings(env=5)  # type: ignore[arg-type]
        return report.ok and first.ok and bool(some) and bool(pairs)


def analyze(results: Results) -> None:
    results.say(str(results.samples))
    results.samlpes  # type: ignore[attr-defined]


def variables(cycle: Cycle) -> dict[str, list[dict[str, str]]]:
    cycle.adress  # type: ignore[attr-defined]
    return {"clients": [{"SERVER": cycle.address(host)} for host in cycle.hosts["clients"]]}
"""


def test_programs_are_checked_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    elsewhere = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "program.py"],
        cwd=tmp_path,
        env=elsewhere,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Cannot find" not in done.stdout, "an older editable install: pip install -e '.[dev]' again"
    assert done.stdout == "Success: no issues found in 1 source file\n"


def test_settings_of_one_call_are_all_settings() -> None:
    ours, theirs = Changes.__annotations__, dict(Settings.__annotations__)
    assert list(ours) == list(theirs)
    assert {name for name in ours if repr(ours[name]) != repr(theirs[name])} == {"env"}
