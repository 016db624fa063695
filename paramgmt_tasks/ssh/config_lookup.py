"""What is known of one host while it is looked up in ssh_config: patterns, criteria of Match, tokens."""

import hashlib
import os
import pwd
import re
import shlex
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..model import UsageError

#: Options of which every value counts, not only the first.
GATHERED = {"certificatefile", "identityfile", "localforward", "remoteforward", "dynamicforward", "sendenv"}
#: Criteria of Match that ask which time the files are gone through.
PASSES = ("final", "canonical")

_PROXY_TOKENS, _ALL_TOKENS = "hnpr", "CdhikLlnpru"
_PATHS = (
    *("certificatefile", "controlpath", "forwardagent", "identityagent", "identityfile"),
    "userknownhostsfile",
)
#: The option that has the socket which ForwardAgent names, empty for the usual one.
FORWARDED = "forwardagent_socket"
#: The tokens that stand for something in an option; those of paths may have environment variables too.
_TOKENS = {
    "proxycommand": _PROXY_TOKENS,
    "proxyjump": _PROXY_TOKENS,
    "remotecommand": _ALL_TOKENS,
    **dict.fromkeys(_PATHS, _ALL_TOKENS),
}
_TOKEN = re.compile(r"%(.?)|\$\{([^}]*)\}")

#: Whether a name is meant, and whether it is one that is not.
_Pattern = tuple[Callable[[str], object], bool]


#: Values as paramiko and Fabric know them: text, a number, or words.
Options = Mapping[str, Any]


class Found(dict[str, Any]):
    """Options that hold for a host, as paramiko gives them."""

    def as_bool(self, key: str) -> bool:
        """Whether an option is `yes`."""
        return str(self[key]).lower() == "yes"

    def as_int(self, key: str) -> int:
        """An option's number."""
        return int(self[key])


@dataclass(frozen=True, eq=False)
class Names:
    """What a `Host` line asks for; `literal` are its names if it has no wildcards."""

    patterns: list[_Pattern]
    literal: list[str] | None


@dataclass(frozen=True, eq=False)
class Match:
    """What a `Match` line asks for: criteria, each with its argument and whether it must not hold."""

    criteria: list[tuple[str, str, bool]]
    where: str


class Context:
    """What is known of one host while it is looked up.

    `run` says whether a command of `Match exec` succeeds; its second argument is the file and line.
    """

    def __init__(
        self, name: str, found: Found, user: str, port: int, run: Callable[[str, str], bool]
    ) -> None:
        self.name, self.found, self.final = name, found, False
        self._user, self._port, self._run = user, port, run

    def host(self) -> str:
        """The host's name so far."""
        host = str(self.found.get("hostname", self.name))
        if not self.final and "%" in host and "hostname" in self.found:
            host = _expand(host, "h", lambda _: self.name, "HostName")
        return host if ":" in host or "%" in host else host.lower()  # no zone of an address

    def holds(self, match: Match) -> bool:
        """Whether all criteria of a Match hold."""
        return all(
            self._is(criterion, argument, match.where) != negated
            for criterion, argument, negated in match.criteria
        )

    def _is(self, criterion: str, argument: str, where: str) -> bool:
        if criterion == "all":
            return True
        if criterion in PASSES:
            return self.final
        if criterion == "exec":
            return self._run(_expand(argument, _ALL_TOKENS, self.token, "Match exec"), where)
        if criterion in ("host", "originalhost"):
            name = self.host() if criterion == "host" else self.name
            return in_list(name.lower(), argument.lower())
        values: dict[str, str] = {
            "user": self.token("r"),
            "localuser": local_user(),
            "tagged": self.found.get("tag", ""),
        }
        if criterion not in values:
            raise UsageError(f"ssh_config {where}: Match {criterion} cannot be told here")
        return in_list(values[criterion], argument)

    def token(self, token: str) -> str:
        """The value of a token."""
        found = self.found
        if token == "C":
            text = "".join(map(self.token, "lhpr"))
            return hashlib.sha1(text.encode("utf-8", "surrogateescape")).hexdigest()
        values: dict[str, Callable[[], str]] = {
            "d": lambda: os.path.expanduser("~"),
            "h": self.host,
            "i": lambda: str(os.getuid()),
            "k": lambda: str(found.get("hostkeyalias") or self.name),
            "L": lambda: socket.gethostname().partition(".")[0],
            "l": socket.gethostname,
            "n": lambda: self.name,
            "p": lambda: str(found.get("port", self._port)),
            "r": lambda: str(found.get("user", self._user)),
            "u": local_user,
        }
        return values[token]()


