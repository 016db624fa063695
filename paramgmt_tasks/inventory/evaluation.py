"""What an expression means: among the hosts of a list, or among all that is known."""

from collections.abc import Callable, Collection, Iterable, Sequence
from string import digits
from typing import NamedTuple

from ..model import Host, UsageError
from .expressions import DIFFERENCE, INTERSECTION, UNION, XOR, parse
from .known import Known, near
from .terms import Term, Terms

#: Entries in the order in which they are meant, with their hosts as far as the expression tells them.
Members = dict[str, Host | None]


class Meaning(NamedTuple):
    """What an expression means.

    `names` are those of one that is nothing but names, each as often as it stands there; `has_empty` is
    whether some group or run in it has no hosts.
    """

    members: Members
    names: Sequence[str] | None
    has_empty: bool


class Evaluation:
    """What expressions mean: hosts that are `listed`, or without a list any that are named or known.

    `said` stands before a term in errors; `note` is told of groups that have no hosts.
    """

    def __init__(
        self,
        known: Known,
        said: str,
        note: Callable[[str], object],
        listed: Sequence[Host] | None = None,
    ) -> None:
        self._known, self._said, self._note = known, said, note
        self._listed = None if listed is None else {host.entry: host.address for host in listed}
        self._by_address: dict[str, list[str]] = {}
        self._by_place: dict[tuple[str, int | None], list[str]] = {}
        for host in listed or ():
            if host.entry != host.address:
                self._by_place.setdefault((host.address, host.port), []).append(host.entry)
        for entry, address in (self._listed or {}).items():
            if entry != address:
                self._by_address.setdefault(address, []).append(entry)

    def meaning(self, text: str) -> Meaning:
        """The hosts that an expression means.

        Raises:
            UsageError: it cannot be read, or a part of it meets nothing.
        """
        try:
            steps = parse(text)
        except UsageError as error:
            raise UsageError(f"{self._said.rstrip(':')}: {error}") from None
        # A name alone that is to be added is a host, as it always was, whatever lists there are.
        lists = self._listed is not None or any(step.operator != UNION for step in steps)
        terms = Terms(self._known, self._said, self._is_host, lists)
        found = self._all(text) if steps[0].operator in (INTERSECTION, DIFFERENCE) else {}
        names: list[str] | None = []
        has_empty = False
        for step in steps:
            term, adds = terms.read(step.term), step.operator in (UNION, XOR)
            meant = self._meant(term, found, adds)
            if term.hosts is not None and not term.hosts:
                has_empty = True
                self._note(f"{self._said} {term.text}: has no hosts")
            elif not meant:
                self._refuse_unmet(term, found, adds)
            is_names = step.operator == UNION and term.hosts is None and term.matches is None
            if names is not None and is_names:
                names += term.names
            else:
                names = None
            found = _join(found, step.operator, meant)
        return Meaning(found, names, has_empty)

    def _is_host(self, name: str) -> bool:
        if self._listed is None:
            return name in self._known.hosts
        return name in self._listed or name in self._by_address

    def _all(self, text: str) -> Members:
        if self._listed is None:
            raise UsageError(f"{self._said} {text}: nothing stands before {text.lstrip()[0]!r} to take from")
        return dict.fromkeys(self._listed)

    def _meant(self, term: Term, found: Members, adds: bool) -> Members:
        """What a term means of the list's hosts; without a list, of all if it `adds`, else of those found."""
        if term.hosts is not None:
            hosts = {host.entry: host for host in term.hosts}
            if self._listed is None:
                return {entry: host for entry, host in hosts.items() if adds or entry in found}
            return dict.fromkeys(self._named_or_there(hosts.values()))
        if term.matches is not None:
            return self._matching(term.matches, found, adds)
        if self._listed is None:
            return dict.fromkeys(name for name in term.names if adds or name in found)
        return dict.fromkeys(self._named(term.names))

    def _named(self, names: Iterable[str]) -> Iterable[str]:
        """The entries of the list that are named, by entry or address."""
        listed = self._listed or {}
        for name in names:
            if name in listed:
                yield name
            yield from self._by_address.get(name, ())

    def _named_or_there(self, hosts: Iterable[Host]) -> Iterable[str]:
        """The entries that are named, else those of the same address and port with another user."""
        listed = self._listed or {}
        for host in hosts:
            yield from self._named([host.entry])
            if host.entry not in listed:
                if host.port is None and host.address in listed:
                    yield host.address
                yield from self._by_place.get((host.address, host.port), ())

    def _matching(self, matches: Callable[[str], object], found: Members, adds: bool) -> Members:
        """What a pattern matches, by entry or address."""
        if self._listed is not None:
            listed = self._listed.items()
            return dict.fromkeys(entry for entry, address in listed if matches(entry) or matches(address))
        among: Members = {**found, **(self._known.everything() if adds else {})}
        return {
            entry: host
            for entry, host in among.items()
            if matches(entry) or (host is not None and matches(host.address))
        }

    def _refuse_unmet(self, term: Term, found: Members, adds: bool) -> None:
        """Name a term that means none of the hosts: what it was to spare, say, would not be spared.

        What is taken away or kept need not be there, if it is known: `@web!@down`.

        Raises:
            UsageError: it has no right to.
        """
        if not adds and (term.hosts is not None or self._knows(term)):
            return
        where = "in the list" if self._listed is not None else "known" if adds else "among those before it"
        entries: Collection[str] = self._listed or found or self._known.hosts
        if term.hosts is not None:
            what, remark = f"none of its hosts is {where}", ""
        elif term.matches is not None:
            what = f"matches no host that is {where}"
            stems = (f"{entry.rstrip(digits)}*" for entry in entries)
            remark = near([term.text], stems) if entries else "; name an inventory with --inventory"
        else:
            what = f"{'none of these is' if len(term.names) > 1 else 'not'} {where}"
            remark = near(term.names, entries)
        raise UsageError(f"{self._said} {term.text}: {what}{remark}")

    def _knows(self, term: Term) -> bool:
        if term.matches is not None:
            return any(map(term.matches, self._known.hosts))
        return not self._known.hosts.keys().isdisjoint(term.names)


def _join(found: Members, operator: str, meant: Members) -> Members:
    """What is found with one term more. This changes `found`: copies would make long expressions slow."""
    if operator == INTERSECTION:
        return {entry: host or meant[entry] for entry, host in found.items() if entry in meant}
    if operator == UNION:
        for entry, host in meant.items():
            found.setdefault(entry, host)
        return found
    added = {entry: host for entry, host in meant.items() if entry not in found}
    for entry in meant:
        found.pop(entry, None)
    if operator == XOR:
        found.update(added)
    return found
