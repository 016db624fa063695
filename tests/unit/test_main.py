"""The program with these tasks, for folders without a tasks.py."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from paramgmt_tasks import __version__

Run = Callable[..., "subprocess.CompletedProcess[str]"]
WAYS = pytest.mark.parametrize(
    ("program", "name"),
    [
        ([sys.executable, "-m", "paramgmt_tasks"], "paramgmt-tasks"),
        (["paramgmt-tasks"], "paramgmt-tasks"),
        (["paramgmt"], "paramgmt"),
    ],
    ids=["module", "script", "short"],
)


@WAYS
def test_the_tasks_are_listed_at_the_top_and_by_help(run: Run, program: list[str], name: str) -> None:
    listed = run(*program, "--list").stdout
    for task in ("rhosts", "lcmd", "rcmd", "rpush", "rpull", "rscript", "runs.show", "sandbox.up"):
        assert f"\n  {task} " in listed
    for words in ([], ["--help"]):
        done = run(*program, *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: {name} [--core-opts] <subcommand>")
        assert "\n  rcmd " in done.stdout


@WAYS
def test_the_program_has_a_name_and_a_version(run: Run, program: list[str], name: str) -> None:
    assert run(*program, "--version").stdout == f"{name} {__version__}\n"
    assert run(*program, "rcmd", "--help").stdout.startswith(f"Usage: {name} [--core-opts] rcmd ")
    done = run(*program, "rcmd", "--bogus", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"rcmd: no option '--bogus': see {name} rcmd --help\n"


def test_a_task_is_run_with_its_words(run: Run) -> None:
    program = ["paramgmt-tasks"]
    done = run(*program, "rcmd", "-m", "a,b", "--dry-run", "--", "ls", "-l")
    assert (done.returncode, done.stdout) == (0, "rcmd [a]: ls -l\nrcmd [b]: ls -l\n")
    assert run(*program, "lcmd", "-m", "a", "-q", "false").returncode == 2
    assert run(*program, "lcmd", "-m", "a", "--quiet", "false").returncode == 1


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_list_that_nobody_reads_ends_quietly(buffered: str) -> None:
    words = [sys.executable, "-m", "paramgmt_tasks", "--list"]
    env = {**os.environ, "PYTHONUNBUFFERED": buffered}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.communicate()[1] == b""
        assert process.returncode == 141
