"""What tests share: waiting for what is sure to come, processes and their words, a free port."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

#: Not `random`, which begins alike in every process in which tests run.
_RANDOM = random.SystemRandom()


def until(done: Callable[[], object], seconds: float = 30, why: Callable[[], object] = lambda: "") -> None:
    """Wait for something that is sure to come; `why` says more when it does not."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


def free_port(following: int = 0) -> int:
    """A port on which nothing listens, nor on so many that follow, for what cannot choose one by itself.

    It is none of those that the kernel gives to outgoing connections, which might take it in between.
    """
    while True:
        port = _RANDOM.randrange(10000, 32000)
        with ExitStack() as probes, suppress(OSError):
            for number in range(port, port + 1 + following):
                probes.enter_context(socket.socket()).bind(("0.0.0.0", number))
            return port


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# -- processes

#: In the environment of what a file of tests starts.
MARK = "PARAMGMT_TEST_FILE"
#: The processes that last for more than one file.
lasting: set[int] = set()


def start_lasting(words: list[str | Path], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a process that lasts for more than one file of tests; who does so ends it, too."""
    env = {name: value for name, value in options.pop("env", os.environ).items() if name != MARK}
    process = subprocess.Popen(words, env=env, **options)
    lasting.add(process.pid)
    return process


def pids() -> list[int]:
    """All processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def command_line(pid: int) -> str:
    """A process's words with spaces between them; empty when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def running(mark: str) -> list[int]:
    """The processes, other than this one, that have this in their words."""
    return [pid for pid in pids() if pid != os.getpid() and mark in command_line(pid)]


def children(parent: int) -> list[int]:
    """The processes that another one has started."""
    found = []
    for pid in pids():
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(pid)
    return found


def started_with(variable: str) -> list[int]:
    """The processes that have this NAME=VALUE in the environment they were started with."""
    found = []
    for pid in pids():
        with suppress(OSError):
            if variable.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def kill(processes: Iterable[int]) -> None:
    """Kill processes, as far as they are still there."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
