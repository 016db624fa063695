"""Other people's projects: the tasks in their collections, in `fab`, in one process; and their completion."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from invoke import Collection, Config, Context

import paramgmt_tasks
from paramgmt_tasks import Report
from paramgmt_tasks.tasks import rcmd

BIN = Path(sys.executable).parent
TASKS = "from paramgmt_tasks import namespace as ns\n"


@pytest.fixture
def hosts(sshd, tmp_path: Path) -> str:
    sshd.write_list(tmp_path / "hosts.txt", ["127.1.0.[1-3]"])
    return "hosts.txt"


def run(folder: Path, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BIN / words[0], *words[1:]],
        cwd=folder,
        env={**os.environ, **env, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# -- collections and configuration


def test_a_collection_under_a_name_is_configured_by_its_project(hosts: str, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "from invoke import Collection\n"
        "import paramgmt_tasks\n"
        "ns = Collection()\n"
        "ns.add_collection(paramgmt_tasks.namespace, 'many')\n"
        "ns.configure({'paramgmt': {'exclude': '127.1.0.1', 'env': {'K': 'v'}}})\n"
    )
    (tmp_path / "invoke.yaml").write_text(f"paramgmt:\n  hosts: {hosts}\n  user: nobody\n")
    shown = run(tmp_path, "inv", "many.rcmd", "--dry-run", "x")
    assert shown.stdout == "rcmd [nobody@127.1.0.2]: x\nrcmd [nobody@127.1.0.3]: x\n", shown.stderr
    done = run(tmp_path, "inv", "many.rcmd", "-m", "", "-f", hosts, "echo $K", INVOKE_PARAMGMT_USER="")
    assert done.returncode == 2
    done = run(tmp_path, "inv", "many.rcmd", "-f", hosts, "echo $K", INVOKE_PARAMGMT_USER="")
    assert done.stdout.count("stdout:\nv\n") == 2, done.stderr


def context(**configured: object) -> Context:
    """That of a task in a project with this configuration."""
    project = Collection()
    project.add_collection(paramgmt_tasks.namespace, "paramgmt")
    project.configure({"paramgmt": configured})
    config = Config()
    config.load_collection(project.configuration("paramgmt.rcmd"))
    return Context(config)


def said(report: Report) -> list[str]:
    return [f"{result.host} {result.stdout.decode().strip()}" for result in report]


def test_projects_with_different_settings_do_not_disturb_each_other(
    sshd, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In one process, in turns and at the same time."""
    contexts, expected = [], []
    for number in (1, 2):
        path = sshd.write_list(tmp_path / f"list{number}", [f"127.1.{number}.[1-3]"])
        contexts.append(context(hosts=str(path), env={"PROJECT": number}, timeout=30 * number, quiet=True))
        expected.append([f"127.1.{number}.{n} {number}" for n in (1, 2, 3)])
    for _ in range(2):
        assert [said(rcmd(c, "echo $PROJECT")) for c in contexts] == expected
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        found[number] = said(rcmd(contexts[number], "sleep 0.3; echo $PROJECT"))

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[0], found[1]] == expected
    assert capfd.readouterr() == ("", "")


# -- fab


@pytest.fixture
def fab(hosts: str, tmp_path: Path) -> Path:
    (tmp_path / "fabfile.py").write_text(TASKS)
    return tmp_path


def test_fab_lists_and_runs_the_tasks(fab: Path, hosts: str) -> None:
    assert "  rcmd " in run(fab, "fab", "--list").stdout
    for words, env in (
        (["--hosts", hosts, "echo a b"], {}),
        (["-f", hosts, "echo a b"], {}),
        (["echo a b"], {"FABRIC_PARAMGMT_HOSTS": hosts}),
    ):
        done = run(fab, "fab", "rcmd", *words, **env)
        assert done.stdout.count("stdout:\na b\n") == 3, done.stderr
        assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rcmd", "-f", "hosts.txt", "--", "ls", "-l"], "rcmd: fab runs what is behind -- itself"),
        (["-H", "a,b", "rcmd", "-f", "hosts.txt", "ls"], "rcmd: fab -H runs a task once for each host"),
        (["rcmd", "-f", "none", "ls"], "rcmd: host list none: no such file"),
        (["rcmd", "-f", "hosts.txt", "-i", "key", "ls"], "rcmd: no option '-i'"),
    ],
)
def test_what_fab_cannot_do_is_one_line(fab: Path, words: list[str], message: str) -> None:
    done = run(fab, "fab", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


# -- completion


def completed(folder: Path, program: str, line: str) -> list[str]:
    """What bash offers for the last word of a line, by the script that the program prints."""
    words = line.split(" ")
    array = " ".join(f"'{word}'" for word in words)
    script = (
        f'eval "$({program} --print-completion-script bash)"\n'
        f"COMP_WORDS=({array}) COMP_CWORD={len(words) - 1}\n"
        f"$(complete -p {program} | sed 's/.*-F //; s/ .*//') {program} '{words[-1]}' '{words[-2]}'\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return sorted(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("program", "line", "offered"),
    [
        ("inv", "inv rc", ["rcmd"]),
        ("inv", "inv rcmd --ho", ["--host-keys", "--hosts"]),
        ("inv", "inv rcmd --hosts x --ga", ["--gather"]),
        ("inv", "inv rcmd --hosts x whoami rp", ["rpull", "rpush"]),
        ("inv", "inv runs", ["runs", "runs.list", "runs.show"]),
        ("paramgmt", "paramgmt rp", ["rpull", "rpush"]),
        ("paramgmt", "paramgmt rpush --des", ["--destination"]),
        ("paramgmt", "paramgmt benchmark.network --rec", ["--receivers"]),
    ],
)
def test_bash_completes_tasks_and_options(
    tmp_path: Path, program: str, line: str, offered: list[str]
) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    assert completed(tmp_path, program, line) == offered


@pytest.mark.parametrize("line", ["inv rcmd --bogus", "inv rcmd ls -", "inv rcmd --hosts", "inv nonsense -"])
def test_completion_of_an_unfinished_line_is_no_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    done = run(tmp_path, "inv", "--complete", "--", line)
    assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_paramgmt_prints_completion_scripts_of_its_own(tmp_path: Path, shell: str) -> None:
    done = run(tmp_path, "paramgmt", "--print-completion-script", shell)
    assert done.returncode == 0
    assert "--complete" in done.stdout
    assert "paramgmt" in done.stdout
