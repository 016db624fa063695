"""The engine `threads`: works on hosts in this process, over connections that are kept."""

import logging
import resource
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import ssh
from ..model import Host, Operation, Settings, Spool, check_together
from ..steps import run_to_end
from .local_command import LocalWorks
from .local_run import LocalRun, Works

if TYPE_CHECKING:
    from ..ssh import HostConnection, SharedResources
    from ..transfer import LocalFiles

log = logging.getLogger("paramgmt_tasks")

#: Descriptors this process needs besides those of its hosts, and those of one host that is worked on: a
#: local command's pipes, or a ProxyCommand's.
_SPARE_FILES, _FILES_A_HOST = 64, 3


class ConnectionPool:
    """Connections in this process, and work over them. Safe for many threads.

    A connection is acquired by one run at a time; if another run wants the same host meanwhile, it gets
    another connection. It is that of one of `share` processes on this machine; `ask` is Session's.
    """

    def __init__(
        self, share: int = 1, ask: Callable[[str, bool, Callable[[], bool]], str | None] | None = None
    ) -> None:
        self.share, self._ask = share, ask
        self._lock = threading.RLock()
        self._resources: SharedResources | None = None
        # By id(): Fabric takes connections to one host for equal.
        self._all: dict[int, tuple[HostConnection, Hashable]] = {}
        self._idle: dict[Hashable, list[HostConnection]] = {}

    @property
    def resources(self) -> "SharedResources":
        """What the connections share; local commands need none of it.

        Raises:
            UsageError: an ssh_config that cannot be read.
        """
        with self._lock:
            if self._resources is None:
                self._resources = ssh.SharedResources(self.share, self._ask)
            return self._resources

    def perform(
        self,
        hosts: Sequence[Host],
        operation: Operation,
        settings: Settings,
        *,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
        ask: Callable[[int], object] | None = None,
        files: "LocalFiles | None" = None,
        spool: Spool | None = None,
    ) -> LocalRun:
        """Begin an operation on hosts, in this process; `files` are those that are copied.

        The other arguments are as for LocalRun.

        Raises:
            UsageError: settings or an ssh_config that cannot be used.
        """
        connections = [] if operation.local else self.acquire(hosts, settings)
        try:
            fanout = max(1, min(settings.fanout, len(hosts)))
            kept = len(self) if settings.keep else self.connected()
            fanout, keep = _fit_files(fanout, kept, settings.keep)
            if settings.together and ask is None:
                check_together(settings, fanout, len(hosts))
            settings = replace(settings, fanout=fanout, keep=keep)
            if operation.local:
                works: Works = LocalWorks(hosts, settings)
            else:
                from .remote_work import RemoteWorks  # with what local commands do not need: Fabric

                works = RemoteWorks(hosts, connections, settings, operation, files, self.release)
            run = LocalRun(
                hosts, operation, settings, works, on_start=on_start, live=live, ask=ask, spool=spool
            )
            return run.start()
        except BaseException:
            for connection in connections:
                self.release(connection)
            raise

    def acquire(self, hosts: Iterable[Host], settings: Settings) -> "list[HostConnection]":
        """A connection for each host, one made before if host and settings are the same."""
        acquired: list[HostConnection] = []
        reached = (
            *(settings.user, settings.port, settings.identity, settings.jump),
            *(settings.host_keys, settings.ssh_options),
        )
        resources = self.resources
        try:
            with self._lock:
                for host in hosts:
                    acquired.append(self._acquire(host, settings, reached, resources))  # noqa: PERF401
        except BaseException:
            for connection in acquired:
                self.release(connection)
            raise
        return acquired

    def _acquire(
        self, host: Host, settings: Settings, reached: Hashable, resources: "SharedResources"
    ) -> "HostConnection":
        options = tuple(host.options.items())
        key = (host.entry, host.address, host.user, host.port, options, reached)
        idle = self._idle.get(key)
        if idle:
            connection = idle.pop()
            connection.use(settings)
        else:
            connection = ssh.HostConnection(host, settings=settings, resources=resources)
            self._all[id(connection)] = connection, key
        return connection

    def release(self, connection: "HostConnection") -> None:
        """A connection that was acquired is free again."""
        with self._lock:
            if id(connection) in self._all:
                self._idle.setdefault(self._all[id(connection)][1], []).append(connection)

    def address(self, host: Host, settings: Settings) -> str:
        """Where a host is reached, as its line and ssh_config say.

        Raises:
            UsageError: what ssh_config asks for that is not answered in time.
        """
        connection = ssh.HostConnection(host, settings=settings, resources=self.resources)
        run_to_end(connection.settling())
        return connection.target.address

    def require_identity(self, settings: Settings, hosts: Iterable[Host]) -> None:
        """Make sure that the identity that settings name can be used for some hosts.

        Raises:
            UsageError: it cannot, and the agent does not hold it either.
        """
        if not settings.identity:
            return
        resources = self.resources
        named = {name.lower() for name, _ in settings.ssh_options}
        named.update(name.lower() for host in hosts for name in host.options)
        others = "identityagent" in named or resources.ssh_config.mentions("identityagent")
        resources.identities.require(settings.identity, settings.passphrase, others)

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
            resources, self._resources = self._resources, None
        for connection in connections:
            connection.close()
        if resources is not None:
            resources.close()


def _fit_files(fanout: int, connections: int, keep: bool) -> tuple[int, bool]:
    """Raise the soft limit of open files as far as needed and allowed.

    Returns what it allows: how many hosts at once, and whether connections are kept that are to be.
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
