"""The record of runs as its user sees it, against real sshd."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import until

BIN = Path(sys.executable).parent


@pytest.fixture
def hosts(sshd, tmp_path: Path) -> str:
    sshd.write_list(tmp_path / "hosts.txt", ["127.1.0.[1-200] NUMBER=7"])
    return "hosts.txt"


def test_a_run_killed_in_the_middle_goes_on_with_the_hosts_never_started(inv, sshd, tmp_path: Path) -> None:
    sshd.write_list(tmp_path / "hosts.txt", ["127.1.0.[1-50] NUMBER=7"])
    marks, go = tmp_path / "marks", tmp_path / "go"
    marks.mkdir()
    command = f"echo ran ?NUMBER >>{marks}/?HOST; until [ -e {go} ]; do sleep 0.1; done"
    words = [BIN / "paramgmt", "rcmd", "--hosts", "hosts.txt", "--fanout", "20", command]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL)
    until(lambda: len(list(marks.iterdir())) == 20, 60)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    go.touch()
    assert " killed " in inv("runs").stdout
    done = inv("rcmd", "--hosts", "@unstarted", f"echo ran ?NUMBER >>{marks}/?HOST")
    assert "30 succeeded, 0 failed, 30 total" in done.stdout, done.stderr
    assert sorted(path.name for path in marks.iterdir()) == sorted(f"127.1.0.{n}" for n in range(1, 51))
    assert {path.read_text() for path in marks.iterdir()} == {"ran 7\n"}, "none ran twice"
    first = inv("runs").stdout.split()[0]
    lost = inv("rhosts", "--hosts", f"@lost:{first}").stdout.splitlines()
    assert len(lost) == 20
    assert "lost (20): 127.1.0.[1-20] - the run was killed; it may have run" in inv("runs.show", first).stdout


def test_failed_hosts_of_the_last_run_are_a_list(inv, hosts: str, tmp_path: Path) -> None:
    failing = "case ?HOST in *.1|*.9) exit 4;; *.3) sleep 60;; esac"
    only = ["-x", "127.1.0.[10-200]", "-m", "127.9.9.9:1"]
    done = inv("rcmd", "--hosts", hosts, *only, "--timeout", "1", "--env", "K=hush", failing)
    assert done.returncode == 1
    assert (
        inv("rhosts", "--hosts", "@failed").stdout.split()
        == done.stdout.partition("Failed hosts:")[2].split()
    )
    assert inv("rhosts", "--hosts", "@unreachable").stdout == "127.9.9.9:1\n"
    assert inv("rhosts", "--hosts", "@timed-out").stdout == "127.1.0.3\n"
    again = inv("rcmd", "--hosts", "@timed-out", "echo ?HOST ?NUMBER")
    assert "stdout:\n127.1.0.3 7\n" in again.stdout
    first, second = (line.split()[0] for line in inv("runs").stdout.splitlines())
    assert f"@failed:{first}" in "@failed:" + first
    assert len(inv("rhosts", "--hosts", f"@failed:{first}").stdout.splitlines()) == 4
    shown = inv("runs.show", first).stdout.splitlines()
    assert shown[0] == f"run {first}, ended"
    assert "failed (2): 127.1.0.[1,9] - return code 4" in shown
    assert "unreachable (1): 127.9.9.9:1 - connection refused" in shown
    assert "ok (6): 127.1.0.[2,4-8]" in shown
    assert shown[-1].startswith("slowest: 127.1.0.3 ")
    assert inv("runs.show").stdout.splitlines()[0] == f"run {second}, ended"
    record = Path.home() / ".local" / "state" / "paramgmt" / "runs" / first / "run.jsonl"
    assert "hush" not in record.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rcmd", "--hosts", "@failed", "true"), "rcmd: no runs in "),
        (("runs",), "runs: no runs in "),
        (("runs.show", "x"), "runs.show: no runs in "),
        (("runs.show", "--bogus"), "runs.show: no option '--bogus': see inv runs.show --help"),
    ],
)
def test_without_a_run_there_is_one_line(inv, words: tuple[str, ...], message: str) -> None:
    done = inv(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_a_call_that_cannot_be_is_no_run(inv, hosts: str) -> None:
    assert inv("lcmd", "--hosts", hosts, "test ?HOST != 127.1.0.9").returncode == 1
    done = inv("rcmd", "--hosts", hosts, "--together", "--fanout", "5", "true")
    assert (done.returncode, done.stdout) == (2, "")
    assert inv("rhosts", "--hosts", "@failed").stdout == "127.1.0.9\n"


def test_no_host_to_go_on_with_is_an_error(inv, hosts: str) -> None:
    assert inv("lcmd", "--hosts", hosts, "true").returncode == 0
    done = inv("rcmd", "--hosts", "@failed", "true")
    assert (done.returncode, done.stderr) == (2, "rcmd: no hosts in @failed\n")


def test_rolling_by_the_command_line(inv, hosts: str) -> None:
    done = inv(
        "lcmd",
        "--hosts",
        hosts,
        "--sequential",
        "--batch",
        "10%",
        "--max-fail",
        "1%",
        "--canary",
        "1",
        "test ?HOST = 127.1.0.1",
    )
    assert "1 succeeded, 199 failed, 200 total" in done.stdout
    assert done.stderr == (
        "failed (3): 127.1.0.[2-4] - return code 1\n"
        "cancelled (196): 127.1.0.[5-200] - not started: 3 hosts failed, more than 2\n"
    )
    assert len(inv("rhosts", "--hosts", "@unstarted").stdout.splitlines()) == 196
