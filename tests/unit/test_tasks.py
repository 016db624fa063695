"""Invoke's dry run, what tasks give back where hosts fail, and the classic executables."""

import copy
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from invoke import Config, Context, Exit

from paramgmt_tasks import HostResult, Outcome, Report, RunFailed
from paramgmt_tasks.classic.api import Result
from paramgmt_tasks.model import parse_entry
from paramgmt_tasks.tasks import lcmd, rcmd, rpull, rpush, rscript

Project = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def project(run: Project, tmp_path: Path) -> Iterator[Project]:
    """Run a program in a project of somebody else's, with a task of its own and a benchmark."""
    (tmp_path / "tasks.py").write_text(
        "from invoke import Collection, task\n"
        "import paramgmt_tasks\n"
        "from paramgmt_tasks import Recipe, Role, benchmark\n"
        "from paramgmt_tasks.tasks import lcmd\n"
        "@task\n"
        "def mine(c):\n"
        "    c.run('touch mine')\n"
        "    report = lcmd(c, 'touch ?HOST', machines='a', dry_run=False)\n"
        "    assert report.ok and len(report) == 0\n"
        "touching = Recipe('touching', build='touch built', roles=(Role('clients', 'touch ran ?n',\n"
        "    files=('tasks.py',), config={'c': 'x'}, results=('r',)),), parameters={'n': [1, 2]})\n"
        "ns = Collection(mine, *paramgmt_tasks.namespace.tasks.values(), benchmark(touching))\n"
        "ns.add_collection(paramgmt_tasks.namespace.collections['sandbox'])\n"
    )

    yield run
    if (tmp_path / ".sandbox").exists():  # it was brought up where nothing was to be done
        run("inv", "sandbox.down")


# -- Invoke's dry run


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["mine"], "touch mine\nlcmd [a]: touch a\n"),
        (["lcmd", "-m", "a", "touch ran"], "lcmd [a]: touch ran\n"),
        (["lcmd", "-m", "a", "--no-dry-run", "touch ran"], "lcmd [a]: touch ran\n"),
        (["rcmd", "-m", "127.0.0.1:1", "touch ran"], "rcmd [127.0.0.1:1]: touch ran\n"),
        (["rpush", "-m", "a:1", "tasks.py"], "rpush [a:1]: tasks.py => a:1:~/\n"),
        (["rpull", "-m", "a:1", "-d", "ran", "x"], "rpull [a:1]: a:1:x => ran\n"),
        (["rscript", "-m", "a:1", "tasks.py"], "rscript [a:1]: running tasks.py\n"),
        (["rhosts", "-m", "a"], "a\n"),
        (["sandbox.up", "--count", "2"], "sandbox.up: 2 SSH servers on this machine"),
        (["sandbox.down"], "sandbox.down: "),
        (["demo"], "demo: 3 SSH servers on this machine"),
        (
            ["touching"],
            "build: touch built\nclients: localhost\n  push: tasks.py\n  configure: c\n  pull: r\n"
            "n=1,run=0: localhost: touch ran 1\nn=2,run=0: localhost: touch ran 2\n",
        ),
        (["touching.build"], "build: touch built\nclients: localhost\n"),
        (["touching.push"], "clients: localhost\n  push: tasks.py\n"),
        (
            ["touching.run"],
            "clients: localhost\nn=1,run=0: localhost: touch ran 1\nn=2,run=0: localhost: touch ran 2\n",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("way", ["--dry", "INVOKE_RUN_DRY"])
def test_a_dry_run_of_invokes_runs_nothing_and_shows_what_would_be_done(
    project: Project, tmp_path: Path, words: list[str], shown: str, way: str
) -> None:
    done = project("inv", "--dry", *words) if way == "--dry" else project("inv", *words, INVOKE_RUN_DRY="1")
    said = done.stdout.replace("\x1b[1;37m", "").replace("\x1b[0m", "")
    assert (done.returncode, done.stderr) == (0, "")
    assert said.startswith(shown), said
    assert {path.name for path in tmp_path.iterdir()} <= {"tasks.py", "__pycache__"}


def test_a_dry_run_of_paramgmts_own_program_runs_nothing(project: Project, tmp_path: Path) -> None:
    done = project("paramgmt", "--dry", "lcmd", "-m", "a", "touch ran")
    assert (done.stdout, done.returncode) == ("lcmd [a]: touch ran\n", 0)
    assert not (tmp_path / "ran").exists()


def test_a_configured_dry_run_holds_for_benchmarks_too(project: Project, tmp_path: Path) -> None:
    done = project("inv", "touching.build", INVOKE_PARAMGMT_DRY_RUN="yes")
    assert done.stdout == "build: touch built\nclients: localhost\n"
    assert not (tmp_path / "built").exists()


def test_a_dry_run_of_a_benchmark_ends_quietly_where_nobody_reads_it(project: Project) -> None:
    done = project("sh", "-c", "{ inv touching --dry-run; echo $? >&2; } | :")
    assert (done.stdout, done.stderr) == ("", "141\n")


# -- benchmarks and what they are given


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--clients", "two", "-x", "wbe1"], "--exclude wbe1: not in the list (near: web1)"),
        (["-x", "web1"], "--exclude web1: not in the list"),
        (["--clients", "two", "-x", "web[1-2]"], "no clients are left by --exclude"),
    ],
)
def test_a_benchmark_refuses_an_exclusion_that_meets_no_host(
    project: Project, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "two").write_text("web[1-2]\n")
    done = project("inv", "touching.build", *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"touching: {said}\n")
    assert not (tmp_path / "built").exists()


