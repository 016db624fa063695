"""Pool: the engines of one `inv` call, each with the connections that it keeps."""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .arrivals import Run
from .hosts import Host
from .operations import Operation
from .settings import Settings

if TYPE_CHECKING:
    from .threads import Threads


class Engine(Protocol):
    """Where hosts are worked on. What is done there, and how often, is the same everywhere."""

    def perform(
        self,
        hosts: Sequence[Host],
        operation: Operation,
        settings: Settings,
        *,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
    ) -> Run:
        """Begin an operation on hosts; `on_start` and `live` are as for GroupRun.

        Raises:
            UsageError: settings that cannot be used, or an engine that is not there.
        """

    def close(self) -> None:
        """Leave all hosts."""


class Pool:
    """Connections kept for the fleets of one `inv` call: each host is connected once. Safe for many threads.

    They are those of engines, each of which is there once it was asked for.
    """

    def __init__(self) -> None:
        self.engines: dict[Any, Any] = {}
        self._lock = threading.RLock()

    def engine(self, key: Any, make: Callable[[], Any]) -> Any:
        """The engine that is known by `key`."""
        with self._lock:
            if key not in self.engines:
                self.engines[key] = make()
            return self.engines[key]

    @property
    def threads(self) -> "Threads":
        """The engine of this process.

        Raises:
            UsageError: an ssh_config that cannot be read.
        """
        from .threads import Threads  # with what the others do not need: Fabric

        return self.engine("threads", Threads)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            engines = list(self.engines.values())
            self.engines.clear()
        for engine in engines:
            engine.close()
