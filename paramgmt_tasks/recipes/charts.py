"""Charts, as SVG and PNG, if matplotlib is installed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: How to get charts, if there are none.
HOW_TO = "no charts: they need matplotlib: pip install 'paramgmt-tasks[benchmark]'"


def available() -> bool:
    """Whether charts can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def lines(
    path: Path,
    series: Mapping[str, Sequence[tuple[float, float, float, float]]],
    *,
    title: str,
    x: str,
    y: str,
    log_y: bool = False,
    level: float | None = None,
) -> list[Path]:
    """Lines of (x, median, lowest, highest) over a logarithmic x, each with the range of its runs.

    `level` is drawn across. The files, `path` with .svg and .png.
    """
    figure, axes = _axes()
    for name, points in series.items():
        xs, medians, lows, highs = zip(*points, strict=True)
        (line,) = axes.plot(xs, medians, marker="o", markersize=4, label=name)
        axes.fill_between(xs, lows, highs, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xscale("log", base=2)
    if log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    if level is not None:
        axes.axhline(level, color="0.5", linewidth=1, linestyle="--")
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(True, which="major", alpha=0.3)
    axes.legend()
    return _save(figure, path)


def bars(path: Path, values: Mapping[str, tuple[float, float, float]], *, title: str, x: str) -> list[Path]:
    """A horizontal bar of (median, lowest, highest) for each name."""
    figure, axes = _axes(height=max(2.0, 0.35 * len(values) + 1.2))
    names = list(values)[::-1]
    medians = [values[name][0] for name in names]
    ranges = [
        [max(0.0, values[name][0] - values[name][1]) for name in names],
        [max(0.0, values[name][2] - values[name][0]) for name in names],
    ]
    axes.barh(names, medians, xerr=ranges, height=0.6, capsize=3)
    axes.set(title=title, xlabel=x, xlim=(0, None))
    axes.grid(True, axis="x", alpha=0.3)
    return _save(figure, path)


def matrix(
    path: Path,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], float],
    *,
    title: str,
) -> list[Path]:
    """A square for each row and column, coloured by its value."""
    figure, axes = _axes(height=max(3.0, 0.35 * len(rows) + 2))
    nothing = float("nan")
    grid = [[cells.get((row, column), nothing) for column in columns] for row in rows]
    image = axes.imshow(grid, aspect="auto", vmin=0)
    axes.set_xticks(range(len(columns)), columns, rotation=90 if len(columns) > 4 else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(title=title, xlabel="receiver", ylabel="sender")
    figure.colorbar(image, ax=axes)
    return _save(figure, path)


def _axes(height: float = 4.5) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: "Figure", path: Path) -> list[Path]:
    import matplotlib

    written = []
    with matplotlib.rc_context({"svg.hashsalt": "paramgmt", "svg.fonttype": "none"}):
        for ending in (".svg", ".png"):
            target = path.with_name(path.name + ending)
            figure.savefig(target, dpi=120)
            written.append(target)
    return written
