"""What every report is made of: samples as CSV, a page to look at, tables and bars for the terminal."""

import csv
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ..model import fold
from . import charts
from .recipe import JsonObject, Results, busy_before
from .result_folder import write_whole
from .statistics import Summary, summarize

#: What tells groups of samples apart: the values of some of their facts.
Key: TypeAlias = tuple[Any, ...]

#: The spread of the runs beyond which a point is doubtful: what lies between the quartiles, in medians.
DOUBTFUL = 0.2
_BAR = 30
#: Files of every report.
_WRITTEN = ("samples.jsonl", "samples.csv", "machine.json", "report.html")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222 }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
svg, img { max-width: 100%; height: auto } .note { color: #a33 }
"""


class Table(NamedTuple):
    """A table, for a page and for the terminal."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]


class Page:
    """A page of HTML that needs no other file."""

    def __init__(self, title: str) -> None:
        self._parts = [f"<h1>{html.escape(title)}</h1>"]
        self._title = title

    def heading(self, text: str) -> None:
        """Add a heading."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str, note: bool = False) -> None:
        """Add a paragraph; a `note` is something to beware of."""
        self._parts.append(f"<p{' class=note' if note else ''}>{html.escape(text)}</p>")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table."""
        cells = "".join(f"<th>{html.escape(name)}</th>" for name in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
        )
        self._parts.append(f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>")

    def figure(self, svg: Path) -> None:
        """Add a chart, as part of the page."""
        text = svg.read_text("utf-8")
        self._parts.append(f"<figure>{text[text.index('<svg') :]}</figure>")

    def write(self, path: Path) -> None:
        """Write the page to a file, whole or not at all."""
        title = html.escape(self._title)
        head = f'<head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
        body = "\n".join(self._parts)
        write_whole(path, f'<!doctype html>\n<html lang="en">{head}\n<body>\n{body}\n</body></html>\n')


def grouped(samples: Iterable[JsonObject], keys: Sequence[str], value: str) -> dict[Key, list[float]]:
    """The values of samples that are alike in `keys`, in the order of their first."""
    found: dict[Key, list[float]] = {}
    for sample in samples:
        if isinstance(sample.get(value), (int, float)):
            found.setdefault(tuple(sample.get(key) for key in keys), []).append(float(sample[value]))
    return found


def summaries(samples: Iterable[JsonObject], keys: Sequence[str], value: str) -> dict[Key, Summary]:
    """The summaries of samples that are alike in `keys`."""
    return {key: summarize(values) for key, values in grouped(samples, keys, value).items()}


def write_samples(results: Results) -> None:
    """samples.csv: a row for each sample, a column for each of its facts that is no list."""
    names: dict[str, None] = {}
    for sample in results.samples:
        names.update({name: None for name, value in sample.items() if not isinstance(value, (list, dict))})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(results.samples)
    write_whole(results.folder / "samples.csv", text.getvalue())


def warnings_of(results: Results, named: Mapping[str, Summary]) -> list[str]:
    """What makes the results doubtful, in lines; `named` are the summaries, as readers know them."""
    lines = [
        f"{name}: half of the runs differ by {summary.spread:.0%} of the median"
        for name, summary in named.items()
        if summary.count > 1 and summary.spread > DOUBTFUL
    ]
    busy = [name for name, machine in results.machines.get("before", {}).items() if busy_before(machine)]
    if busy:
        lines.append(f"busy with something else before the start: {fold(busy)}")
    return lines


def write_report(
    results: Results, page: Page, text: str, pictures: Sequence[Path], warnings: Sequence[str]
) -> None:
    """Complete the page with pictures, warnings, failures, machines and plan, and write it.

    `text` goes to the terminal, with warnings, failures and the names of the files that were written.
    """
    failures = _by_reason(results.failures)
    for path in pictures:
        if path.suffix == ".svg":
            page.figure(path)
    for line in warnings:
        page.text(f"Doubtful: {line}", note=True)
    if failures:
        page.heading("Failed")
        for line in failures:
            page.text(line, note=True)
    page.heading("Machines")
    page.table(*_machines(results))
    page.heading("Plan")
    page.table(["what", "value"], list(results.plan.items()))
    for line in (
        text,
        *(f"doubtful: {line}" for line in warnings),
        *(f"failed: {line}" for line in failures),
    ):
        results.say(line)
    if not charts.available():
        results.note(charts.HOW_TO)
    page.write(results.folder / "report.html")
    written = [*(path.name for path in pictures), *_WRITTEN]
    extra = [path.name for path in sorted(results.folder.glob("*.csv")) if path.name not in written]
    results.note(f"Written to {results.folder}: {', '.join([*extra, *written])}")


def _machines(results: Results) -> Table:
    """What is known of each host, and its load before and after."""
    before, after = results.machines.get("before", {}), results.machines.get("after", {})
    names = list(dict.fromkeys(name for machine in before.values() for name in machine if name != "load"))
    rows = [
        [
            entry,
            *(machine.get(name, "") for name in names),
            machine.get("load", ""),
            after.get(entry, {}).get("load", ""),
        ]
        for entry, machine in before.items()
    ]
    return Table(["host", *names, "load before", "after"], rows)


def _by_reason(failures: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each reason."""
    found: dict[str, list[str]] = {}
    for what, reason in failures:
        found.setdefault(reason, []).append(what)
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
        for reason, names in found.items()
    ]


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for the terminal, numbers to the right.

    >>> print(text_table(["size", "ms"], [[1, "2.50"], [1024, "10.00"]]))
    size     ms
       1   2.50
    1024  10.00
    """
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numbers = [all(_number(cell) for cell in column[1:]) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in lines
    )


def _number(cell: str) -> bool:
    return re.fullmatch(r"-?[\d.,]*%?", cell) is not None


def bar_chart(values: Mapping[str, float], unit: str = "") -> str:
    """A small chart for the terminal: a bar for each name.

    >>> print(bar_chart({"uds": 1.0, "tcp": 2.0}))
    uds  ███████████████                 1
    tcp  ██████████████████████████████  2
    """
    most = max(values.values(), default=0.0) or 1.0
    width = max(map(len, values), default=0)
    lines = []
    for name, value in values.items():
        bar = "█" * max(1, round(value / most * _BAR))
        number = f"{value:.0f}" if value >= 1000 else f"{value:.4g}"
        lines.append(f"{name:{width}}  {bar:{_BAR}}  {number}{unit}")
    return "\n".join(lines)
