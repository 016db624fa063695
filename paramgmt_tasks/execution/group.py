"""ParallelGroup: Fabric's ThreadingGroup made to hold thousands, with retry and a result for every host."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from fabric.exceptions import GroupException
from fabric.group import GroupResult

from ..model import Host, Operation, Settings, ranked
from ..ssh import FabricGroup, HostConnection, HostRun, Permit, SharedResources, classify
from ..steps import MAY_BLOCK, Steps
from .local_command import LocalWorks
from .local_run import LocalRun, Works
from .remote_work import RemoteWorks, retry_delay
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

    def perform(
        self,
        operation: Operation,
        *,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
    ) -> LocalRun:
        """Do `operation` on every host; the run gives the results as they come.

        `on_start` and `live` are as for LocalRun.

        Raises:
            UsageError: a path or a variable of the environment with `?NAME:q`.
        """
        connections: list[HostConnection] = list(self)
        listed = [connection.target.host for connection in connections]
        hosts = ranked(listed, operation, self.settings)
        if operation.local:
            works: Works = LocalWorks(hosts, self.settings)
        else:
            works = RemoteWorks(hosts, connections, self.settings, operation)
        return LocalRun(hosts, operation, self.settings, works, on_start=on_start, live=live).start()

    def call_all(self, method: str, *args: Any, **kwargs: Any) -> GroupResult:
        """Call a method of Fabric's on every connection, in bounded parallel."""
        calls = _Calls(list(self), self.settings, lambda cxn: getattr(cxn, method)(*args, **kwargs))
        results = GroupResult(zip(self, calls.outcomes(), strict=True))
        if any(isinstance(value, BaseException) for value in results.values()):
            raise GroupException(results)
        return results


class _Calls:
    """A call of Fabric's for every connection, the outcome of which is what it returns or raises."""

    def __init__(
        self,
        connections: Sequence[HostConnection],
        settings: Settings,
        call: Callable[[HostConnection], object],
    ) -> None:
        self._connections, self._settings, self._call = connections, settings, call
        self._outcomes: dict[int, object] = {}
        self._finished = threading.Semaphore(0)
        self._scheduler = Scheduler(self, len(connections), settings)
        permit = Permit(on_stall=self._scheduler.stand_in)
        self._runs = [HostRun(connection, permit) for connection in connections]

    def attempt(self, index: int) -> Steps[None]:
        """Make the call; what it raises once the host is reached is its outcome, and not tried again."""
        connection = self._connections[index]
        yield from self._runs[index].opening()
        yield MAY_BLOCK
        try:
            outcome: object = self._call(connection)
        except Exception as error:
            outcome = error
        self._finish(index, outcome)

    def on_error(self, index: int, error: BaseException) -> float | None:
        """The host was not reached: after the last try, the exception is the outcome."""
        connection, attempts = self._connections[index], self._scheduler.attempts[index]
        delay = retry_delay(connection, self._settings, classify(error), error, attempts.count)
        if delay is None:
            self._finish(index, error)
        return delay

    def _finish(self, index: int, outcome: object) -> None:
        if not self._settings.keep:
            self._connections[index].discard()
        self._outcomes[index] = outcome
        self._finished.release()

    def on_end(self, index: int) -> None:
        """Nothing more is done over a connection."""
        self._runs[index].release()

    def outcomes(self) -> list[object]:
        """Make the calls, and wait for all; what came of them, in the order of the connections."""
        for connection in self._connections:
            connection.renew()
        self._scheduler.start()
        for _ in self._connections:
            self._finished.acquire()
        return [self._outcomes[index] for index in range(len(self._connections))]
