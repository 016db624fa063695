"""Hosts and host lists: entries, ranges, per-line variables and SSH options."""

import difflib
import re
import shlex
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from types import MappingProxyType

from . import ssh_options, ssh_support
from .errors import UsageError, escaped
from .ranks import Rank

#: Options that a host-list line may set for its host, spelled as in ssh_config(5).
SSH_OPTIONS = frozenset(
    row.name for keyword, row in ssh_support.ROWS.items() if keyword not in ssh_support.OF_FILES
)
#: The same by their names in lower case.
_OPTIONS = {name.lower(): name for name in SSH_OPTIONS}
#: Those that are programs of this machine.
_RUN_HERE = ("proxycommand", "knownhostscommand")

#: How similar to an option a name is that is one mistyped: by a letter, if the option has six.
_SIMILAR = 0.83

#: How many hosts one range may have.
MOST = 1_000_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPACE = re.compile(r"\s")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: Quoting, which only shlex can split, slowly; and the words of text without it.
_QUOTING, _WORD = re.compile(r"['\"\\]"), re.compile(r"[^ \t\r\n]+")
#: Characters of expressions and of settings, which OpenSSH lets pass though no host is called so.
_OF_EXPRESSIONS = re.compile(r"[!*?^~=]")
_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
#: Names that can be folded, the numbers in them, and how many digits those may have.
_PLAIN, _NUMBERS, _LONGEST = re.compile(r"[A-Za-z0-9._-]+"), re.compile(r"([0-9]+)"), 32
_NO_DIGITS = string.ascii_letters + "._-"


@dataclass(frozen=True)
class Host:
    """One entry of a host list.

    `entry` is the text as written, and what `?HOST` is replaced by; `user` and `port` are None if the
    entry has none; `variables` are its line's own `?NAME` values and `options` its ssh_config options.
    `rank` is its place in a run whose texts may name it. A `classic` host is one of ParaMgmt's programs,
    whose texts have no ranks and no `?NAME:q`.
    """

    entry: str
    address: str
    user: str | None = None
    port: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    rank: Rank | None = field(default=None, compare=False, repr=False)
    classic: bool = field(default=False, compare=False, repr=False)

    @property
    def values(self) -> dict[str, str]:
        """What each `?NAME` is replaced by on this host; its line's own variables go before its rank."""
        ranks = self.rank.values if self.rank else {}
        return {**ranks, **self.variables, "HOST": self.entry}

    def __str__(self) -> str:
        return self.entry


