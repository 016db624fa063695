"""Runs cases of a fuzzer one after the other in a child process, which may hang, crash or run out of memory.

A fuzzer is a module with NAME, a function `case(seed, folder)` that raises where something was violated, and
SECONDS that one case may take. `setup()`, where there is one, gives a context for all cases of a child. A
case makes all of its choices by its seed, and has an empty folder of its own.
"""

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import random
import re
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: Modules of the fuzzers, by the names they have on the command line.
FUZZERS = {
    "tar": "tar_streams",
    "ssh": "ssh_messages",
    "sftp": "sftp_answers",
    "known-hosts": "texts",
    "ssh-config": "texts",
    "ssh-config-oracle": "config_oracle",
    "host-list": "texts",
    "record": "texts",
    "faults": "fault_proxy",
}
#: Bytes that a case may add to what this process holds at once, and all that a child may map.
GROWTH, MAPPED = 64 * 2**20, 3 * 2**30
#: Seconds after which a child is replaced, so that what it has cached does not add up.
CHILD = 120.0
#: Levels of folders that a transfer may make, some more than are allowed.
DEEPEST = 260
#: Bytes of the names that it may make, so that all here can be looked at by its path.
LONGEST = 3900


class Violation(Exception):
    """What must never happen has happened; the text says what."""


@dataclass(frozen=True)
class Finding:
    """A case that failed."""

    fuzzer: str
    seed: int
    what: str

    @property
    def kind(self) -> str:
        """What it has in common with others of its kind: its first words, without names and numbers."""
        line = self.what.splitlines()[0].partition(" (")[0]
        return re.sub(r"'[^']*'|\"[^\"]*\"|[0-9.]+", "#", line)[:60]

    @property
    def command(self) -> str:
        return f"{sys.executable} tests/fuzz/run.py --only {self.fuzzer} --seed {self.seed} --cases 1"

    def __str__(self) -> str:
        return f"{self.fuzzer} {self.seed}: {self.what}\n    again: {self.command}"


def hunt(
    fuzzer: str,
    seed: int,
    cases: int | None = None,
    seconds: float | None = None,
    tell: Callable[[Finding], object] = lambda finding: None,
) -> "Hunt":
    """Run `cases` from `seed` on, or as many as `seconds` take; `tell` is called when one has failed."""
    hunting = Hunt(fuzzer, seed, tell)
    ends = time.monotonic() + seconds if seconds is not None else float("inf")
    while (cases is None or hunting.done < cases) and time.monotonic() < ends:
        hunting.child(None if cases is None else cases - hunting.done, ends)
    return hunting


class Hunt:
    """What came of the cases of a fuzzer: how many there were, and those that failed."""

    def __init__(self, fuzzer: str, seed: int, tell: Callable[[Finding], object]) -> None:
        self._tell = tell
        self.fuzzer, self.first, self.done = fuzzer, seed, 0
        self.findings: list[Finding] = []
        self.limit = float(_module(fuzzer).SECONDS)

    def child(self, cases: int | None, ends: float) -> None:
        """Have one child run on from where the last one stopped, until it ends or has to be ended."""
        words = [sys.executable, str(HERE / "harness.py"), self.fuzzer, str(self.first + self.done)]
        with tempfile.TemporaryFile() as said, _folder() as folder:
            process = subprocess.Popen(
                [*words, str(cases if cases is not None else 2**62), folder],
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
                preexec_fn=die_with_parent,
                env={**os.environ, "HOME": folder, "XDG_STATE_HOME": f"{folder}/state", "TMPDIR": folder},
            )
            assert process.stdout is not None
            why = self._follow(process.stdout.fileno(), ends)
            ended = not why and time.monotonic() >= ends
            if why:
                os.killpg(process.pid, signal.SIGABRT)  # faulthandler says where it is
            elif ended and process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5 if why or ended else 30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            process.stdout.close()
            said.seek(0)
            text = said.read().decode("utf-8", "replace")
            if not why and not ended and code:
                why = f"the process ended with {code}"
            if why:
                self._found(self.first + self.done, f"{why}\n{_indented(text[-9000:])}")
                self.done += 1

    def _found(self, seed: int, what: str) -> None:
        self.findings.append(Finding(self.fuzzer, seed, what))
        self._tell(self.findings[-1])

    def _follow(self, pipe: int, stop: float) -> str:
        """Read what the child says of each case; why it has to be ended, if it has to."""
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            begun = time.monotonic()
            while time.monotonic() < stop:
                if not selector.select(max(0.0, min(begun + self.limit, stop) - time.monotonic())):
                    if time.monotonic() >= begun + self.limit:
                        return f"it hangs: no end after {self.limit:g} s"
                    continue
                data = os.read(pipe, 65536)
                if not data:
                    return ""
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    said = json.loads(line)
                    if "what" in said:
                        self._found(said["seed"], said["what"])
                    begun = time.monotonic()
                    self.done += "begun" not in said
        return ""


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that has started it ends (Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="fuzz-")
    try:
        yield folder
    finally:
        remove(folder)


