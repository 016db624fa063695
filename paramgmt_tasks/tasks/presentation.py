"""How a run is shown: what the options for output mean."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from ..display import (
    ERR,
    Gathered,
    InOrder,
    JsonLines,
    Live,
    OutputFolder,
    Piece,
    ProgressLine,
    View,
    blocks,
    shown_on,
)
from ..history import Journal
from ..model import Host, HostResult, Operation, Pull, Push, Report, UsageError
from . import streams
from .options import Options

if TYPE_CHECKING:
    from ..execution import Run


@dataclass
class Presentation:
    """What shows a run."""

    views: list[View]
    folder: OutputFolder | None
    live: bool
    quiet: bool
    #: Whether the counts go with the failed hosts to standard error, and not with the results.
    counts_aside: bool

    @classmethod
    def of(cls, options: Options, hosts: Sequence[Host]) -> "Presentation":
        """The presentation that the options ask for.

        Raises:
            UsageError: options that exclude each other, a folder that cannot be used, or nobody reads it.
        """
        kinds = _kinds(options)
        order = options.text("order") or "hosts"
        if order not in ("hosts", "finished"):
            raise UsageError(f"{options.value('order').shown(order)}: must be hosts or finished")
        output_dir = options.text("output_dir")
        if streams.output_is_closed() and not ("quiet" in kinds or output_dir):
            raise UsageError(
                "standard output is closed, results would be lost: use --output-dir, --quiet or >/dev/null"
            )
        views = _views(kinds, order, options.color())
        folder = OutputFolder(output_dir, hosts) if output_dir else None
        if folder is not None:
            views.append(folder)
        aside = not {"live", "gather", "diff", "json"}.isdisjoint(kinds)
        return cls(views, folder, "live" in kinds, "quiet" in kinds, aside)

    @contextmanager
    def progress(self, run: "Run", operation: Operation, hosts: int) -> Iterator[ProgressLine | None]:
        """A line that shows how far it is, on a terminal."""
        if self.quiet or not hosts or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            yield None
            return
        shared = run.shared
        copies = isinstance(operation, (Push, Pull))
        copied = (lambda: (shared.moved, shared.expected())) if copies else None
        with ProgressLine(sys.stderr, hosts, run.under_way, copied) as line:
            yield line

    def results(self, run: "Run", progress: ProgressLine | None, journal: Journal) -> None:
        """Record and show the results of a run as they come."""
        for event in run.events():
            if isinstance(event, HostResult):
                journal.finished(event)
                if progress is not None:
                    progress.on_result(event)
                pieces = [view.on_result(event) for view in self.views]
            else:
                pieces = [view.on_output(event) for view in self.views]
            for each in pieces:
                _write(each, progress)

    def end(self, report: Report, together: bool) -> None:
        """Show what is known when all is over."""
        for view in self.views:
            _write(view.on_end(report), None)
        lines = [blocks.counts(report)] if self.counts_aside else []
        lines += blocks.reasons(report) + blocks.dropped(report)
        if together:
            lines.append(blocks.skew(report))
        streams.write((ERR, f"{line}\n") for line in lines)


def _views(kinds: Sequence[str], order: str, color: bool) -> list[View]:
    paint, show = blocks.painter(color), shown_on(sys.stdout)
    views: list[View] = []
    if "live" in kinds:
        views.append(Live(paint, show, shown_on(sys.stderr)))
    if "gather" in kinds or "diff" in kinds:
        views.append(Gathered(paint, "diff" in kinds, show))
    if not views and "quiet" not in kinds:
        view: View = JsonLines() if "json" in kinds else blocks.Blocks(paint, show)
        views.append(view if order == "finished" else InOrder(view))
    return views


def _kinds(options: Options) -> list[str]:
    """Which of the kinds of output are wanted; what is configured gives way to what is given.

    Raises:
        UsageError: those that do not go together.
    """
    wanted = [name for name in ("json", "live", "gather", "diff", "quiet") if options.flag(name)]
    given = [name for name in wanted if options.is_given(name)]
    if given and not _go_together(wanted):
        alone = not {"json", "quiet"}.isdisjoint(given)
        wanted = given if alone else [name for name in wanted if name not in ("json", "quiet")]
    if not _go_together(wanted):
        raise UsageError(f"{' and '.join(f'--{name}' for name in wanted)} do not go together")
    return wanted


def _go_together(kinds: Sequence[str]) -> bool:
    return len(kinds) < 2 or {"json", "quiet"}.isdisjoint(kinds)


def _write(pieces: Iterator[Piece], progress: ProgressLine | None) -> None:
    """Write what there is, if there is something, with the progress line away meanwhile."""
    first = next(pieces, None)
    if first is None:
        return
    with progress.paused() if progress is not None else nullcontext():
        streams.write(chain([first], pieces))
