"""Values of options of ssh_config(5) that have a form of their own, checked as ssh checks them."""

import re
from collections.abc import Callable, Mapping

from .errors import UsageError
from .ssh_algorithms import size_limit

_LARGEST = 2**31 - 1
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_CNAME = re.compile(r"[^:]*:.+", re.DOTALL)
_DOMAIN = re.compile(r"[a-z0-9](?:\.?[a-z0-9_-])*\.?", re.IGNORECASE)
#: What IPQoS calls the values of the field for differentiated services, but for cs0 to cs7 and af11 to af43.
_SERVICES = {"ef": 0xB8, "va": 0xB0, "le": 0x04, "lowdelay": 0x10, "throughput": 0x08, "reliability": 0x04}
_LEVELS = ("quiet", "fatal", "error", "info", "verbose", "debug", "debug1", "debug2", "debug3")


def seconds(text: str) -> str | None:
    """A time as ssh writes it, in seconds; None for `none`.

    >>> seconds("90"), seconds("1m30s"), seconds("none")
    ('90', '90', None)

    Raises:
        UsageError: it is no time.
    """
    if text == "none":
        return None
    parts = re.findall(r"([0-9]{1,10})([smhdw]?)", text.lower())
    total = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if not text or "".join(map("".join, parts)) != text.lower() or total > _LARGEST:
        raise UsageError(f"bad time {text!r}: seconds, or with units as in 1m30s")
    return str(total)


def rekey_limit(words: list[str]) -> tuple[int | None, int | None]:
    """RekeyLimit in bytes and in seconds; None for what it leaves to the cipher, or without a limit.

    >>> rekey_limit(["1G", "1h"]), rekey_limit(["default", "none"]), rekey_limit(["1M"])
    ((1073741824, 3600), (None, None), (1048576, None))

    Raises:
        UsageError: ssh would reject it.
    """
    if len(words) > 2:
        raise UsageError(f"more than a size and a time: {words[2]!r}")
    time = seconds(words[1]) if len(words) > 1 else None
    return size_limit(words[0]), int(time or 0) or None


def services(words: list[str]) -> list[int | None]:
    """The values of IPQoS for the field for differentiated services; None leaves that to the system.

    >>> services(["af11", "va"]), services(["none", "0x10"])
    ([40, 176], [None, 16])

    Raises:
        UsageError: ssh would reject it.
    """
    if len(words) > 2:
        raise UsageError(f"more than two arguments: {words[2]!r}")
    return [_service(word.lower()) for word in words]


def _service(word: str) -> int | None:
    if word == "none":
        return None
    if re.fullmatch(r"cs[0-7]", word):
        return int(word[2]) << 5
    if re.fullmatch(r"af[1-4][1-3]", word):
        return int(word[2]) << 5 | int(word[3]) << 3
    if word in _SERVICES:
        return _SERVICES[word]
    number = int(word, 0) if re.fullmatch(r"0x[0-9a-f]{1,2}|0|[1-9][0-9]{0,2}", word) else 256
    if number > 255:
        raise UsageError(f"bad quality of service {word!r}")
    return number


def check(keyword: str, words: list[str]) -> None:
    """Make sure that an option may have these words.

    Raises:
        UsageError: ssh would refuse the file that it stands in.
    """
    if keyword in _CHECKS:
        _CHECKS[keyword](words)


def _domains(words: list[str]) -> None:
    _alone(words)
    for word in words:
        if not _DOMAIN.fullmatch(word):
            raise UsageError(f"bad domain {word!r}")


def _cnames(words: list[str]) -> None:
    _alone(words)
    for word in words:
        if word.lower() != "none" and not _CNAME.fullmatch(word):
            raise UsageError(f"bad rule {word!r}: SOURCES:TARGETS")


def _alone(words: list[str]) -> None:
    if len(words) > 1 and "none" in map(str.lower, words):
        raise UsageError("'none' must stand alone")


def _variables(words: list[str]) -> None:
    for word in words:
        if "=" not in word:
            raise UsageError(f"bad variable {word!r}: NAME=VALUE")


def _names(words: list[str]) -> None:
    for word in words:
        if "=" in word:
            raise UsageError(f"bad name {word!r} of a variable")


def _agent(words: list[str]) -> None:
    path = words[0]
    if re.match(r"\$(?!\{)", path) and not re.fullmatch(r"\$\w+", path, re.ASCII):
        raise UsageError(f"bad name of a variable: {path!r}")


def _level(words: list[str]) -> None:
    if words[0].lower() not in _LEVELS:
        raise UsageError(f"bad level {words[0]!r}: one of {', '.join(_LEVELS)}")


_CHECKS: Mapping[str, Callable[[list[str]], object]] = {
    "canonicaldomains": _domains,
    "canonicalizepermittedcnames": _cnames,
    "forwardagent": _agent,
    "identityagent": _agent,
    "ipqos": services,
    "loglevel": _level,
    "rekeylimit": rekey_limit,
    "sendenv": _names,
    "setenv": _variables,
    "globalknownhostsfile": _alone,
    "userknownhostsfile": _alone,
}
