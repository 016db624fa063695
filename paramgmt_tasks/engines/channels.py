"""The two ends of the way between a coordinator and a worker, however it leads there."""

from typing import Protocol

from ..model import FileSpool
from .messages import FromWorker, ToWorker


class Link(Protocol):
    """The coordinator's end. What the worker sends goes to WorkerEngine.handle.

    When the worker is lost, WorkerEngine.on_worker_lost is called, once.
    """

    #: How the reason of a result begins when this worker is lost.
    name: str
    alive: bool
    #: How many seconds the worker's monotonic clock is ahead of ours, and how uncertain that is.
    ahead: float
    uncertain: float
    #: The files that hold what its hosts wrote, by the numbers of run and batch.
    spools: dict[tuple[int, int], FileSpool]

    def send(self, message: ToWorker) -> bool:
        """Send a message; False if the worker is lost."""

    def wait_for_room(self) -> None:
        """Wait until the worker has got most of what was sent, or is lost."""


class MessageChannel(Protocol):
    """The worker's end."""

    #: Whether open files can be sent.
    sends_files: bool

    def send(self, message: FromWorker, file: int | None = None) -> bool:
        """Send a message, and a descriptor along with it; False if the coordinator is gone."""

    def receive(self) -> ToWorker | None:
        """The next message; None when the coordinator is gone."""

    def wait_for_room(self) -> None:
        """Wait until the coordinator has got most of what was sent, or is gone."""

    def has_room(self) -> bool:
        """Whether it has got most of what was sent."""