def remove(folder: "str | Path") -> None:
    """Remove a folder, however deep it is."""
    subprocess.run(["rm", "-rf", "--", folder], stderr=subprocess.DEVNULL, check=False)


def _indented(text: str) -> str:
    return "\n".join(f"      {line}" for line in text.splitlines())


def _module(fuzzer: str) -> Any:
    return importlib.import_module(FUZZERS[fuzzer])


# -- in the child


def _serve(fuzzer: str, first: int, cases: int, folder: Path) -> None:
    faulthandler.enable()
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module = _module(fuzzer)
    run = module.CASES[fuzzer] if hasattr(module, "CASES") else module.case
    with getattr(module, "setup", contextlib.nullcontext)():
        resource.setrlimit(resource.RLIMIT_AS, (MAPPED, MAPPED))
        said.write('{"begun": true}\n')
        replaced = time.monotonic() + CHILD
        for seed in range(first, first + cases):
            if time.monotonic() > replaced:
                break
            what = _one(run, seed, folder / "case")
            said.write(json.dumps({"seed": seed, **({"what": what} if what else {})}) + "\n")


def _one(run: Any, seed: int, folder: Path) -> str:
    folder.mkdir()
    random.seed(seed)  # what the product chooses by chance
    _forget_peak()
    before, descriptors = _memory("VmRSS"), len(os.listdir("/proc/self/fd"))
    try:
        run(seed, folder)
        gc.collect()  # what is in circles still holds its files
        after = len(os.listdir("/proc/self/fd"))
        if after > descriptors:
            raise Violation(f"descriptors left open: {after - descriptors}")
        grown = _memory("VmHWM") - before
        if grown > GROWTH:
            raise Violation(f"memory: {grown // 2**20} MB more than before")
    except Violation as violation:
        return str(violation)
    except BaseException as error:
        lines = traceback.format_exception(error)
        return (
            f"{type(error).__name__}: {error}"[:500].splitlines()[0]
            + "\n"
            + _indented("".join(lines)[-2500:])
        )
    finally:
        _clear(folder)
    return ""


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _memory(name: str) -> int:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def _clear(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        remove(folder)


# -- what cases look at


def snapshot(root: Path, without: Path | None = None) -> dict[str, tuple[Any, ...]]:
    """All below `root` (but what is `without` or below it), by path: kind, mode and content."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in _walk(root, without):
        info = path.lstat()
        content: Any = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(root))] = (info.st_mode, content)
    return found


def _walk(root: Path, without: Path | None) -> Iterator[Path]:
    """All below `root`; paths are cut to a depth that no transfer may exceed.

    Raises:
        Violation: it is deeper.
    """
    left = [(root, 0)]
    while left:
        here, depth = left.pop()
        if depth > DEEPEST or len(str(here)) - len(str(root)) > LONGEST:
            raise Violation(f"folders of more than {DEEPEST} levels or names of more than {LONGEST} bytes")
        for entry in os.scandir(here):
            path = here / entry.name
            if path != without:
                yield path
                if entry.is_dir(follow_symlinks=False):
                    left.append((path, depth + 1))


def same(before: dict[str, Any], after: dict[str, Any], what: str) -> None:
    """Whether two snapshots are the same.

    Raises:
        Violation: they are not.
    """
    if before == after:
        return
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    shown = ", ".join(
        f"{name!r:.100}: {before.get(name)!r:.80} -> {after.get(name)!r:.80}" for name in names[:3]
    )
    raise Violation(f"{what} ({len(names)}): {shown}")


def check_reason(reason: str) -> None:
    """Whether a reason is one printable line of bounded length.

    Raises:
        Violation: it is not.
    """
    if not reason.isprintable():
        raise Violation(f"a reason that is not one printable line: {reason!r:.300}")
    if len(reason) > 200:
        raise Violation(f"a reason of {len(reason)} characters: {reason[:300]}")


def check_destination(destination: Path) -> None:
    """Whether a destination has nothing temporary in it, and no link that leads out of it.

    Raises:
        Violation: it has.
    """
    real = os.path.realpath(destination)
    for path in _walk(destination, None) if destination.is_dir() and not destination.is_symlink() else []:
        if path.name.startswith(".paramgmt-"):
            raise Violation(f"a temporary file was left: {path.name}")
        if path.is_symlink():
            leads = os.path.realpath(path)
            if leads != real and not leads.startswith(f"{real}/"):
                raise Violation(f"a link that leads out of the destination: {os.readlink(path)!r:.80}")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.modules["harness"] = sys.modules["__main__"]
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
