"""The README says what is true: its session is run on a sandbox, and what it shows must come."""

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("asyncssh")

README = (Path(__file__).parent.parent.parent / "README.md").read_text()


def session() -> list[tuple[str, list[str]]]:
    """Each `$ inv …` of the README with the lines it shows below."""
    text = README.partition("## A session")[2].partition("\n## ")[0]
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    steps: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            steps.append((line[2:], []))
        else:
            steps[-1][1].append(line)
    return [(command, shown) for command, shown in steps if command.startswith("inv ")]


def test_the_session_of_the_readme(inv, tmp_path: Path) -> None:
    (tmp_path / "hostlists").mkdir()
    (tmp_path / "f1.txt").write_text("content\n")
    script = README.partition("$ cat s1.sh\n")[2].partition("    $ inv")[0]
    (tmp_path / "s1.sh").write_text(re.sub("^ {4}", "", script, flags=re.MULTILINE))
    steps = session()
    assert len(steps) >= 9
    try:
        for command, shown in steps:
            done = inv(*shlex.split(command)[1:])
            # The README's user is root; `...` stands for what it leaves out.
            said = (done.stdout + done.stderr).replace(f"hello {_user()}@", "hello root@")
            said = re.sub(f"^{_user()}$", "root", said, flags=re.MULTILINE)
            expected = [line for line in shown if line not in ("", "...")]
            missing = [line for line in expected if line not in said.splitlines()]
            assert not missing, (command, said)
    finally:
        inv("sandbox.down")


def _user() -> str:
    import getpass

    return getpass.getuser()


def test_every_option_of_the_readme_exists_and_the_other_way_round(inv) -> None:
    table = README.partition("## Options")[2].partition("The default of each")[0]
    documented = set(re.findall(r"--[a-z][a-z-]+", table))
    offered = set()
    for task in ("rhosts", "lcmd", "rcmd", "rpush"):
        offered |= set(re.findall(r"--[a-z][a-z-]+", inv("--help", task).stdout.partition("Options:")[2]))
    own = {"--command", "--files"}  # the words themselves, which Invoke also takes as options
    assert offered - own == documented
