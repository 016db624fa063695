"""Fleet: hosts, settings and open connections. The one front door for everything above it."""

import logging
import resource
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from os import PathLike, fspath
from typing import Any

from .connection import HostConnection, Resources
from .errors import UsageError
from .group import ParallelGroup
from .hosts import Host, parse_entry
from .operations import Copying, LocalCommand, Operation, Pull, Push, RemoteCommand, Script
from .processes import SplitRun, Workers, fit
from .results import Report
from .run import Run
from .settings import Settings

log = logging.getLogger("paramgmt_tasks")

#: What is under way, in this process or in others.
AnyRun = Run | SplitRun

#: Descriptors this process needs besides those of its hosts, and those of one host that is worked on: a
#: local command's pipes, or a ProxyCommand's.
_SPARE_FILES, _FILES_A_HOST = 64, 3


class Pool:
    """Connections kept for the fleets of one `inv` call: each host is connected once. Safe for many threads.

    A connection is lent to one run at a time; where another run wants the same host meanwhile, it gets
    another connection. It is that of one of `share` processes, and has the worker processes of the engine of
    that name.

    Raises:
        UsageError: an ssh_config that cannot be read.
    """

    def __init__(self, share: int = 1) -> None:
        self.resources = Resources(share)
        self.workers = Workers()
        self._lock = threading.Lock()
        # By id(): Fabric takes connections to one host for equal.
        self._all: dict[int, tuple[HostConnection, Any]] = {}
        self._idle: dict[Any, list[HostConnection]] = {}

    def lend(self, hosts: Iterable[Host], settings: Settings) -> list[HostConnection]:
        """A connection for each host, one made before where host and settings are the same."""
        lent: list[HostConnection] = []
        reached = _reaching(settings)
        try:
            with self._lock:
                for host in hosts:
                    lent.append(self._lend(host, settings, reached))  # noqa: PERF401
        except BaseException:
            for connection in lent:
                self.take_back(connection)
            raise
        return lent

    def _lend(self, host: Host, settings: Settings, reached: Any) -> HostConnection:
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

    def take_back(self, connection: HostConnection) -> None:
        """A connection that was lent is free again."""
        with self._lock:
            if id(connection) in self._all:
                self._idle.setdefault(self._all[id(connection)][1], []).append(connection)

    def address(self, host: Host, settings: Settings) -> str:
        """Where a host is reached, as its line and ssh_config say."""
        (connection,) = self.lend([host], settings)
        self.take_back(connection)
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
        self.workers.close()
        self.resources.close()


def _reaching(settings: Settings) -> Any:
    return (settings.user, settings.port, settings.identity, settings.jump, settings.host_keys)


