"""One operation from its options to its exit status: done, shown and recorded."""

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, TextIO

from invoke import Exit

from ..display import (
    ERR,
    OUT,
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
from ..history import KEPT, Journal
from ..model import (
    Host,
    HostResult,
    Operation,
    Pull,
    Push,
    Report,
    Script,
    UsageError,
    describe,
    duplicates,
    escaped,
    reason_of,
)
from . import streams
from .options import Options, color

if TYPE_CHECKING:
    from ..engines import Session
    from ..execution import Run

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunFailed(Exit):
    """A run that did not succeed on all hosts, or was interrupted; `report` has the result of each.

    It is an Exit: where nobody catches it, `inv` ends with `code`, 1 or 128 and the number of the signal.
    """

    def __init__(self, report: Report, code: int = 1) -> None:
        super().__init__(code=code)
        self.report = report

    def __str__(self) -> str:
        failed, total = len(self.report.failed), len(self.report)
        return f"{failed} of {total} hosts failed" if self.code == 1 else f"ended with status {self.code}"


def perform(
    options: Options, operation: Operation, pool: "Session | None" = None, keep: bool = False
) -> Report:
    """Do an operation on the hosts of the options and show what comes of it.

    With `keep` the connections stay open in the pool for what follows, otherwise each ends with its host.

    Raises:
        UsageError: options that cannot be used, or what is missing here.
        RunFailed: it was interrupted, nobody reads standard output any more, or files for it cannot be
            written. That hosts failed is not an exception.
    """
    hosts = options.hosts()
    settings = options.settings()
    if options.flag("verbose"):
        logging.getLogger("paramgmt_tasks").setLevel(logging.INFO)
    note_duplicates(hosts)
    kept = _kept(options)
    if options.flag("dry_run"):
        write_lines(describe(operation, host, settings.user) for host in hosts)
        return Report([])
    _check_here(operation)
    show = Presentation.of(options, hosts)
    from ..fleet import Fleet

    with Fleet(hosts, settings, pool=pool) as fleet:
        journal = Journal(operation, hosts, settings, kept)
        with closing(journal):
            try:
                run = fleet.perform(operation, live=show.live, on_start=journal.marker, keep=keep)
            except UsageError:
                journal.discard()
                raise
            _note_one_place(operation, hosts)
            try:
                with _interruptible(run) as interrupted, show.progress(run, operation, len(hosts)) as line:
                    show.results(run, line, journal)
            except BaseException as error:
                for result in run:  # it was cancelled, so that all have come
                    journal.finished(result)
                journal.end(interrupted=True)
                if isinstance(error, Exit):
                    raise RunFailed(run.report(), error.code) from None
                raise
            report = run.report()
            journal.end(interrupted=bool(interrupted))
        show.end(report, together=settings.together)
    if interrupted:
        raise RunFailed(report, 128 + interrupted[0])
    if streams.lost() or (show.folder is not None and not show.folder.whole):
        raise RunFailed(report)
    return report


def _kept(options: Options) -> int:
    try:
        return KEPT if options["runs_kept"] is None else int(options["runs_kept"])
    except (TypeError, ValueError):
        raise UsageError(f"runs_kept {options['runs_kept']}: must be a whole number; 0 is for none") from None


def _check_here(operation: Operation) -> None:
    """What is missing here for every host is an error of the call, not of each host."""
    if isinstance(operation, (Push, Script)):
        names = operation.sources if isinstance(operation, Push) else operation.paths
        for name in names:
            if "?" not in name and not os.path.exists(os.path.expanduser(name)):
                raise UsageError(f"{name}: no such file or folder here")


# -- what is shown


@dataclass
class Presentation:
    """How a run is shown: what the options for output mean."""

    views: list[View]
    folder: OutputFolder | None
    live: bool
    quiet: bool
    #: Whether the counts stand with the failed hosts on standard error, and not with the results.
    counts_aside: bool

    @classmethod
    def of(cls, options: Options, hosts: Sequence[Host]) -> "Presentation":
        """Raises UsageError: options that exclude each other, or a folder that cannot be used."""
        kinds = _kinds(options)
        json, live, quiet, diff = (name in kinds for name in ("json", "live", "quiet", "diff"))
        gather = "gather" in kinds or diff
        order = options.text("order") or "hosts"
        if order not in ("hosts", "finished"):
            raise UsageError(f"{options.called('order', order)}: must be hosts or finished")
        paint, show = blocks.painter(color(options)), shown_on(sys.stdout)
        views: list[View] = []
        if live:
            views.append(Live(paint, show, shown_on(sys.stderr)))
        if gather:
            views.append(Gathered(paint, diff, show))
        if not views and not quiet:
            view: View = JsonLines() if json else blocks.Blocks(paint, show)
            views.append(view if order == "finished" else InOrder(view))
        output_dir = options.text("output_dir")
        if streams.output_is_closed() and not (quiet or output_dir):
            raise UsageError(
                "standard output is closed, results would be lost: use --output-dir, --quiet or >/dev/null"
            )
        folder = OutputFolder(output_dir, hosts) if output_dir else None
        return cls([*views, *([folder] if folder else [])], folder, live, quiet, live or gather or json)

    @contextmanager
    def progress(self, run: "Run", operation: Operation, hosts: int) -> Iterator[ProgressLine | None]:
        """A line that tells how far it is, on a terminal."""
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
                _write_pieces(each, progress)

    def end(self, report: Report, together: bool) -> None:
        """Show what is known when all is over."""
        for view in self.views:
            _write_pieces(view.on_end(report), None)
        lines = [blocks.counts(report)] if self.counts_aside else []
        lines += blocks.reasons(report) + blocks.dropped(report)
        if together:
            lines.append(blocks.skew(report))
        _write((ERR, f"{line}\n") for line in lines)


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


def _write_pieces(pieces: Iterator[Piece], progress: ProgressLine | None) -> None:
    """Write what there is, if there is something; the line of the progress is away meanwhile."""
    first = next(pieces, None)
    if first is None:
        return
    with progress.paused() if progress is not None else nullcontext():
        _write(chain([first], pieces))


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output.

    Raises:
        UsageError: it is closed.
        Exit: not all could be written.
    """
    if streams.output_is_closed():
        raise UsageError("standard output is closed")
    show = shown_on(sys.stdout)
    _write((OUT, f"{show(line)}\n") for line in lines)
    if streams.lost():
        raise Exit(code=1)


def _write(pieces: Iterable[Piece]) -> None:
    """Write to standard output and error, whatever they can encode; where a pipe is closed, end quietly.

    Where one fails otherwise, as on a full disk, that is said, and what follows is not written: the run goes
    on, since what it does on hosts is not undone by that.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors != "replace":
        sys.stdout.reconfigure(errors="replace")
    stream = sys.stdout
    try:
        for where, text in pieces:
            stream = sys.stderr if where == ERR else sys.stdout
            try:
                stream.write(text)
            except BrokenPipeError:
                raise
            except OSError as error:
                _lose(stream, error)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                _lose(stream, error)
    except BrokenPipeError:
        # As in the Python manual's note on SIGPIPE: nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise Exit(code=141) from None


def _lose(stream: TextIO, error: OSError) -> None:
    is_output = stream is sys.stdout
    streams.give_up(stream)
    if is_output:
        log_to_stderr()
        logging.getLogger("paramgmt_tasks").warning(
            "standard output: %s: results that are not shown are lost", reason_of(error)
        )


# -- interruption


@contextmanager
def _interruptible(run: "Run") -> Iterator[list[int]]:
    """Ctrl-C, TERM and HUP cancel the run, and its results go on to come; a second one ends at once.

    What is given has the signal's number in it, once there was one.
    """
    interrupted: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(number)
        # Not here: a handler runs in between, and must not wait for a lock that is held.
        threading.Thread(target=cancel, daemon=True).start()

    def cancel() -> None:
        if sys.stderr.isatty():
            print("\ninterrupted: ending what runs; once more ends at once", file=sys.stderr)
        run.cancel()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield interrupted
    except KeyboardInterrupt:
        run.cancel(patience=0)
        raise Exit(code=130) from None
    except BaseException:
        run.cancel()
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# -- notes, and what goes wrong


def note_duplicates(hosts: Sequence[Host]) -> None:
    """Tell which hosts stand more than once."""
    for entry, count in duplicates(hosts).items():
        print(f"note: {escaped(entry)} stands {count} times in the host list", file=sys.stderr)


def _note_one_place(operation: Operation, hosts: Sequence[Host]) -> None:
    if not isinstance(operation, Pull) or len(hosts) < 2:
        return
    if len({operation.on(host).destination for host in hosts}) == 1:
        print(
            f"note: all hosts' files go to {operation.destination}, where of those with one name the last "
            "stays; ?HOST in the destination keeps them apart",
            file=sys.stderr,
        )


@contextmanager
def usage_errors(name: str) -> Iterator[None]:
    """Bad input is one line on standard error and exit status 2."""
    streams.stand_in()
    log_to_stderr()
    try:
        yield
    except UsageError as error:
        raise Exit(f"{name}: {escaped(str(error))}", code=2) from None


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record))


def log_to_stderr() -> None:
    """Have warnings go to standard error."""
    log = logging.getLogger("paramgmt_tasks")
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_OneLine("%(levelname)s: %(message)s"))
        log.addHandler(handler)
        log.propagate = False
