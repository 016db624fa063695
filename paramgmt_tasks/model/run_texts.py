"""The texts of a run: what its hosts have to know so that they can be filled in, and what cannot be."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .errors import UsageError
from .hosts import Host
from .operations import LocalCommand, Operation, Pull, Push, RemoteCommand, Script
from .ranks import NAMES, ranks
from .settings import Settings, Verbatim
from .ssh_options import check_host
from .substitution import quoted, substitute

#: Bytes that Linux takes in a command or a variable.
_LONGEST = 128 * 1024


def ranked(hosts: Sequence[Host], operation: Operation, settings: Settings) -> Sequence[Host]:
    """The hosts of a run with their ranks, if a text of it may name those; scripts may.

    All hosts share the long texts of it. A host of the classic programs has none.

    Raises:
        UsageError: a path or a variable of the environment with `?NAME:q`, which no shell reads; or `?ALL` of
            more hosts than a command or a variable can name.
    """
    env = [(name, value) for name, value in settings.env if not isinstance(value, Verbatim)]
    commands, paths = _commands(operation), _paths(operation)
    _check_unquoted(hosts, paths, env)
    texts = [*commands, *(value for _, value in env)]
    if not (isinstance(operation, Script) or _name_ranks([*texts, *paths])):
        return hosts
    places = zip(hosts, ranks([address_of(host) for host in hosts]), strict=True)
    found = [host if host.classic else replace(host, rank=rank) for host, rank in places]
    for text in texts:
        _check_length(text, found)
    return found


def address_of(host: Host) -> str:
    """Where other hosts reach one: the variable DATA of its line, else its HostName, else its name.

    >>> address_of(Host("nic@web1:2222", "web1", "nic", 2222))
    'web1'
    >>> address_of(Host("web1", "web1", options={"HostName": "%h.example.com"}))
    'web1.example.com'
    """
    if "DATA" in host.variables:
        return host.variables["DATA"]
    if "HostName" not in host.options:
        return host.address
    name = re.sub("%([%h])", lambda found: "%" if found[1] == "%" else host.address, host.options["HostName"])
    try:
        check_host(name)
    except UsageError:  # that is this host's result; others are to have nothing that a shell interprets
        return host.address
    return name


def env_on(host: Host, settings: Settings) -> list[tuple[str, str]]:
    """The variables of the environment on one host."""
    values = host.values
    return [
        (name, value if isinstance(value, Verbatim) else substitute(value, values))
        for name, value in settings.env
    ]


def _commands(operation: Operation) -> tuple[str, ...]:
    return (operation.command,) if isinstance(operation, (LocalCommand, RemoteCommand)) else ()


def _paths(operation: Operation) -> tuple[str, ...]:
    if isinstance(operation, (Push, Pull)):
        return (*operation.sources, operation.destination)
    return operation.paths if isinstance(operation, Script) else ()


def _name_ranks(texts: Iterable[str]) -> bool:
    return any(f"?{name}" in text for text in texts for name in NAMES)


def _check_unquoted(hosts: Sequence[Host], paths: Iterable[str], env: Iterable[tuple[str, str]]) -> None:
    """Refuse quotes for a shell where there is none: they would become part of a name or a value.

    Values of the environment are not shown: they may be secrets.
    """
    texts = [(path, path) for path in paths]
    texts += [(f"env: the value of {name}", value) for name, value in env]
    texts = [(where, text) for where, text in texts if ":q" in text]
    if not texts or all(host.classic for host in hosts):
        return
    names = {"HOST", *NAMES}.union(*(host.variables for host in hosts))
    for where, text in texts:
        if found := quoted(text, names):
            raise UsageError(
                f"{where}: {found} quotes for a shell, which does not read it: write {found[:-2]}"
            )


def _check_length(text: str, hosts: Sequence[Host]) -> None:
    """Refuse what no host can run; this machine would keep it for each of very many hosts."""
    if "?ALL" in text and hosts:
        length = len(substitute(text, hosts[0].values))
        if length > _LONGEST:
            raise UsageError(
                f"?ALL: {length} bytes for {len(hosts)} hosts, and a command or a variable can have "
                f"{_LONGEST}: use it in a script"
            )