def test_a_benchmark_spares_what_is_excluded(project: Project, tmp_path: Path) -> None:
    (tmp_path / "two").write_text("web[1-2]\n")
    words = ("inv", "touching.push", "--clients", "two", "--dry-run")
    assert project(*words, "-x", "web1").stdout.startswith("clients: web2\n")
    assert project(*words, INVOKE_PARAMGMT_EXCLUDE="web2").stdout.startswith("clients: web1\n")


def test_a_seed_of_a_benchmark_is_for_its_order(project: Project, tmp_path: Path) -> None:
    (tmp_path / "two").write_text("web[1-2]\n")
    done = project(
        "inv", "touching.push", "--clients", "two", "--dry-run", "--order", "random", "--seed", "5"
    )
    assert (done.stdout.splitlines()[0], done.stderr, done.returncode) == ("clients: web1, web2", "", 0)


@pytest.mark.parametrize("name", ["pick", "first"])
def test_a_benchmark_does_not_drop_a_configured_choice(project: Project, tmp_path: Path, name: str) -> None:
    (tmp_path / "two").write_text("web[1-2]\n")
    words = ("inv", "touching.push", "--clients", "two", "--dry-run")
    done = project(*words, **{f"INVOKE_PARAMGMT_{name.upper()}": "1"})
    said = f"touching: {name}, below paramgmt in the configuration: 1: is for one list, not for roles\n"
    assert (done.stdout, done.stderr, done.returncode) == ("", said, 2)


# -- reports of hosts that failed


def context(**run: Any) -> Context:
    return Context(Config(overrides={"run": run}))


def outcomes(report: Report) -> list[tuple[str, bool]]:
    return [(result.host.entry, result.ok) for result in report]


EXPECTED = [("a", True), ("b", False)]


def test_with_warn_hosts_that_fail_are_in_the_report() -> None:
    report = lcmd(context(), "test ?HOST = a", machines="a,b", warn=True)
    assert outcomes(report) == EXPECTED
    assert outcomes(lcmd(context(warn=True), "test ?HOST = a", machines="a,b")) == EXPECTED


@pytest.mark.parametrize(
    ("task", "words"), [(rcmd, "x"), (rpush, [__file__]), (rpull, "x"), (rscript, [__file__])]
)
def test_each_task_takes_warn(task: Any, words: Any, tmp_path: Path) -> None:
    given = {"machines": "127.0.0.1:1", "attempts": 1}
    report = task(context(), words, **given, warn=True)
    assert outcomes(report) == [("127.0.0.1:1", False)]
    with pytest.raises(RunFailed) as failed:
        task(context(), words, **given)
    assert outcomes(failed.value.report) == [("127.0.0.1:1", False)]


@pytest.mark.parametrize(
    ("configured", "given"), [({}, {}), ({}, {"warn": None}), ({"warn": True}, {"warn": False})]
)
def test_without_warn_the_exception_has_the_report(configured: dict[str, Any], given: dict[str, Any]) -> None:
    with pytest.raises(Exit) as failed:
        lcmd(context(**configured), "test ?HOST = a", machines="a,b", **given)
    error = failed.value
    assert isinstance(error, RunFailed)
    assert (error.code, str(error), outcomes(error.report)) == (1, "1 of 2 hosts failed", EXPECTED)


