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

from ..model import UsageError, reason_of, ssh_options
from .config_questions import Answers, Guesses, Succeeds, Version
from .host_patterns import in_list, matcher

#: Options of which every value counts, not only the first.
GATHERED = {"certificatefile", "identityfile", "localforward", "remoteforward", "dynamicforward", "sendenv"}
#: Criteria of Match that ask which time the files are gone through.
PASSES = ("final", "canonical")
#: The other criteria of Match, which have an argument.
CRITERIA = (
    *("host", "originalhost", "user", "localuser", "tagged", "exec"),
    *("localnetwork", "command", "version", "sessiontype"),
)

_PROXY_TOKENS, _ALL_TOKENS = "hnpr", "CdhijkLlnpru"
#: What only the check of a host key knows, see `known_hosts_command`.
_KEY_TOKENS = "fHIKt"
_PATHS = (
    *("certificatefile", "controlpath", "forwardagent", "identityagent", "identityfile"),
    *("revokedhostkeys", "userknownhostsfile"),
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

#: Values as paramiko and Fabric know them: text, a number, or words.
Options = Mapping[str, Any]


class Found(dict[str, Any]):
    """Options that hold for a host, as paramiko gives them."""

    def as_bool(self, key: str) -> bool:
        """Whether an option is `yes`."""
        return str(self[key]).lower() == "yes"

    def is_yes(self, key: str, default: bool = False) -> bool:
        """Whether a switch is on, of which `default` says what it is if it is not set, or to another word."""
        return str(self.get(key)).lower() != "no" if default else str(self.get(key)).lower() == "yes"

    def as_int(self, key: str) -> int:
        """An option's number."""
        return int(self[key])


@dataclass(frozen=True, eq=False)
class Match:
    """What a `Match` line asks for: criteria, each with its argument and whether it must not hold."""

    criteria: list[tuple[str, str, bool]]
    where: str


class Context:
    """What is known of one host while it is looked up, and the answers to what has to be asked for it."""

    def __init__(self, name: str, found: Found, user: str, port: int, answers: Answers | Guesses) -> None:
        self.name, self.found, self.final = name, found, False
        self._user, self._port, self._answers = user, port, answers

    def host(self) -> str:
        """The host's name so far, in the case in which it was written."""
        host = str(self.found.get("hostname", self.name))
        if not self.final and "%" in host and "hostname" in self.found:
            host = _expand(host, "h", lambda _: self.name, "HostName")
        return host

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
            command = _expand(argument, _ALL_TOKENS, self.token, "Match exec")
            return bool(self._answers.get(Succeeds(command, where)))
        if criterion in ("host", "originalhost"):
            name = self.host() if criterion == "host" else self.name
            return in_list(name.lower(), argument.lower())
        if criterion == "localnetwork":
            return _is_local(argument)
        if criterion == "command":
            return _has_command(argument, where)
        return in_list(self._value(criterion, where), argument)

    def _value(self, criterion: str, where: str) -> str:
        if criterion == "user":
            return self.token("r")
        if criterion == "localuser":
            return local_user()
        if criterion == "tagged":
            return str(self.found.get("tag", ""))
        if criterion == "sessiontype":
            return "exec"  # commands, scripts and transfers all run a command, over one connection
        assert criterion == "version"
        return str(self._answers.get(Version(where)))

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
            "j": lambda: "" if str(found.get("proxyjump", "none")).lower() == "none" else found["proxyjump"],
            "k": lambda: str(found.get("hostkeyalias") or self.name),
            "L": lambda: socket.gethostname().partition(".")[0],
            "l": socket.gethostname,
            "n": lambda: self.name,
            "p": lambda: str(found.get("port", self._port)),
            "r": lambda: str(found.get("user", self._user)),
            "u": local_user,
        }
        return values[token]()


def gather(found: Found, keyword: str, values: list[str]) -> None:
    """Add values to those that were found before. `SendEnv -PATTERN` takes away instead."""
    gathered: list[str] = found.setdefault(keyword, [])
    for one in values:
        if keyword == "sendenv" and one.startswith("-"):
            matches = matcher(one[1:])
            gathered[:] = [name for name in gathered if not matches(name)]
        elif one not in gathered:
            gathered.append(one)


