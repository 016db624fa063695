"""Fleet: hosts, settings and open connections. The one front door for everything above it."""

import logging
import resource
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .connection import HostConnection, Resources
from .errors import UsageError
from .group import ParallelGroup
from .hosts import Host, parse_entry
from .operations import Operation
from .results import Report
from .run import Run
from .settings import Settings

log = logging.getLogger("paramgmt_tasks")

#: Descriptors this process needs besides those of its hosts, and those of one host that is worked on: a
#: local command's pipes, or a ProxyCommand's.
_SPARE_FILES, _FILES_A_HOST = 64, 3


class Pool:
    """Connections kept for the fleets of one `inv` call: each host is connected once.

    Raises:
        UsageError: an ssh_config that cannot be read.
    """

    def __init__(self) -> None:
        self.resources = Resources()
        self._connections: dict[Any, HostConnection] = {}

    def connections(self, hosts: Iterable[Host], settings: Settings) -> list[HostConnection]:
        """A connection for each host, the one made before where host and settings are the same."""
        seen: Counter[Any] = Counter()
        found = []
        for host in hosts:
            key: Any = (replace(host, variables={}), tuple(host.options.items()), _reaching(settings))
            seen[key] += 1  # a host that stands twice is connected twice
            place = (*key, seen[key])
            if place not in self._connections:
                self._connections[place] = HostConnection(host, settings=settings, resources=self.resources)
            connection = self._connections[place]
            connection.entry = host
            connection.use(settings)
            found.append(connection)
        return found

    def __len__(self) -> int:
        return len(self._connections)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self.resources.close()
        self._connections.clear()


def _reaching(settings: Settings) -> Any:
    return (settings.user, settings.port, settings.identity, settings.jump, settings.host_keys)


class Fleet:
    """Hosts and how to work on them.

        with Fleet(["web1", "nic@web2:2222"]) as fleet:
            for result in fleet.perform(RemoteCommand("uptime")):
                print(result.host, result.outcome, result.stdout)

    With a `pool` its connections outlive the fleet; without one the fleet closes what it opened.

    Raises:
        UsageError: a malformed host, an unusable identity or ssh_config.
    """

    def __init__(
        self, hosts: Iterable[str | Host], settings: Settings | None = None, pool: Pool | None = None
    ) -> None:
        self.hosts = [parse_entry(host) if isinstance(host, str) else host for host in hosts]
        self.settings = settings or Settings()
        self._own_pool = pool is None
        self.pool = Pool() if pool is None else pool
        if self.settings.identity:
            self.pool.resources.identities.require(self.settings.identity)
        if self.settings.jump:
            for hop in self.settings.jump.split(","):
                parse_entry(hop.strip())

    def perform(self, operation: Operation) -> Run:
        """Do `operation` on every host; an iterator over HostResults as they finish, with `cancel()`.

        Raises:
            UsageError: the hosts are to start together, and are more than the fan-out.
        """
        connections = self.pool.connections(self.hosts, self.settings)
        fanout, keep = _fit_files(min(self.settings.fanout, len(connections)), len(self.pool))
        if self.settings.together and (fanout < len(connections) or self.settings.sequential):
            asked = "one after the other" if self.settings.sequential else f"a fan-out of {fanout}"
            raise UsageError(f"{len(connections)} hosts cannot start together: {asked} was asked for")
        settings = replace(self.settings, fanout=fanout, keep=keep)
        return ParallelGroup.from_connections(connections, settings).perform(operation)

    def report(self, operation: Operation) -> Report:
        """Do `operation` on every host and wait for all."""
        return Report(self.perform(operation))

    def close(self) -> None:
        """Close the connections, unless they are a pool's."""
        if self._own_pool:
            self.pool.close()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _fit_files(fanout: int, connections: int) -> tuple[int, bool]:
    """Raise the soft limit of open files as far as needed and allowed.

    What it allows is returned: how many hosts at once, and whether connections may be kept.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SPARE_FILES + connections + _FILES_A_HOST * fanout
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return fanout, True
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == wanted:
        return fanout, True
    fits = min(fanout, max(1, (allowed - _SPARE_FILES) // _FILES_A_HOST))
    lowered = f"fan-out lowered from {fanout} to {fits}, " if fits < fanout else ""
    log.warning(
        "open files are limited to %d (ulimit -n): %sconnections are not kept for later tasks",
        allowed,
        lowered,
    )
    return fits, False
