"""Fleet: hosts, settings and open connections. The one front door for everything above it."""

import logging
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import UsageError
from .hosts import Host, parse_entry
from .operations import Copying, LocalCommand, Operation, Pull, Push, RemoteCommand, Script
from .pool import Engine, Pool
from .processes import Processes, processors
from .results import Report
from .settings import ENGINES, Settings
from .split import SplitRun
from .ssh_options import check_user

log = logging.getLogger("paramgmt_tasks")

if TYPE_CHECKING:
    from .run import Run

#: What is under way, in this process or in others.
AnyRun: TypeAlias = "Run | SplitRun"


#: Hosts for which it is worth to start another process.
HOSTS_A_PROCESS = 1000


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
        self._runs: weakref.WeakSet[Any] = weakref.WeakSet()
        if self.settings.identity and self.settings.engine != "dask":  # whose workers have their own
            self.pool.threads.resources.identities.require(self.settings.identity)
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
        settings = _chosen(self._changed(changes), len(self.hosts))
        if settings.user is not None:
            check_user(settings.user)
        engine = self.pool.threads if operation.local else self._engine(settings)
        run: AnyRun = engine.perform(self.hosts, operation, settings, on_start=on_start, live=live)
        self._runs.add(run)
        return run

    def _engine(self, settings: Settings) -> Engine:
        """Where hosts are worked on, as the settings say."""
        if settings.engine == "threads":
            return self.pool.threads
        if settings.engine == "processes":
            return self.pool.engine("processes", Processes)  # type: ignore[no-any-return]
        if settings.engine == "dask":
            from .cluster import Cluster

            names = ("scheduler", "tls_ca", "tls_cert", "tls_key", "insecure_scheduler")
            which = tuple(getattr(settings, name) for name in names)
            return self.pool.engine(which, lambda: Cluster(settings))  # type: ignore[no-any-return]
        raise UsageError(f"engine {settings.engine}: must be one of {', '.join(ENGINES)}")

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


def _chosen(settings: Settings, hosts: int) -> Settings:
    """Settings with an engine where `auto` stands: processes where they are worth their start."""
    if settings.engine != "auto":
        return settings
    cores = processors()
    workers = min(settings.workers or cores, hosts // HOSTS_A_PROCESS)
    alone = settings.together or settings.sequential
    if workers < 2 or alone:
        why = "they begin together or in turn" if alone else f"{hosts} hosts, {cores} processors"
        log.info("engine: threads (%s)", why)
        return replace(settings, engine="threads")
    log.info("engine: %d processes (%d hosts, %d processors)", workers, hosts, cores)
    return replace(settings, engine="processes", workers=workers)


def _names(given: str | PathLike[str] | Iterable[str | PathLike[str]]) -> tuple[str, ...]:
    several = [given] if isinstance(given, (str, PathLike)) else given
    return tuple(fspath(name) for name in several)
