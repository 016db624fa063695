"""WorkerEngine: workers in other processes or on other machines, and which of them works on which hosts.

Hosts are assigned in turn and stay with their worker, which keeps their connections. What a run makes of its
workers' messages is in `distributed_run`; what a worker does with its hosts in `worker`.
"""

import itertools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from ..model import Host, Operation, Settings, check_together
from .channels import Link
from .distributed_run import DistributedRun
from .messages import LogLine, PositionedHost, RunUpdate

if TYPE_CHECKING:
    from ..transfer import FileRelay

log = logging.getLogger("paramgmt_tasks")

_L = TypeVar("_L", bound=Link)
#: By what a host is the same in two runs: its entry, its options, and which of equal ones in the list it is.
_HostKey = tuple[str, tuple[tuple[str, str], ...], int]


class WorkerEngine(Generic[_L]):
    """The workers of an engine, and the hosts they keep connections to. Safe for many threads."""

    #: Whether workers have this machine's files. If so, what a worker sent arrives even if it has died since.
    shares_filesystem = True

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.links: list[_L] = []
        self._homes: dict[_HostKey, _L] = {}
        self._turn = itertools.count()
        self._numbers = itertools.count(1)
        self._runs: dict[int, DistributedRun] = {}

    def start(self, settings: Settings, hosts: int) -> int:
        """Have workers for that many hosts; how many share what the settings bound.

        Raises:
            UsageError: there are none.
        """
        raise NotImplementedError

    def relay(self, operation: Operation) -> "FileRelay | None":
        """Brings files to workers that have not this machine's."""
        return None

    def perform(
        self,
        hosts: Sequence[Host],
        operation: Operation,
        settings: Settings,
        *,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
    ) -> DistributedRun:
        """Begin an operation on hosts; `on_start` and `live` are as for LocalRun.

        Raises:
            UsageError: settings that cannot be used, or no workers.
        """
        if settings.together:
            check_together(settings, settings.fanout, len(hosts))
        # No more workers than hosts may be worked on at once.
        count = max(1, min(self.start(settings, len(hosts)), settings.fanout))
        number = next(self._numbers)
        run = DistributedRun(self, number, hosts, operation, settings, count, on_start, live)
        self._runs[number] = run
        run.start()
        return run

    def assign(self, hosts: Iterable[PositionedHost], count: int) -> dict[Link, list[PositionedHost]]:
        """Which of the first `count` workers works on which hosts: the one that did before, else by turns."""
        seen: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        assigned: dict[Link, list[PositionedHost]] = {}
        with self._lock:
            alive = [link for link in self.links if link.alive][:count]
            for position, host in hosts if alive else ():
                name = (host.entry, tuple(host.options.items()))
                seen[name] += 1
                key = (*name, seen[name])
                link = self._homes.get(key)
                if link is None or link not in alive:
                    link = self._homes[key] = alive[next(self._turn) % len(alive)]
                assigned.setdefault(link, []).append((position, host))
        return assigned

    def remove(self, number: int) -> None:
        """A run is over."""
        self._runs.pop(number, None)

    def handle(self, link: Link, message: LogLine | RunUpdate) -> None:
        """A message has come from a worker."""
        if isinstance(message, LogLine):
            log.log(message.level, message.text)
        elif (run := self._runs.get(message.run)) is not None:
            run.handle(link, message)

    def on_worker_lost(self, link: Link) -> None:
        """A worker's process has ended, or it does not answer."""
        for run in list(self._runs.values()):
            run.lose(link)
