"""The engine `threads`: works on hosts in this process, over connections that are kept."""

import logging
import resource
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..model import Host, Operation, Settings, check_together
from ..ssh import HostConnection, SharedResources
from .group import ParallelGroup
from .run import LocalRun

log = logging.getLogger("paramgmt_tasks")

#: Descriptors this process needs besides those of its hosts, and those of one host that is worked on: a
#: local command's pipes, or a ProxyCommand's.
_SPARE_FILES, _FILES_A_HOST = 64, 3


class ConnectionPool:
    """Connections in this process, and work over them. Safe for many threads.

    A connection is lent to one run at a time; where another run wants the same host meanwhile, it gets
    another connection. It is that of one of `share` processes on this machine.

    Raises:
        UsageError: an ssh_config that cannot be read.
    """

    def __init__(self, share: int = 1) -> None:
        self.share = share
        self.resources = SharedResources(share)
        self._lock = threading.Lock()
        # By id(): Fabric takes connections to one host for equal.
        self._all: dict[int, tuple[HostConnection, Any]] = {}
        self._idle: dict[Any, list[HostConnection]] = {}

    def perform(
        self, hosts: Sequence[Host], operation: Operation, settings: Settings, **watching: Any
    ) -> LocalRun:
        """Begin an operation on hosts, in this process; `watching` is as for LocalRun.

        Raises:
            UsageError: settings that cannot be used.
        """
        connections = self.acquire(hosts, settings)
        try:
            fanout = max(1, min(settings.fanout, len(connections)))
            kept = len(self) if settings.keep else self.connected()
            fanout, keep = _fit_files(fanout, kept, settings.keep)
            if settings.together and "ask" not in watching:
                check_together(settings, fanout, len(connections))
            group = ParallelGroup.from_connections(connections, replace(settings, fanout=fanout, keep=keep))
            return group.perform(operation, release=self.release, **watching)
        except BaseException:
            for connection in connections:
                self.release(connection)
            raise

    def acquire(self, hosts: Iterable[Host], settings: Settings) -> list[HostConnection]:
        """A connection for each host, one made before where host and settings are the same."""
        lent: list[HostConnection] = []
        reached = _reaching(settings)
        try:
            with self._lock:
                for host in hosts:
                    lent.append(self._acquire(host, settings, reached))  # noqa: PERF401
        except BaseException:
            for connection in lent:
                self.release(connection)
            raise
        return lent

    def _acquire(self, host: Host, settings: Settings, reached: Any) -> HostConnection:
        options = tuple(host.options.items())
        key: Any = (host.entry, host.address, host.user, host.port, options, reached)
        idle = self._idle.get(key)
        if idle:
            connection = idle.pop()
        else:
            connection = HostConnection(host, settings=settings, resources=self.resources)
            self._all[id(connection)] = connection, key
        connection.entry = host
        connection.use(settings)
        return connection

    def release(self, connection: HostConnection) -> None:
        """A connection that was lent is free again."""
        with self._lock:
            if id(connection) in self._all:
                self._idle.setdefault(self._all[id(connection)][1], []).append(connection)

    def address(self, host: Host, settings: Settings) -> str:
        """Where a host is reached, as its line and ssh_config say."""
        (connection,) = self.acquire([host], settings)
        self.release(connection)
        return str(connection.host)

    def __len__(self) -> int:
        return len(self._all)

    def connected(self) -> int:
        """How many connections are open."""
        with self._lock:
            return sum(connection.is_connected for connection, _ in self._all.values())

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            connections = [connection for connection, _ in self._all.values()]
            self._all.clear()
            self._idle.clear()
        for connection in connections:
            connection.close()
        self.resources.close()


def _reaching(settings: Settings) -> Any:
    return (settings.user, settings.port, settings.identity, settings.jump, settings.host_keys)


def _fit_files(fanout: int, connections: int, keep: bool) -> tuple[int, bool]:
    """Raise the soft limit of open files as far as needed and allowed.

    What it allows is returned: how many hosts at once, and whether connections are kept that are to be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SPARE_FILES + connections + _FILES_A_HOST * fanout
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return fanout, keep
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == wanted:
        return fanout, keep
    fits = min(fanout, max(1, (allowed - _SPARE_FILES) // _FILES_A_HOST))
    said = [f"fan-out lowered from {fanout} to {fits}"] if fits < fanout else []
    said += ["connections are not kept for later tasks"] if keep else []
    if said:
        log.warning("open files are limited to %d (ulimit -n): %s", allowed, ", ".join(said))
    return fits, False
