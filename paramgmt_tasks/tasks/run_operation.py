"""One operation from its options to its exit status: done, shown and recorded."""

import logging
import os
from collections.abc import Sequence
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from invoke import Exit

from ..history import KEPT, Journal
from ..model import Host, Operation, Push, Report, Script, UsageError, describe, ranked
from . import streams
from .asking import ask
from .interruption import interruptible
from .notes import note_duplicates, note_one_destination, note_unsupported
from .options import Options
from .presentation import Presentation
from .waits import described_on_signal

if TYPE_CHECKING:
    from ..engines import Session
    from ..execution import Run


class RunFailed(Exit):
    """A run that did not succeed on all hosts, or was interrupted; `report` has the result of each.

    It is an Exit: if nobody catches it, `inv` ends with `code`, 1 or 128 and the number of the signal.
    """

    def __init__(self, report: Report, code: int = 1) -> None:
        super().__init__(code=code)
        self.report = report

    def __str__(self) -> str:
        failed, total = len(self.report.failed), len(self.report)
        return f"{failed} of {total} hosts failed" if self.code == 1 else f"ended with status {self.code}"


def perform(
    options: Options, operation: Operation, session: "Session | None" = None, keep: bool = False
) -> Report:
    """Do an operation on the hosts of the options and show what comes of it.

    With `keep` the connections stay open in the session for what follows, otherwise each ends with its host.

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
    kept = _runs_kept(options)
    if options.flag("dry_run"):
        planned = ranked(hosts, operation, settings)
        streams.write_lines(describe(operation, host, settings.user) for host in planned)
        return Report([])
    _check_here(operation)
    show = Presentation.of(options, hosts)
    from ..engines import Session
    from ..fleet import Fleet

    own = Session(ask) if session is None else None
    with closing(own) if own else nullcontext(), Fleet(hosts, settings, pool=session or own) as fleet:
        with closing(Journal(operation, hosts, settings, kept)) as journal:
            try:
                run = fleet.perform(operation, live=show.live, on_start=journal.marker, keep=keep)
            except UsageError:
                journal.discard()
                raise
            note_one_destination(operation, hosts, settings)
            report, interrupted = _follow(run, operation, hosts, show, journal)
            journal.end(interrupted=bool(interrupted))
        note_unsupported(report)
        show.end(report, together=settings.together)
    if interrupted:
        raise RunFailed(report, 128 + interrupted[0])
    if streams.is_output_lost() or (show.folder is not None and not show.folder.whole):
        raise RunFailed(report)
    return report


def _follow(
    run: "Run", operation: Operation, hosts: Sequence[Host], show: Presentation, journal: Journal
) -> tuple[Report, list[int]]:
    """Record and show a run's results until all have come; the signals that interrupted it are returned too.

    Raises:
        RunFailed: it was interrupted twice, or nobody reads what is shown.
    """
    try:
        with (
            described_on_signal(run),
            interruptible(run) as interrupted,
            show.progress(run, operation, len(hosts)) as line,
        ):
            show.results(run, line, journal)
    except BaseException as error:
        for result in run:  # it was cancelled, so that all have come
            journal.finished(result)
        journal.end(interrupted=True)
        if isinstance(error, Exit):
            raise RunFailed(run.report(), error.code) from None
        raise
    return run.report(), interrupted


def _runs_kept(options: Options) -> int:
    kept = options["runs_kept"]
    if kept is None:
        return KEPT
    try:
        if isinstance(kept, (str, int, float)):
            return int(kept)
    except ValueError:
        pass
    raise UsageError(f"runs_kept {kept}: must be a whole number; 0 keeps none")


def _check_here(operation: Operation) -> None:
    """What is missing here for every host is an error of the call, not of each host.

    Raises:
        UsageError: something is.
    """
    if isinstance(operation, (Push, Script)):
        names = operation.sources if isinstance(operation, Push) else operation.paths
        for name in names:
            if "?" not in name and not os.path.exists(os.path.expanduser(name)):
                raise UsageError(f"{name}: no such file or folder here")
