"""Fleet: hosts, settings and open connections. The one front door for everything above it."""

import difflib
import logging
import shlex
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING

from .engines import Session, processors
from .execution import Run
from .model import (
    Changes,
    Copying,
    Host,
    LocalCommand,
    Operation,
    Pull,
    Push,
    RemoteCommand,
    Report,
    Script,
    Settings,
    UsageError,
    expand,
    parse_entry,
    ranked,
)

log = logging.getLogger("paramgmt_tasks")

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Hosts for which it is worth to start another process.
HOSTS_A_PROCESS = 1000
#: Hosts that `repr` names.
_NAMED = 3


class Fleet:
    """Hosts and how to work on them.

        with Fleet(["web1", "nic@web2:2222"]) as fleet:
            fleet.push(["app.tar"], "/srv/?HOST/")
            for result in fleet.run("uptime"):
                print(result.host, result.outcome, result.stdout)

    `hosts` are entries of a host list, ranges such as `web[01-20]` too, or Hosts. Without any there is
    nothing to work on, and each operation is refused. Safe for many threads: each operation has connections
    to itself while it runs. With a `pool` its connections outlive the fleet; without one the fleet closes
    what it opened. At the end of a `with` block the fleet waits for what still runs, or ends it if the
    block is left by an exception; after that each operation is refused.

    Raises:
        UsageError: a malformed host, an unusable identity or ssh_config.
    """

    def __init__(
        self, hosts: Iterable[str | Host], settings: Settings | None = None, pool: Session | None = None
    ) -> None:
        self.hosts = _hosts(hosts)
        self.settings = settings or Settings()
        self._own_pool = pool is None
        self.pool = Session() if pool is None else pool
        self._runs: weakref.WeakSet[Run] = weakref.WeakSet()
        self._closed = False
        self._check(self.settings)

    def __repr__(self) -> str:
        names = ", ".join(host.entry for host in self.hosts[:_NAMED])
        more = ", …" * (len(self.hosts) > _NAMED)
        hosts = f"{len(self.hosts)} host{'s' * (len(self.hosts) != 1)}{': ' * bool(names)}{names}{more}"
        return f"<{'closed ' * self._closed}Fleet of {hosts}>"

    # -- the operations

    def run(self, command: str, **changes: "Unpack[Changes]") -> Run:
        """Run a command by the login shell of each host, at once; iterate over the results as hosts finish.

        `changes` are Settings of this call alone, such as `timeout=30`. The command runs whether or not
        somebody iterates; `report()` waits for all hosts.

        Raises:
            UsageError: no command, or settings that cannot be used.
        """
        return self.perform(RemoteCommand(command), **changes)

    def local(self, command: str, **changes: "Unpack[Changes]") -> Run:
        """Run a command here, once for each host; otherwise as `run`."""
        return self.perform(LocalCommand(command), **changes)

    def script(self, *paths: str | PathLike[str], **changes: "Unpack[Changes]") -> Run:
        """Run local scripts on each host, in order, until one fails; otherwise as `run`."""
        return self.perform(Script(_names(paths)), **changes)

    def push(
        self,
        sources: str | PathLike[str] | Iterable[str | PathLike[str]],
        destination: str = "~/",
        how: Copying = Copying(),  # noqa: B008
        **changes: "Unpack[Changes]",
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
        **changes: "Unpack[Changes]",
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
        **changes: "Unpack[Changes]",
    ) -> Run:
        """Do `operation` on every host; an iterator over HostResults as they finish, with `cancel()`.

        `on_start` and `live` are as for Run, `changes` as for `run`.

        Raises:
            UsageError: settings that cannot be used, hosts that are to start together and are more than the
                fan-out, an operation without its command or files, no hosts, or a fleet that is closed.
        """
        if self._closed:
            raise UsageError("this fleet is closed: make another one, with the same Pool for its connections")
        if not self.hosts:
            raise UsageError("no hosts: this fleet has none to work on")
        _check_operation(operation)
        settings = _chosen(self._changed(changes), len(self.hosts))
        hosts = ranked(self.hosts, operation, settings)
        engine = self.pool.threads if operation.local else self.pool.engine(settings)
        run = engine.perform(hosts, operation, settings, on_start=on_start, live=live)
        self._runs.add(run)
        return run

    def report(self, operation: Operation, **changes: "Unpack[Changes]") -> Report:
        """Do `operation` on every host and wait for all."""
        return self.perform(operation, **changes).report()

    def _changed(self, changes: Changes) -> Settings:
        if not changes:
            return self.settings
        known = Settings.__dataclass_fields__
        for name in changes.keys() - known.keys():
            near = difflib.get_close_matches(name, known, 1)
            raise UsageError(f"no such setting: {name}{f'; did you mean {near[0]}?' if near else ''}")
        settings = replace(self.settings, **changes)
        self._check(settings)
        return settings

    def _check(self, settings: Settings) -> None:
        """Make sure that what the settings name is there.

        Raises:
            UsageError: it is not.
        """
        if settings.identity and settings.engine != "dask":  # whose workers have their own
            self.pool.threads.require_identity(settings, self.hosts)
        if settings.ask_interactive and settings.engine not in ("threads", "auto"):
            raise UsageError(f"ask_interactive: engine {settings.engine} cannot ask; use the engine threads")
        if settings.ask_interactive and self.pool.ask is None:
            raise UsageError("ask_interactive: there is nobody to ask: use a Pool(ask=...)")
        if settings.jump:
            for hop in settings.jump.split(","):
                try:
                    parse_entry(hop.strip())
                except UsageError as error:
                    raise UsageError(f"jump {settings.jump}: {error}") from None

    # -- its end

    def wait(self) -> None:
        """Wait until all operations of this fleet are over."""
        for run in list(self._runs):
            run.wait()

    def close(self) -> None:
        """Cancel what still runs, and close the connections unless they are a pool's.

        After that each operation is refused.
        """
        self._closed = True
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
    """Settings with an engine in place of `auto`: processes if they are worth their start."""
    if settings.engine != "auto":
        return settings
    if settings.ask_interactive:
        log.info("engine: threads (which can ask)")
        return replace(settings, engine="threads")
    cores = processors()
    workers = min(settings.workers or cores, hosts // HOSTS_A_PROCESS)
    alone = settings.together or settings.sequential
    if workers < 2 or alone:
        why = "they begin together or in turn" if alone else f"{hosts} hosts, {cores} processors"
        log.info("engine: threads (%s)", why)
        return replace(settings, engine="threads")
    log.info("engine: %d processes (%d hosts, %d processors)", workers, hosts, cores)
    return replace(settings, engine="processes", workers=workers)


def _hosts(given: object) -> list[Host]:
    """Hosts as they were given, ranges expanded."""
    if isinstance(given, (str, bytes, Host)) or not isinstance(given, Iterable):
        shown = str(given) if isinstance(given, Host) else given
        such = f", such as Fleet([{shown!r}])" if isinstance(shown, str) else " of hosts"
        raise UsageError(f"hosts {shown!r}: must be a list{such}")
    hosts: list[Host] = []
    for host in given:
        if isinstance(host, Host):
            hosts.append(host)
        elif isinstance(host, str):
            hosts += [parse_entry(entry) for entry in expand(host.strip())]
        else:
            raise UsageError(f"host {host!r}: must be an entry of a host list, or a Host")
    return hosts


def _names(given: str | PathLike[str] | Iterable[str | PathLike[str]]) -> tuple[str, ...]:
    several = [given] if isinstance(given, (str, PathLike)) or not isinstance(given, Iterable) else given
    try:
        return tuple(fspath(name) for name in several)
    except TypeError:
        raise UsageError(f"files {given!r}: must be names of files") from None


def _check_operation(operation: Operation) -> None:
    """Make sure that an operation has something to do.

    Raises:
        UsageError: it has not, or something in it is no text.
    """
    if isinstance(operation, (RemoteCommand, LocalCommand)):
        command: object = operation.command
        if isinstance(command, (list, tuple)) and all(isinstance(word, str) for word in command):
            raise UsageError(f"command {command!r}: must be one text, such as {shlex.join(command)!r}")
        if not isinstance(command, str):
            raise UsageError(f"command {command!r}: must be text")
        if not command.strip():
            raise UsageError("no command")
    elif isinstance(operation, Script):
        _check_names(operation.paths, "scripts")
    elif isinstance(operation, (Push, Pull)):
        what = "files to push" if isinstance(operation, Push) else "files to pull"
        _check_names(operation.sources, what)
        if not isinstance(operation.destination, str) or not isinstance(operation.how, Copying):
            raise UsageError(f"{operation!r}: the destination must be text, and `how` a Copying")
    else:
        raise UsageError(f"{operation!r}: must be an operation, such as RemoteCommand('uptime')")


def _check_names(names: tuple[str, ...], what: str) -> None:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{what} {names!r}: must be a tuple of names")
    if not names or not all(names):
        raise UsageError(f"no {what}")
