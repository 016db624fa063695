"""`inv` as a user types it, against real sshd."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import programs
import pytest
from helpers import until

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def hosts(sshd, tmp_path: Path) -> str:
    """A host list in the test's folder."""
    sshd.write_list(tmp_path / "hosts.txt", ["127.1.0.[1-3]"])
    return "hosts.txt"


def summary(done: "subprocess.CompletedProcess[str]") -> str:
    return next(line for line in done.stdout.splitlines() if line.endswith(" total"))


def test_the_articles_first_command(inv, hosts) -> None:
    done = inv("rcmd", "--hosts", hosts, "echo nic")
    assert done.stdout == (
        "rcmd [127.1.0.1]: echo nic\nstdout:\nnic\n"
        "rcmd [127.1.0.2]: echo nic\nstdout:\nnic\n"
        "rcmd [127.1.0.3]: echo nic\nstdout:\nnic\n"
        "3 succeeded, 0 failed, 3 total\n\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_articles_failure(inv, hosts) -> None:
    done = inv("rcmd", "-f", hosts, "-x", "127.1.0.[2-3]", "--", "echo some text 1>&2; false")
    assert done.stdout == (
        "rcmd [127.1.0.1]: echo some text 1>&2; false\nstderr:\nsome text\nreturn code: 1\nattempts:    1\n"
        "0 succeeded, 1 failed, 1 total\n\nFailed hosts:\n127.1.0.1\n"
    )
    assert (done.returncode, done.stderr) == (1, "failed (1): 127.1.0.1 - return code 1\n")


@pytest.mark.parametrize(
    ("words", "description"),
    [
        (["echo"], "echo"),
        (["echo a b"], "echo a b"),
        (["--", "ls", "-l", "/"], "ls -l /"),
        (["--", "echo", "?HOST", "--", "-a", "a b"], "echo 127.1.0.1 -- -a a b"),
        (["echo", "--", "-n", "x"], "echo -n x"),
    ],
)
def test_forms_of_a_command(inv, hosts, words, description) -> None:
    done = inv("rcmd", "-f", hosts, "-x", "127.1.0.[2-3]", *words)
    assert done.stdout.splitlines()[0] == f"rcmd [127.1.0.1]: {description}", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    "words", [["ls", "-l"], ["uname", "-a"], ["rm", "-f", "x"], ["echo", "--help"], ["x", "-u", "y"]]
)
def test_options_after_an_unquoted_command_are_an_error_with_the_remedy(inv, hosts, words) -> None:
    done = inv("rcmd", "--hosts", hosts, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"-- {words[0]} {words[1]}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_two_tasks_use_one_connection_a_host(inv, start_sshd, tmp_path: Path) -> None:
    sshd, hosts = start_sshd(), "hosts.txt"
    sshd.write_list(tmp_path / hosts, ["127.1.0.[1-3]"])
    (tmp_path / "f1.txt").write_text("content\n")
    target = tmp_path / "there?HOST"  # all hosts are one machine
    done = inv("rpush", "-f", hosts, "-d", str(target), "f1.txt", "rcmd", "-f", hosts, f"cat {target}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("stdout:\ncontent\n") == 3
    assert sshd.log.count("Accepted publickey") == 3


def test_one_task_twice_runs_twice_and_takes_its_own_words(inv, hosts) -> None:
    done = inv(
        "rcmd",
        "-f",
        hosts,
        "echo a",
        "rcmd",
        "-f",
        hosts,
        "echo a",
        "rcmd",
        "-f",
        hosts,
        "--",
        "echo",
        "-n",
        "b",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[127.1.0.1]: echo a\n") == 2
    assert done.stdout.count("[127.1.0.1]: echo -n b\n") == 1


def test_files_out_and_back(inv, hosts, tmp_path: Path) -> None:
    (tmp_path / "f1.txt").write_text("1")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "f2.txt").write_text("2")
    far = tmp_path / "far?HOST"  # all hosts are one machine
    for number in (1, 2, 3):
        (tmp_path / f"far127.1.0.{number}").mkdir()
    pushed = inv("rpush", "-f", hosts, "-d", str(far), "--", "f1.txt", "dir")
    made = inv("lcmd", "-f", hosts, "--", "mkdir", "-p", "res?HOST")
    pulled = inv("rpull", "-f", hosts, "-d", "res?HOST", "--", f"{far}/f1.txt", f"{far}/dir")
    for done in (pushed, made, pulled):
        assert done.returncode == 0, done.stderr
    assert pushed.stdout.startswith(
        f"rpush [127.1.0.1]: f1.txt dir => 127.1.0.1:{far}\n".replace("?HOST", "127.1.0.1")
    )
    there = f"{tmp_path}/far127.1.0.2"
    assert f"rpull [127.1.0.2]: 127.1.0.2:{{{there}/f1.txt,{there}/dir}} => res127.1.0.2\n" in pulled.stdout
    assert (tmp_path / "res127.1.0.3" / "dir" / "f2.txt").read_text() == "2"


def test_scripts(inv, hosts, tmp_path: Path) -> None:
    (tmp_path / "s1.sh").write_text("echo one ?HOST")
    (tmp_path / "s2.sh").write_text("#!/bin/sh\necho two")
    done = inv("rscript", "-f", hosts, "--", "s1.sh", "s2.sh")
    assert "rscript [127.1.0.2]: running s1.sh s2.sh\nstdout:\none 127.1.0.2\ntwo\n" in done.stdout


def test_the_user_stands_in_the_description(inv, sshd, hosts) -> None:
    user = sshd.options()["User"]
    done = inv("rcmd", "-f", hosts, "-u", user, "-m", f"{user}@127.1.0.9", "--dry-run", "x")
    assert done.stdout.splitlines() == [
        f"rcmd [{user}@127.1.0.9]: x",
        f"rcmd [{user}@127.1.0.1]: x",
        f"rcmd [{user}@127.1.0.2]: x",
        f"rcmd [{user}@127.1.0.3]: x",
    ]


def test_hosts_that_fail_are_all_named_with_their_reasons(inv, sshd, tmp_path: Path) -> None:
    """200 hosts: 20 refuse, 5 deny, 3 hang."""
    pytest.importorskip("asyncssh")
    from faulty import FaultyServers

    (tmp_path / "faulty").mkdir()
    faulty = FaultyServers(tmp_path / "faulty")
    try:
        refuse, silent = faulty.refuse(), faulty.silent()
        lines = [
            "127.1.1.[1-172]",
            f"down[01-20] HostName=127.0.0.1 Port={refuse}",
            f"denied[1-5] HostName=127.1.0.1 IdentityFile={faulty.identity}",
            f"hangs[1-3] HostName=127.0.0.1 Port={silent} ConnectTimeout=2",
        ]
        sshd.write_list(tmp_path / "hosts.txt", lines)
        done = inv("rcmd", "-f", "hosts.txt", "true")
    finally:
        faulty.close()
    assert summary(done) == "172 succeeded, 28 failed, 200 total"
    assert done.returncode == 1
    reasons = {line.partition(" - ")[0] for line in done.stderr.splitlines()}
    assert reasons == {
        "unreachable (20): down[01-20]",
        "denied (5): denied[1-5]",
        "unreachable (3): hangs[1-3]",
    }
    assert "down[01-20] - connection refused" in done.stderr
    failed = done.stdout.partition("Failed hosts:\n")[2].split()
    assert len(failed) == 28
    assert failed[0] == "down01"


def test_ctrl_c_keeps_what_finished_and_names_what_did_not(sshd, hosts, tmp_path: Path) -> None:
    command = f"[ ?HOST = 127.1.0.1 ] && echo done && exit; touch {tmp_path}/begun-?HOST; sleep 60"
    words = ["rcmd", "-f", hosts, "--fanout", "2", command]
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", "--search-root", str(ROOT), *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    while "done" not in (line := process.stdout.readline()):
        assert line
    until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "1 succeeded, 2 failed, 3 total\n\nFailed hosts:\n127.1.0.2\n127.1.0.3\n" in out
    assert err == "lost (2): 127.1.0.[2-3] - interrupted; ended on the host\n"


def test_ctrl_c_twice_ends_at_once_and_prints_no_traceback(hosts, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "invoke",
            "--search-root",
            str(ROOT),
            "lcmd",
            "-f",
            hosts,
            f"trap '' INT; touch {tmp_path}/begun; sleep 60",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until((tmp_path / "begun").exists)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_closed_standard_output_ends_quietly(hosts, tmp_path: Path) -> None:
    line = f"inv --search-root {ROOT} rcmd -f {hosts} 'seq 100000' | head -1"
    done = programs.in_shell(line, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("rcmd [127.1.0.1]: seq 100000\n", "")


def test_stdin_and_environment(inv, hosts, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file")
    done = inv("rcmd", "-f", hosts, "--stdin", "in", "--env", "K=a b", "cat; echo $K")
    assert done.stdout.count("from a filea b") == 3


def test_options_have_defaults_in_the_configuration(run, hosts, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from paramgmt_tasks import namespace as ns\n")
    (tmp_path / "invoke.yaml").write_text(f"paramgmt:\n  hosts: {hosts}\n  exclude: 127.1.0.2\n")
    done = run("inv", "rcmd", "--dry-run", "x")
    assert done.stdout == "rcmd [127.1.0.1]: x\nrcmd [127.1.0.3]: x\n"
    environment = {"INVOKE_PARAMGMT_EXCLUDE": "127.1.0.[2-3]", "INVOKE_PARAMGMT_USER": "nic"}
    done = run("inv", "rcmd", "--dry-run", "x", **environment)
    assert done.stdout == "rcmd [nic@127.1.0.1]: x\n"


def test_tasks_are_called_from_another_projects_tasks(run, sshd, hosts, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "from invoke import Collection, task\n"
        "import paramgmt_tasks\n"
        "from paramgmt_tasks.tasks import rcmd\n"
        "@task\n"
        "def hello(c):\n"
        f"    report = rcmd(c, 'echo hello', hosts=['{hosts}'])\n"
        "    assert len(report) == 3\n"
        "ns = Collection(hello)\n"
        "ns.add_collection(paramgmt_tasks.namespace, 'paramgmt')\n"
    )
    for words in (["hello"], ["paramgmt.rcmd", "-f", hosts, "--", "echo", "hello"]):
        done = run("inv", *words)
        assert (done.returncode, done.stdout.count("hello\n3 succ")) == (0, 1), done.stderr


def test_nothing_is_coloured_but_for_a_terminal(hosts, tmp_path: Path) -> None:
    def on_a_terminal(*options: str, **env: str) -> str:
        command = f"{sys.executable} -m invoke --search-root {ROOT} rcmd -f {hosts} {' '.join(options)} echo"
        done = subprocess.run(
            ["script", "-qec", command, "/dev/null"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", **env},
            check=False,
        )
        return done.stdout

    assert "\x1b[34mrcmd [127.1.0.1]: echo\x1b[0m" in on_a_terminal()
    assert "\x1b" not in on_a_terminal("--no-color")
    assert "\x1b" not in on_a_terminal(NO_COLOR="1")


def test_a_variable_without_a_value_is_as_it_is_here(inv, hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", "from here")
    for task in ("rcmd", "lcmd"):
        done = inv(task, "-f", hosts, "--env", "K", "--json", "echo $K")
        assert {json.loads(line)["stdout"] for line in done.stdout.splitlines()} == {"from here\n"}