def test_warn_of_invokes_command_line_lets_the_next_task_run(project: Project) -> None:
    done = project("inv", "-w", "lcmd", "-m", "a", "false", "lcmd", "-m", "a", "echo next")
    assert (done.returncode, "next" in done.stdout) == (0, True)
    stopped = project("inv", "lcmd", "-m", "a", "false", "lcmd", "-m", "a", "echo next")
    assert (stopped.returncode, "next" in stopped.stdout) == (1, False)


def test_bad_input_is_an_error_with_warn_too() -> None:
    with pytest.raises(Exit) as refused:
        lcmd(context(), "true", machines=[], warn=True)
    assert refused.value.code == 2


def test_an_interruption_has_the_report_of_all_hosts(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from invoke import Context\n"
        "from paramgmt_tasks import RunFailed\n"
        "from paramgmt_tasks.tasks import lcmd\n"
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "try: lcmd(Context(), 'test ?HOST = a || { kill -TERM ' + str(os.getpid()) + '; sleep 30; }',\n"
        "          machines='a,b,c', sequential=True, warn=True)\n"
        "except RunFailed as error: print(error.code, [str(r.outcome) for r in error.report])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{128 + signal.SIGTERM} ['ok', "), done.stderr
    assert last.count("'") == 6, last


# -- the classic executables


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["--gather"], "a b (2 hosts):"),
        (["--gather", "--no-gather"], "lcmd [a]: echo x"),
        (["--no-gather", "--gather"], "a b (2 hosts):"),
        (["--no-color"], "lcmd [a]: echo x"),
        (["--no_color", "--color"], "lcmd [a]: echo x"),
        (["--no"], "lcmd [a]: echo x"),
        (["-c", "--s"], "lcmd [a]: echo x"),
    ],
)
def test_each_switch_of_a_classic_executable_is_turned_off(
    project: Project, words: list[str], first: str
) -> None:
    done = project("lcmd", "-m", "a", "b", *words, "--", "echo", "x")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, first), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--exclude", "wbe1"], "--exclude wbe1: not in the list (near: web1)"),
        (["--exclude", "web1,web[7-9]"], "--exclude web[7-9]: none of these is in the list (near: web2)"),
        (["--fanout", "0"], "--fanout 0: must be a whole number, 1 or more"),
        (["--timeout", "0"], "--timeout 0: must be a number of seconds above 0"),
    ],
)
def test_a_classic_executable_refuses_in_one_line(
    project: Project, tmp_path: Path, words: list[str], said: str
) -> None:
    done = project("lcmd", "-m", "web[1-2]", *words, "--", "touch", "?HOST")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"lcmd: {said}\n")
    assert not (tmp_path / "web1").exists()


def test_a_classic_result_has_all_that_a_result_of_a_host_has() -> None:
    host = HostResult(
        parse_entry("nic@web1"), 0, "rcmd [nic@web1]: x", Outcome.FAILED, 3, reason="return code 3"
    )
    result = Result(host)
    assert (result.host, result.retcode, result.attempts, result.ok) == ("nic@web1", 3, 0, False)
    assert (result.stdout, result.stderr, result.facts()) == ("", "", host.facts())
    assert copy.deepcopy(result).outcome is Outcome.FAILED
    for name in (
        name for name in dir(host) if not name.startswith("_") and name not in ("host", "stdout", "stderr")
    ):
        assert getattr(result, name) == getattr(host, name)


@pytest.mark.parametrize("none", ["0", "0%"])
def test_a_classic_executable_honours_that_no_host_may_fail(
    project: Project, tmp_path: Path, none: str
) -> None:
    words = ("--max-fail", none, "--sequential", "--", "touch ?HOST; false")
    assert project("lcmd", "-m", "h1", "h2", *words).returncode == 255
    assert not (tmp_path / "h2").exists()


def test_what_nobody_reads_has_the_report_of_all_hosts(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from invoke import Context\n"
        "from paramgmt_tasks import RunFailed\n"
        "from paramgmt_tasks.tasks import lcmd\n"
        "try: lcmd(Context(), 'echo', machines='a,b,c')\n"
        "except RunFailed as error:\n"
        "    print(error.code, [result.host.entry for result in error.report], file=sys.stderr)\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as broken:
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, stdout=broken, stderr=subprocess.PIPE, text=True, timeout=60, cwd=tmp_path, check=False
        )
    assert done.stderr == "141 ['a', 'b', 'c']\n"
