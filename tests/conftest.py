"""What every test shares: nothing of the developer's own keys, agent, configuration or home."""

import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path

import programs
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def blank_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name == "SSH_AUTH_SOCK" or name.startswith(("INVOKE_", "FABRIC_")):
            monkeypatch.delenv(name)
    return home


@pytest.fixture(autouse=True, scope="session")
def signals_reach_what_is_started() -> Iterator[None]:
    """What tests start heeds Ctrl-C and SIGHUP, also where the tests do not: in the background, or by nohup.

    Ignored signals stay so over exec; those that are handled, if only by nothing, are set back.
    """
    ignored = [n for n in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_IGN]
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that fails, such as by a timeout, leaves none of the processes that it has started."""
    started: list[subprocess.Popen[bytes]] = []
    make = subprocess.Popen.__init__

    def remember(process: "subprocess.Popen[bytes]", *args: object, **options: object) -> None:
        make(process, *args, **options)  # type: ignore[arg-type,call-overload]
        started.append(process)

    subprocess.Popen.__init__ = remember  # type: ignore[method-assign]
    try:
        return (yield)
    except BaseException:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        raise
    finally:
        subprocess.Popen.__init__ = make  # type: ignore[method-assign]


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
