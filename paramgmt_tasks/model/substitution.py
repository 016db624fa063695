"""`?HOST`, a host's own variables and its rank, replaced in any text of an operation."""

import re
import shlex
from collections.abc import Iterable, Mapping


def substitute(text: str, values: Mapping[str, str], quoting: bool = False) -> str:
    """Replace each `?NAME` in `text` by `values[NAME]`; touch nothing else.

    Only names in `values` are replaced, the longest one first, and what has been inserted is not replaced
    again. As in ParaMgmt a name needs no word boundary after it. With `quoting`, `?NAME:q` is the value as
    one word of a shell, unless a letter, digit or underscore follows.

    >>> substitute("cp ?HOST.log /res/?HOST_?PEER ?", {"HOST": "web1", "PEER": "db?HOST"})
    'cp web1.log /res/web1_db?HOST ?'
    >>> substitute("?HOST ?HOSTS", {"HOST": "a", "HOSTS": "b"})
    'a b'
    >>> substitute("echo ?NOTE ?NOTE:q ?NOTE:queue", {"NOTE": "a b"}, quoting=True)
    "echo a b 'a b' a b:queue"
    """
    if "?" not in text or not values:
        return text
    pattern = _pattern(values) + (_QUOTED if quoting else "()")
    return re.sub(
        pattern, lambda found: shlex.quote(values[found[1]]) if found[2] else values[found[1]], text
    )


def quoted(text: str, names: Iterable[str]) -> str:
    """The first `?NAME:q` of some names in a text, empty if there is none.

    >>> quoted("?HOST ?HOST:queue ?PEER:q", ["HOST", "PEER"])
    '?PEER:q'
    """
    found = re.search(_pattern(names) + _QUOTED.rstrip("?"), text) if ":q" in text else None
    return found[0] if found else ""


_QUOTED = r"(:q(?!\w))?"


def _pattern(names: Iterable[str]) -> str:
    return r"\?(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + ")"
