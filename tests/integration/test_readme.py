"""The README says what is true: its session is run on a sandbox, and what it shows must come."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("asyncssh")

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def session() -> list[tuple[str, list[str]]]:
    """Each `$ …` of the README with the lines it shows below."""
    text = README.partition("## A session")[2].partition("\n## ")[0]
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    steps: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            steps.append((line[2:], []))
        else:
            steps[-1][1].append(line)
    return steps


def test_the_session_of_the_readme_as_it_is_pasted_into_a_shell(tmp_path: Path) -> None:
    """In a folder with what a fresh clone has: its tasks and its folder of lists, and no more."""
    shutil.copy(ROOT / "tasks.py", tmp_path)
    (tmp_path / "hostlists").mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-c", command],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            timeout=120,
            check=False,
        )

    steps = session()
    assert len([command for command, _ in steps if command.startswith("inv ")]) >= 9
    try:
        for command, shown in steps:
            done = run(command)
            # The README's user is root; `...` stands for what it leaves out.
            said = (done.stdout + done.stderr).replace(f"hello {_user()}@", "hello root@")
            said = re.sub(f"^{_user()}$", "root", said, flags=re.MULTILINE)
            expected = [line for line in shown if line not in ("", "...")]
            missing = [line for line in expected if line not in said.splitlines()]
            assert not missing, (command, said)
            fails = any("failed (" in line or line.startswith("unreachable (") for line in shown)
            assert done.returncode == int(fails), (command, said)
        assert (tmp_path / "res" / "sandbox2" / "f2.txt").read_text() == "some text\n"
    finally:
        run("inv sandbox.down")


def test_a_sandbox_that_is_not_there_is_said_how_to_be_made(inv) -> None:
    done = inv("rcmd", "--hosts", "sandbox", "whoami")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "rcmd: host list sandbox: no such file or directory; inv sandbox.up makes it, for this folder and "
        "those below\n"
    )


def _user() -> str:
    import getpass

    return getpass.getuser()
