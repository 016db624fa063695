"""The task that lists groups: of inventories, and of other programs."""

import difflib
import json
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from invoke import Context, Exit

from ..inventory import GroupSources, read_inventory
from ..model import UsageError, escaped, fold
from .command_line import OperationTask
from .notes import usage_errors
from .option_table import OPTIONS
from .options import Options
from .session import options_of
from .streams import write_lines
from .values import several

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .keywords import GroupOptions


def _rgroups(
    c: Context, groups: str | Sequence[str] = (), **options: "Unpack[GroupOptions]"
) -> dict[str, list[str]]:
    """List groups, how many hosts each has, and which: of inventories, then of other programs."""
    with usage_errors("rgroups"):
        given = options_of(c, options)
        wanted = [groups] if isinstance(groups, str) else list(groups)
        failures: list[str] = []
        found = _of_inventories(given)
        for name, entries in _of_sources(GroupSources(), failures):
            found.setdefault(name, entries)
        for failure in failures:
            print(f"rgroups: {escaped(failure)}", file=sys.stderr)
        if not found and not failures:
            raise UsageError("no groups: name an inventory that has some with --inventory FILE")
        kept = _kept(found, [name for name in wanted if name])
        write_lines(_lines(kept, given.flag("json")))
    if failures:
        raise Exit(code=1)
    return kept


def _of_inventories(options: Options) -> dict[str, list[str]]:
    """The groups of the lists and inventories that are given or configured."""
    found: dict[str, list[str]] = {}
    for option in ("inventory", "hosts"):
        for name in map(str, several(options.value(option))):
            if name.startswith("@"):
                continue  # a run or a group, which has none
            allowed = options.flag("allow_proxy_command")
            for group, entries in read_inventory(name, "", allowed).groups.items():
                both = [*found.get(f"@{group}", ()), *entries]
                found[f"@{group}"] = list(dict.fromkeys(both))
    return found


def _of_sources(sources: GroupSources, failures: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The groups of all sources, those of the default one by their names alone; failures are added to."""
    try:
        names = sources.names()
        default = sources.default
    except UsageError as error:
        failures.append(str(error))
        return
    for source in names:
        try:
            groups = sources.groups(source)
        except UsageError as error:
            failures.append(str(error))
            continue
        for group in groups:
            try:
                hosts = sources.hosts(source, group) or ()
            except UsageError as error:
                failures.append(str(error))
                continue
            yield f"@{group}" if source == default else f"@{source}:{group}", [host.entry for host in hosts]


def _kept(found: dict[str, list[str]], wanted: Sequence[str]) -> dict[str, list[str]]:
    """The groups that are wanted, by names or wildcards; all if none is named.

    Raises:
        UsageError: there is none of that name.
    """
    kept = set[str]()
    for pattern in (f"@{name.removeprefix('@')}" for name in wanted):
        matching = [name for name in found if fnmatchcase(name, pattern)]
        if not matching:
            near = difflib.get_close_matches(pattern, found, 3)
            raise UsageError(f"no group {pattern}" + (f" (near: {', '.join(near)})" if near else ""))
        kept.update(matching)
    return {name: entries for name, entries in found.items() if name in kept} if wanted else found


def _lines(found: dict[str, list[str]], as_json: bool) -> list[str]:
    if as_json:
        return [
            json.dumps({"group": name.removeprefix("@"), "count": len(entries), "hosts": entries})
            for name, entries in found.items()
        ]
    width = max(map(len, found), default=0)
    digits = max((len(str(len(entries))) for entries in found.values()), default=0)
    return [
        f"{name:{width}}  {len(entries):{digits}}  {fold(entries)}".rstrip()
        for name, entries in found.items()
    ]


_rgroups.__name__ = "rgroups"
rgroups = OperationTask(
    _rgroups,
    options=OPTIONS["rgroups"],
    words="groups",
    words_help="A group's name, wildcards too; several after --",
)
