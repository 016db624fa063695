"""Session: the engines of one `inv` call, each with the connections that it keeps."""

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from ..execution import Run
from ..model import Host, Operation, Settings

if TYPE_CHECKING:
    from ..execution import ConnectionPool


class Engine(Protocol):
    """Where hosts are worked on. What is done there, and how often it is tried, is the same everywhere."""

    def perform(
        self,
        hosts: Sequence[Host],
        operation: Operation,
        settings: Settings,
        *,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
    ) -> Run:
        """Begin an operation on hosts; `on_start` and `live` are as for LocalRun.

        Raises:
            UsageError: settings that cannot be used, or an engine that cannot be reached.
        """

    def close(self) -> None:
        """Close all connections."""


_Made = TypeVar("_Made", bound=Engine)


class Session:
    """Connections kept for the fleets of one `inv` call: each host is connected once. Safe for many threads.

    They are those of its engines, each of which is made when it is first asked for. `ask` asks somebody what
    servers want to know, if settings allow that (`ask_interactive`): it is called, in a thread of its own,
    with the text of a question, whether the answer may be seen while it is typed, and a function that says
    whether it is not waited for any more; it returns the answer, or None. Answers are kept until `close`.
    """

    def __init__(self, ask: Callable[[str, bool, Callable[[], bool]], str | None] | None = None) -> None:
        self.ask = ask
        #: By their name, or for Dask by the settings that name the cluster.
        self.engines: dict[Hashable, Engine] = {}
        self._lock = threading.RLock()

    def engine(self, settings: Settings) -> Engine:
        """The engine that the settings name.

        Raises:
            UsageError: it cannot be reached, or an ssh_config that cannot be read.
        """
        if settings.engine == "threads":
            return self.threads
        with self._lock:
            if settings.engine == "processes":
                from .processes import ProcessEngine  # with the messages, which threads do not need

                return self._kept("processes", ProcessEngine)
            from .dask_cluster import DaskEngine  # with what the others do not need: Dask

            which = (
                settings.scheduler,
                settings.tls_ca,
                settings.tls_cert,
                settings.tls_key,
                settings.insecure_scheduler,
            )
            return self._kept(which, lambda: DaskEngine(settings))

    def _kept(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        with self._lock:
            if key not in self.engines:
                self.engines[key] = make()
            return cast(_Made, self.engines[key])

    @property
    def threads(self) -> "ConnectionPool":
        """The engine of this process.

        Raises:
            UsageError: an ssh_config that cannot be read.
        """
        from ..execution import ConnectionPool  # with what the others do not need: Fabric

        return self._kept("threads", lambda: ConnectionPool(ask=self.ask))

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            engines = list(self.engines.values())
            self.engines.clear()
        for engine in engines:
            engine.close()


#: As it was called before.
Pool = Session
