"""What Ansible calls an inventory in JSON: what its programs, and `ansible-inventory`, print for `--list`."""

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from ..model import UsageError, escaped
from .ansible_values import filled, unmarked
from .ansible_variables import LeftOut, host_of
from .inventory import Inventory

#: The groups that are always there: all hosts, and those that are in no other group.
ALL, UNGROUPED = "all", "ungrouped"
_META, _PRIORITY = "_meta", "ansible_group_priority"

#: A host's variables, which may be of any kind that JSON has.
Variables = Mapping[str, object]


@dataclass
class Group:
    """A group as it is listed: its own hosts, the groups below it, and variables for all hosts of both."""

    hosts: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    variables: dict[str, object] = field(default_factory=dict)


@dataclass
class Listing:
    """What is listed: groups by their names, and variables of hosts; None if each has to be asked for."""

    source: str
    groups: dict[str, Group]
    hostvars: Mapping[str, Variables] | None

    def names(self, group: str = ALL) -> list[str]:
        """The hosts of a group in Ansible's order, each once: its own, its children's, and so on."""
        queue, seen = deque([group]), {group}
        hosts: dict[str, None] = {}
        while queue:
            below = self.groups[queue.popleft()]
            hosts.update(dict.fromkeys(below.hosts))
            for child in below.children:
                if child not in seen:
                    seen.add(child)
                    queue.append(child)
        return list(hosts)

    def inventory(self) -> Inventory:
        """The hosts, with their variables and how they are reached, and all groups.

        Raises:
            UsageError: a host or a variable cannot be used, or groups are malformed.
        """
        variables = self.variables(self.names())
        left_out = LeftOut(self.source)
        hosts = {
            name: host_of(name, filled(name, own, self.source), self.source, left_out)
            for name, own in variables.items()
        }
        left_out.tell()
        entries = {name: host.entry for name, host in hosts.items()}
        groups = {group: tuple(entries[name] for name in self.names(group)) for group in self.groups}
        return Inventory(self.source, tuple(hosts.values()), groups)

    def variables(self, names: Iterable[str]) -> dict[str, Variables]:
        """The variables of hosts: those of groups, the more particular ones last, then each one's own.

        Raises:
            UsageError: groups are below themselves, or have a priority that is no number.
        """
        own = self.hostvars or {}
        merged: dict[str, dict[str, object]] = {name: {} for name in names}
        depths = self._depths()
        having = [name for name, group in self.groups.items() if group.variables]
        for name in sorted(having, key=lambda name: (depths[name], self._priority(name), name)):
            for host in self.names(name):
                merged[host].update(self.groups[name].variables)
        for host, variables in merged.items():
            variables.update(own.get(host, {}))
            variables.pop(_PRIORITY, None)
        return cast(dict[str, Variables], merged)

    def _priority(self, name: str) -> int:
        value = self.groups[name].variables.get(_PRIORITY, 1)
        try:
            return int(cast(str, value))
        except (TypeError, ValueError):
            raise UsageError(f"{self._of(name)} has {_PRIORITY}={value!r}: must be a number") from None

    def _depths(self) -> dict[str, int]:
        """How far below `all` each group is, by the longest way.

        Raises:
            UsageError: a group is below itself.
        """
        parents = dict.fromkeys(self.groups, 0)
        for group in self.groups.values():
            for child in set(group.children):
                parents[child] += 1
        depths = {name: 0 for name, count in parents.items() if not count}
        queue = deque(depths)
        while queue:
            name = queue.popleft()
            for child in set(self.groups[name].children):
                depths[child] = max(depths.get(child, 0), depths[name] + 1)
                parents[child] -= 1
                if not parents[child]:
                    queue.append(child)
        for name, count in parents.items():
            if count:
                raise UsageError(f"{self._of(name)} is below itself: take it out of its children")
        return depths

    def _of(self, group: str) -> str:
        return f"{self.source}: the group {group!r}"


def parse(printed: bytes, source: str, what: str) -> Listing:
    """The groups and variables that a source lists; errors begin with `what`.

    Raises:
        UsageError: it is not of Ansible's form.
    """
    top = variables(printed, what)
    meta = _mapping(top.get(_META, {}), f"{what}: {_META}")
    hostvars = None
    if "hostvars" in meta:
        found = _mapping(meta["hostvars"], f"{what}: {_META}.hostvars")
        hostvars = {name: _mapping(found[name], f"{what}: variables of {name!r}") for name in found}
    listing = Listing(source, {ALL: Group(), UNGROUPED: Group()}, hostvars)
    for name, group in top.items():
        if name != _META:
            listing.groups[name] = _group(group, f"{what}: the group {name!r}")
    for group in list(listing.groups.values()):
        for child in group.children:
            listing.groups.setdefault(child, Group())
    complete(listing)
    return listing


def variables(printed: bytes, what: str) -> Variables:
    """An object of JSON, such as the variables of one host.

    Raises:
        UsageError: it is none; begins with `what`.
    """
    try:
        found = json.loads(printed, object_hook=unmarked)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what}: not JSON: {escaped(str(error))}") from None
    return _mapping(found, f"{what}: all of it")


def complete(listing: Listing) -> None:
    """Have all groups below `all`, and those hosts ungrouped that are in no other group, as Ansible has."""
    groups = listing.groups
    grouped = {host for name, group in groups.items() if name not in (ALL, UNGROUPED) for host in group.hosts}
    alone = dict.fromkeys([*groups[UNGROUPED].hosts, *groups[ALL].hosts])
    groups[UNGROUPED].hosts = [host for host in alone if host not in grouped]
    below = {child for group in groups.values() for child in group.children} | {ALL, UNGROUPED}
    orphans = [name for name in groups if name not in below]
    groups[ALL].children = list(dict.fromkeys([UNGROUPED, *groups[ALL].children, *orphans]))


def _group(value: object, what: str) -> Group:
    if isinstance(value, list):
        return Group(hosts=_names(value, f"{what}: its hosts"))
    group = _mapping(value, what)
    if group and not {"hosts", "children", "vars"} & group.keys():
        raise UsageError(f"{what} has neither hosts, children nor vars")
    return Group(
        _names(group.get("hosts", []), f"{what}: its hosts"),
        _names(group.get("children", []), f"{what}: its children"),
        dict(_mapping(group.get("vars", {}), f"{what}: its vars")),
    )


def _mapping(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise UsageError(f"{escaped(what)} must be an object, {{…}}, and is {_kind(value)}")
    return value


def _names(value: object, what: str) -> list[str]:
    if not isinstance(value, list):
        raise UsageError(f"{what} must be a list, […], and is {_kind(value)}")
    for name in value:
        if not isinstance(name, str):
            raise UsageError(f"{what} must be names, and one is {_kind(name)}")
    return value


def _kind(value: object) -> str:
    """What errors call a value of JSON.

    >>> [_kind(value) for value in ({}, [], "a", 1.5, None, True)]
    ['an object', 'a list', 'text', 'a number', 'null', 'true or false']
    """
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
