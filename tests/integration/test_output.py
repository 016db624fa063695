"""Output of many hosts, in each way it can be shown, against real sshd."""

import json
import os
import subprocess
import sys
from pathlib import Path

import programs
import pytest

BIN = Path(sys.executable).parent
MODES = {
    "blocks": [],
    "gather": ["--gather"],
    "diff": ["--diff"],
    "live": ["--live"],
    "live and gather": ["--live", "--gather"],
    "json": ["--json"],
    "quiet": ["--quiet"],
}


@pytest.fixture
def hosts(sshd, tmp_path: Path) -> str:
    sshd.write_list(tmp_path / "hosts.txt", ["127.1.0.[1-20]"])
    return "hosts.txt"


def rcmd(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return programs.run("rcmd", "-f", "hosts.txt", *words, cwd=folder)


def test_gather_shows_what_is_the_same_once(hosts: str, tmp_path: Path) -> None:
    done = rcmd(tmp_path, "--gather", "--", "case ?HOST in *.7) echo odd; exit 3;; *) echo even; esac")
    assert done.stdout == (
        "127.1.0.[1-6,8-20] (19 hosts):\nstdout:\neven\n127.1.0.7 (1 host):\nstdout:\nodd\nreturn code: 3\n"
    )
    assert done.stderr == "19 succeeded, 1 failed, 20 total\nfailed (1): 127.1.0.7 - return code 3\n"
    assert done.returncode == 255


def test_live_shows_lines_while_the_command_runs(hosts: str, tmp_path: Path) -> None:
    """A command goes on only when the line before has been seen here."""
    process = subprocess.Popen(
        [
            BIN / "rcmd",
            "-f",
            hosts,
            "--live",
            "--",
            f"echo first; until [ -e {tmp_path}/go ]; do :; done; echo",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = {process.stdout.readline() for _ in range(20)}
    (tmp_path / "go").touch()
    rest, _ = process.communicate(timeout=60)
    assert lines == {f"127.1.0.{n}: first\n" for n in range(1, 21)}
    assert sorted(rest.splitlines()) == sorted(f"127.1.0.{n}: " for n in range(1, 21))


def test_live_keeps_the_streams_apart_and_gathers_in_the_end(hosts: str, tmp_path: Path) -> None:
    done = rcmd(tmp_path, "--live", "--gather", "--exclude", "127.1.0.[3-20]", "--", "echo out; echo err >&2")
    lines = sorted(done.stdout.splitlines()[:2]), done.stdout.splitlines()[2:]
    assert lines == (
        ["127.1.0.1: out", "127.1.0.2: out"],
        ["127.1.0.[1-2] (2 hosts):", "stdout:", "out", "stderr:", "err"],
    )
    assert sorted(done.stderr.splitlines()) == [
        "127.1.0.1: err",
        "127.1.0.2: err",
        "2 succeeded, 0 failed, 2 total",
    ]


def test_json_has_a_line_for_each_host_and_nothing_else(hosts: str, tmp_path: Path) -> None:
    command = r"case ?HOST in *.1) printf '\377';; *.2) exit 2;; *.3) sleep 60;; *) echo é; esac"
    done = rcmd(tmp_path, "--json", "--timeout", "2", "--hosts", "127.9.9.9:1", "--", command)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["index"] for result in results] == list(range(21))
    assert {key: results[0][key] for key in ("host", "outcome", "return_code", "stdout")} == {
        "host": "127.9.9.9:1",
        "outcome": "unreachable",
        "return_code": None,
        "stdout": "",
    }
    assert [results[n]["outcome"] for n in (1, 2, 3, 4)] == ["ok", "failed", "timed-out", "ok"]
    assert (results[1]["stdout_base64"], results[4]["stdout"]) == ("/w==", "é\n")


def test_results_as_they_finish(hosts: str, tmp_path: Path) -> None:
    wait = f"until [ -e {tmp_path}/last ]; do sleep 0.05; done"
    command = f"case ?HOST in *.1) {wait};; *.20) touch {tmp_path}/last; esac"
    done = rcmd(tmp_path, "--json", "--order", "finished", "--", command)
    order = [json.loads(line)["index"] for line in done.stdout.splitlines()]
    assert sorted(order) == list(range(20))
    assert order.index(0) > order.index(19)


def test_a_folder_of_results_beside_what_is_shown(hosts: str, tmp_path: Path) -> None:
    done = rcmd(tmp_path, "--output-dir", "res/ults", "--quiet", "--", "echo ?HOST; echo e >&2; exit 1")
    assert (done.stdout, done.returncode) == ("", 255)
    assert done.stderr == "failed (20): 127.1.0.[1-20] - return code 1\n"
    folder = tmp_path / "res" / "ults"
    assert len(list(folder.iterdir())) == 41
    assert (folder / "127.1.0.9.out").read_text() == "127.1.0.9\n"
    assert (folder / "127.1.0.9.err").read_text() == "e\n"
    assert len((folder / "results.jsonl").read_text().splitlines()) == 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--json", "--live"], "rcmd: --json and --live do not go together"),
        (["--quiet", "--gather", "--diff"], "rcmd: --gather and --diff and --quiet do not go together"),
        (["--order", "x"], "rcmd: --order x: must be hosts or finished"),
        (["--output-dir", "hosts.txt"], "rcmd: --output-dir hosts.txt: file exists"),
        (["--batch", "0"], "rcmd: --batch 0: must be a whole number of hosts, 1 or more, or a share"),
        (["--canary", "-1"], "rcmd: --canary -1: must be a whole number, 0 or more"),
        (["--max-fail", "-1"], "rcmd: --max-fail -1: must be a whole number"),
    ],
)
def test_what_does_not_go_together_is_one_line(hosts, tmp_path: Path, words: list[str], message: str) -> None:
    done = rcmd(tmp_path, *words, "--", "true")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("mode", ["blocks", "gather", "live", "json"])