def finished(context: Context) -> Found:
    """What was found in its final form: tokens filled in, several words as one text, `none` left out.

    Raises:
        UsageError: a token or variable that has no value.
    """
    found, context.final = context.found, True
    for keyword, tokens in _TOKENS.items():
        value = found.get(keyword)
        if isinstance(value, str):
            found[keyword] = _filled(value, keyword, tokens, context)
        elif value is not None:
            found[keyword] = [_filled(one, keyword, tokens, context) for one in value]
    result = Found(as_found(found))
    for keyword in ("proxycommand", "proxyjump"):
        if result.get(keyword, "").lower() == "none":
            del result[keyword]
    if result.get("connecttimeout") == "0":
        del result["connecttimeout"]  # no limit of its own
    if "forwardagent" in result:
        result[FORWARDED], result["forwardagent"] = _forwarded(result["forwardagent"])
    return result


def _filled(text: str, keyword: str, tokens: str, context: Context) -> str:
    is_path = keyword in _PATHS
    if is_path and text.startswith("~"):
        text = os.path.expanduser(text)
    if "%" in text or "$" in text:
        return _expand(text, tokens, context.token, keyword, is_path)
    return text


def as_found(options: Options) -> Found:
    """Options as paramiko and Fabric know them: several words of one value are one text."""
    found = Found()
    for keyword, value in options.items():
        if keyword in GATHERED:
            found[keyword] = value if isinstance(value, list) else [value]
        elif value is not None:
            found[keyword] = shlex.join(value) if isinstance(value, list) else value
    return found


def _forwarded(value: str) -> tuple[str, str]:
    """The socket that ForwardAgent names, if it does; and what Fabric is told, which has no such choice.

    It would forward the agent of this session, and another's keys must never be taken for those.
    """
    word = {"true": "yes", "false": "no"}.get(value.lower(), value.lower())
    if word in ("yes", "no"):
        return "", word
    own = ("$SSH_AUTH_SOCK", os.environ.get("SSH_AUTH_SOCK", ""))
    return value, "yes" if value in own else "no"


def _expand(
    text: str, allowed: str, value: Callable[[str], str], what: str, environment: bool = False
) -> str:
    def fill(found: re.Match[str]) -> str:
        token, variable = found.groups()
        if token is None:
            if not environment:
                return found[0]
            if variable not in os.environ:
                raise UsageError(f"{what} {text!r}: the environment has no {variable}")
            return os.environ[variable]
        if token == "%":
            return "%"
        if not token or token not in allowed:
            raise UsageError(f"{what} {text!r}: unknown token %{token}")
        return value(token)

    return _TOKEN.sub(fill, text)


def canonical(host: str, found: Options) -> str:
    """The host's name with the first of CanonicalDomains that has it.

    Raises:
        UsageError: none has it, and the name must not be used as it is.
    """
    proxied = any(found.get(key, "none").lower() != "none" for key in ("proxycommand", "proxyjump"))
    if proxied and found["canonicalizehostname"] != "always":
        return host
    if host.count(".") > int(found.get("canonicalizemaxdots", 1)) or ":" in host:
        return host
    domains = [one for one in found.get("canonicaldomains", []) if one.lower() != "none"]
    for domain in domains:
        try:
            socket.getaddrinfo(f"{host}.{domain}.", None)
        except (OSError, UnicodeError):
            continue
        return f"{host}.{domain}".lower()
    if found.get("canonicalizefallbacklocal", "yes") == "no":
        raise UsageError(f"no CanonicalDomains has a host {host!r}, and CanonicalizeFallbackLocal is no")
    return host


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> Callable[[str], object]:
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
        [(_pattern(pattern.removeprefix("!")), pattern.startswith("!")) for pattern in patterns],
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


@lru_cache(maxsize=1)
def local_user() -> str:
    """Who runs this, as ssh has it; as the environment says if there is no such account."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return os.environ.get("LOGNAME") or os.environ.get("USER") or ""
