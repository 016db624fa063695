"""ParallelGroup: Fabric's ThreadingGroup made to hold thousands, with retry and a result for every host."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from fabric.exceptions import GroupException
from fabric.group import GroupResult

from ..model import Failure, Host, Operation, Settings
from ..ssh import FabricGroup, HostConnection, SharedResources
from ..steps import MAY_BLOCK, Steps
from .run import LocalRun
from .scheduler import Scheduler


class ParallelGroup(FabricGroup):
    """A list of connections that are worked on together, `settings.fanout` of them at once.

    Fabric's contract holds: `run`, `sudo`, `put` and `get` return a GroupResult or raise a GroupException.
    Unlike Fabric's own group it bounds the fan-out and the handshakes, tries hosts again that were not
    reached, and with `perform` gives a HostResult for each as soon as it is known.
    """

    def __init__(
        self,
        *hosts: str | Host,
        settings: Settings | None = None,
        resources: SharedResources | None = None,
        **kwargs: Any,
    ) -> None:
        self.settings = settings or Settings()
        resources = resources or SharedResources()
        super().__init__()
        self.extend(
            HostConnection(host, settings=self.settings, resources=resources, **kwargs) for host in hosts
        )

    @classmethod
    def from_connections(
        cls, connections: Iterable[HostConnection], settings: Settings | None = None
    ) -> "ParallelGroup":
        """A group of connections that exist already."""
        group = cls.__new__(cls)
        list.__init__(group, connections)
        group.settings = settings or Settings()
        return group

    def perform(self, operation: Operation, **watching: Any) -> LocalRun:
        """Do `operation` on every host; the run gives the results as they come, and takes `watching`."""
        return LocalRun(list(self), operation, self.settings, **watching)

    def call_all(self, method: str, *args: Any, **kwargs: Any) -> GroupResult:
        """Call a method of Fabric's on every connection, in bounded parallel."""
        results = GroupResult()
        for connection, value in _Calls(self, method, args, kwargs, self.settings).outcomes():
            results[connection] = value
        if any(isinstance(value, BaseException) for value in results.values()):
            raise GroupException(results)
        return results


class _Calls(Scheduler):
    """A method of Fabric's, called on every connection."""

    def __init__(self, group: ParallelGroup, method: str, args: Any, kwargs: Any, settings: Settings) -> None:
        self._call: Callable[[HostConnection], Any] = lambda cxn: getattr(cxn, method)(*args, **kwargs)
        self._values: dict[int, Any] = {}
        self._finished = threading.Semaphore(0)
        super().__init__(list(group), settings)

    def do(self, index: int) -> Steps[None]:
        """Call the method; what it raises once connected is its answer, and not tried again."""
        connection = self.connections[index]
        yield from connection.opening()
        yield MAY_BLOCK
        try:
            self._values[index] = self._call(connection)
        except Exception as error:
            self._values[index] = error
        self.close_unless_kept(index)
        self._finished.release()

    def fail(self, index: int, failure: Failure, error: BaseException) -> None:
        """The connection was not made: its exception is the answer."""
        self._values[index] = error
        self._finished.release()

    def outcomes(self) -> list[tuple[HostConnection, Any]]:
        """Wait for all, and pair them with what came of them, in the group's order."""
        for _ in self.connections:
            self._finished.acquire()
        return [(cxn, self._values[index]) for index, cxn in enumerate(self.connections)]
