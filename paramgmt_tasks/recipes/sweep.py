"""The sweep: steps that depend on each other, such as a grid of parameters times repeats, done once each.

Each step's result is written to a file of its own as soon as it is there, so that a sweep which was broken
off goes on where it stopped.
"""

import contextlib
import itertools
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from ..model import UsageError, reason_of

ORDERS = ("interleaved", "random")


class StepFailed(Exception):
    """A step gave no result; the text says why. Raised by its action."""


@dataclass(frozen=True)
class Step:
    """Something to do, named, once those named in `after` are done.

    `action` returns what is written down as JSON, and raises StepFailed. `like` says which steps take about
    as long. One that is not `kept` is done again each time, and nothing of it is written down.
    """

    name: str
    action: Callable[[], Any]
    after: tuple[str, ...] = ()
    like: Any = None
    kept: bool = True


@dataclass(frozen=True)
class Point:
    """One run with one choice of the parameters; those below 0 warm up."""

    parameters: tuple[tuple[str, Any], ...]
    run: int

    @property
    def name(self) -> str:
        """Its name, which is also that of its file.

        >>> Point((("transport", "uds"), ("size", 64)), 3).name
        'transport=uds,size=64,run=3'
        """
        pairs = (*self.parameters, ("run", self.run))
        return ",".join(f"{name}={re.sub(r'[^A-Za-z0-9.+-]', '_', str(value))}" for name, value in pairs)


def points(
    parameters: Mapping[str, Sequence[Any]],
    runs: int,
    warmup: int = 0,
    order: str = "interleaved",
    seed: int | None = None,
) -> list[Point]:
    """Every choice of the parameters, `runs` times, after `warmup` runs that do not count.

    Interleaved, each run goes through all choices, the last parameter changing fastest, so that what changes
    with time touches all alike; at random, the runs are shuffled, as `seed` says.

    >>> [point.name for point in points({"a": [1, 2]}, 2)]
    ['a=1,run=0', 'a=2,run=0', 'a=1,run=1', 'a=2,run=1']
    """
    choices = [
        tuple(zip(parameters, values, strict=True)) for values in itertools.product(*parameters.values())
    ]
    found = [Point(choice, run) for run in range(-warmup, runs) for choice in choices]
    if order == "random":
        measured = found[len(choices) * warmup :]
        random.Random(seed).shuffle(measured)
        found[len(choices) * warmup :] = measured
    return found


class ResultStore:
    """The results of steps in a folder, a file each, whole or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> dict[str, Any] | None:
        """What is written of a step; None where nothing is."""
        try:
            found: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def done(self, name: str) -> bool:
        """Whether a step succeeded."""
        return "error" not in (self.read(name) or {"error": ""})

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Write down how a step ended.

        Raises:
            UsageError: it cannot be written.
        """
        write_whole(self.folder / f"{name}.json", json.dumps(record, indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, "utf-8")
        os.replace(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise UsageError(f"{path}: {reason_of(error)}") from None


@dataclass
class Progress:
    """How far a sweep is: of `total` steps those found done, done by now, and failed; seconds left."""

    total: int
    found: int
    done: int = 0
    failed: int = 0
    left: float | None = None


def run_steps(
    steps: Iterable[Step],
    kept: ResultStore,
    *,
    max_parallel: int = 1,
    stop_on_failure: bool = False,
    on_progress: Callable[[Step | None, Progress, str], None] = lambda step, progress, error: None,
    interrupt: Callable[[], None] = lambda: None,
) -> Progress:
    """Do all steps that are not done yet, in their order as far as their dependencies allow.

    A step that fails is written down with its reason and those after it are left out; the others are done,
    unless `stop_on_failure`. `tell` is called after each (with its error), and before the first with no step.
    Where this is interrupted (KeyboardInterrupt), `interrupt` is called to end what is under way, of which
    nothing is written down.

    Raises:
        UsageError: a circle among the steps, or a result that cannot be written.
    """
    by_name = {step.name: step for step in steps}
    order = {name: number for number, name in enumerate(by_name)}
    sorter: TopologicalSorter[str] = TopologicalSorter({step.name: step.after for step in by_name.values()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise UsageError(f"steps that wait for each other: {' -> '.join(error.args[1])}") from None
    done = {name for name, step in by_name.items() if step.kept and kept.done(name)}
    counted = [step for step in by_name.values() if step.kept]
    progress = Progress(total=len(counted), found=len(done), done=len(done))
    timing = _Timing()
    ready: list[str] = []
    under_way: dict[Future[Any], tuple[Step, float]] = {}
    failed: set[str] = set()
    on_progress(None, progress, "")
    with ThreadPoolExecutor(max_parallel) as pool:
        try:
            while sorter.is_active():
                ready = sorted([*ready, *sorter.get_ready()], key=order.__getitem__)
                while ready and (len(under_way) < max_parallel or ready[0] in done):
                    name = ready.pop(0)
                    step = by_name.get(name)
                    if step is None or name in done:
                        sorter.done(name)
                    elif failed.intersection(step.after) or (failed and stop_on_failure):
                        failed.add(name)
                        sorter.done(name)
                    else:
                        under_way[pool.submit(step.action)] = (step, time.monotonic())
                    ready = sorted([*ready, *sorter.get_ready()], key=order.__getitem__)
                if not under_way:
                    continue
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    step, since = under_way.pop(future)
                    seconds = time.monotonic() - since
                    failure = _settle(step, future, seconds, kept)
                    timing.add(step, seconds)
                    if failure:
                        failed.add(step.name)
                    if step.kept:
                        progress.done += 1
                        progress.failed += bool(failure)
                    waiting = [other for other in counted if other.name not in done | failed | timing.seen]
                    progress.left = timing.left(waiting) / max_parallel
                    on_progress(step, progress, failure)
                    sorter.done(step.name)
        except BaseException:
            interrupt()
            raise
    return progress


def _settle(step: Step, future: "Future[Any]", seconds: float, kept: ResultStore) -> str:
    """Write down how a step ended; its error."""
    record: dict[str, Any] = {"step": step.name, "seconds": round(seconds, 6)}
    try:
        record["result"] = future.result()
    except StepFailed as error:
        record["error"] = str(error)
    if step.kept:
        kept.write(step.name, record)
    return str(record.get("error", ""))


class _Timing:
    """How long steps take, to tell how long those take that are left."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._by_likeness: dict[Any, list[float]] = {}
        self._all: list[float] = []

    def add(self, step: Step, seconds: float) -> None:
        self.seen.add(step.name)
        self._by_likeness.setdefault(step.like, []).append(seconds)
        self._all.append(seconds)

    def left(self, steps: Iterable[Step]) -> float:
        total = 0.0
        for step in steps:
            known = self._by_likeness.get(step.like) or self._all
            total += sum(known) / len(known)
        return total
