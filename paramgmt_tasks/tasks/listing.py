"""The ways to print hosts: how many, folded, on one line, as JSON, or with their variables and options."""

import json
import re
import shlex
from collections.abc import Sequence

from ..model import Host, UsageError, fold, parse_entry
from .options import Options

_FORMS = ("count", "fold", "expand", "json", "variables")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What no value in a list can have, quoted or not.
_NOT_IN_LISTS = re.compile(r"[#\x00-\x08\x0a-\x1f\x7f-\x9f]")


def chosen(options: Options) -> str:
    """Which way is asked for with the task, empty if none is; what is configured is for results.

    Raises:
        UsageError: more than one.
    """
    forms = [name for name in _FORMS if options.is_given(name) and options.flag(name)]
    if len(forms) > 1:
        raise UsageError(f"{' and '.join(f'--{name}' for name in forms)}: one of them")
    return forms[0] if forms else ""


def shown(hosts: Sequence[Host], form: str = "") -> list[str]:
    """The lines that show hosts in one of these ways, without one an entry each.

    Raises:
        UsageError: a value that no list can have.
    """
    entries = [host.entry for host in hosts]
    if form == "count":
        return [str(len(entries))]
    if form == "fold":
        return [fold(entries)]
    if form == "expand":
        return [" ".join(entries)]
    if form == "json":
        return [json.dumps(_facts(host)) for host in hosts]
    return [_line(host) for host in hosts] if form == "variables" else entries


def _facts(host: Host) -> dict[str, object]:
    return {
        "host": host.entry,
        "address": host.address,
        "user": host.user,
        "port": host.port,
        "variables": dict(host.variables),
        "options": dict(host.options),
    }


def _line(host: Host) -> str:
    """A host as a line of a list has it.

    Raises:
        UsageError: a value that no list can have.
    """
    words = [host.entry]
    for name, value in {**_of_its_own(host), **host.variables, **host.options}.items():
        if _NOT_IN_LISTS.search(value) or not _NAME.fullmatch(name):
            raise UsageError(f"{host.entry}: {name} has a character that no list can have: use --json")
        words.append(f"{name}={shlex.quote(value)}")
    return " ".join(words)


def _of_its_own(host: Host) -> dict[str, str]:
    """What a host has beside its entry, as options: it may come from another program."""
    entry = parse_entry(host.entry)
    own = {"HostName": host.address, "User": host.user, "Port": host.port}
    said = {"HostName": entry.address, "User": entry.user, "Port": entry.port}
    return {name: str(value) for name, value in own.items() if value is not None and value != said[name]}
