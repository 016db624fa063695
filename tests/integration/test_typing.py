"""What a user's type checker says of the tasks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from paramgmt_tasks.tasks import keywords, lcmd, rcmd, rgroups, rhosts, rpull, rpush, rscript

ROOT = Path(__file__).parent.parent.parent
RIGHT = """\
from collections.abc import Iterable
from pathlib import Path

from invoke.context import Context

from paramgmt_tasks import Host, Report, RunFailed, namespace
from paramgmt_tasks.tasks import lcmd, rcmd, rhosts, rpull, rpush, rscript


def deploy(c: Context, trouble: Iterable[str]) -> Report:
    hosts: list[Host] = rhosts(c, hosts=["web"], exclude="web1")
    try:
        rpush(c, ["app"], machines=hosts, destination="/srv", changed=True, fanout=10, timeout=2.5)
    except RunFailed as failed:
        again: Report = failed.report
        rcmd(c, "uptime", machines=[result.host for result in again.failed], together=False)
    lcmd(c, "true", machines=trouble, env={"A": 1}, max_fail="10%", gather=None)
    rpull(c, "log", machines="a,b", destination=Path("logs"), limit_rate="10M", unsafe_links=True)
    rpush(c, Path("app"), machines="a", identity=Path("key"))
    rscript(c, ["s.sh"], sudo=True, canary=0)
    return rcmd(c, command="uptime", warn=True)


names: str | None = namespace.name
"""
WRONG = [
    'rcmd(c, "x", hostss=["web"])',
    'rcmd(c, "x", fanout=[1])',
    'rcmd(c, "x", gather="maybe")',
    'rcmd(c, "x", changed=True)',
    'rcmd(c, "x", machines=1)',
    "rcmd(c, 1)",
    'rcmd("x")',
    'lcmd(c, "x", sudo=True)',
    'n: int = rcmd(c, "x")',
    "rhosts(c, warn=True)",
]


def test_the_tasks_are_typed_for_whoever_uses_them(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "right.py").write_text(RIGHT)
    head = "from invoke.context import Context\nfrom paramgmt_tasks.tasks import lcmd, rcmd, rhosts\n"
    head += "c = Context()\n"
    (tmp_path / "wrong.py").write_text(head + "\n".join(WRONG) + "\n")
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\n[mypy-invoke.*]\nimplicit_reexport = true\n"
        # As where it is installed: what is in the package itself is no affair of its users.
        "[mypy-paramgmt_tasks.*]\nfollow_imports = silent\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "."],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        timeout=120,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert {line.partition(":")[0] for line in errors} == {"wrong.py"}, done.stdout + done.stderr
    first = head.count("\n") + 1
    assert {int(line.split(":")[1]) for line in errors} == set(range(first, first + len(WRONG))), done.stdout


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (rhosts, keywords.ListingOptions),
        (rgroups, keywords.GroupOptions),
        (lcmd, keywords.RunOptions),
        (rcmd, keywords.CommandOptions),
        (rpush, keywords.PushOptions),
        (rpull, keywords.PullOptions),
        (rscript, keywords.RemoteOptions),
    ],
)
def test_each_option_is_typed_and_no_other(task, kind) -> None:
    typed = set(get_type_hints(kind))
    assert typed == {option.name for option in task.options} | set(task.keywords)


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
