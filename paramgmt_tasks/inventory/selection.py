"""Which hosts are meant: those that are listed and added, less those that are filtered out."""

import random
from collections.abc import Callable, Iterable, Sequence

from ..history import past_runs
from ..model import Host, UsageError, parse_entry
from .evaluation import Evaluation, Meaning
from .known import Known, merged, near
from .reading import read_inventory


class Selection:
    """Hosts as options name them. `note` is told what is of interest and no error.

    `inventories` are files, folders and programs whose hosts and groups are known, and not added by that.

    Raises:
        UsageError: one of them cannot be read.
    """

    def __init__(
        self, inventories: Iterable[str] = (), note: Callable[[str], object] = lambda text: None
    ) -> None:
        self.known, self._note = Known(), note
        for name in inventories:
            self.known.add(read_inventory(name))
        #: What completes the hosts of lists.
        self._inventories = dict(self.known.hosts)

    # -- what adds hosts

    def listed(
        self, names: Iterable[str], said: str, hint: Callable[[str], str], allow_proxy_command: bool = False
    ) -> list[Host]:
        """All hosts of lists, inventories and runs, and of expressions that begin with `@`.

        Of lists each host comes as often as it stands there; runs and expressions add only what is missing.
        `hint` says what is added to the error about a file that there is not.

        Raises:
            UsageError: it cannot be read, or there is no such group or run.
        """
        found: list[Host] = []
        for name in names:
            if name.startswith("@"):
                there = {host.entry for host in found}
                found += [host for host in self._at(name, said) if host.entry not in there]
            else:
                inventory = read_inventory(name, hint(name), allow_proxy_command)
                self.known.add(inventory)
                found += [merged(self._inventories.get(host.entry), host) for host in inventory.hosts]
        return found

    def _at(self, name: str, said: str) -> list[Host]:
        if past_runs.is_name(name):
            return past_runs.select(name)  # duplicates of that run, too
        return self._hosts(self._anywhere(name, said), said)

    def added(self, patterns: Iterable[str | Host], said: str, beside: Sequence[Host] = ()) -> list[Host]:
        """The hosts of expressions, in their order.

        Names alone are added as often as they stand there, as in ParaMgmt. Of an expression that is more than
        that, each host is added once, unless it is `beside` them.

        Raises:
            UsageError: one cannot be read, or means nothing.
        """
        there = {host.entry for host in beside}
        found: list[Host] = []
        for pattern in patterns:
            if isinstance(pattern, Host):  # with the variables and options of its line
                found.append(pattern)
                continue
            meaning = self._anywhere(pattern, said)
            hosts = self._hosts(meaning, said)
            if meaning.names is None:
                hosts = [host for host in hosts if host.entry not in there]
            elif len(hosts) == 1 and pattern not in self.known.hosts:
                self._note_other(pattern, said)
            found += hosts
            there.update(host.entry for host in hosts)
        return found

    def _note_other(self, name: str, said: str) -> None:
        """Say what else may have been meant by a name that is added as that of a new host."""
        if self.known.has_list(name):
            self._note(f"{said} {name}: a host is called so here; the list is --hosts {name}")
        elif self._inventories and (others := near([name], [*self._inventories, *self.known.groups])):
            self._note(f"{said} {name}: not in the inventory{others}")

    def _anywhere(self, pattern: str, said: str) -> Meaning:
        meaning = Evaluation(self.known, said, self._note).meaning(pattern)
        if not meaning.members and not meaning.has_empty:
            raise UsageError(f"{said} {pattern}: no host is meant")
        return meaning

    def _hosts(self, meaning: Meaning, said: str) -> list[Host]:
        """The hosts that an expression means, as the inventories know them, else as it does."""
        known, members = self.known.hosts, meaning.members
        try:
            return [
                known.get(entry) or members[entry] or parse_entry(entry)
                for entry in (members if meaning.names is None else meaning.names)
            ]
        except UsageError as error:
            raise UsageError(f"{said.rstrip(':')}: {error}") from None

    # -- what filters them

    def limited(self, hosts: Sequence[Host], expression: str, said: str) -> list[Host]:
        """Those of `hosts` that an expression means, in their order, duplicates kept.

        Raises:
            UsageError: it cannot be read, or a part of it means none of them.
        """
        kept = Evaluation(self.known, said, self._note, hosts).meaning(expression).members
        return [host for host in hosts if host.entry in kept]

    def without(self, hosts: Sequence[Host], expressions: Iterable[str], said: str) -> list[Host]:
        """`hosts` without those that the expressions mean.

        Raises:
            UsageError: one cannot be read, or means none of them, so that what it was to spare would not be.
        """
        evaluation, unwanted = Evaluation(self.known, said, self._note, hosts), set[str]()
        for expression in expressions:
            if expression.lstrip()[:1] in ("!", "&"):
                raise UsageError(f"{said} {expression}: begins with {expression.lstrip()[0]!r}: use --limit")
            meaning = evaluation.meaning(expression)
            if not meaning.members and not meaning.has_empty:
                raise UsageError(f"{said} {expression}: none of the hosts is meant")
            unwanted.update(meaning.members)
        return [host for host in hosts if host.entry not in unwanted]


def picked(hosts: Sequence[Host], count: int, seed: int | None = None) -> list[Host]:
    """So many hosts at random, in their order; all if there are no more.

    >>> [host.entry for host in picked([parse_entry(name) for name in "abcdef"], 3, seed=1)]
    ['a', 'b', 'e']
    """
    chosen = random.Random(seed).sample(range(len(hosts)), min(count, len(hosts)))
    return [hosts[index] for index in sorted(chosen)]
