"""Ranges as Ansible's INI inventories have them: `web[01:20]`, `db-[a:f]`, with a step as a third number."""

import re
import string
from collections.abc import Iterator
from math import prod

from ..model import UsageError

_RANGE = re.compile(r"\[(\w+):(\w+)(?::(\w+))?\]")
_COMMA = re.compile(r",(?![^\[]*\])")
#: How many names ranges of letters may make of one.
_MOST = 100_000


def in_our_notation(pattern: str) -> str:
    """A pattern with such ranges as our lists have it; numbers stay ranges, letters become several names.

    >>> in_our_notation("db-[a:e:2][01:03:2],nic@web1:22")
    'db-a[01-03/2],db-c[01-03/2],db-e[01-03/2],nic@web1:22'

    Raises:
        UsageError: a range is empty, or neither of numbers nor of letters.
    """
    if "[" not in pattern or not _RANGE.search(pattern):
        return pattern
    return ",".join(name for part in _COMMA.split(pattern) for name in _of_letters(part))


def _of_letters(part: str) -> Iterator[str]:
    part = _RANGE.sub(lambda found: _of_numbers(found, part), part)
    found = _RANGE.search(part)
    if found is None:
        yield part
        return
    if prod(len(_letters(each, part)) for each in _RANGE.finditer(part)) > _MOST:
        raise UsageError(f"too many hosts in {part!r}: at most {_MOST}")
    for letter in _letters(found, part):
        yield from _of_letters(f"{part[: found.start()]}{letter}{part[found.end() :]}")


def _of_numbers(found: "re.Match[str]", part: str) -> str:
    first, last, step = found.groups()
    if not (first.isdecimal() and last.isdecimal()):
        return found[0]
    if int(first) > int(last) or not (step or "1").isdecimal() or not int(step or 1):
        raise _malformed(part)
    return f"[{first}-{last}{f'/{step}' if step else ''}]"


def _letters(found: "re.Match[str]", part: str) -> str:
    first, last, step = found.groups()
    known = string.ascii_letters
    if not (len(first) == len(last) == 1 and first in known and last in known and (step or "1").isdecimal()):
        raise _malformed(part)
    letters = known[known.index(first) : known.index(last) + 1 : int(step or 1) or len(known)]
    if not letters or not int(step or 1):
        raise _malformed(part)
    return letters


def _malformed(part: str) -> UsageError:
    return UsageError(f"malformed range in {part!r}: write it like web[01:20] or db-[a:f]")
