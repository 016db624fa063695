"""Inventory: the hosts and groups that one source knows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..model import Host

_NO_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType({})


@dataclass(frozen=True)
class Inventory:
    """The hosts of a source, as it lists them, and its groups: entries by the group's name.

    `source` is what errors call it: a file's name, for instance. A group has the hosts of its children too,
    each once, in the source's order; it may be empty. Every entry of a group is that of one of the hosts.
    """

    source: str
    hosts: tuple[Host, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NO_GROUPS)

    @classmethod
    def of(cls, source: str, hosts: Iterable[Host]) -> "Inventory":
        """One without groups."""
        return cls(source, tuple(hosts))
