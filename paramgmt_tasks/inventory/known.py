"""What names in expressions stand for: hosts and groups of inventories, groups of other programs, lists."""

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ..history import past_runs
from ..model import Host, UsageError, fold
from .group_sources import GroupSources
from .host_lists import find_list
from .inventory import Inventory
from .reading import read_inventory

#: How many names are compared with how many when near ones are looked for.
_NAMES, _COMPARED = 50, 2000
#: File systems have no longer names.
_LONGEST_NAME = 256


class Known:
    """All that names can stand for. Sources of groups are asked, and lists read, once a name needs it."""

    def __init__(self, sources: GroupSources | None = None) -> None:
        #: The hosts of the inventories, by their entries.
        self.hosts: dict[str, Host] = {}
        self.sources = sources or GroupSources()
        #: Their groups, each with the entries of its hosts.
        self.groups: dict[str, dict[str, None]] = {}

    def add(self, inventory: Inventory) -> None:
        """Make an inventory's hosts and groups known, too; variables and options of a later one win."""
        own: dict[str, Host] = {}
        for host in inventory.hosts:
            own.setdefault(host.entry, merged(self.hosts.get(host.entry), host))
        self.hosts.update(own)
        for name, entries in inventory.groups.items():
            self.groups.setdefault(name, {}).update(dict.fromkeys(entries))

    def inventory_group(self, name: str) -> list[Host] | None:
        """The hosts of a group of the inventories; None if there is none."""
        entries = self.groups.get(name)
        return None if entries is None else [self.hosts[entry] for entry in entries]

    def group(self, name: str, source: str = "") -> list[Host] | None:
        """The hosts of a group: of the inventories, else of the default source; or of another source.

        Raises:
            UsageError: the source fails.
        """
        found = None if source else self.inventory_group(name)
        return self.sources.hosts(source, name) if found is None else found

    def group_names(self, source: str = "") -> list[str]:
        """The names of all groups, or of those of a source.

        Raises:
            UsageError: the source fails.
        """
        own = () if source else self.groups
        return list(dict.fromkeys([*own, *self.sources.groups(source)]))

    def near_groups(self, name: str, source: str = "") -> str:
        """A remark on groups, or sources of them, that are called like one that there is not."""
        if source and source not in self.sources.names():
            return (
                f"; no source is called {source}{near([source], [*self.sources.names(), *past_runs.NAMES])}"
            )
        try:
            names = self.group_names(source)
        except UsageError:
            names = list(self.groups)
        if not source:
            names = [f"@{each}" for each in (*names, *past_runs.NAMES)]
        return near([name if source else f"@{name}"], names)

    def everything(self) -> dict[str, Host]:
        """All hosts that patterns match, by their entries: of inventories, groups, and lists in hostlists/.

        Raises:
            UsageError: a source fails, or a list cannot be read.
        """
        found = dict(self.hosts)
        for host in (*(self.sources.hosts("", "*") or ()), *self._in_named_lists()):
            found.setdefault(host.entry, host)
        return found

    def all_of(self, source: str = "") -> list[Host] | None:
        """All hosts of the inventories and of the default source of groups, or of another source."""
        hosts = self.sources.hosts(source, "*")
        if source:
            return hosts
        return list({**{host.entry: host for host in hosts or ()}, **self.hosts}.values())

    def has_list(self, name: str) -> bool:
        """Whether there is a list by that name: a file, or one in hostlists/; a folder here only by its path.

        Raises:
            UsageError: it is not to be trusted.
        """
        if len(name) >= _LONGEST_NAME:
            return False
        path = find_list(name)
        return os.path.exists(path) and ("/" in name or path.name != str(path) or not path.is_dir())

    def listed(self, name: str) -> list[Host]:
        """The hosts of a list by its name.

        Raises:
            UsageError: it cannot be read.
        """
        return list(read_inventory(name).hosts)

    def _in_named_lists(self) -> Iterator[Host]:
        for name in named_lists():
            yield from self.listed(name)


def merged(known: Host | None, host: Host) -> Host:
    """A host with what is known of it besides; what it has itself goes before."""
    if known is None or not (known.variables or known.options):
        return host
    variables, options = {**known.variables, **host.variables}, {**known.options, **host.options}
    return replace(host, variables=variables, options=options)


def named_lists() -> list[str]:
    """The names of the lists in the nearest `hostlists/`, here or in a folder above."""
    for folder in (here := Path.cwd(), *here.parents):
        if (folder / "hostlists").is_dir():
            return sorted(path.stem for path in (folder / "hostlists").glob("*.txt"))
    return []


def near(names: Iterable[str], known: Iterable[str]) -> str:
    """A remark on what may have been meant by names that there are not."""
    compared = list(islice(known, _COMPARED))
    found = [
        match for name in islice(names, _NAMES) for match in difflib.get_close_matches(name, compared, 1)
    ]
    return f" (near: {fold(found)})" if found else ""