class Fleet:
    """Hosts and how to work on them.

        with Fleet(["web1", "nic@web2:2222"]) as fleet:
            fleet.push(["app.tar"], "/srv/?HOST/")
            for result in fleet.run("uptime"):
                print(result.host, result.outcome, result.stdout)

    `hosts` are entries of a host list, or Hosts. Safe for many threads: each operation has connections to
    itself while it runs. With a `pool` its connections outlive the fleet; without one the fleet closes what
    it opened. At the end of a `with` block the fleet waits for what still runs, or ends it where the block
    is left by an exception.

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
        self._runs: weakref.WeakSet[Run | SplitRun] = weakref.WeakSet()
        if self.settings.identity:
            self.pool.resources.identities.require(self.settings.identity)
        if self.settings.jump:
            for hop in self.settings.jump.split(","):
                parse_entry(hop.strip())

    # -- the operations

    def run(self, command: str, **changes: Any) -> AnyRun:
        """Run a command by the login shell of each host, at once; iterate over the results as hosts finish.

        `changes` are Settings of this call alone, such as `timeout=30`. The command runs whether or not
        somebody iterates; `report()` waits for all hosts.

        Raises:
            UsageError: settings that cannot be used.
        """
        return self.perform(RemoteCommand(command), **changes)

    def local(self, command: str, **changes: Any) -> AnyRun:
        """Run a command here, once for each host; otherwise as `run`."""
        return self.perform(LocalCommand(command), **changes)

    def script(self, *paths: str | PathLike[str], **changes: Any) -> AnyRun:
        """Run local scripts on each host, in order, until one fails; otherwise as `run`."""
        return self.perform(Script(_names(paths)), **changes)

    def push(
        self,
        sources: str | PathLike[str] | Iterable[str | PathLike[str]],
        destination: str = "~/",
        how: Copying = Copying(),  # noqa: B008
        **changes: Any,
    ) -> Report:
        """Copy local files and folders to each host, and wait for all.

        Raises:
            UsageError: settings that cannot be used.
        """
        return self.report(Push(_names(sources), destination, how), **changes)

    def pull(
        self,
        sources: str | Iterable[str],
        destination: str | PathLike[str] = ".",
        how: Copying = Copying(),  # noqa: B008
        **changes: Any,
    ) -> Report:
        """Copy files and folders of each host here, and wait for all.

        Raises:
            UsageError: settings that cannot be used.
        """
        return self.report(Pull(_names(sources), fspath(destination), how), **changes)

    def perform(
        self,
        operation: Operation,
        *,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
        **changes: Any,
    ) -> AnyRun:
        """Do `operation` on every host; an iterator over HostResults as they finish, with `cancel()`.

        `on_start` and `live` are as for Run, `changes` as for `run`.

        Raises:
            UsageError: settings that cannot be used, or hosts that are to start together and are more than
                the fan-out.
        """
        settings = self._changed(changes)
        if settings.engine == "processes" and not operation.local:
            count = fit(settings, len(self.hosts))
            self.pool.workers.start(count)
            split = SplitRun(
                self.pool.workers, self.hosts, operation, settings, count, on_start=on_start, live=live
            )
            self._runs.add(split)
            return split
        connections = self.pool.lend(self.hosts, settings)
        try:
            fanout = min(settings.fanout, len(connections))
            kept = len(self.pool) if settings.keep else self.pool.connected()
            fanout, keep = _fit_files(fanout, kept, settings.keep)
            if settings.together:
                _fit_together(settings, fanout, len(connections))
            group = ParallelGroup.from_connections(connections, replace(settings, fanout=fanout, keep=keep))
            told = on_start or (lambda index: None)
            run = group.perform(operation, on_start=told, live=live, release=self.pool.take_back)
        except BaseException:
            for connection in connections:
                self.pool.take_back(connection)
            raise
        self._runs.add(run)
        return run

    def report(self, operation: Operation, **changes: Any) -> Report:
        """Do `operation` on every host and wait for all."""
        return self.perform(operation, **changes).report()

    def _changed(self, changes: dict[str, Any]) -> Settings:
        unknown = changes.keys() - Settings.__dataclass_fields__.keys()
        if unknown:
            raise TypeError(f"no such settings: {', '.join(sorted(unknown))}")
        return replace(self.settings, **changes)

    # -- its end

    def wait(self) -> None:
        """Wait until nothing of this fleet's runs any more."""
        for run in list(self._runs):
            run.wait()

    def close(self) -> None:
        """End what still runs, and close the connections unless they are a pool's."""
        for run in list(self._runs):
            if not run.wait(0):
                run.cancel()
        if self._own_pool:
            self.pool.close()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self.close()


def _names(given: str | PathLike[str] | Iterable[str | PathLike[str]]) -> tuple[str, ...]:
    several = [given] if isinstance(given, (str, PathLike)) else given
    return tuple(fspath(name) for name in several)


def _fit_together(settings: Settings, fanout: int, hosts: int) -> None:
    asked = ""
    if settings.sequential:
        asked = "one after the other"
    elif settings.batch is not None or settings.canary or settings.max_fail is not None:
        asked = "some before the others"
    elif fanout < hosts:
        asked = f"a fan-out of {fanout}"
    if asked:
        raise UsageError(f"{hosts} hosts cannot start together: {asked} was asked for")


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
