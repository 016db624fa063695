"""Two folders of results side by side."""

import json
from pathlib import Path
from typing import Any

from ..model import UsageError, reason_of
from .report import grouped, text_table
from .statistics import ratio, summarize


def compare(first: Path, second: Path, metric: str = "") -> str:
    """A table of the medians of two runs of a benchmark, their ratio, its interval, and what that means.

    `metric` is a column of samples.csv; without it, what the benchmark is about.

    Raises:
        UsageError: a folder without results, or nothing that is in both.
    """
    (plan, samples), (_, others) = _read(first), _read(second)
    keys = [name for name in plan["parameters"] if name in samples[0]]
    names = [name for sample in samples for name in _numbers(sample) if name not in keys]
    metric = metric or plan.get("metric") or next(iter(names), "")
    if metric not in names:
        there = ", ".join(sorted(set(names)))
        raise UsageError(f"--metric {metric}: not in {first}: there are {there}")
    if any("receiver" in sample for sample in samples):
        keys += ["host", "receiver"]
    before, after = grouped(samples, keys, metric), grouped(others, keys, metric)
    both = [choice for choice in before if choice in after]
    if not both:
        raise UsageError(f"{first} and {second}: nothing was measured in both")
    rows = []
    for choice in both:
        found = ratio(before[choice], after[choice])
        interval = f"{found.interval[0]:.3f}-{found.interval[1]:.3f}" if found and found.interval else ""
        rows.append(
            [
                *map(str, choice),
                f"{summarize(before[choice]).median:.4g}",
                f"{summarize(after[choice]).median:.4g}",
                f"{found.value:.3f}" if found else "",
                interval,
                found.verdict if found else "nothing to compare with",
            ]
        )
    header = [*keys, f"A {metric}", "B", "B / A", "95 % interval", "B has"]
    only = [
        f"{len(set(a) - set(b))} only in {name}"
        for a, b, name in ((before, after, "A"), (after, before, "B"))
    ]
    left_out = [text for text in only if not text.startswith("0 ")]
    lines = [f"A: {first}", f"B: {second}", "", text_table(header, rows)]
    return "\n".join([*lines, *(["", f"left out: {', '.join(left_out)}"] if left_out else [])])


def _read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        plan = json.loads((folder / "plan.json").read_text("utf-8"))
        lines = (folder / "samples.jsonl").read_text("utf-8").splitlines()
        samples = [json.loads(line) for line in lines]
    except OSError as error:
        raise UsageError(
            f"{folder}: no results of a benchmark: {error.filename}: {reason_of(error)}"
        ) from None
    except ValueError:
        raise UsageError(f"{folder}: results that cannot be read") from None
    if not samples:
        raise UsageError(f"{folder}: no samples")
    return plan, samples


def _numbers(sample: dict[str, Any]) -> list[str]:
    return [
        name
        for name, value in sample.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
