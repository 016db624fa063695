"""What is made of the network's results: throughput of each pair, a matrix, percentiles, and a page."""

from . import charts
from .recipe import Results
from .report import Page, bar_chart, grouped, text_table, warnings_of, write_report, write_samples
from .statistics import percentile, summarize

#: Pairs that are shown one by one on the terminal.
_SHOWN = 20


def analyze(results: Results) -> None:
    """Write and tell all that is made of them."""
    pairs = grouped(results.samples, ("host", "receiver"), "mbit_per_s")
    summaries = {f"{sender} > {receiver}": summarize(rates) for (sender, receiver), rates in pairs.items()}
    write_samples(results)
    choice = results.plan["parameters"]
    title = f"Network, {choice['pairing'][0]}, {choice['tool'][0]}"
    page = Page(title)
    page.text(f"Throughput of each pair in Mbit/s: medians of {results.plan['runs']} runs.")
    header = ["pair", "median", "lowest", "highest", "p5 of half seconds", "p50", "p95"]
    seen = {
        pair: [
            rate for s in results.samples if (s["host"], s["receiver"]) == pair for rate in s["rates_mbit_s"]
        ]
        for pair in pairs
    }
    rows = []
    for (name, summary), pair in zip(summaries.items(), pairs, strict=True):
        moments = [
            f"{percentile(seen[pair], share):.0f}" if seen[pair] else "" for share in (0.05, 0.5, 0.95)
        ]
        rows.append([name, f"{summary.median:.0f}", f"{summary.low:.0f}", f"{summary.high:.0f}", *moments])
    page.table(header, rows)
    medians = [summary.median for summary in summaries.values()]
    over = [f"{percentile(medians, share):.0f}" for share in (0.05, 0.5, 0.95)]
    overall = ["pairs", "total Mbit/s", "p5 of pairs", "p50", "p95"]
    overall_row = [str(len(medians)), f"{sum(medians):.0f}", *over]
    page.heading("All pairs")
    page.table(overall, [overall_row])
    if results.skews:
        worst, uncertainty = max(results.skews)
        page.text(f"Senders started within {worst:.1f} ms (± {uncertainty:.1f} ms), in the worst run.")
    pictures = []
    if charts.available():
        values = {name: (s.median, s.low, s.high) for name, s in summaries.items()}
        if choice["pairing"][0] == "all-to-all":
            senders = list(dict.fromkeys(sender for sender, _ in pairs))
            receivers = list(dict.fromkeys(receiver for _, receiver in pairs))
            cells = {pair: summary.median for pair, summary in zip(pairs, summaries.values(), strict=True)}
            pictures += charts.matrix(
                results.folder / "matrix", senders, receivers, cells, title=f"{title}: Mbit/s"
            )
        else:
            pictures += charts.bars(results.folder / "throughput", values, title=title, x="Mbit/s")
    table = text_table(header, rows[:_SHOWN])
    if len(rows) > _SHOWN:
        table += f"\n… and {len(rows) - _SHOWN} more pairs: see report.html"
    table += f"\n\n{text_table(overall, [overall_row])}\n\n"
    table += bar_chart(
        {name: summary.median for name, summary in list(summaries.items())[:_SHOWN]}, " Mbit/s"
    )
    if results.skews:
        table += f"\n\nsenders started within {worst:.1f} ms (± {uncertainty:.1f} ms), in the worst run"
    write_report(results, page, table, pictures, warnings_of(results, summaries))
