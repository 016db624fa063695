"""Groups of other packages: entry points `paramgmt.inventory`."""

import logging
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from ..model import Host, UsageError, expand, one_line, parse_entry

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

log = logging.getLogger("paramgmt_tasks")

#: The entry points: an object that is called without arguments, and gives groups by their names.
GROUP = "paramgmt.inventory"


class Plugin:
    """A source of groups that another package adds, loaded and called once its groups are asked for."""

    def __init__(self, entry_point: "EntryPoint") -> None:
        self._entry_point = entry_point
        self._error, self._warned = "", False

    def names(self) -> list[str]:
        """The groups, sorted; none, with a warning at the first time, if it is broken."""
        found = self._loaded
        if self._error and not self._warned:
            log.warning("%s", self._error)
            self._warned = True
        return sorted(found)

    def hosts(self, group: str) -> list[Host] | None:
        """The hosts of a group, `*` being those of all, each once; None if there is no such group.

        Raises:
            UsageError: it is broken; says why.
        """
        found = self._loaded
        if self._error:
            raise UsageError(self._error)
        if group == "*":
            everything = (host for hosts in found.values() for host in hosts)
            return list({host.entry: host for host in everything}.values())
        return found.get(group)

    @cached_property
    def _loaded(self) -> Mapping[str, list[Host]]:
        name, where = self._entry_point.name, self._entry_point.value
        try:
            return _hosts_of(self._entry_point.load()())
        except (Exception, SystemExit) as error:  # whatever another package does
            what = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            self._error = f"groups of {name}: {where} is broken: {one_line(what)}"
            return {}


def _hosts_of(given: object) -> dict[str, list[Host]]:
    """Groups as a source gives them, checked.

    Raises:
        UsageError: they are of another type, or there is a malformed entry.
    """
    if not isinstance(given, Mapping):
        raise UsageError(f"gives {type(given).__name__}, no mapping of groups to hosts")
    found: dict[str, list[Host]] = {}
    for name, entries in given.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"a group is called {name!r}: must be text")
        if isinstance(entries, str) or not isinstance(entries, Iterable):
            raise UsageError(f"group {name}: {type(entries).__name__}, no list of hosts")
        try:
            found[name] = [host for entry in entries for host in _hosts(entry)]
        except UsageError as error:
            raise UsageError(f"group {name}: {error}") from None
    return found


def _hosts(entry: object) -> list[Host]:
    if isinstance(entry, Host):
        return [entry]
    if not isinstance(entry, str):
        raise UsageError(f"{entry!r}: neither the text of an entry nor a Host")
    return [parse_entry(each) for each in expand(entry)]


def installed() -> dict[str, Plugin]:
    """The sources that installed packages add, by their names; none of them is loaded yet."""
    from importlib.metadata import entry_points  # 20 ms, which few have to wait for

    found: dict[str, Plugin] = {}
    for entry_point in entry_points(group=GROUP):
        if entry_point.name in found:
            log.warning(
                "groups of %s: two packages add a source of that name; %s is not used",
                entry_point.name,
                entry_point.value,
            )
            continue
        found[entry_point.name] = Plugin(entry_point)
    return found
