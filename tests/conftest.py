"""What every test shares: nothing of the developer's own keys, agent, configuration or home."""

import contextlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path

import programs
import pytest
from helpers import MARK, command_line, lasting, started_with, until

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders for the homes of tests, each new."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def blank_home(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    home = next(homes)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name == "SSH_AUTH_SOCK" or name.startswith(("INVOKE_", "FABRIC_")):
            monkeypatch.delenv(name)
    return home


@pytest.fixture(autouse=True, scope="session")
def signals_reach_what_is_started() -> Iterator[None]:
    """What tests start heeds Ctrl-C and SIGHUP, also if the tests do not: in the background, or by nohup.

    Ignored signals stay so over exec; those that are handled, if only by nothing, are set back. (SIGPIPE,
    which Python itself ignores, is set back by `subprocess`.)
    """
    heeded = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    ignored = [number for number in heeded if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda number, frame: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def own_logger() -> Iterator[None]:
    """What tasks that run in this process do to the logger does not last."""
    log = logging.getLogger("paramgmt_tasks")
    handlers, level, propagate = list(log.handlers), log.level, log.propagate
    yield
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(level)


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A file of tests leaves neither processes nor threads, unless they last for more than one file."""
    value = f"{os.getpid()}-{request.path.stem}"
    threads = set(threading.enumerate())
    os.environ[MARK] = value
    yield
    del os.environ[MARK]

    def left() -> list[object]:
        processes = [f"{pid} {command_line(pid)}" for pid in started_with(f"{MARK}={value}")]
        # The loop of a Dask client that could not connect is never closed.
        more = [thread for thread in threading.enumerate() if thread.name != "IO loop"]
        return [*processes, *(set(more) - threads)]

    until(lambda: not left(), 20, lambda: f"left by {request.path.name}: {left()}\n{_stacks(left())}")


def _stacks(found: list[object]) -> str:
    """Where the threads among these are."""
    frames = sys._current_frames()
    idents = [thread.ident for thread in found if isinstance(thread, threading.Thread)]
    return "\n".join("".join(traceback.format_stack(frames[i])) for i in idents if i in frames)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test leaves none of the processes that it has started.

    If it fails, such as by a timeout, they are killed; otherwise they have to end by themselves.
    """
    started: list[subprocess.Popen[bytes]] = []
    make, own = subprocess.Popen.__init__, threading.get_ident()

    def remember(process: "subprocess.Popen[bytes]", *args: object, **options: object) -> None:
        make(process, *args, **options)  # type: ignore[arg-type,call-overload]
        if threading.get_ident() == own:  # other threads work for more than one test
            started.append(process)

    subprocess.Popen.__init__ = remember  # type: ignore[method-assign]
    try:
        result = yield
        for process in started:
            if process.pid not in lasting:
                process.wait(10)
        return result
    except BaseException:
        for process in started:
            if process.pid not in lasting:
                _end(process)
        raise
    finally:
        subprocess.Popen.__init__ = make  # type: ignore[method-assign]


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


@pytest.fixture(autouse=True, scope="session")
def end_of_programs() -> Iterator[None]:
    """What has been started to run this project's programs quickly ends with the tests."""
    yield
    programs.close()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run a program, in an empty folder; those that are installed with this one are found first."""

    def run(*words: str, cwd: Path = tmp_path, **more: str) -> "subprocess.CompletedProcess[str]":
        return programs.run(*words, cwd=cwd, **more)

    return run


@pytest.fixture
def inv(
    run: Callable[..., "subprocess.CompletedProcess[str]"],
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run `inv` with this project's tasks, in an empty folder."""
    return partial(run, "inv", "--search-root", str(ROOT))
