"""What the values of options mean: text, numbers, switches, sizes, variables.

Each reader takes a value as somebody gave it, on the command line, in the configuration or from Python, and
returns what it means, or None for an option that nobody gave. All raise UsageError for a value that cannot be
used, with the option in front as its user knows it.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeGuard, TypeVar

from ..model import Host, UsageError, Verbatim, assignment, check, reason_of
from ..model import share as share_of

_ON, _OFF = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Value:
    """The value of an option, with where it was given: as the task's own, or in the configuration."""

    option: str
    given: object
    is_own: bool

    @property
    def source(self) -> str:
        """The option as its user gave it, such as `--fanout`."""
        if self.is_own:
            return f"--{self.option.replace('_', '-')}"
        return f"{self.option}, below paramgmt in the configuration"

    @property
    def prefix(self) -> str:
        """What stands before the value in an error."""
        return self.source if self.is_own else f"{self.source}:"

    def shown(self, value: object) -> str:
        """The option with its value, or with a part of that."""
        return f"{self.prefix} {value}"


Reader: TypeAlias = Callable[[Value], object]


def text(value: Value) -> str | None:
    """A text; a path is one too."""
    given = value.given
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, os.PathLike):
        return str(given)
    raise UsageError(f"{value.shown(repr(given))}: must be text")


def several(value: Value) -> list[str | Host]:
    """Texts and Hosts; one text of the configuration is split at spaces."""
    given = value.given
    if given is None:
        return []
    items = given.split() if isinstance(given, str) else [given] if _is_one(given) else given
    if not isinstance(items, Iterable):
        raise UsageError(f"{value.shown(repr(given))}: must be text, or a list of texts")
    return [item if isinstance(item, Host) else _item(value, item) for item in items]


def _item(value: Value, item: object) -> str:
    if isinstance(item, bool) or not isinstance(item, (str, int, os.PathLike)):
        raise UsageError(f"{value.shown(repr(item))}: must be text")
    return str(item)


def flag(value: Value) -> bool:
    """Whether an option is on."""
    return switch(value.shown(value.given), value.given)


def whole(least: int = 1) -> Callable[[Value], int | None]:
    """A whole number, `least` or more."""

    def read(value: Value) -> int | None:
        given = value.given
        return None if given is None else positive(value.shown(given), given, least)

    return read


def seconds(value: Value) -> float | None:
    """A number of seconds above 0."""
    if value.given is None:
        return None
    try:
        number = float(str(value.given))
    except ValueError:
        number = -1
    if not 0 < number < float("inf"):
        raise UsageError(f"{value.shown(value.given)}: must be a number of seconds above 0")
    return number


def size(per: str = "") -> Callable[[Value], float | None]:
    """Bytes, with K, M or G for powers of 1000."""

    def read(value: Value) -> float | None:
        if value.given is None:
            return None
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)", str(value.given))
        count = float(found[1]) * 1000 ** " kmg".index(found[2].lower() or " ") if found else 0.0
        if not 1 <= count < float("inf"):
            raise UsageError(f"{value.shown(value.given)}: must be bytes{per}, such as 500K or 10M")
        return count

    return read


def whole_size(value: Value) -> int | None:
    """A whole number of bytes."""
    count = size()(value)
    return None if count is None else int(count)


def checked(read: Callable[[Value], _T]) -> Callable[[Value], _T]:
    """What `read` returns, with the checks that Settings makes, whose error then names the option."""

    def read_checked(value: Value) -> _T:
        found = read(value)
        if found is not None:
            check(value.option, found, value.prefix)
        return found

    return read_checked


def share(value: Value) -> object:
    """A number of hosts or a share of them, which Settings reads."""
    return value.given


def part(value: Value, hosts: int) -> int | None:
    """How many of some hosts a number or a share is, one at least."""
    if value.given is None:
        return None
    if re.fullmatch("0+%?", str(value.given)):
        raise UsageError(f"{value.shown(value.given)}: must be hosts, 1 or more")
    try:
        return max(1, share_of(str(value.given), hosts, least=1))
    except UsageError as error:
        raise UsageError(f"{value.prefix} {error}") from None


def user(value: Value) -> str | None:
    """The name of a user, which ssh does not take for an option."""
    name = text(value)
    if name and (name.startswith("-") or re.search(r"[\s\x00-\x1f]", name)):
        raise UsageError(f"{value.shown(repr(name))}: not a user name")
    return name


def variables(value: Value) -> object:
    """Variables of the environment; Settings checks those of a mapping.

    Their values may be secrets, so no error shows them. What a variable is here, nobody wrote for hosts: in
    that nothing is replaced.
    """
    given = value.given
    if isinstance(given, Mapping):
        return given
    texts = () if given is None else given if is_several(given) else (given,)
    return tuple(_variable(value, each) for each in texts)


def _variable(value: Value, given: object) -> tuple[str, str]:
    if not isinstance(given, str):
        raise UsageError(f"{value.source}: must be KEY=VALUE, or a mapping of names to values")
    name, equals, content = given.partition("=")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise UsageError(f"{value.shown(name)}: must be KEY=VALUE, KEY of letters, digits and underscores")
    if not equals and name not in os.environ:
        raise UsageError(f"{value.shown(name)}: is not set here: set it, or give {name}=VALUE")
    return name, content if equals else Verbatim(os.environ[name])


def ssh_options(value: Value) -> object:
    """Options of ssh_config(5), as `Name=Value` or `Name Value`; Settings checks those of a mapping."""
    given = value.given
    if isinstance(given, Mapping):
        return given
    return tuple(
        _ssh_option(value, each)
        for each in (() if given is None else given if is_several(given) else (given,))
    )


def _ssh_option(value: Value, given: object) -> tuple[str, str]:
    if not isinstance(given, str):
        raise UsageError(f"{value.source}: must be Name=Value, or a mapping of names to values")
    try:
        return assignment(given)
    except UsageError as error:
        raise UsageError(f"{value.shown(given)}: {error}") from None


def content(value: Value) -> bytes | None:
    """The bytes of a file, `-` for standard input."""
    name = text(value)
    if name is None:
        return None
    if name == "-" and sys.stdin is None:
        raise UsageError(f"{value.shown(name)}: standard input is closed")
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(os.path.expanduser(name)).read_bytes()
    except OSError as error:
        raise UsageError(f"{value.shown(name)}: {reason_of(error)}") from None


def is_several(value: object) -> TypeGuard[Iterable[object]]:
    """Whether a value is several, and not a text or a mapping."""
    return isinstance(value, Iterable) and not isinstance(value, (str, Mapping))


def _is_one(value: object) -> bool:
    return isinstance(value, (Host, os.PathLike))


# -- for options of other tasks


def switch(said: str, value: object) -> bool:
    """Whether something is on, from True, False or text.

    Raises:
        UsageError: it is neither on nor off, with what was `said` in front.
    """
    text = str(value).lower()
    if text not in (*_ON, *_OFF):
        raise UsageError(f"{said}: must be true or false")
    return text in _ON


def positive(said: str, value: object, least: int = 1) -> int:
    """A whole number, `least` or more, from text.

    Raises:
        UsageError: anything else, with what was `said` in front, such as `--fanout 0`.
    """
    try:
        number = int(str(value))
    except ValueError:
        number = least - 1
    if number < least:
        raise UsageError(f"{said}: must be a whole number, {least} or more")
    return number
