"""What a coordinator and its workers send each other: a class for each kind of message, plain and picklable.

`run` is the number of a run at its coordinator, `position` a host's position in that run's list. Both sides
are the same version of this package (that of a Dask worker is compared), so messages need no version.

Most are dataclasses. `HostDone` is a NamedTuple: there is one for each host, and 10,000 of them are pickled
and unpickled in less than half the time of dataclasses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..model import Host, Operation, Outcome, Settings

if TYPE_CHECKING:
    from ..transfer import Delivery, Pulled  # with what a coordinator without files does not need: paramiko

#: A host and its position.
PositionedHost = tuple[int, Host]
#: Output as Reader.parts gives it: bytes, or an offset and a length in the batch's output file.
OutputPart = bytes | tuple[int, int]
#: What was written to standard output and to standard error.
Streams = tuple[Sequence[OutputPart], Sequence[OutputPart]]


# -- to a worker


@dataclass(frozen=True, slots=True)
class BeginRun:
    """What a worker is to know of a run before it gets hosts of it."""

    run: int
    #: The coordinator's working folder; None if its files are on another machine.
    folder: str | None
    operation: Operation
    settings: Settings
    #: Whether output is to be sent while commands run.
    live: bool
    #: Whether to send Ready, and wait for Permit, before a command is started.
    needs_permission: bool
    #: Whether to send Started.
    reports_start: bool
    #: Called in the worker with a host's position when something starts there.
    on_start: Callable[[int], object] | None


@dataclass(frozen=True, slots=True)
class AddHosts:
    """Work on these hosts, which become one batch."""

    run: int
    hosts: Sequence[PositionedHost]


@dataclass(frozen=True, slots=True)
class Permit:
    """Start the command on these hosts, which are ready."""

    run: int
    positions: list[int]


@dataclass(frozen=True, slots=True)
class Halt:
    """Start nothing more; that is the reason of the results of hosts that were not started."""

    run: int
    reason: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """End what runs within so many seconds."""

    run: int
    patience: float


@dataclass(frozen=True, slots=True)
class EndRun:
    """Forget a run: all its hosts have results."""

    run: int


@dataclass(frozen=True, slots=True)
class RelayToWorker:
    """What the relay has for a worker: files, or that no more is wanted of a host."""

    run: int
    message: "Delivery"


#: To a worker, of a run that it knows.
RunCommand = AddHosts | Permit | Halt | Cancel | EndRun | RelayToWorker
#: To a worker.
ToWorker = BeginRun | RunCommand


# -- from a worker


@dataclass(frozen=True, slots=True)
class WorkerPid:
    """The number of a worker's process, which it sends first."""

    pid: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """A record of a worker's log."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class OutputFile:
    """The file that holds what a batch's hosts write; its descriptor comes along with this message."""

    run: int
    batch: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A host is connected, and waits for Permit."""

    run: int
    position: int


@dataclass(frozen=True, slots=True)
class Started:
    """Something may be started on a host from now on."""

    run: int
    position: int


@dataclass(frozen=True, slots=True)
class Written:
    """What a host has written since the last such message."""

    run: int
    batch: int
    position: int
    written: Streams


class HostDone(NamedTuple):
    """How it ended for a host, as HostResult has it; `written` is the rest of its two streams."""

    position: int
    outcome: Outcome
    return_code: int | None = None
    attempts: int = 0
    reason: str = ""
    dropped: int = 0
    started: float = 0.0
    finished: float = 0.0
    requested: float | None = None
    confirmed: float | None = None
    written: Streams = ((), ())
    unsupported: tuple[str, ...] = ()

    def without_skew(self, ahead: float, uncertain: float) -> "HostDone":
        """The same by a clock of which the worker's is that many seconds `ahead`, give or take `uncertain`.

        The command's start lies between `requested` and `confirmed` nevertheless.
        """
        return self._replace(
            started=self.started and self.started - ahead,
            finished=self.finished - ahead,
            requested=None if self.requested is None else self.requested - ahead - uncertain,
            confirmed=None if self.confirmed is None else self.confirmed - ahead + uncertain,
        )


@dataclass(frozen=True, slots=True)
class Results:
    """Hosts of a batch that are done."""

    run: int
    batch: int
    hosts: list[HostDone]


@dataclass(frozen=True, slots=True)
class Moved:
    """How many bytes a worker's transfers have moved, and how many they are going to."""

    run: int
    moved: int
    expected: float


@dataclass(frozen=True, slots=True)
class BatchRefused:
    """A worker cannot work on the hosts of a batch."""

    run: int
    reason: str
    positions: list[int]


@dataclass(frozen=True, slots=True)
class RelayFromWorker:
    """What a worker has for the relay: what its hosts send."""

    run: int
    message: "Pulled"


#: From a worker, of a run.
RunUpdate = Ready | Started | Written | Results | Moved | BatchRefused | RelayFromWorker
#: From a worker.
FromWorker = WorkerPid | LogLine | OutputFile | RunUpdate
