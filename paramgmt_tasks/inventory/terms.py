"""What one term of an expression stands for: names, what a pattern matches, or the hosts of a group."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..history import past_runs
from ..model import Host, UsageError, expand
from .expressions import is_path
from .known import Known

#: They stand for `*` and `?` while ranges are expanded.
_STANDING = {"*": "\ue000", "?": "\ue001"}
#: How many patterns ranges may make of one with wildcards: each host is compared with all of them.
_MOST_PATTERNS = 2000
_SUBSCRIPT = re.compile(r"(.+)\[(-?\d{1,9}|(-?\d{1,9})?(:)(-?\d{1,9})?)\]")


@dataclass(frozen=True)
class Term:
    """A term, as written, and what it stands for: one of `names`, `matches` and `hosts`.

    `names` are hosts by their entry or address, `matches` says so of each, `hosts` are those of a group.
    """

    text: str
    names: Sequence[str] = ()
    matches: Callable[[str], object] | None = None
    hosts: Sequence[Host] | None = None


class Terms:
    """Reads terms. `said` stands before a term in errors, `is_host` is whether a host is called so.

    With `lists` the bare name of a list, where no host and no group is called so, is that list.
    """

    def __init__(self, known: Known, said: str, is_host: Callable[[str], bool], lists: bool) -> None:
        self._known, self._said, self._is_host, self._lists = known, said, is_host, lists

    def read(self, text: str) -> Term:
        """What a term stands for.

        Raises:
            UsageError: it is malformed, names a group or list that there is not, or may mean two things.
        """
        if len(text) > 2 and text.startswith("/") and text.endswith("/"):
            return Term(text, matches=self._regex(text, text[1:-1]))
        if text.startswith("~") and not is_path(text):
            return Term(
                text, matches=self._regex(text, f"^(?:{text[1:]})")
            )  # Ansible's match at the beginning
        if text.startswith("@"):
            return Term(text, hosts=self._at(text))
        if is_path(text):
            return Term(text, hosts=self._list(text, text))
        if "*" in text or "?" in text:
            return Term(text, matches=self._wildcards(text))
        return self._bare(text)

    def _regex(self, text: str, pattern: str) -> Callable[[str], object]:
        if text == "~":  # such as of a variable that is not set
            raise UsageError(f"{self._said} {text}: an empty regular expression matches every host")
        try:
            return re.compile(pattern).search
        except (re.error, RecursionError) as error:
            raise UsageError(f"{self._said} {text}: not a regular expression: {error}") from None

    def _wildcards(self, text: str) -> Callable[[str], object]:
        names = self._expanded(text)
        if len(names) > _MOST_PATTERNS:
            raise UsageError(
                f"{self._said} {text}: {len(names)} patterns: at most {_MOST_PATTERNS}; "
                "leave out the range or the wildcards"
            )
        patterns = (re.escape(name).replace("\\*", ".*").replace("\\?", ".") for name in names)
        return re.compile("|".join(patterns)).fullmatch

    def _expanded(self, text: str) -> list[str]:
        """The names of a pattern with ranges, which may have wildcards."""
        standing = text
        for wildcard, character in _STANDING.items():
            standing = standing.replace(wildcard, character)
        try:
            names = expand(standing)
        except UsageError as error:
            raise UsageError(f"{self._said.rstrip(':')}: {_as_written(str(error))}") from None
        return names if standing == text else [_as_written(name) for name in names]

    def _bare(self, text: str) -> Term:
        """A host, or a group or a list by that name."""
        subscript = _SUBSCRIPT.fullmatch(text)
        group = subscript[1] if subscript else text
        hosts = self._known.inventory_group(group)
        if hosts is not None:
            as_host = self._expanded(text) if subscript is None or ":" not in subscript[2] else []
            if any(map(self._is_host, as_host)):
                raise UsageError(
                    f"{self._said} {text}: a host and a group are called so: "
                    f"write @{text} for the group, /^{re.escape(as_host[0])}$/ for the host"
                )
            return Term(text, hosts=self._sliced(text, hosts, subscript))
        names = self._expanded(text)
        if self._lists and len(names) == 1 and not self._is_host(text) and self._known.has_list(text):
            return Term(text, hosts=self._known.listed(text))
        if self._lists and text == "all" and not self._is_host(text):  # no inventory has such a group
            return Term(text, matches=lambda name: True)
        return Term(text, names=names)

    def _at(self, text: str) -> list[Host]:
        """The hosts of `@group`, `@source:group` and `@failed:RUN`, and of Ansible's `@file`."""
        source, colon, name = text[1:].partition(":")
        if "[" in source:  # the colon is within a subscript
            source, colon, name = text[1:], "", ""
        if source in past_runs.NAMES:
            if not colon and self._known.inventory_group(source) is not None:
                raise UsageError(
                    f"{self._said} {text}: a group is called as hosts of a run are: "
                    f"write {source} for the group, {text}:RUN for the run"
                )
            return past_runs.select(text)
        if not colon:
            source, name = "", source
        if not name:
            raise UsageError(f"{self._said} {text}: no name of a group")
        if is_path(name) or ("." in name and not colon and self._known.inventory_group(name) is None):
            return self._list(text, name)
        if name == "*" and (everything := self._known.all_of(source)) is not None:
            return everything
        found: dict[str, Host] = {}
        for each in self._groups(text, source, name):
            hosts = self._known.group(each, source)
            subscript = _SUBSCRIPT.fullmatch(name)
            if hosts is None and subscript and (whole := self._known.group(subscript[1], source)) is not None:
                hosts = self._sliced(text, whole, subscript)
            if hosts is None:
                raise UsageError(f"{self._said} {text}: no such group{self._instead_of(text, each, source)}")
            for host in hosts:
                found.setdefault(host.entry, host)
        return list(found.values())

    def _groups(self, text: str, source: str, name: str) -> list[str]:
        """The names of groups that are meant by one with ranges or wildcards."""
        subscript = _SUBSCRIPT.fullmatch(name)
        if subscript and (":" in subscript[2] or subscript[2].startswith("-")):
            return [name]  # no range, but some of a group
        names = self._expanded(name)
        if "*" not in name and "?" not in name:
            return names
        matches = self._wildcards(name)
        names = [each for each in self._known.group_names(source) if matches(each)]
        if not names:
            raise UsageError(f"{self._said} {text}: matches no group")
        return names

    def _instead_of(self, text: str, name: str, source: str) -> str:
        if not source and self._known.has_list(name):
            return f"; the list {name} is written without @"
        return self._known.near_groups(name, source)

    def _list(self, text: str, name: str) -> list[Host]:
        if not self._known.has_list(name):
            raise UsageError(f"{self._said} {text}: no such file")
        return self._known.listed(name)

    def _sliced(self, text: str, hosts: list[Host], subscript: "re.Match[str] | None") -> list[Host]:
        """Those that Ansible's subscript keeps, if there is one: the last number is within, as there."""
        if subscript is None:
            return hosts
        index, first, colon, last = subscript.groups()[1:]
        if colon:
            begin, end = int(first or 0), int(last or -1)
            found = hosts[begin : end + 1 if end != -1 else None]
        else:
            found = [hosts[int(index)]] if -len(hosts) <= int(index) < len(hosts) else []
        if not found and (hosts or not colon):
            raise UsageError(f"{self._said} {text}: there are {len(hosts)} hosts")
        return found


def _as_written(text: str) -> str:
    """A text with the wildcards for which others stand."""
    for wildcard, character in _STANDING.items():
        text = text.replace(repr(character)[1:-1], wildcard).replace(character, wildcard)
    return text
