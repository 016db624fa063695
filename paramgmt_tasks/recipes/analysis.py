"""What is made of folders of results: the samples of one analyzed, two compared."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ..model import UsageError, reason_of, substitute
from . import charts
from .recipe import JsonObject, Recipe, RecipeFailed, Results
from .report import Key, Page, Table, grouped, summaries, text_table, warnings_of, write_report, write_samples
from .result_folder import ResultFolder, folder_name, write_whole
from .statistics import Summary, ratio, summarize


def analyze(
    recipe: Recipe,
    folder: Path,
    *,
    dropped: Mapping[str, str] = MappingProxyType({}),
    say: Callable[[str], None] = print,
    note: Callable[[str], None] = print,
) -> Results:
    """Read what was pulled into a folder of results, and make tables and charts of it.

    The folder is enough for that: its plan names the hosts. `dropped` says why hosts were dropped meanwhile.

    Raises:
        UsageError: it is no folder of results.
        RecipeFailed: there are no results in it; nothing is written then.
    """
    run = ResultFolder.read(folder)
    failures, skews = _outcomes(run)
    results = Results(
        recipe,
        folder,
        _samples(recipe, run),
        [*dropped.items(), *failures],
        run.plan,
        run.machines(),
        say,
        note,
        skews,
    )
    if not results.samples:
        first = "".join(f": {what}: {reason}" for what, reason in results.failures[:1])
        raise RecipeFailed(f"no results in {folder}{first}")
    write_whole(folder / "samples.jsonl", "".join(json.dumps(sample) + "\n" for sample in results.samples))
    (recipe.analyze or default_report)(results)
    return results


def _samples(recipe: Recipe, run: ResultFolder) -> list[JsonObject]:
    """The samples of all hosts, without those of points that warmed up."""
    samples: list[JsonObject] = []
    for role in recipe.roles:
        entries = run.plan["hosts"].get(role.name, ())
        for rank, entry in enumerate(entries):
            own = run.of_host(folder_name(entry))
            values = {"HOST": entry, "RANK": str(rank), "COUNT": str(len(entries))}
            patterns = [substitute(pattern, values) for pattern in role.results]
            for path in sorted({path for pattern in patterns for path in own.glob(pattern)}):
                samples += [{"host": entry, "role": role.name, **sample} for sample in recipe.parse(path)]
    counted = {None, *run.counted()}
    return [sample for sample in samples if sample.get("name") in counted]


def _outcomes(run: ResultFolder) -> tuple[list[tuple[str, str]], list[tuple[float, float]]]:
    """What failed and why, and the skews of the starts, by the records of the points."""
    failures, skews = [], []
    for name in sorted(set(run.counted())):
        record = run.points.read(name) or {}
        if "error" in record:
            failures.append((name, record["error"]))
        result = record.get("result") or {}
        failures += [(f"{name} on {entry}", text) for entry, text in result.get("failed", {}).items()]
        if "skew_ms" in result:
            skews.append((result["skew_ms"], result["skew_uncertainty_ms"]))
    return failures, skews


def default_report(results: Results) -> None:
    """Tables and bars of the medians of all numbers, for each choice of the parameters."""
    keys = list(results.plan["parameters"])
    columns = {name: summaries(results.samples, keys, name) for name in _measured(results, keys)}
    choices = list(dict.fromkeys(choice for column in columns.values() for choice in column))
    medians = _medians(keys, choices, columns)
    write_samples(results)
    page = Page(results.recipe.name)
    if results.recipe.description:
        page.text(results.recipe.description)
    page.table(*medians)
    named = {
        " ".join([*map(str, choice), name]): column[choice]
        for choice in choices
        for name, column in columns.items()
        if choice in column
    }
    pictures = _bars(results.folder, columns) if charts.available() else []
    write_report(results, page, text_table(*medians), pictures, warnings_of(results, named))


def _measured(results: Results, keys: Sequence[str]) -> list[str]:
    """What of the samples is a number, and no parameter."""
    return [
        name
        for name in dict.fromkeys(name for sample in results.samples for name in sample)
        if name not in (*keys, "run") and any(isinstance(s.get(name), (int, float)) for s in results.samples)
    ]


def _medians(
    keys: Sequence[str], choices: Sequence[Key], columns: Mapping[str, Mapping[Key, Summary]]
) -> Table:
    """A row for each choice of the parameters, a column for each of them and for each number."""
    rows = [
        [
            *map(str, choice),
            *(f"{column[choice].median:.4g}" if choice in column else "" for column in columns.values()),
        ]
        for choice in choices
    ]
    return Table([*keys, *columns], rows)


def _bars(folder: Path, columns: Mapping[str, Mapping[Key, Summary]]) -> list[Path]:
    """A chart for each column, with a bar for each choice of the parameters."""
    pictures: list[Path] = []
    for name, column in columns.items():
        bars = {" ".join(map(str, choice)) or name: summary.range for choice, summary in column.items()}
        pictures += charts.bars(folder / re.sub(r"[^A-Za-z0-9_-]", "_", name), bars, title=name, x=name)
    return pictures


def compare(first: Path, second: Path, metric: str = "") -> str:
    """A table of the medians of two runs of a benchmark, their ratio, its interval, and what that means.

    `metric` is a column of samples.csv; without it, what the benchmark is about.

    Raises:
        UsageError: a folder without results, or nothing that is in both.
    """
    (plan, samples), (_, others) = _samples_of(first), _samples_of(second)
    keys = [name for name in plan["parameters"] if name in samples[0]]
    names = [name for sample in samples for name in _numbers(sample) if name not in keys]
    metric = metric or plan.get("metric") or next(iter(names), "")
    if metric not in names:
        there = ", ".join(sorted(set(names)))
        raise UsageError(f"--metric {metric}: not in {first}: there are {there}")
    if any("receiver" in sample for sample in samples):
        keys += ["host", "receiver"]
    before, after = grouped(samples, keys, metric), grouped(others, keys, metric)
    header = [*keys, f"A {metric}", "B", "B / A", "95 % interval", "B has"]
    rows = [_compared(choice, before[choice], after[choice]) for choice in before if choice in after]
    if not rows:
        raise UsageError(f"{first} and {second}: nothing was measured in both")
    only = {"A": len(before.keys() - after.keys()), "B": len(after.keys() - before.keys())}
    left_out = ", ".join(f"{count} only in {name}" for name, count in only.items() if count)
    lines = [f"A: {first}", f"B: {second}", "", text_table(header, rows)]
    return "\n".join([*lines, *(["", f"left out: {left_out}"] if left_out else [])])


def _compared(choice: Key, before: Sequence[float], after: Sequence[float]) -> list[str]:
    """A row: the medians of both, and whether they differ beyond noise."""
    found = ratio(before, after)
    interval = f"{found.interval[0]:.3f}-{found.interval[1]:.3f}" if found and found.interval else ""
    return [
        *map(str, choice),
        f"{summarize(before).median:.4g}",
        f"{summarize(after).median:.4g}",
        f"{found.value:.3f}" if found else "",
        interval,
        found.verdict if found else "nothing to compare with",
    ]


def _samples_of(folder: Path) -> tuple[JsonObject, list[JsonObject]]:
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


def _numbers(sample: JsonObject) -> list[str]:
    return [
        name
        for name, value in sample.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
