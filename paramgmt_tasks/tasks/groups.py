"""The task that lists groups: of inventories, and of other programs."""

import difflib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from invoke import Context, Exit

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

    from ..inventory import GroupSources
    from .keywords import GroupOptions


class _Group(NamedTuple):
    """A group by the names that it has, the first of which is shown; `entries` finds its hosts."""

    names: Sequence[str]
    entries: Callable[[], list[str] | None]


def _rgroups(
    c: Context, groups: str | Sequence[str] = (), **options: "Unpack[GroupOptions]"
) -> dict[str, list[str]]:
    """List groups, how many hosts each has, and which: of inventories, then of other programs."""
    with usage_errors("rgroups"):
        given = options_of(c, options)
        wanted = _patterns([groups] if isinstance(groups, str) else groups)
        failures: list[str] = []
        from ..inventory import GroupSources

        found = _found(given, GroupSources(), wanted, failures)
        for failure in failures:
            print(f"rgroups: {escaped(failure)}", file=sys.stderr)
        # What is configured is for results.
        write_lines(_lines(found, given.is_given("json") and given.flag("json")))
    if failures:
        raise Exit(code=1)
    return found


def _patterns(words: Iterable[str]) -> list[str]:
    """The names and wildcards in words, `@web,db*` or `slurm:*`, without their `@`."""
    return [name.removeprefix("@") for word in words for name in word.replace(",", " ").split()]


def _found(
    options: Options, sources: "GroupSources", wanted: Sequence[str], failures: list[str]
) -> dict[str, list[str]]:
    """The entries of all groups, or of those that are `wanted`; how sources fail is added to `failures`.

    Raises:
        UsageError: nothing has failed, and there is no group, or not one that is wanted.
    """
    found: dict[str, list[str]] = {}
    known, met = list[str](), set[str]()
    for group in (*_of_inventories(options), *_of_sources(sources, wanted, failures)):
        label = f"@{group.names[0]}"
        known.append(label)
        patterns = [each for each in wanted if any(fnmatchcase(name, each) for name in group.names)]
        met.update(patterns)
        if label not in found and (patterns or not wanted):
            _add(found, label, group.entries, failures)
    for name in wanted:
        if name not in met and not _add_unlisted(found, name, sources, failures) and not failures:
            raise UsageError(f"no group @{name}{_instead_of(name, known, sources)}")
    if not found and not failures:
        raise UsageError(
            "no groups: name an inventory that has some with --inventory FILE, "
            "or give ClusterShell some in its groups.conf"
        )
    return found


def _add(
    found: dict[str, list[str]], label: str, entries: Callable[[], list[str] | None], failures: list[str]
) -> bool:
    """Add the entries of a group, or how it fails; whether there is one."""
    try:
        group = entries()
    except UsageError as error:
        failures.append(str(error))
        return True
    if group is not None:
        found[label] = group
    return group is not None


def _add_unlisted(
    found: dict[str, list[str]], name: str, sources: "GroupSources", failures: list[str]
) -> bool:
    """Add a group that its source may have without listing it; whether there is one."""
    source, _, group = name.rpartition(":")
    if "*" in name or "?" in name:
        return False
    return _add(found, f"@{name}", partial(_entries, sources, source, group), failures)


def _instead_of(name: str, known: Sequence[str], sources: "GroupSources") -> str:
    """A remark on groups, or sources, that are called like one that there is not."""
    source, colon, _ = name.rpartition(":")
    if colon and not any(fnmatchcase(each, source) for each in sources.names()):
        near = difflib.get_close_matches(source, sources.names(), 3)
        return f": no source is called {source}" + (f" (near: {', '.join(near)})" if near else "")
    near = difflib.get_close_matches(f"@{name}", dict.fromkeys(known), 3)
    return f" (near: {', '.join(near)})" if near else ""


def _of_inventories(options: Options) -> Iterator[_Group]:
    """The groups of the lists and inventories that are given or configured.

    Raises:
        UsageError: one of them cannot be read.
    """
    from ..inventory import read_inventory

    found: dict[str, dict[str, None]] = {}
    for option in ("inventory", "hosts"):
        for name in map(str, several(options.value(option))):
            if name.startswith("@"):
                continue  # a run or a group, which has none
            allowed = options.flag("allow_proxy_command")
            for group, entries in read_inventory(name, "", allowed).groups.items():
                found.setdefault(group, {}).update(dict.fromkeys(entries))
    for group, both in found.items():
        yield _Group([group], partial(list, both))


def _of_sources(sources: "GroupSources", wanted: Sequence[str], failures: list[str]) -> Iterator[_Group]:
    """The groups of sources, or of those that something that is wanted may be of."""
    try:
        names, default = sources.names(), sources.default
    except UsageError as error:
        failures.append(str(error))
        return
    for source in names:
        is_default = source == default
        if wanted and not any(_may_be_of(name, source, is_default) for name in wanted):
            continue
        try:
            groups = sources.groups(source)
        except UsageError as error:
            failures.append(str(error))
            continue
        for group in groups:
            full = f"{source}:{group}"
            yield _Group([group, full] if is_default else [full], partial(_entries, sources, source, group))


def _may_be_of(name: str, source: str, is_default: bool) -> bool:
    of, colon, _ = name.rpartition(":")
    return fnmatchcase(source, of) if colon else is_default or name.startswith("*")


def _entries(sources: "GroupSources", source: str, group: str) -> list[str] | None:
    hosts = sources.hosts(source, group)
    return None if hosts is None else [host.entry for host in hosts]


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
    words_help="Groups' names, with wildcards and commas; several after --",
)
