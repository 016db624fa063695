"""Host lists with groups, as INI inventories have them: `[web]`, `[prod:children]`, `[web:vars]`.

In such a list a host is one host however often it is named; each line adds it to a group and may set more of
its variables. What a plain inventory of Ansible has besides is read too: ranges such as `web[01:20]`, and
variables that say how a host is reached.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from ..model import (
    Host,
    UsageError,
    expand,
    parse_entry,
    parse_lines,
    read_line,
    read_settings,
    with_settings,
)
from .ansible_json import ALL, UNGROUPED, Group, Listing, complete
from .ansible_ranges import in_our_notation
from .ansible_values import filled
from .ansible_variables import LeftOut, host_of
from .inventory import Inventory

_HEADING = re.compile(r"\[\s*([A-Za-z_][\w.-]*)\s*(?::\s*(\w*)\s*)?\]")
_HOSTS, _CHILDREN, _VARIABLES = "", "children", "vars"
_QUOTED = re.compile(r"""(['"])(.*?)\1\s*(?:#.*)?""")
#: Variables that say how a host is reached begin so.
_ANSIBLES = "ansible_"


def parse(lines: Iterable[str], source: str, proxy_commands: bool = True) -> Inventory:
    """The hosts and groups of a list's lines; without a heading it has no groups, and duplicates stay.

    Without `proxy_commands` a program that would run here is refused. `source` is what errors call the list.

    Raises:
        UsageError: a line cannot be used; names `source` and the line's number.
    """
    lines = [_without_comment(line) for line in lines]
    if any(map(_heading, lines)):
        return _Reading(source, proxy_commands).inventory(lines)
    left_out = LeftOut(source)
    hosts = [
        _reached(host, source, left_out, proxy_commands)
        for host in parse_lines(_in_our_notation(lines, source), source, proxy_commands)
    ]
    left_out.tell()
    return Inventory.of(source, hosts)


@dataclass
class _Named:
    """What the lines say of a host: what held for all lines before them, and their own."""

    defaults: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)


class _Reading:
    """A list with groups while it is read."""

    def __init__(self, source: str, proxy_commands: bool) -> None:
        self._source, self._proxy_commands = source, proxy_commands
        self._hosts: dict[str, _Named] = {}
        self._groups: dict[str, Group] = {}
        #: Groups that have a heading of their own, and those that lines mention, with the line's number.
        self._headed = {ALL, UNGROUPED}
        self._mentioned: dict[str, int] = {}
        self._defaults: dict[str, str] = {}

    def inventory(self, lines: Iterable[str]) -> Inventory:
        """All of the list."""
        name, kind = UNGROUPED, _HOSTS
        for number, line in enumerate(lines, 1):
            try:
                if heading := _heading(line):
                    name, kind = self._section(heading, number)
                elif line.strip() and not line.lstrip().startswith("#"):
                    self._line(line, name, kind, number)
            except UsageError as error:
                raise UsageError(f"{self._source}, line {number}: {error}") from None
        self._refuse_unknown()
        return self._put_together()

    def _section(self, heading: "re.Match[str]", number: int) -> tuple[str, str]:
        name, kind = heading[1], heading[2] or _HOSTS
        if heading[2] is not None and kind not in (_CHILDREN, _VARIABLES):
            raise UsageError(f"{heading[0]}: must be [{name}], [{name}:{_CHILDREN}] or [{name}:{_VARIABLES}]")
        if kind == _VARIABLES:
            self._mentioned.setdefault(name, number)
        else:
            self._headed.add(name)
        self._groups.setdefault(name, Group())
        return name, kind

    def _line(self, line: str, name: str, kind: str, number: int) -> None:
        if kind == _VARIABLES:
            # An equals sign may have blanks around it here, and only here.
            key, equals, value = line.partition("=")
            setting = f"{key.strip()}{equals}{_unquoted(value)}"
            self._groups[name].variables.update(read_settings([setting], self._proxy_commands))
        elif kind == _CHILDREN:
            child, settings = read_line(line)
            if settings or not re.fullmatch(r"[\w.-]+", child):
                raise UsageError(f"{line.strip()!r}: must be the name of a group")
            self._groups[name].children.append(child)
            self._mentioned.setdefault(child, number)
        else:
            self._add_hosts(*read_line(line, self._proxy_commands), name)

    def _add_hosts(self, pattern: str, settings: Mapping[str, str], group: str) -> None:
        if pattern == "*":
            self._defaults.update(settings)
            return
        for entry in expand(in_our_notation(pattern)):
            named = self._hosts.get(entry)
            if named is None:
                parse_entry(entry)
                named = self._hosts[entry] = _Named(dict(self._defaults))
            named.own.update(settings)
            self._groups.setdefault(group, Group()).hosts.append(entry)

    def _refuse_unknown(self) -> None:
        for name, number in self._mentioned.items():
            if name not in self._headed:
                near = difflib.get_close_matches(name, self._headed, 1)
                raise UsageError(
                    f"{self._source}, line {number}: there is no group {name}"
                    + (f" (near: {near[0]})" if near else "")
                )

    def _put_together(self) -> Inventory:
        listing = Listing(self._source, {ALL: Group(), UNGROUPED: Group(), **self._groups}, {})
        complete(listing)
        of_groups = cast(dict[str, dict[str, str]], listing.variables(self._hosts))
        left_out = LeftOut(self._source)
        hosts = []
        for entry, named in self._hosts.items():
            settings = {**named.defaults, **of_groups[entry], **named.own}
            host = with_settings(parse_entry(entry), settings)
            hosts.append(_reached(host, self._source, left_out, self._proxy_commands))
        left_out.tell()
        place = {entry: number for number, entry in enumerate(self._hosts)}
        groups = {name: tuple(sorted(listing.names(name), key=place.__getitem__)) for name in listing.groups}
        return Inventory(self._source, tuple(hosts), groups)


def _heading(line: str) -> "re.Match[str] | None":
    """A line that begins a section: nothing but a name in brackets, which no host has."""
    return _HEADING.fullmatch(line.partition("#")[0].strip()) if line.lstrip().startswith("[") else None


def _unquoted(value: str) -> str:
    """The value of a variable of a group, without a comment and without quotes around it."""
    text = value.strip()
    if quoted := _QUOTED.fullmatch(text):
        return quoted[2]
    return re.split(r"\s#", text, maxsplit=1)[0].strip()


def _without_comment(line: str) -> str:
    """A line without a byte order mark; nothing of one that `;` makes a comment."""
    line = line.removeprefix("\ufeff")
    return "" if line.lstrip().startswith(";") else line


def _in_our_notation(lines: Iterable[str], source: str) -> Iterator[str]:
    """Lines of a list without headings, with our ranges in place of Ansible's.

    Raises:
        UsageError: one cannot be used; names `source` and the line's number.
    """
    for number, line in enumerate(lines, 1):
        if ":" not in line or "[" not in line:  # as almost all
            yield line
            continue
        pattern = "".join(line.partition("#")[0].split(maxsplit=1)[:1])
        try:
            yield line.replace(pattern, in_our_notation(pattern), 1)
        except UsageError as error:
            raise UsageError(f"{source}, line {number}: {error}") from None


def _reached(host: Host, source: str, left_out: LeftOut, proxy_commands: bool) -> Host:
    """A host with what Ansible's variables say of how it is reached, if it has any."""
    if not any(name.startswith(_ANSIBLES) for name in host.variables):
        return host
    found = host_of(host.entry, filled(host.entry, host.variables, source), source, left_out)
    if not proxy_commands:
        read_settings((f"{name}={value}" for name, value in found.options.items()), proxy_commands=False)
    return replace(host, variables=found.variables, options={**found.options, **host.options})
