"""Outcome, HostResult and Report: the result of one host, and of all hosts of a run."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import overload

from .errors import one_line
from .hosts import Host
from .output import Output

#: Seconds that it may take to end what is under way on the hosts.
PATIENCE = 6.0


class Outcome(str, Enum):
    """How it ended for a host; exactly one holds.

    UNREACHABLE, DENIED, UNTRUSTED and CANCELLED mean that nothing was started on the host; LOST that it was,
    and that the host may or may not have finished it. ERROR is a failure of this machine: nothing was started
    either, unless there is a return code, as when output or files could not be kept here.
    """

    OK = "ok"
    FAILED = "failed"
    SIGNALLED = "signalled"
    TIMED_OUT = "timed-out"
    UNREACHABLE = "unreachable"
    DENIED = "denied"
    UNTRUSTED = "untrusted"
    LOST = "lost"
    CANCELLED = "cancelled"
    ERROR = "error"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class CommandStatus:
    """How a command that was started ended. `return_code` is None if it ended without one."""

    outcome: Outcome
    return_code: int | None
    reason: str = ""


@dataclass(frozen=True)
class OutputEvent:
    """The command of a host has written something: `out` and `err` have more than the last time."""

    host: Host
    index: int
    out: Output
    err: Output


@dataclass(frozen=True)
class HostResult:
    """What happened on one host.

    `index` is the host's position in the host list (0 is the first); `return_code` is None if no process
    ended with one; `attempts` counts the attempts to connect and start (0 for a host never tried); `reason`
    says in one line why the outcome is not ok; `dropped` counts the bytes of output beyond
    Settings.max_output, which are not kept. `out` and `err` are what the command wrote, to be read in
    pieces; `stdout` and `stderr` are the same as bytes, put together when asked for. `started` and
    `finished` are seconds on the monotonic clock of this process: the beginning of the first attempt and the
    time of the result. `requested` and `confirmed` are when the start of the command was requested and
    confirmed, so that it started in between; None if it was not. `unsupported` are the options of ssh_config
    that ask for something which is not done here, such as `Tunnel`; empty for a host never tried.
    """

    host: Host
    index: int
    description: str
    outcome: Outcome
    return_code: int | None = None
    out: Output = field(default_factory=Output, repr=False, compare=False)
    err: Output = field(default_factory=Output, repr=False, compare=False)
    attempts: int = 0
    reason: str = ""
    started: float = 0.0
    finished: float = 0.0
    requested: float | None = None
    confirmed: float | None = None
    dropped: int = 0
    unsupported: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", one_line(self.reason))  # whatever a host put into it

    @property
    def stdout(self) -> bytes:
        """All that the command wrote to its standard output."""
        return bytes(self.out)

    @property
    def stderr(self) -> bytes:
        """All that the command wrote to its standard error, or the messages of a transfer."""
        return bytes(self.err)

    @property
    def ok(self) -> bool:
        """Whether the operation succeeded on this host."""
        return self.outcome is Outcome.OK

    @property
    def seconds(self) -> float:
        """Seconds from the beginning of the first attempt to the result; 0 for a host never tried."""
        return round(self.finished - self.started, 3) if self.started else 0.0

    def facts(self) -> dict[str, str | int | float | None]:
        """How it ended, as plain data for JSON."""
        return {
            "outcome": str(self.outcome),
            "return_code": self.return_code,
            "reason": self.reason,
            "attempts": self.attempts,
            "seconds": self.seconds,
            "dropped": self.dropped,
        }

    @property
    def exit_status(self) -> int:
        """The return code, or if there is none that of ssh (255), timeout(1) (124) or a shell (128)."""
        if self.return_code is not None:
            return self.return_code
        return {Outcome.OK: 0, Outcome.TIMED_OUT: 124, Outcome.SIGNALLED: 128}.get(self.outcome, 255)


def unless_not_kept(outcome: Outcome, reason: str, trouble: str) -> tuple[Outcome, str]:
    """The outcome and reason for a host whose output was not all kept because of `trouble`, if any."""
    if not trouble:
        return outcome, reason
    if outcome in (Outcome.OK, Outcome.FAILED):
        return Outcome.ERROR, f"output not kept: {trouble} ({reason or 'return code 0'})"
    return outcome, f"{reason}; output not kept: {trouble}"


def count_outcomes(results: Iterable[HostResult]) -> list[str]:
    """How many ended how, such as `2 ok`, in the order of the outcomes."""
    counts = Counter(result.outcome for result in results)
    return [f"{counts[outcome]} {outcome}" for outcome in Outcome if outcome in counts]


class Report(Sequence[HostResult]):
    """All results of a run in host order; its counts always add up to the hosts."""

    def __init__(self, results: Iterable[HostResult]) -> None:
        self.results = sorted(results, key=lambda result: result.index)

    def __repr__(self) -> str:
        counts = ", ".join(count_outcomes(self.results))
        return f"<Report of {len(self)} host{'s' * (len(self) != 1)}{': ' * bool(counts)}{counts}>"

    @overload
    def __getitem__(self, index: int) -> HostResult: ...

    @overload
    def __getitem__(self, index: slice) -> list[HostResult]: ...

    def __getitem__(self, index: int | slice) -> HostResult | list[HostResult]:
        return self.results[index]

    def __iter__(self) -> Iterator[HostResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    @property
    def failed(self) -> list[HostResult]:
        """The results that are not ok, in host order."""
        return [result for result in self.results if not result.ok]

    @property
    def ok(self) -> bool:
        """Whether every host succeeded."""
        return not self.failed

    def skew(self) -> tuple[float, float]:
        """Seconds between the first and the last start of the command, and how uncertain that is.

        A host starts at some time between the request and its confirmation: the middle counts, and half of
        the longest round trip is the uncertainty. Both are 0 if fewer than two hosts were started.
        """
        starts = [
            (result.requested, result.confirmed)
            for result in self.results
            if result.requested is not None and result.confirmed is not None
        ]
        if len(starts) < 2:
            return 0.0, 0.0
        middles = [(before + after) / 2 for before, after in starts]
        return max(middles) - min(middles), max(after - before for before, after in starts) / 2

    def reasons(self) -> list[tuple[Outcome, str, list[HostResult]]]:
        """The failed results grouped by outcome and reason, outcomes in their order, most hosts first."""
        groups: dict[tuple[Outcome, str], list[HostResult]] = {}
        for result in self.failed:
            groups.setdefault((result.outcome, result.reason), []).append(result)
        order = list(Outcome)
        ranked = sorted(groups.items(), key=lambda item: (order.index(item[0][0]), -len(item[1])))
        return [(outcome, reason, results) for (outcome, reason), results in ranked]
