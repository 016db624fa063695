"""One run of a client, measured from outside: wall time, processor time and memory of its process tree."""

import ctypes
import os
import re
import resource
import select
import subprocess
import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two looks at the memory of the tree, and between two at how much of it is shared.
_LOOK, _LOOK_CLOSELY = 0.1, 0.5
#: Seconds after which a client is given up.
GIVEN_UP = 400.0
#: Bytes at the end of a client's output that are read.
_READ = 256 * 1024 * 1024
_PR_SET_CHILD_SUBREAPER = 36
#: In the environment of what is measured; so what it leaves behind is told from what the servers leave.
_MARK = "MEASURED"


@dataclass(frozen=True)
class Sample:
    """Figures of one run: bytes and seconds.

    `memory` counts what processes share for each of them, `pss` once; None where that was not looked at.
    `servers` is the processor time of the servers meanwhile.
    """

    wall: float
    cpu: float
    memory: int
    pss: int | None
    servers: float
    output: str


@dataclass(frozen=True)
class _Process:
    """What the kernel tells of a process: `cpu` with that of its children that have ended, in seconds."""

    parent: int
    cpu: float
    memory: int


def run(
    argv: list[str], env: dict[str, str], folder: Path, servers: Set[int] = frozenset(), closely: bool = False
) -> Sample:
    """Run a client in `folder` and wait for all that it has started; with `closely` for `pss` too."""
    # What a client leaves behind becomes our child, so that it is counted and waited for too.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    output = folder / "output"
    served = _cpu(servers)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with output.open("wb") as file:
        began = looked = time.monotonic()
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**env, _MARK: "1"},
            cwd=folder,
        )
        ended = os.pidfd_open(process.pid)
        peak, pss, tree = 0, 0, {process.pid}
        while not select.select([ended], [], [], _LOOK)[0]:
            processes = _processes()
            tree = _descendants(tree | _ours(processes), processes)
            peak = max(peak, _memory(tree, processes))
            if closely and (not pss or time.monotonic() - looked > _LOOK_CLOSELY):
                looked = time.monotonic()
                pss = max(pss, sum(map(_pss, tree)))
            if time.monotonic() - began > GIVEN_UP:
                process.kill()
        wall = time.monotonic() - began
        os.close(ended)
    process.wait()
    processes = _processes()
    tree = _descendants(tree | _ours(processes), processes)
    for pid in tree - {process.pid}:
        _wait_for_orphan(pid)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sample(wall, cpu, peak, pss if closely else None, _cpu(servers) - served, _end_of(output))


def _wait_for_orphan(pid: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return
        time.sleep(0.01)


def _end_of(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _READ))
        return file.read().decode("utf-8", "replace")


def _processes() -> dict[int, _Process]:
    tick, page = os.sysconf("SC_CLK_TCK"), resource.getpagesize()
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                    fields = file.read(1024).rpartition(b")")[2].split()
            except OSError:
                continue
            cpu = sum(map(int, fields[11:15])) / tick
            found[int(name)] = _Process(int(fields[1]), cpu, int(fields[21]) * page)
    return found


def _descendants(known: Set[int], processes: dict[int, _Process]) -> set[int]:
    """The processes among `known`, whoever their parent is by now, and those that descend from them."""
    tree = {pid for pid in known if pid in processes}
    for pid in sorted(processes):  # a child's number is the greater one, until the numbers run out
        if processes[pid].parent in tree:
            tree.add(pid)
    return tree


def _ours(processes: dict[int, _Process]) -> set[int]:
    """Our children that are measured: the client, and what it has left behind."""
    return {pid for pid, process in processes.items() if process.parent == os.getpid() and _marked(pid)}


def _marked(pid: int) -> bool:
    try:
        return f"{_MARK}=1".encode() in Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _cpu(roots: Set[int]) -> float:
    """Seconds that processes and their descendants have taken."""
    if not roots:
        return 0.0
    processes = _processes()
    return sum(processes[pid].cpu for pid in _descendants(roots, processes))


def _memory(tree: Set[int], processes: dict[int, _Process]) -> int:
    if len(tree) == 1:
        return _highest(*tree)
    return sum(processes[pid].memory for pid in tree)


def _highest(pid: int) -> int:
    """What a process has had at most, which the kernel knows. (getrusage() counts the fork of this one.)"""
    return _kilobytes(pid, "status", "VmHWM")


def _pss(pid: int) -> int:
    """The memory of a process, and its share of that which it has together with others."""
    return _kilobytes(pid, "smaps_rollup", "Pss")


def _kilobytes(pid: int, file: str, name: str) -> int:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc", str(pid), file).read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
