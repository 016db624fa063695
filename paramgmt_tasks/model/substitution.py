"""`?HOST` and a host's own variables, replaced in any text of an operation."""

import re
from collections.abc import Mapping


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Replace each `?NAME` in `text` by `values[NAME]`; touch nothing else.

    Only names in `values` are replaced, the longest one first, and what has been inserted is not replaced
    again. As in ParaMgmt a name needs no word boundary after it.

    >>> substitute("cp ?HOST.log /res/?HOST_?PEER ?", {"HOST": "web1", "PEER": "db?HOST"})
    'cp web1.log /res/web1_db?HOST ?'
    >>> substitute("?HOST ?HOSTS", {"HOST": "a", "HOSTS": "b"})
    'a b'
    """
    if "?" not in text or not values:
        return text
    names = sorted(values, key=len, reverse=True)
    pattern = r"\?(" + "|".join(map(re.escape, names)) + ")"
    return re.sub(pattern, lambda match: values[match[1]], text)
