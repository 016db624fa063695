"""A benchmark's operations on its hosts, and which hosts it goes on without."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..engines import Session
from ..execution import Run
from ..fleet import Fleet
from ..model import Host, HostResult, Operation, Outcome, Report, Settings, one_line
from .recipe import RecipeFailed

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..model import Changes


class Operations:
    """Performs operations on hosts, drops hosts on which one failed, and can be interrupted."""

    def __init__(self, settings: Settings, pool: Session, note: Callable[[str], None]) -> None:
        self.settings, self.pool, self.note = settings, pool, note
        #: Why each host that was dropped was, by its entry.
        self.dropped: dict[str, str] = {}
        self._under_way: list[Run] = []
        self._interrupted = False

    def fleet(self, hosts: Sequence[Host], **changes: "Unpack[Changes]") -> Fleet:
        """The hosts, with the connections that all operations share."""
        return Fleet(hosts, replace(self.settings, **changes), pool=self.pool)

    def remaining(self, hosts: Sequence[Host]) -> list[Host]:
        """The hosts that were not dropped."""
        return [host for host in hosts if host.entry not in self.dropped]

    def perform(self, step: str, hosts: Sequence[Host], operation: Operation) -> None:
        """Perform an operation of a step, and drop the hosts on which it fails.

        Raises:
            RecipeFailed: none is left.
        """
        report = self.report(hosts, operation)
        for result in report.failed:
            self.dropped[result.host.entry] = f"{step}: {why(result)}"
            self.note(f"{step} failed on {result.host.entry}: {why(result)}")
        if len(report) and len(report.failed) == len(report):
            raise RecipeFailed(f"{step} failed on all hosts: {why(report.failed[0])}")

    def report(self, hosts: Sequence[Host], operation: Operation, **changes: "Unpack[Changes]") -> Report:
        """Perform an operation and wait for all hosts.

        Raises:
            KeyboardInterrupt: after `interrupt`.
        """
        if not hosts:
            return Report([])
        if self._interrupted:
            raise KeyboardInterrupt
        run = self.fleet(hosts, **changes).perform(operation)
        self._under_way.append(run)
        try:
            return run.report()
        except BaseException:
            run.cancel()
            raise
        finally:
            self._under_way.remove(run)

    def interrupt(self) -> None:
        """End what is under way; nothing more is begun until `resume`."""
        self._interrupted = True
        for run in list(self._under_way):
            run.cancel()

    def resume(self) -> None:
        """Allow operations again after an interruption."""
        self._interrupted = False


def why(result: HostResult) -> str:
    """Why an operation failed on a host, in a line: the last that the command printed, else the reason."""
    if result.outcome is Outcome.FAILED:
        lines = (result.stderr or result.stdout).decode("utf-8", "replace").strip().splitlines()
        if lines:
            return one_line(lines[-1])
    return result.reason or str(result.outcome)
