"""Expressions over hosts, as text: which terms, and what joins them.

Two notations are known. ClusterShell's (nodeset(1)) joins from left to right: `,` or a space for union, `&`
for intersection, `!` for difference, `^` for symmetric difference. Ansible's ("Patterns: targeting hosts and
groups") has `:` or `,` for union, `:&` and `:!`; there all unions come first, then what is kept, then what is
left out.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..model import UsageError

UNION, INTERSECTION, DIFFERENCE, XOR = ",", "&", "!", "^"
#: What may stand between two terms, blanks aside: of both notations, of ClusterShell's, and of Ansible's.
_EITHER, _CLUSTERSHELL, _ANSIBLE = ("", ","), ("&", "!", "^"), (":", ",&", ",!", ":&", ":!")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BETWEEN = re.compile(r"[\s,&!^]*")
#: A regular expression between slashes; what goes on behind the second one is a path.
_REGEX = re.compile(r"/(?:[^/\\]|\\.)+/(?=[\s,&!^:]|$)")
#: Also one that is too large: as a host it would be reached by that number.
_PORT = re.compile(r":[0-9]+(?=:|$)")
#: Characters that an IPv6 address may have with a zone and a user. In longer text none is looked for.
_LONGEST_ADDRESS = 300


class Step(NamedTuple):
    """A term, and how it is joined to what comes before it: by `,`, `&`, `!` or `^`."""

    operator: str
    term: str


def parse(text: str) -> list[Step]:
    """The steps of an expression, in the order in which they are done.

    The first one's operator is `&` or `!` if the text begins so: that takes from all hosts.

    >>> parse("web[1-3,5]&@prod !db*")
    [Step(operator=',', term='web[1-3,5]'), Step(operator='&', term='@prod'), Step(operator='!', term='db*')]
    >>> [f"{operator}{term}" for operator, term in parse("web:!phoenix:db:&staging")]
    [',web', ',db', '&staging', '!phoenix']

    Raises:
        UsageError: it cannot be read, or mixes the two notations.
    """
    if _CONTROL.search(text):
        raise UsageError(f"control characters in {text!r}")
    steps: list[Step] = []
    found: set[str] = set()
    for between, term in _terms(text):
        is_first = not steps
        known = ("", INTERSECTION, DIFFERENCE) if is_first else (*_EITHER, *_CLUSTERSHELL, *_ANSIBLE)
        if not term or between not in known:
            stray = between if between.strip(",") else ""
            raise UsageError(f"{f'{stray!r} joins nothing' if stray else 'empty entry'} in {text!r}")
        # Ansible's alone are those that begin with nothing before them, too.
        found.add(":" if between in _ANSIBLE or (is_first and between) else between)
        steps.append(Step(between[-1:].replace(":", UNION) or UNION, term))
    if not steps:
        raise UsageError(f"empty entry in {text!r}")
    if ":" in found:
        if not found.isdisjoint(_CLUSTERSHELL):
            raise UsageError(f"{text!r} mixes two notations: write it like a,b&c!d, or like a:b:&c:!d")
        steps.sort(key=lambda step: (UNION, INTERSECTION, DIFFERENCE).index(step.operator))
    return steps


def _terms(text: str) -> Iterator[tuple[str, str]]:
    """What stands before each term, without blanks, and the term; an empty one before the end if need be."""
    at, before = 0, ""
    while at < len(text):
        start = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        before += "".join(text[at:start].split())
        at = _end(text, start)
        for number, part in enumerate(_parts(text[start:at])):
            before += ":" * (number > 0)
            if number and part[:1] in (INTERSECTION, DIFFERENCE):  # behind a regular expression
                before, part = before + part[0], part[1:]
            if part:
                yield before, part
                before = ""
    if before:
        yield before, ""


def _end(text: str, start: int) -> int:
    """Where the term ends that begins at `start`."""
    if regex := _REGEX.match(text, start):
        return regex.end()
    opening, closing, ending = "[", "]", ",&!^"
    depth = 0
    for at in range(start, len(text)):
        character = text[at]
        if character == "~" and depth == 0 and (at == start or text[at - 1] == ":"):
            opening, closing, ending = "([{", ")]}", ","  # of a regular expression
        depth += (character in opening) - (character in closing)
        if depth <= 0 and (character in ending or character.isspace()):
            return at
    return len(text)


def _parts(term: str) -> list[str]:
    """The parts of a term between which `:` joins: one that is of no port, address or source of groups."""
    if is_path(term):
        return [term]
    parts, start, depth = [], 0, 0
    for at, character in enumerate(term):
        depth += (character in "([{") - (character in ")]}")
        if character != ":" or depth > 0 or _PORT.match(term, at):
            continue
        part = term[start:at]
        if part.startswith("@") and ":" not in part and term[at + 1 : at + 2] not in ("", "@"):
            continue  # it stands behind a source of groups
        if len(term) - start < _LONGEST_ADDRESS and is_address(term[start:].rpartition("@")[2]):
            break
        parts.append(part)
        start = at + 1
    return [*parts, term[start:]]


def is_path(text: str) -> bool:
    """Whether a term is the path of a list: one with a slash, other than that of a range's step."""
    return "/" in re.sub(r"\[[^\[\]]*\]", "", text)


def is_address(text: str) -> bool:
    """Whether a text is an IPv6 address, perhaps with a zone."""
    try:
        return bool(ipaddress.IPv6Address(text.partition("%")[0]))
    except ValueError:
        return False
