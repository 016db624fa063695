"""Fleet: hosts, settings and open connections. The one front door for everything above it."""

import logging
import resource
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .connection import HostConnection, Resources
from .group import ParallelGroup
from .hosts import Host, parse_entry
from .operations import Operation
from .results import Report
from .run import Run
from .settings import Settings

log = logging.getLogger("paramgmt_tasks")

#: Descriptors this process needs besides one a connection, and those of one local command.
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
            key: Any = (host, tuple(host.options.items()), _reaching(settings))
            seen[key] += 1  # a host that stands twice is connected twice
            place = (*key, seen[key])
            if place not in self._connections:
                self._connections[place] = HostConnection(host, settings=settings, resources=self.resources)
            connection = self._connections[place]
            connection.entry = host
            connection.use(settings)
            found.append(connection)
        return found

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
        self.pool = pool or Pool()
        if self.settings.identity:
            self.pool.resources.identities.require(self.settings.identity)
        if self.settings.jump:
            for hop in self.settings.jump.split(","):
                parse_entry(hop.strip())

    def perform(self, operation: Operation) -> Run:
        """Do `operation` on every host; an iterator over HostResults as they finish, with `cancel()`."""
        _raise_file_limit(min(self.settings.fanout, len(self.hosts)), len(self.hosts))
        connections = self.pool.connections(self.hosts, self.settings)
        return ParallelGroup.from_connections(connections, self.settings).perform(operation)

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


def _raise_file_limit(fanout: int, hosts: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SPARE_FILES + hosts + _FILES_A_HOST * fanout
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            log.warning(
                "open files are limited to %d, %d may be needed for %d hosts: raise ulimit -n",
                allowed,
                wanted,
                hosts,
            )
