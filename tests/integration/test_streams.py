"""Standard streams that are closed or full: nothing is lost without a word, and no word is a traceback."""

import subprocess
import sys
from pathlib import Path

import programs
import pytest

from paramgmt_tasks.history import past_runs

BIN = Path(sys.executable).parent
CLOSED = "standard output is closed, results would be lost: use --output-dir, --quiet or >/dev/null"


def run(folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of shell in which programs of ours are found."""
    return programs.in_shell(text, cwd=folder)


@pytest.mark.parametrize("options", ["", "--json", "--live", "--gather"])
@pytest.mark.parametrize("program", ["lcmd", "paramgmt lcmd"])
def test_where_standard_output_is_closed_nothing_is_run(tmp_path: Path, program: str, options: str) -> None:
    machines = "--machines" if " " in program else "-m"
    done = run(tmp_path, f"{program} {machines} a {options} -- touch {tmp_path}/ran >&-")
    assert (done.returncode, done.stderr) == (2, f"lcmd: {CLOSED}\n")
    assert not (tmp_path / "ran").exists()
    done = run(tmp_path, f"{program} {machines} a {options} -- touch {tmp_path}/ran >&- 2>&-")
    assert (done.returncode, done.stderr) == (2, "")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("options", ["--quiet", "--output-dir out"])
def test_unless_results_are_not_to_go_there(tmp_path: Path, options: str) -> None:
    done = run(tmp_path, f"lcmd -m a,b {options} -- 'echo text; test ?HOST = a' >&-")
    assert (done.returncode, done.stderr) == (255, "failed (1): b - return code 1\n")
    if "dir" in options:
        assert (tmp_path / "out" / "a.out").read_text() == "text\n"


def test_a_connection_never_gets_the_number_of_a_closed_stream(sshd, tmp_path: Path) -> None:
    sshd.write_list(tmp_path / "hosts.txt", ["127.1.0.[1-3]", "127.1.0.1"])
    done = run(tmp_path, "rcmd -f hosts.txt --output-dir out -- cat <&- >&- 2>&-")
    assert done.returncode == 0
    assert (past_runs.read().of("ok"), done.stdout, done.stderr) != ([], "", None)
    assert len(past_runs.read().of("ok")) == 4


@pytest.mark.parametrize("options", ["", "--json", "--live", "--gather", "--order finished"])
def test_on_a_full_disk_the_run_goes_on_and_it_is_said(tmp_path: Path, options: str) -> None:
    done = run(tmp_path, f"lcmd -m 'a[1-5]' {options} -- 'seq 30000; touch {tmp_path}/?HOST' >/dev/full")
    assert done.returncode == 255
    assert [line for line in done.stderr.splitlines() if "total" not in line] == [
        "WARNING: standard output: no space left on device: results that are not shown are lost"
    ]
    assert len(list(tmp_path.glob("a*"))) == 5
    assert len(past_runs.read().of("ok")) == 5


def test_with_invoke_too(inv, tmp_path: Path) -> None:
    done = run(tmp_path, "paramgmt lcmd --machines a -- echo >/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("WARNING: standard output: no space left on device: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words", ["rhosts -m a", "lcmd --dry-run -m a -- true", "paramgmt runs", "paramgmt runs.show"]
)
def test_what_only_prints_says_that_it_cannot(tmp_path: Path, words: str) -> None:
    run(tmp_path, "lcmd -m a -- true")
    done = run(tmp_path, f"{words} >&-")
    assert done.returncode == 2
    assert "standard output is closed" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = run(tmp_path, f"{words} >/dev/full")
    assert done.returncode in (1, 255)
    assert "standard output: no space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize("options", ["", "--live", "--json"])
def test_results_are_shown_where_standard_error_cannot_be_written(
    tmp_path: Path, where: str, options: str
) -> None:
    done = run(tmp_path, f"lcmd -m a,b {options} -- 'echo text; echo error >&2; exit 1' {where}")
    assert done.returncode == 255
    assert done.stdout.count("text") >= 2
    assert "error\n" not in done.stdout or not options


def test_a_closed_standard_input_is_none(tmp_path: Path) -> None:
    assert run(tmp_path, "lcmd -m a -- cat <&-").returncode == 0
    for words in ("--stdin - -m a", "-f -"):
        done = run(tmp_path, f"lcmd {words} -- touch {tmp_path}/ran <&-")
        assert done.returncode == 2
        assert done.stderr.endswith("-: standard input is closed\n")
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("typed", "end"), [("/dev/null", 2), ("line", 255)])
def test_without_a_terminal_a_password_is_a_line_of_input(tmp_path: Path, typed: str, end: int) -> None:
    (tmp_path / "line").write_text("secret\n")
    done = run(
        tmp_path, f"setsid --wait rcmd -a 1 --ask-password -m 127.0.0.1:1 --quiet -- true <{typed} 2>err"
    )
    said = (tmp_path / "err").read_text()
    assert done.returncode == end
    assert said.startswith(
        "unreachable (1): " if end == 255 else "rcmd: --ask-password: no password was given\n"
    )
