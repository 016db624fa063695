"""The record of runs as Invoke tasks."""

from collections.abc import Sequence

from invoke import Collection, Context

from ..history import PastRun, past_runs, run_folders
from ..model import Outcome, UsageError, escaped, fold, one_line
from .command_line import OperationTask
from .notes import usage_errors
from .streams import write_lines

_SLOWEST = 5


def listing(c: Context) -> None:
    """List the runs that are recorded, the last one last."""
    with usage_errors("runs"):
        lines = [_line(past) for past in past_runs.all_runs()]
        if not lines:
            raise UsageError(f"no runs in {run_folders.root()} yet")
        write_lines(lines)


def _line(past: PastRun) -> str:
    what = f"{past.identifier}  {past.state:11}"
    if past.state == past_runs.UNREADABLE:
        return f"{what}  its record is damaged"
    count = len(past.hosts)
    hosts = f"{count:5} host{' ' if count == 1 else 's'}"
    return f"{what}  {hosts}  {len(past.of(past_runs.FAILED)):5} failed  {_description(past)}"


def _description(past: PastRun) -> str:
    return escaped(past.description.replace(" [?HOST]", ""))


def show(c: Context, run: str | Sequence[str] = (), **options: object) -> None:
    """Show a run, the last one without its name: hosts by how it ended there, and the slowest."""
    with usage_errors("runs.show"):
        names = [run] if isinstance(run, str) else list(run)
        if len(names) > 1:
            raise UsageError(f"{names[1]}: name one run")
        write_lines(_lines(past_runs.read(names[0] if names else "")))


def _lines(past: PastRun) -> list[str]:
    lines = [
        f"run {past.identifier}, {past.state}" + (", its record is damaged" if past.damaged else ""),
        f"began {one_line(past.began)}",
        _description(past),
    ]
    groups: dict[tuple[str, str], list[str]] = {}
    for index, host in enumerate(past.hosts):
        groups.setdefault((past.outcome(index), past.reason(index)), []).append(host.entry)
    order = [str(outcome) for outcome in Outcome]
    for (outcome, reason), entries in sorted(groups.items(), key=lambda group: order.index(group[0][0])):
        lines.append(f"{outcome} ({len(entries)}): {fold(entries)}" + (f" - {reason}" if reason else ""))
    took = sorted(((ending.seconds, index) for index, ending in past.finished.items()), reverse=True)
    if took:
        slowest = ", ".join(f"{past.hosts[index]} {seconds:g} s" for seconds, index in took[:_SLOWEST])
        lines.append(f"slowest: {slowest}")
    return lines


runs = Collection(
    "runs",
    OperationTask(show, options=(), words="run", words_help="The run's name, or its beginning"),
)
runs.add_task(OperationTask(listing, options=()), "list", default=True)