def parse_entry(entry: str) -> Host:
    """Parse one literal entry: `host`, `user@host:port`, `[ipv6]:port` or a bare IPv6 address.

    >>> parse_entry("nic@web1:2222")
    Host(entry='nic@web1:2222', address='web1', user='nic', port=2222, variables={}, options={})
    >>> parse_entry("[fe80::1]:22").address, parse_entry("::1").address
    ('fe80::1', '::1')

    Raises:
        UsageError: the entry is empty, begins with `-`, has a bad port, or characters that no name has: those
            that mean something to a shell, white space, control characters, and `/`.
    """
    user, at, rest = entry.rpartition("@")
    if at and not user:
        raise UsageError(f"no user before '@' in {entry!r}")
    if rest.startswith("["):
        address, closed, tail = rest[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise UsageError(f"malformed address {entry!r}: write [address]:port")
        port = tail[1:] if tail else None
    elif rest.count(":") > 1:
        address, port = rest, None
    else:
        address, colon, number = rest.partition(":")
        port = number if colon else None
    if not address:
        raise UsageError(f"no host name in {entry!r}")
    if _CONTROL.search(entry) or _SPACE.search(entry):
        raise UsageError(f"control characters or white space in {entry!r}")
    for part in (user, address):
        if part.startswith("-"):
            raise UsageError(f"{entry!r} begins with '-': a host never does")
    # As ?HOST the entry is part of paths.
    if "/" in entry or not address.strip("."):
        raise UsageError(f"{entry!r} is a path: a host never is")
    if mark := _OF_EXPRESSIONS.search(address):  # `!web3` would not spare web3
        raise UsageError(f"{mark[0]!r} in {entry!r}: no host has it in its name")
    ssh_options.check_host(address)
    if user:
        ssh_options.check_user(user)
    return Host(entry, address, user or None, None if port is None else _port(port, entry))


def _port(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise UsageError(f"bad port {text!r} in {where!r}: a number from 1 to 65535")
    return int(text)


def expand(pattern: str) -> list[str]:
    """The entries of a pattern: ranges such as `web[01-20]`, and commas between entries.

    >>> expand("nic@web[08-10]:22")
    ['nic@web08:22', 'nic@web09:22', 'nic@web10:22']
    >>> expand("[::1]:22,10.0.0.[1-2]")
    ['[::1]:22', '10.0.0.1', '10.0.0.2']

    Raises:
        UsageError: a range that cannot be read.
    """
    if _PLAIN.fullmatch(pattern):  # as most of the lines of long lists are
        return [pattern]
    return [entry for part in _split_commas(pattern) for entry in _expand_one(part)]


def _split_commas(pattern: str) -> list[str]:
    parts = re.split(r",(?![^\[]*\])", pattern)
    if any(not part.strip() for part in parts):
        raise UsageError(f"empty entry in {pattern!r}")
    return [part.strip() for part in parts]


def _expand_one(pattern: str) -> list[str]:
    user, at, rest = pattern.rpartition("@")
    if not re.search(r"[\[\]]", rest) or re.match(r"\[[0-9A-Fa-f.]*:[^\]]*\]", rest):
        return [pattern]
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet
    from ClusterShell.NodeSet import NodeSetException as Malformed

    name, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        name, colon, port = rest, "", ""
    if re.search(r"[\s&^!%*\\]", name):
        raise UsageError(f"malformed range in {pattern!r}: write it like web[01-20]")
    # Counted from the text: a mistyped bound would fill the memory before anything could count.
    count = prod(_length(ranges) for ranges in re.findall(r"\[([^\[\]]*)\]", name))
    if count > MOST:
        raise UsageError(f"{count} hosts in {pattern!r}: at most {MOST} in one range")
    try:
        names = list(NodeSet(name, resolver=RESOLVER_NOGROUP))
    except (Malformed, ValueError, IndexError):
        raise UsageError(f"malformed range in {pattern!r}: write it like web[01-20]") from None
    return [f"{user}{at}{node}{colon}{port}" for node in names]


def _length(ranges: str) -> int:
    spans = (re.fullmatch(r"(\d+)-(\d+)(?:/\d+)?", part) for part in ranges.split(","))
    return sum(max(1, int(span[2]) - int(span[1]) + 1) if span else 1 for span in spans)


def parse_line(line: str, defaults: Mapping[str, str] = _NO_OPTIONS) -> list[Host]:
    """The hosts of one line: a pattern, then `KEY=VALUE` variables and ssh_config options.

    >>> [h.values for h in parse_line("n[1-2] RACK=b  # comment")]
    [{'RACK': 'b', 'HOST': 'n1'}, {'RACK': 'b', 'HOST': 'n2'}]

    Raises:
        UsageError: anything on the line that cannot be used.
    """
    pattern, settings = read_line(line)
    return [with_settings(host, {**defaults, **settings}) for host in _named(pattern)]


def read_line(line: str, proxy_commands: bool = True) -> tuple[str, dict[str, str]]:
    """The pattern of a line, empty if there is none, and its variables and options by their names.

    Without `proxy_commands` a program that would run here is refused.

    Raises:
        UsageError: anything on the line that cannot be used.
    """
    words = _words(line)
    settings = read_settings(words[1:], proxy_commands)
    return words[0] if words else "", settings


def with_settings(host: Host, settings: Mapping[str, str]) -> Host:
    """A host with variables and options that are told apart by their names."""
    if not settings:
        return host
    options = {key: value for key, value in settings.items() if key in SSH_OPTIONS}
    variables = {key: value for key, value in settings.items() if key not in SSH_OPTIONS}
    return replace(host, variables=variables, options=options)


def _named(pattern: str) -> list[Host]:
    return [parse_entry(entry) for entry in expand(pattern)] if pattern else []


def _words(line: str) -> list[str]:
    text = line.partition("#")[0].strip()
    if _CONTROL.search(text.replace("\t", " ")):
        raise UsageError(f"control characters in {text!r}")
    try:
        return shlex.split(text) if _QUOTING.search(text) and "=" in text else _WORD.findall(text)
    except ValueError:
        raise UsageError(f"unbalanced quotes in {text!r}") from None


def read_settings(words: Iterable[str], proxy_commands: bool = True) -> dict[str, str]:
    """Variables and options, each `KEY=VALUE`, by their names.

    Raises:
        UsageError: one cannot be used, or is a program that would run here and may not.
    """
    settings: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not proxy_commands and key.lower() in _RUN_HERE:
            raise UsageError(f"a {_OPTIONS[key.lower()]} runs here: allow it with --allow-proxy-command")
        if not equals or not _NAME.fullmatch(key):
            raise UsageError(f"{word!r} is neither KEY=VALUE nor a comment: one host a line")
        if key == "HOST":
            raise UsageError("HOST cannot be set: it always stands for the host as written")
        name = _meant(key)
        if name != key and key.isupper():
            given = f"{name}={escaped(value)}"
            raise UsageError(
                f"{escaped(word)}: write {given} for ssh_config's option, or give the variable another name"
            )
        if name == "Port":
            _port(value, word)
        elif name in SSH_OPTIONS:
            _check_option(name, value)
        settings[key] = settings[name] = value
    return settings


@lru_cache(maxsize=4096)
def _meant(key: str) -> str:
    """The option that a name on a line is, in any case; otherwise the name itself, which is a variable.

    Variables are in small letters or in capitals: what is in both, as options are, may be an older name of
    one, or is mistyped if it is nearly one.

    Raises:
        UsageError: it is mistyped, or an option that no host can have.
    """
    small = key.lower()
    if small in _OPTIONS or key.islower() or key.isupper():
        return _OPTIONS.get(small, key)
    if ssh_options.known(small) not in ("", small) or small in ssh_support.OF_FILES:
        return ssh_options.name_of(key)
    near = difflib.get_close_matches(small, _OPTIONS, 1, _SIMILAR)
    near = near or [option for option in _OPTIONS if sorted(option) == sorted(small)]
    if near:
        raise UsageError(
            f"{key}: did you mean {_OPTIONS[near[0]]}? "
            f"A variable of this name is written {small} or {key.upper()}"
        )
    return key


def _check_option(key: str, value: str) -> None:
    try:
        ssh_options.given(key, value)
    except UsageError as error:
        raise UsageError(f"{key}={escaped(value)}: {error}") from None


def parse_lines(lines: Iterable[str], source: str, proxy_commands: bool = True) -> list[Host]:
    """The hosts of a list's lines, in their order, duplicates kept.

    A line whose entry is `*` sets variables and options for the lines after it. Without `proxy_commands` a
    ProxyCommand, which runs here, is refused. A leading byte order mark is not part of the first name.

    Raises:
        UsageError: a line cannot be used; names `source` and the line's number.
    """
    hosts: list[Host] = []
    defaults: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        try:
            text = line.removeprefix("\ufeff") if number == 1 else line
            pattern, settings = read_line(text, proxy_commands)
            if pattern == "*":
                defaults.update(settings)
            else:
                hosts += [with_settings(host, {**defaults, **settings}) for host in _named(pattern)]
        except UsageError as error:
            raise UsageError(f"{source}, line {number}: {error}") from None
    return hosts


def duplicates(hosts: Iterable[Host]) -> dict[str, int]:
    """Entries that are listed more than once, with how often."""
    counts: dict[str, int] = {}
    for host in hosts:
        counts[host.entry] = counts.get(host.entry, 0) + 1
    return {entry: count for entry, count in counts.items() if count > 1}


def fold(entries: Iterable[str]) -> str:
    """Entries as one short text, `web[01-03,07]`; those that are not plain names are kept as they are.

    Only the last number of a name is folded, so that this takes no longer than sorting the names.

    >>> fold(["web02", "web01", "db", "nic@a:22"])
    'db web[01-02] nic@a:22'
    """
    seen = dict.fromkeys(entries)
    numbered: dict[tuple[str, str], list[str]] = {}
    folded, others = [], []
    for entry in seen:
        to_number = entry.rstrip(_NO_DIGITS)
        if not _PLAIN.fullmatch(entry):
            others.append(entry)
        elif to_number:
            before = to_number.rstrip(string.digits)
            key = before, entry[len(to_number) :]
            numbered.setdefault(key, []).append(to_number[len(before) :])
        else:
            folded.append((_sort_key(entry), entry))
    for (before, after), numbers in numbered.items():
        shown = numbers[0] if len(numbers) == 1 else _ranges(numbers)
        folded.append((_sort_key(before, f"%s{after}"), f"{before}{shown}{after}"))
    return " ".join([*(text for _, text in sorted(folded)), *others])


def _sort_key(before: str, rest: str = "") -> str:
    """The key to sort folded names by: their text, then their numbers except the last."""
    parts = _NUMBERS.split(before)
    numbers = (f"{len(number):9}{number}" for number in parts[1::2])
    return f"{'%s'.join(parts[::2])}{rest} {''.join(numbers)}"


def _ranges(numbers: Iterable[str]) -> str:
    """Numbers, which may have leading zeros, as `[1-3,7]`; first those with the fewest digits."""
    spans: list[tuple[str, str]] = []
    for number in sorted(numbers, key=lambda number: (len(number), number)):
        if spans and _follows(*spans[-1], number):
            spans[-1] = spans[-1][0], number
        else:
            spans.append((number, number))
    return f"[{','.join(first if first == last else f'{first}-{last}' for first, last in spans)}]"


def _follows(first: str, last: str, number: str) -> bool:
    """Whether `number` continues a range: with the same number of digits, or without leading zeros."""
    if len(number) != len(last) and first != "0" and first[0] == "0":
        return False
    return (
        len(number) <= _LONGEST
        and int(last) + 1 == int(number)
        and (number[0] != "0" or len(number) == len(last))
    )
