"""What is kept of what hosts write, and what is said where it is not: full disks, and too much of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import programs
import pytest

from paramgmt_tasks import Copying, Fleet, Outcome, Pull, Push, RemoteCommand, Script, Settings
from paramgmt_tasks.history import past_runs
from paramgmt_tasks.model import output as outputs

BIN = Path(sys.executable).parent
_VERBOSE = Copying(verbose=True)


@pytest.fixture
def hosts(sshd, tmp_path: Path) -> str:
    sshd.write_list(tmp_path / "hosts.txt", ["127.1.0.[1-3]"])
    return "hosts.txt"


def run(folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of shell in which programs of ours are found."""
    return programs.in_shell(text, cwd=folder, COLUMNS="200")


def limited(folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    """The same with programs that the shell itself starts, whose limits are the shell's."""
    return programs.run("bash", "-c", text, cwd=folder, COLUMNS="200")


def test_output_that_could_not_be_kept_is_an_error_on_every_engine(
    hosts: str, options: list[str], tmp_path: Path
) -> None:
    """A limit for the size of files stands for the full disk. The run goes on, and says what was returned."""
    command = (
        "case ?HOST in *.2) echo little;; *) head -c 40M /dev/zero; [ ?HOST = 127.1.0.1 ] || exit 3;; esac"
    )
    rcmd = f"rcmd -f {hosts} {' '.join(options)} --json -- '{command}'"
    done = limited(
        tmp_path, f"ulimit -f 2000; {rcmd} | python3 -c '{_WITHOUT_OUTPUT}'; exit ${{PIPESTATUS[0]}}"
    )
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert (first["outcome"], first["return_code"]) == ("error", 0)
    assert (third["outcome"], third["return_code"]) == ("error", 3)
    assert (second["outcome"], second["stdout"]) == ("ok", "little\n")
    assert first["reason"].startswith("output not kept: /")
    assert first["reason"].endswith("file too large (return code 0)")
    assert third["reason"].endswith("file too large (return code 3)")
    kept = len(first["stdout"]), len(third["stdout"])
    assert max(kept) < 40_000_000
    assert max(kept) > 0  # whichever of the two writes last may find no room at all
    assert done.returncode == 255
    assert "1 succeeded, 2 failed, 3 total" in done.stderr


#: Passes on lines of results with no more than the beginning of what was written.
_WITHOUT_OUTPUT = (
    "import json, sys\n"
    "for line in sys.stdin:\n"
    "    fields = json.loads(line)\n"
    '    fields["stdout"] = fields["stdout"][:100]\n'
    "    print(json.dumps(fields))"
)


@pytest.mark.parametrize("kind", ["command", "local", "script", "push", "pull"])
def test_every_operation_says_so(sshd, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs.Spool.__init__, "__defaults__", (0,))
    monkeypatch.setattr(outputs, "_unnamed_file", lambda: os.open("/dev/full", os.O_WRONLY))
    (tmp_path / "s.sh").write_text("echo text\n")
    path = str(tmp_path / "s.sh")
    with Fleet([sshd.host()], Settings()) as fleet:
        operation = {
            "command": RemoteCommand("echo text"),
            "script": Script((path,)),
            "push": Push((path,), f"{tmp_path}/pushed", how=_VERBOSE),
            "pull": Pull((path,), f"{tmp_path}/pulled", how=_VERBOSE),
        }.get(kind)
        (result,) = fleet.report(operation) if operation else fleet.local("echo text").report()
    assert result.outcome is Outcome.ERROR
    assert result.return_code == 0
    assert result.reason.startswith("output not kept: ")
    assert result.reason.endswith("no space left on device (return code 0)")
    if kind in ("push", "pull"):
        assert (tmp_path / f"{kind}ed").read_text() == "echo text\n"


def test_a_command_that_timed_out_is_timed_out_also_where_its_output_was_not_kept(sshd, monkeypatch) -> None:
    monkeypatch.setattr(outputs.Spool.__init__, "__defaults__", (0,))
    monkeypatch.setattr(outputs, "_unnamed_file", lambda: os.open("/dev/full", os.O_WRONLY))
    with Fleet([sshd.host()], Settings(timeout=1)) as fleet:
        (result,) = fleet.run("echo text; sleep 60").report()
    assert result.outcome is Outcome.TIMED_OUT
    assert "; output not kept: " in result.reason


def test_what_is_beyond_the_most_is_dropped_and_said_on_every_engine(
    hosts: str, options: list[str], tmp_path: Path
) -> None:
    command = "echo error >&2; case ?HOST in *.2) echo little;; *) yes 0123456 | head -c 3M;; esac; echo end"
    shown = f"--max-output 100K {' '.join(options)}"
    done = run(tmp_path, f"rcmd -f {hosts} {shown} --json -- '{command}'")
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 0
    for result in (first, third):
        assert (result["outcome"], result["return_code"]) == ("ok", 0)
        assert len(result["stdout"]) + len(result["stderr"]) == 100_000
        assert result["dropped"] == 3 * 1024**2 + len("error\nend\n") - 100_000
    assert (second["stdout"], second["stderr"], second["dropped"]) == ("little\nend\n", "error\n", 0)
    assert done.stderr.splitlines()[-1] == (
        "note: output beyond --max-output was dropped: 6.1 MB of 127.1.0.[1,3]"
    )
    past = past_runs.read()
    assert [past.finished[index].dropped for index in range(3)] == [first["dropped"], 0, third["dropped"]]


@pytest.mark.parametrize(
    ("mode", "lines"), [("", 10), ("--gather", 4), ("--live", 2), ("--quiet", 0), ("--live --gather", 6)]
)
def test_it_is_said_in_every_way_to_show_output(hosts: str, tmp_path: Path, mode: str, lines: int) -> None:
    done = run(tmp_path, f"lcmd -f {hosts} --exclude 127.1.0.3 --max-output 6 {mode} -- 'echo 12345; echo 6'")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == (
        "note: output beyond --max-output was dropped: 4 B of 127.1.0.[1-2]"
    )
    assert len(done.stdout.splitlines()) == lines
    assert ("dropped:     output beyond --max-output" in done.stdout) == (mode not in ("--live", "--quiet"))


@pytest.mark.parametrize("value", ["0", "-1", "x", "0.1", "9" * 400])
def test_a_most_that_is_none_is_refused(hosts: str, tmp_path: Path, value: str) -> None:
    done = run(tmp_path, f"rcmd -f {hosts} --max-output={value} -- touch {tmp_path}/ran")
    assert done.returncode == 2
    assert done.stderr == f"rcmd: --max-output {value}: must be bytes, such as 500K or 10M\n"
    assert not (tmp_path / "ran").exists()
