"""What a program prints: bounded in time and size, and ended with all it has started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import until

from paramgmt_tasks import UsageError
from paramgmt_tasks.inventory import program_output
from paramgmt_tasks.inventory.program_output import Printed, output_of


def run(script: str, seconds: float = 30, remedy: str = "") -> Printed:
    return output_of(["/bin/sh", "-c", script], "fleet.sh", time.monotonic() + seconds, remedy)


def test_output_status_and_what_is_said_are_kept_apart() -> None:
    assert run("echo a; echo b >&2; exit 3") == Printed(3, b"a\n", "b\n")


def test_there_is_no_standard_input() -> None:
    assert run("cat; echo end").out == b"end\n"


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        ("exit 0", ""),
        ("exit 3", "exit status 3"),
        ("echo one >&2; echo two >&2; exit 1", "exit status 1: one two"),
        ("kill -9 $$", "killed by signal 9"),
        (r"printf '\033[2Jx' >&2; exit 1", "exit status 1: \\x1b[2Jx"),
        ("echo Traceback '(most recent call last)': >&2; echo KeyError: TOKEN >&2; exit 1",
         "exit status 1: KeyError: TOKEN"),
        (r"printf '\377' >&2; exit 1", "exit status 1: \ufffd"),
    ],
)  # fmt: skip
def test_a_failure_says_the_status_and_what_was_said(script: str, failure: str) -> None:
    assert run(script).failure == failure


def test_a_program_that_is_not_done_in_time_is_ended_with_what_it_started(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^fleet.sh: not done after 120 s: ask less$"):
        run(f"sleep 300 & echo $! > {tmp_path}/pid; trap '' TERM; wait; sleep 300", 0.3, ": ask less")
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text())


def test_a_program_that_prints_too_much_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_output, "LARGEST", 2**20)
    with pytest.raises(UsageError, match=r"^fleet.sh: prints more than 1 MB$"):
        run("yes")


def test_what_is_said_is_read_to_its_end_and_kept_from_its_start() -> None:
    printed = run("echo first >&2; head -c 1000000 /dev/zero | tr '\\0' x >&2; echo done")
    assert printed.out == b"done\n"
    assert printed.said.startswith("first\nxxx")
    assert len(printed.said) == 65536


def test_what_a_program_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    printed = run(f"sleep 300 & echo $! > {tmp_path}/pid; echo done")
    assert printed == Printed(0, b"done\n", "")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_ctrl_c_ends_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(process: object, deadline: float) -> None:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr(program_output, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(f"echo $$ > {tmp_path}/pid; exec sleep 300")
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")


def test_what_cannot_be_run_says_why(tmp_path: Path) -> None:
    program = tmp_path / "fleet.py"
    with pytest.raises(UsageError, match=r"^fleet.py: cannot be run: no such file or directory$"):
        output_of([str(program)], "fleet.py", time.monotonic() + 30)
    program.write_text("#!/nowhere/python\n")
    with pytest.raises(UsageError, match=r"^fleet.py: cannot be run: permission denied$"):
        output_of([str(program)], "fleet.py", time.monotonic() + 30)
    program.chmod(0o700)
    with pytest.raises(UsageError, match=r"cannot be run: what its first line names is not there$"):
        output_of([str(program)], "fleet.py", time.monotonic() + 30)


def test_large_output_comes_whole() -> None:
    words = [sys.executable, "-c", "print('x' * 10_000_000)"]
    assert len(output_of(words, "fleet.py", time.monotonic() + 30).out) == 10_000_001


def test_an_interrupt_while_a_program_is_started_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def start(*words: object, **more: object) -> "subprocess.Popen[bytes]":
        started.append(popen(*words, **more))  # type: ignore[call-overload]
        signal.raise_signal(signal.SIGINT)
        return started[0]

    popen = subprocess.Popen
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        output_of(["sleep", "300"], "x", time.monotonic() + 60)
    signal.signal(signal.SIGINT, before)
    assert started[0].poll() == -signal.SIGTERM
