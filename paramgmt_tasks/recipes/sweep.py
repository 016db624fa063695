"""The sweep: each choice of the parameters, several times, one after the other.

The result of each step goes to a ResultStore as soon as it is there, so that a sweep that was interrupted can
go on where it stopped.
"""

import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from .recipe import JsonObject
from .result_folder import ResultStore


class StepFailed(Exception):
    """A step gave no result; the text says why. Raised by its action."""


@dataclass(frozen=True)
class Step:
    """Something to do, and its name.

    `action` returns what is written down as JSON, and raises StepFailed. Steps that are `like` each other
    take about as long. One that is not `kept` is done again each time, and nothing of it is written down.
    """

    name: str
    action: Callable[[], object]
    like: Hashable = None
    kept: bool = True


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
    results: ResultStore,
    *,
    stop_on_failure: bool = False,
    on_progress: Callable[[Step | None, Progress, str], None] = lambda step, progress, error: None,
    interrupt: Callable[[], None] = lambda: None,
) -> Progress:
    """Do all steps that are not done yet, in their order.

    If a step fails, its reason is written down and the others are done, unless `stop_on_failure`.
    `on_progress` is called before the first step, with no step, and after each, with its error. On a
    KeyboardInterrupt `interrupt` is called to end what is under way, of which nothing is written down.

    Raises:
        UsageError: a result that cannot be written.
    """
    by_name = {step.name: step for step in steps}
    found = {name for name, step in by_name.items() if step.kept and results.done(name)}
    left = [step for name, step in by_name.items() if name not in found]
    total = sum(step.kept for step in by_name.values())
    progress = Progress(total=total, found=len(found), done=len(found))
    timing = _Timing()
    on_progress(None, progress, "")
    # On another thread, so that Ctrl-C always meets this one while it waits, and never an action halfway.
    with ThreadPoolExecutor(1) as thread:
        try:
            for number, step in enumerate(left, 1):
                seconds, failure = _finish(step, thread.submit(step.action), results)
                timing.add(step, seconds)
                if step.kept:
                    progress.done += 1
                    progress.failed += bool(failure)
                progress.left = timing.left(other for other in left[number:] if other.kept)
                on_progress(step, progress, failure)
                if failure and stop_on_failure:
                    break
        except BaseException:
            interrupt()
            raise
    return progress


def _finish(step: Step, future: "Future[object]", results: ResultStore) -> tuple[float, str]:
    """Wait for a step that was just begun and write down how it ended: its seconds and its error."""
    since = time.monotonic()
    wait([future])
    seconds = time.monotonic() - since
    record: JsonObject = {"step": step.name, "seconds": round(seconds, 6)}
    try:
        record["result"] = future.result()
    except StepFailed as error:
        record["error"] = str(error)
    if step.kept:
        results.write(step.name, record)
    return seconds, str(record.get("error", ""))


class _Timing:
    """How long steps took, to estimate how long the others will take."""

    def __init__(self) -> None:
        self._by_likeness: dict[Hashable, list[float]] = {}
        self._all: list[float] = []

    def add(self, step: Step, seconds: float) -> None:
        self._by_likeness.setdefault(step.like, []).append(seconds)
        self._all.append(seconds)

    def left(self, steps: Iterable[Step]) -> float:
        total = 0.0
        for step in steps:
            known = self._by_likeness.get(step.like) or self._all
            total += sum(known) / len(known)
        return total