def test_a_closed_pipe_ends_quietly_in_each_mode(hosts, tmp_path: Path, mode: str, both: bool) -> None:
    """Also where standard error goes into it too."""
    command, stderr = ("'seq 20000 >&2'", "2>&1") if both else ("seq 20000", "")
    line = f"rcmd -f {hosts} {' '.join(MODES[mode])} -- {command} {stderr} | head -1"
    done = programs.in_shell(line, cwd=tmp_path)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


#: Runs a program, and tells the most memory it had, in kB. (In a process of its own: that of the tests is
#: large, and would be counted until the program is there.)
_MEASURE = (
    "import resource, subprocess, sys; "
    "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


@pytest.mark.parametrize(
    ("mode", "hosts"), [("live and gather", 250), ("blocks", 25), ("diff", 25), ("json", 25), ("quiet", 25)]
)
def test_memory_does_not_grow_with_what_hosts_print(sshd, tmp_path: Path, mode: str, hosts: int) -> None:
    """250 MB, or 100 MB: far more than what one run may take."""
    size = 1_000_000 if hosts == 250 else 4_000_000
    sshd.write_list(tmp_path / "hosts.txt", [host.entry for host in sshd.hosts(hosts)])
    options = ["-f", "hosts.txt", "--connect-timeout", "60", *MODES[mode], "--output-dir", "out"]
    command = f"yes ?HOST 0123456789abcdef | head -c {size}"
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, BIN / "rcmd", *options, "--", command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sum(path.stat().st_size for path in (tmp_path / "out").glob("*.out")) == hosts * size
    assert int(done.stdout) < (150_000 if hosts == 250 else 100_000), "kB"


def test_a_line_tells_the_progress_on_a_terminal_only(hosts: str, tmp_path: Path) -> None:
    """The command of one host ends when the line has been seen, or that of the others has been waited for."""

    def seen(program: str, text: str, seconds: int) -> bool:
        go = tmp_path / "go"
        go.unlink(missing_ok=True)
        command = f"[ ?HOST != 127.1.0.2 ] || for i in $(seq {seconds}0); do [ -e {go} ] || sleep 0.1; done"
        process = subprocess.Popen(
            ["script", "-qec", f"{BIN}/{program} -f hosts.txt -- '{command}'", "/dev/null"],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm"},
        )
        shown = ""
        while piece := process.stdout.read(1):
            shown += piece
            if text in shown:
                go.touch()
        process.wait(10)
        process.stdout.close()
        return text in shown

    assert seen("rcmd", "19/20 hosts, 1 running", 10)
    assert not seen("rcmd --quiet", " running", 1)
    done = rcmd(tmp_path, "--", "true")
    assert done.stderr == ""
