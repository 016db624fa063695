"""Patterns of names, as `Host` lines and criteria of `Match` have them (ssh_config(5), PATTERNS)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

#: Whether a name is meant, and whether it is one that is not.
_Pattern = tuple[Callable[[str], object], bool]


@dataclass(frozen=True, eq=False)
class Names:
    """What a `Host` line asks for; `literal` are its names if it has no wildcards."""

    patterns: list[_Pattern]
    literal: list[str] | None


@lru_cache(maxsize=4096)
def matcher(pattern: str) -> Callable[[str], object]:
    """What tells whether a name is one that a pattern means."""
    if not _is_wild(pattern):
        return pattern.__eq__
    parts = re.split(r"(\*+|\?)", pattern)
    text = "".join(".*" if part[:1] == "*" else "." if part == "?" else re.escape(part) for part in parts)
    return re.compile(text, re.DOTALL).fullmatch


def _is_wild(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def names(patterns: list[str]) -> Names:
    """What the words of a `Host` line ask for; the names after `!` are not meant."""
    plain = [pattern for pattern in patterns if not pattern.startswith("!")]
    return Names(
        [(matcher(pattern.removeprefix("!")), pattern.startswith("!")) for pattern in patterns],
        None if any(map(_is_wild, plain)) else plain,
    )


def is_named(name: str, patterns: list[_Pattern]) -> bool:
    """Whether a name is one of those that are meant, and none of those that are not."""
    named = False
    for matches, negated in patterns:
        if matches(name):
            if negated:
                return False
            named = True
    return named


def in_list(name: str, patterns: str) -> bool:
    """The same for patterns with commas between."""
    return is_named(name, names(patterns.split(",")).patterns)
