"""What is made of the results of the network recipe: tables, charts and a page."""

from collections.abc import Mapping
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
from .statistics import Summary, percentile

#: Pairs that are shown one by one on the terminal; the percentiles of them that are.
_SHOWN, _SHARES = 20, (0.05, 0.5, 0.95)


def analyze(results: Results) -> None:
    """Tables of each pair and of all, a matrix or bars, and percentiles."""
    pairs = summaries(results.samples, ("host", "receiver"), "mbit_per_s")
    named = {f"{sender} > {receiver}": summary for (sender, receiver), summary in pairs.items()}
    plan = results.plan
    pairing = plan["parameters"]["pairing"][0]
    title = f"Network, {pairing}, {plan['parameters']['tool'][0]}"
    each, overall = _each_pair(results, pairs), _all_pairs(pairs)
    skew = _worst_skew(results)
    write_samples(results)
    page = Page(title)
    page.text(f"Throughput of each pair in Mbit/s: medians of {plan['runs']} runs.")
    page.table(*each)
    page.heading("All pairs")
    page.table(*overall)
    if skew:
        page.text(f"{skew.capitalize()}.")
    pictures = _pictures(results.folder, pairs, named, title, pairing) if charts.available() else []
    text = text_table(each.header, each.rows[:_SHOWN])
    if len(each.rows) > _SHOWN:
        text += f"\n… and {len(each.rows) - _SHOWN} more pairs: see report.html"
    text += f"\n\n{text_table(*overall)}\n\n"
    text += bar_chart({name: summary.median for name, summary in [*named.items()][:_SHOWN]}, " Mbit/s")
    if skew:
        text += f"\n\n{skew}"
    write_report(results, page, text, pictures, warnings_of(results, named))


def _each_pair(results: Results, pairs: Mapping[Key, Summary]) -> Table:
    """The runs of each pair, and the half seconds within them."""
    rates: dict[Key, list[float]] = {pair: [] for pair in pairs}
    for sample in results.samples:
        pair = (sample["host"], sample["receiver"])
        if pair in rates:
            rates[pair] += sample["rates_mbit_s"]
    rows = [
        [
            f"{pair[0]} > {pair[1]}",
            *(f"{value:.0f}" for value in summary.range),
            *(f"{percentile(rates[pair], share):.0f}" if rates[pair] else "" for share in _SHARES),
        ]
        for pair, summary in pairs.items()
    ]
    return Table(["pair", "median", "lowest", "highest", "p5 of half seconds", "p50", "p95"], rows)


def _all_pairs(pairs: Mapping[Key, Summary]) -> Table:
    """The medians of all pairs together."""
    medians = [summary.median for summary in pairs.values()]
    row = [len(medians), f"{sum(medians):.0f}", *(f"{percentile(medians, share):.0f}" for share in _SHARES)]
    return Table(["pairs", "total Mbit/s", "p5 of pairs", "p50", "p95"], [row])


def _worst_skew(results: Results) -> str:
    """How far apart the senders started, in words; nothing if there was one sender."""
    if not results.skews:
        return ""
    worst, uncertainty = max(results.skews)
    return f"senders started within {worst:.1f} ms (± {uncertainty:.1f} ms), in the worst run"


def _pictures(
    folder: Path, pairs: Mapping[Key, Summary], named: Mapping[str, Summary], title: str, pairing: str
) -> list[Path]:
    if pairing != "all-to-all":
        bars = {name: summary.range for name, summary in named.items()}
        return charts.bars(folder / "throughput", bars, title=title, x="Mbit/s")
    senders, receivers = (list(dict.fromkeys(pair[end] for pair in pairs)) for end in (0, 1))
    cells = {(pair[0], pair[1]): summary.median for pair, summary in pairs.items()}
    return charts.matrix(folder / "matrix", senders, receivers, cells, title=f"{title}: Mbit/s")