def finished(context: Context) -> Found:
    """What was found in its final form: tokens filled in, several words as one text, `none` left out.

    Raises:
        UsageError: a token or variable that has no value.
    """
    found, context.final = context.found, True
    if "hostkeyalias" in found:
        found["hostkeyalias"] = str(found["hostkeyalias"]).lower()
    for keyword, tokens in _TOKENS.items():
        value = found.get(keyword)
        if isinstance(value, str):
            found[keyword] = _filled(value, keyword, tokens, context)
        elif value is not None:
            found[keyword] = [_filled(one, keyword, tokens, context) for one in value]
    if "setenv" in found:
        # Of a variable that is set twice ssh sends the first.
        variables: dict[str, str] = {}
        for one in found["setenv"]:
            variables.setdefault(one.partition("=")[0], if_possible(one, "setenv", context))
        found["setenv"] = list(variables.values())
    if "knownhostscommand" in found:
        found["knownhostscommand"] = _prepared(str(found["knownhostscommand"]), context)
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


def if_possible(text: str, keyword: str, context: Context) -> str:
    """The text with tokens and variables filled in, as ssh does since 10.0; before, it left it as it is."""
    if "%" not in text and "$" not in text:
        return text
    try:
        tokens = _ALL_TOKENS.replace("r", "").replace("C", "") if keyword == "user" else _ALL_TOKENS
        return _expand(text, tokens, context.token, keyword, True)
    except UsageError:
        return text


def check_variables(text: str) -> None:
    """Make sure that the environment has the variables of a text.

    Raises:
        UsageError: it lacks one.
    """
    for _, variable in _TOKEN.findall(text):
        if variable and variable not in os.environ:
            raise UsageError(f"{text!r}: the environment has no {variable}")


def included(pattern: str, token: Callable[[str], str] | None = None) -> str:
    """What an Include names, with variables filled in, and tokens if what they stand for is known.

    As ssh does since 9.9; before, it left them, so that is what is done with those that have no value.
    """
    try:
        tokens = "%" if token is None else _ALL_TOKENS
        return _expand(pattern, tokens, token or str, "Include", True)
    except UsageError:
        return pattern


def _prepared(command: str, context: Context) -> list[str]:
    """The words of a KnownHostsCommand with all tokens filled in but those of a key, and `%%` left."""
    keep = {token: f"%{token}" for token in f"{_KEY_TOKENS}%"}

    def value(token: str) -> str:
        return keep.get(token) or context.token(token).replace("%", "%%")

    tokens = f"{_ALL_TOKENS}{_KEY_TOKENS}"
    return [
        _expand(word, tokens, value, "knownhostscommand", True, percent="%%")
        for word in ssh_options.split_words(command)
    ]


def known_hosts_command(
    command: str, *, name: str, reason: str, key: str, key_type: str, fingerprint: str
) -> list[str]:
    """The words of a KnownHostsCommand as it is found for a host, for one of the times that it is run.

    `name` is what is looked for in known_hosts (%H), `reason` is `ORDER`, `HOSTNAME` or `ADDRESS` (%I), `key`
    is the host's in base64 (%K), with its `key_type` (%t) and `fingerprint` (%f); for `ORDER`, when there is
    no key yet, ssh has `NONE` for each of these three (ssh_config(5), TOKENS).

    >>> known_hosts_command("keys %H %t 100%%", name="web1", reason="HOSTNAME", key="", key_type="ssh-rsa",
    ...     fingerprint="")
    ['keys', 'web1', 'ssh-rsa', '100%']
    """
    values = {"H": name, "I": reason, "K": key, "t": key_type, "f": fingerprint}
    return [
        _expand(word, _KEY_TOKENS, values.__getitem__, "knownhostscommand") for word in shlex.split(command)
    ]


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
    text: str,
    allowed: str,
    value: Callable[[str], str],
    what: str,
    environment: bool = False,
    percent: str = "%",
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
            return percent
        if not token or token not in allowed:
            raise UsageError(f"{what} {text!r}: unknown token %{token}")
        return value(token)

    return _TOKEN.sub(fill, text)


def _is_local(text: str) -> bool:
    from . import interfaces  # with ctypes, which few need

    wanted = interfaces.networks(text)
    try:
        return interfaces.is_local(wanted)
    except OSError as error:
        raise UsageError(f"Match localnetwork: {reason_of(error)}") from None


def _has_command(argument: str, where: str) -> bool:
    """Whether the command is one of those that a `Match command` asks for, as far as that can be told.

    A connection is made for any number of commands: there is one, and which is not told.

    Raises:
        UsageError: it depends on which.
    """
    if argument in ("", "*"):
        return argument == "*"
    raise UsageError(f"ssh_config {where}: Match command {argument!r} cannot be told here: only '*' can")


@lru_cache(maxsize=1)
def local_user() -> str:
    """Who runs this, as ssh has it; as the environment says if there is no such account."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return os.environ.get("LOGNAME") or os.environ.get("USER") or ""
