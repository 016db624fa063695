"""What is made of the results of uds-vs-tcp: tables, charts, a page and the article's CSV."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from . import charts
from .recipe import Results
from .report import (
    Key,
    Page,
    Table,
    bar_chart,
    summaries,
    text_table,
    warnings_of,
    write_report,
    write_samples,
)
from .result_folder import write_whole
from .statistics import Summary

#: What transports are compared with, and what is reported of each after the milliseconds.
_BASE = "tcp"
_MORE = ("client_cpu_s", "server_cpu_s", "p50_us", "p99_us", "p99.9_us", "messages_per_s", "mb_per_s")


def analyze(results: Results) -> None:
    """The article's CSV and its two charts, and tables of all that was measured."""
    sizes, transports = results.plan["parameters"]["size"], results.plan["parameters"]["transport"]
    times = summaries(results.samples, ("transport", "size"), "ms")
    base = _BASE if _BASE in transports else transports[0]
    medians = _medians(times, transports, sizes, base)
    write_samples(results)
    write_whole(results.folder / "uds_vs_tcp.csv", _article_csv(results, transports, sizes))
    page = Page("Unix domain sockets against loopback TCP")
    runtimes = ", ".join(sorted({sample["runtime"] for sample in results.samples}))
    page.text(
        f"Medians of {results.plan['runs']} runs of each size and transport on "
        f"{len({sample['host'] for sample in results.samples})} host(s), with {runtimes}."
    )
    page.table(*medians)
    page.heading("More of each")
    page.table(*_more(results, times))
    pictures = _charts(results.folder, times, transports, sizes, base) if charts.available() else []
    some = [(name, size) for size in (sizes[0], sizes[len(sizes) // 2], sizes[-1]) for name in transports]
    bars = {f"{name} {size} B": times[name, size].median for name, size in some if (name, size) in times}
    text = f"{text_table(*medians)}\n\n{bar_chart(bars, ' ms')}\n"
    named = {f"{name}, {size} bytes": summary for (name, size), summary in times.items()}
    write_report(results, page, text, pictures, warnings_of(results, named))


def _medians(
    times: Mapping[Key, Summary], transports: Sequence[str], sizes: Sequence[int], base: str
) -> Table:
    """A row for each size: the milliseconds of each transport, and how they compare with those of `base`."""
    others = [name for name in transports if name != base]
    rows = []
    for size in sizes:
        found = {name: times[name, size].median for name in transports if (name, size) in times}
        row = [str(size), *(f"{found[name]:.1f}" if name in found else "" for name in transports)]
        row += [
            f"{found[name] / found[base]:.2f}" if name in found and base in found else "" for name in others
        ]
        rows.append(row)
    header = ["size", *(f"{name} ms" for name in transports), *(f"{name} / {base}" for name in others)]
    return Table(header, rows)


def _more(results: Results, times: Iterable[Key]) -> Table:
    """Medians of all else that was measured."""
    columns = [summaries(results.samples, ("transport", "size"), name) for name in _MORE]
    rows = [
        [*key, *(f"{column[key].median:.4g}" if key in column else "" for column in columns)] for key in times
    ]
    return Table(["transport", "size", *_MORE], rows)


def _charts(
    folder: Path,
    times: Mapping[Key, Summary],
    transports: Sequence[str],
    sizes: Sequence[int],
    base: str,
) -> list[Path]:
    x = "packet size (bytes)"
    written = charts.lines(
        folder / "execution_time",
        _series(times, transports, sizes),
        title="Execution time against packet size",
        x=x,
        y="milliseconds",
        log_y=True,
    )
    relative = _series(times, [name for name in transports if name != base], sizes, base)
    if relative:
        written += charts.lines(
            folder / "relative_time",
            relative,
            title=f"Execution time relative to {base.upper()}",
            x=x,
            y=f"time / {base.upper()}'s",
            level=1.0,
        )
    return written


def _series(
    times: Mapping[Key, Summary], transports: Sequence[str], sizes: Sequence[int], base: str = ""
) -> dict[str, list[tuple[float, float, float, float]]]:
    """A line for each transport: size, median, lowest and highest; with `base` as parts of its median."""
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for name in transports:
        for size in sizes:
            if (name, size) not in times or (base and (base, size) not in times):
                continue
            divisor = times[base, size].median if base else 1.0
            median, low, high = (value / divisor for value in times[name, size].range)
            found.setdefault(name, []).append((size, median, low, high))
    return found


def _article_csv(results: Results, transports: Sequence[str], sizes: Sequence[int]) -> str:
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
