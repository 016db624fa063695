"""What is made of the ping-pong's results: the article's CSV and its two charts, tables, and a page."""

from collections.abc import Mapping
from typing import Any

from . import charts
from .recipe import Results
from .report import Page, bar_chart, grouped, text_table, warnings_of, write_report, write_samples
from .statistics import Summary, summarize
from .sweep import write_whole

_BASE = "tcp"
#: What is told of each choice besides milliseconds.
_MORE = ("client_cpu_s", "server_cpu_s", "p50_us", "p99_us", "p99.9_us", "messages_per_s", "mb_per_s")


def analyze(results: Results) -> None:
    """Write and tell all that is made of them."""
    sizes, transports = results.plan["parameters"]["size"], results.plan["parameters"]["transport"]
    times = grouped(results.samples, ("transport", "size"), "ms")
    summaries = {key: summarize(values) for key, values in times.items()}
    write_samples(results)
    write_whole(results.folder / "uds_vs_tcp.csv", _article_csv(results, transports, sizes))
    base = _BASE if _BASE in transports else transports[0]
    header = ["size", *(f"{name} ms" for name in transports)]
    header += [f"{name} / {base}" for name in transports if name != base]
    rows = []
    for size in sizes:
        found = {name: summaries.get((name, size)) for name in transports}
        row = [str(size), *(f"{s.median:.1f}" if s else "" for s in found.values())]
        reference = found[base]
        row += [
            f"{s.median / reference.median:.2f}" if s and reference else ""
            for name, s in found.items()
            if name != base
        ]
        rows.append(row)
    page = Page("Unix domain sockets against loopback TCP")
    runtimes = ", ".join(sorted({sample["runtime"] for sample in results.samples}))
    page.text(
        f"Medians of {results.plan['runs']} runs of each size and transport on "
        f"{len({sample['host'] for sample in results.samples})} host(s), with {runtimes}."
    )
    page.table(header, rows)
    page.heading("More of each")
    more = {name: grouped(results.samples, ("transport", "size"), name) for name in _MORE}
    page.table(
        ["transport", "size", *_MORE],
        [
            [
                *key,
                *(f"{summarize(more[name][key]).median:.4g}" if key in more[name] else "" for name in _MORE),
            ]
            for key in summaries
        ],
    )
    pictures = _charts(results, summaries, transports, sizes, base) if charts.available() else []
    chart = bar_chart(
        {
            f"{name} {size} B": summaries[name, size].median
            for size in (sizes[0], sizes[len(sizes) // 2], sizes[-1])
            for name in transports
            if (name, size) in summaries
        },
        " ms",
    )
    warnings = warnings_of(results, {f"{name}, {size} bytes": s for (name, size), s in summaries.items()})
    write_report(results, page, f"{text_table(header, rows)}\n\n{chart}\n", pictures, warnings)


def _charts(
    results: Results, summaries: Mapping[Any, Summary], transports: list[str], sizes: list[int], base: str
) -> Any:
    def series(relative: bool) -> dict[str, list[tuple[float, float, float, float]]]:
        found: dict[str, list[tuple[float, float, float, float]]] = {}
        for name in transports:
            for size in sizes:
                summary, reference = summaries.get((name, size)), summaries.get((base, size))
                if summary is None or (relative and (reference is None or name == base)):
                    continue
                by = reference.median if relative and reference else 1.0
                point = (size, summary.median / by, summary.low / by, summary.high / by)
                found.setdefault(name, []).append(point)
        return found

    x = "packet size (bytes)"
    written = charts.lines(
        results.folder / "execution_time",
        series(relative=False),
        title="Execution time against packet size",
        x=x,
        y="milliseconds",
        log_y=True,
    )
    relative = series(relative=True)
    if relative:
        written += charts.lines(
            results.folder / "relative_time",
            relative,
            title=f"Execution time relative to {base.upper()}",
            x=x,
            y=f"time / {base.upper()}'s",
            level=1.0,
        )
    return written


def _article_csv(results: Results, transports: list[str], sizes: list[int]) -> str:
    """The milliseconds laid out as in the article: a row for each transport and size, a column for each run.

    On several hosts each has rows of its own, its name in front.
    """
    hosts = list(dict.fromkeys(sample["host"] for sample in results.samples))
    runs = results.plan["runs"]
    found = {}
    for sample in results.samples:
        run = int(sample["name"].rpartition("run=")[2])
        found[sample["host"], sample["transport"], sample["size"], run] = sample["ms"]
    lines = ["NAME, " + "".join(f"RUN {run}, " for run in range(runs))]
    for host in hosts:
        front = f"{host} " if len(hosts) > 1 else ""
        for name in transports:
            for size in sizes:
                cells = [found.get((host, name, size, run)) for run in range(runs)]
                text = "".join(f"{cell}, " if cell is not None else ", " for cell in cells)
                lines.append(f"{front}{name.upper()} Size {size}, {text}")
    return "\n".join(line.rstrip() for line in lines) + "\n"
