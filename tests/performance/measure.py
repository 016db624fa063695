"""One run of a client, measured from outside: wall time, processor time and memory of its process tree."""

import ctypes
import os
import re
import resource
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two looks at the memory of the tree, and after which a client is given up.
_LOOK, GIVEN_UP = 0.1, 400.0
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Sample:
    """Figures of one run. `memory` is in bytes, the others in seconds."""

    wall: float
    cpu: float
    memory: int
    output: str


def run(argv: list[str], env: dict[str, str], folder: Path) -> Sample:
    """Run a client in `folder` and wait for all that it has started."""
    # What a client leaves behind becomes our child, so that it is counted and waited for too.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    output = folder / "output"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with output.open("wb") as file:
        began = time.monotonic()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=env, cwd=folder
        )
        ended = os.pidfd_open(process.pid)
        peak, tree = 0, {process.pid}
        while not select.select([ended], [], [], _LOOK)[0]:
            tree, used = _memory(process.pid)
            peak = max(peak, used)
            if time.monotonic() - began > GIVEN_UP:
                process.kill()
        wall = time.monotonic() - began
        os.close(ended)
    process.wait()
    for pid in tree - {process.pid}:
        _wait_for_orphan(pid)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sample(wall, cpu, peak, output.read_text("utf-8", "replace"))


def _wait_for_orphan(pid: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return
        time.sleep(0.01)


def _memory(root: int) -> tuple[set[int], int]:
    """The processes that descend from `root`, and their resident memory together."""
    parents, resident = {}, {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(name)], resident[int(name)] = int(fields[1]), int(fields[21])
    tree = {root}
    for pid in sorted(parents):  # a child's number is the greater one, until the numbers run out
        if parents[pid] in tree:
            tree.add(pid)
    if len(tree) == 1:
        return tree, _highest(root)
    return tree, sum(resident.get(pid, 0) for pid in tree) * resource.getpagesize()


def _highest(pid: int) -> int:
    """What a process has had at most, which the kernel knows. (getrusage() counts the fork of this one.)"""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc", str(pid), "status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
