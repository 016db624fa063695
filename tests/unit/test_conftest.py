"""What the tests share keeps its promises."""

import os
import signal
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent

LEAVES = """
import gc, subprocess, sys, pytest

def test_that_times_out():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.PIPE)
    process.communicate(timeout=0.01)

def test_of_something_else():
    gc.collect()
"""

SIGNALLED = """
import subprocess, sys

def test_ctrl_c():
    code = (
        "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler,"
        "signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "True True\\n"
"""


def run(folder: Path, text: str, deaf: bool = False) -> str:
    (folder / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (folder / "test_it.py").write_text(text)

    def ignore() -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    words = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=ignore if deaf else None,
    )
    return done.stdout.splitlines()[-1]


def test_a_test_that_times_out_leaves_nothing_for_another_to_fail_of(tmp_path: Path) -> None:
    assert run(tmp_path, LEAVES).startswith("1 failed, 1 passed")


def test_what_tests_start_heeds_signals_that_they_ignore(tmp_path: Path) -> None:
    assert run(tmp_path, SIGNALLED, deaf=True).startswith("1 passed")
