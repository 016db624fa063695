"""The operations: what is asked of each host, as plain data.

`operation.on(host)` is the same operation with `?HOST`, the host's variables and its rank replaced;
`description(name)` is the first line of its result, as ParaMgmt prints it. A `repeatable` operation may be
done again if an attempt broke off in the middle.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

from .hosts import Host
from .substitution import substitute

_Texts = TypeVar("_Texts", str, tuple[str, ...])


def _fill_command(text: str, host: Host) -> str:
    return substitute(text, host.values, quoting=not host.classic)


def _fill(texts: _Texts, host: Host) -> _Texts:
    values = host.values
    if isinstance(texts, str):
        return substitute(texts, values)
    return tuple(substitute(text, values) for text in texts)


@dataclass(frozen=True)
class LocalCommand:
    """A command run by /bin/sh on this machine, once for each host."""

    command: str
    local = True
    repeatable = False

    def on(self, host: Host) -> "LocalCommand":
        """This operation for one host."""
        return replace(self, command=_fill_command(self.command, host))

    def description(self, name: str) -> str:
        """`name` is the host's entry, as in `lcmd [name]: …`."""
        return f"lcmd [{name}]: {self.command}"


@dataclass(frozen=True)
class RemoteCommand:
    """A command run by the login shell of each host.

    If it is `held`, it and all that it has started are killed when the connection ends, when the run is
    cancelled, or when its timeout has passed; and its standard input is empty.
    """

    command: str
    held: bool = False
    local = False
    repeatable = False

    def on(self, host: Host) -> "RemoteCommand":
        """This operation for one host."""
        return replace(self, command=_fill_command(self.command, host))

    def description(self, name: str) -> str:
        """`name` is `user@host`, or the host alone if no user was given."""
        return f"rcmd [{name}]: {self.command}"


@dataclass(frozen=True)
class Script:
    """Local scripts run on each host, in order, until one fails. `paths` are local files."""

    paths: tuple[str, ...]
    local = False
    repeatable = False

    def on(self, host: Host) -> "Script":
        """This operation for one host."""
        return replace(self, paths=_fill(self.paths, host))

    def description(self, name: str) -> str:
        """`name` is `user@host`, or the host alone if no user was given."""
        return f"rscript [{name}]: running {' '.join(self.paths)}"


@dataclass(frozen=True)
class Copying:
    """How files are copied.

    `verify` compares SHA-256 sums, `follow` copies what symbolic links point to, `preserve` keeps the times
    of files, `overwrite` replaces files that exist, `changed` leaves out files that are the same there
    already, `compress` sends the stream compressed, `verbose` names each file. `unsafe_links` keeps, in a
    pull, also symbolic links that lead out of what is pulled; they are not followed either way.
    """

    verify: bool = True
    follow: bool = False
    preserve: bool = False
    overwrite: bool = True
    changed: bool = False
    compress: bool = False
    verbose: bool = False
    unsafe_links: bool = False


@dataclass(frozen=True)
class Push:
    """Local files and folders copied to `destination` on each host."""

    sources: tuple[str, ...]
    destination: str
    how: Copying = Copying()
    local = False
    repeatable = True

    def on(self, host: Host) -> "Push":
        """This operation for one host."""
        return replace(self, sources=_fill(self.sources, host), destination=_fill(self.destination, host))

    def description(self, name: str) -> str:
        """`name` is `user@host`, or the host alone if no user was given."""
        return f"rpush [{name}]: {' '.join(self.sources)} => {name}:{self.destination}"


@dataclass(frozen=True)
class Pull:
    """Files and folders of each host copied to the local `destination`."""

    sources: tuple[str, ...]
    destination: str
    how: Copying = Copying()
    local = False
    repeatable = True

    def on(self, host: Host) -> "Pull":
        """This operation for one host."""
        return replace(self, sources=_fill(self.sources, host), destination=_fill(self.destination, host))

    def description(self, name: str) -> str:
        """`name` is `user@host`, or the host alone if no user was given."""
        sources = self.sources[0] if len(self.sources) == 1 else "{" + ",".join(self.sources) + "}"
        return f"rpull [{name}]: {name}:{sources} => {self.destination}"


Operation = LocalCommand | RemoteCommand | Script | Push | Pull


def describe(operation: Operation, host: Host, user: str | None) -> str:
    """The description of an operation on one host; `user` logs in if the host has no user of its own.

    >>> describe(RemoteCommand("echo ?HOST"), Host("web1", "web1"), "nic")
    'rcmd [nic@web1]: echo web1'
    """
    named = user and host.user is None and not operation.local
    return operation.on(host).description(f"{user}@{host.entry}" if named else host.entry)
