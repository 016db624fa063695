"""The figures as a table on the terminal, as Markdown, and as a chart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
#: What the page of tables begins with.
_HEAD = """# Performance: the tables

What `inv perf` measured, as it writes it. [performance.md](performance.md) says how, and what it means.

- "CPU" is user and system time of the client's whole process tree; "CPU ms/host" is without what the
  client costs on one host.
- "MB" is the sum of the tree's memory at its highest; "MB, shared once" counts once what several
  processes share.
- "servers' CPU s" is what all servers used meanwhile.
- Ratios are to the best peer among those that reached all hosts that can be reached; if engines are
  compared, to the engine `threads`.
- "(once)" marks a client that ran once, since it was slow.

"""
#: Head, figure and form of the columns; one without a figure in any row is left out.
_COLUMNS: list[tuple[str, str, Callable[[Any], str]]] = [
    ("wall s", "wall", "{:.2f}".format),
    ("CPU s", "cpu", "{:.2f}".format),
    ("CPU ms/host", "cpu_per_host", lambda value: f"{value * 1000:.2f}"),
    ("MB", "memory", lambda value: f"{value / 1e6:.0f}"),
    ("MB, shared once", "pss", lambda value: f"{value / 1e6:.0f}"),
    ("servers' CPU s", "servers", "{:.2f}".format),
    ("succeeded", "of_hosts", str),
    ("wall ratio", "wall_ratio", "{:.2f}".format),
    ("CPU ratio", "cpu_ratio", "{:.2f}".format),
]


def complete(report: dict[str, Any]) -> None:
    """Add what follows from the figures: the cost of a host without start-up, and ratios.

    They are to the best peer: the one with the least of those with which all hosts succeeded that can. Where
    engines are compared they are to the first.
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
            row["of_hosts"] = f"{row['succeeded']}/{work['hosts']}"
            if work["hosts"] > 1 and row["client"] in starts:
                row["cpu_per_host"] = (row["cpu"] - starts[row["client"]]) / (work["hosts"] - 1)
        for figure in ("wall", "cpu"):
            others = work["rows"][:1] if work.get("engines") else [r for r in work["rows"] if not r["ours"]]
            peers = [r[figure] for r in others if r["succeeded"] == able]
            for row in work["rows"]:
                row[f"{figure}_ratio"] = row[figure] / min(peers) if peers else None


def _table(work: dict[str, Any]) -> list[list[str]]:
    """The heads and the rows of a workload's table."""
    columns = [column for column in _COLUMNS if any(row.get(column[1]) is not None for row in work["rows"])]
    ratio = " of threads" if work.get("engines") else " ratio"
    lines = [["client", *(head.replace(" ratio", ratio) for head, _, _ in columns)]]
    for row in work["rows"]:
        client = row["client"] + ("" if row["rounds"] > 1 else " (once)")
        cells = ("" if row.get(key) is None else form(row[key]) for _, key, form in columns)
        lines.append([client, *cells])
    return lines


def text(report: dict[str, Any]) -> str:
    """A table a workload, aligned."""
    parts = []
    for work in report["workloads"]:
        lines = _table(work)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        parts.append(f"\n{work['title']}")
        for line in lines:
            first = line[0].ljust(widths[0])
            rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
            parts.append("  ".join([first, *rest]))
    return "\n".join(parts)


def markdown(report: dict[str, Any]) -> str:
    """A page with a table a workload."""
    parts = [_HEAD.rstrip(), ""]
    for work in report["workloads"]:
        heads, *lines = _table(work)
        parts += [
            f"## {work['title']}",
            "",
            f"| {' | '.join(heads)} |",
            "|---|" + "---:|" * (len(heads) - 1),
        ]
        for row, cells in zip(work["rows"], lines, strict=True):
            name = f"**{cells[0]}**" if row["ours"] and not work.get("engines") else cells[0]
            parts.append(f"| {' | '.join([name, *cells[1:]])} |")
        parts.append("")
    return "\n".join(parts[:-1]) + "\n"


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
