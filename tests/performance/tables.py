"""The figures as a table on the terminal, as Markdown, and as a chart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
_HEADS = ("client", "wall s", "CPU s", "CPU ms/host", "MB", "succeeded", "wall ratio", "CPU ratio")


def complete(report: dict[str, Any]) -> None:
    """Add what follows from the figures: the cost of a host without start-up, and ratios to the best peer.

    The best peer is the one with the least of those with which all hosts succeeded that can.
    """
    starts = {
        row["client"]: row["cpu"]
        for work in report["workloads"]
        if work["hosts"] == 1
        for row in work["rows"]
    }
    for work in report["workloads"]:
        able = work["hosts"] - work["refusing"] - work["hanging"]
        for row in work["rows"]:
            if work["hosts"] > 1 and row["client"] in starts:
                row["cpu_per_host"] = (row["cpu"] - starts[row["client"]]) / (work["hosts"] - 1)
        for figure in ("wall", "cpu"):
            peers = [r[figure] for r in work["rows"] if not r["ours"] and r["succeeded"] == able]
            for row in work["rows"]:
                row[f"{figure}_ratio"] = row[figure] / min(peers) if peers else None


def _cells(work: dict[str, Any], row: Row) -> list[str]:
    def shown(key: str, form: Callable[[Any], str]) -> str:
        return "" if row.get(key) is None else form(row[key])

    return [
        row["client"] + ("" if row["rounds"] > 1 else " (once)"),
        f"{row['wall']:.2f}",
        f"{row['cpu']:.2f}",
        shown("cpu_per_host", lambda value: f"{value * 1000:.2f}"),
        f"{row['memory'] / 1e6:.0f}",
        f"{row['succeeded']}/{work['hosts']}",
        shown("wall_ratio", lambda value: f"{value:.2f}"),
        shown("cpu_ratio", lambda value: f"{value:.2f}"),
    ]


def text(report: dict[str, Any]) -> str:
    """A table a workload, aligned."""
    parts = []
    for work in report["workloads"]:
        lines = [list(_HEADS), *(_cells(work, row) for row in work["rows"])]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
        parts.append(f"\n{work['title']}")
        for line in lines:
            first = line[0].ljust(widths[0])
            rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
            parts.append("  ".join([first, *rest]))
    return "\n".join(parts)


def markdown(report: dict[str, Any]) -> str:
    """A table a workload."""
    parts = []
    for work in report["workloads"]:
        parts += [f"### {work['title']}", "", f"| {' | '.join(_HEADS)} |"]
        parts.append("|---|" + "---:|" * (len(_HEADS) - 1))
        for row in work["rows"]:
            cells = _cells(work, row)
            if row["ours"]:
                cells[0] = f"**{cells[0]}**"
            parts.append(f"| {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def chart(report: dict[str, Any], path: Path) -> bool:
    """Processor time and wall time against the number of hosts; False without matplotlib or figures."""
    works = [work for work in report["workloads"] if work["name"].startswith("whoami-")]
    try:
        import matplotlib
    except ImportError:
        return False
    if len(works) < 2:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "performance"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5))
    names = list(dict.fromkeys(row["client"] for work in works for row in work["rows"]))
    for axis, key, title in zip(axes, ("cpu", "wall"), ("client CPU seconds", "wall seconds"), strict=True):
        for name in names:
            points = [(w["hosts"], r[key]) for w in works for r in w["rows"] if r["client"] == name]
            ours = name.startswith("paramgmt")
            axis.plot(*zip(*points, strict=True), marker="o", label=name, linewidth=2.5 if ours else 1)
        axis.set(xscale="log", yscale="log", xlabel="hosts", title=f"whoami: {title}")
        axis.set_xticks([work["hosts"] for work in works], [str(work["hosts"]) for work in works])
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    return True
