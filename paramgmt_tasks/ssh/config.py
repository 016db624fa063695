"""ssh_config, read once and looked up by index, as ssh reads it (ssh_config(5))."""

import glob
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from ..model import UsageError, Value, doubt, reason_of, ssh_options
from .config_lookup import (
    GATHERED,
    PASSES,
    Context,
    Found,
    Match,
    Names,
    canonical,
    finished,
    in_list,
    is_named,
    local_user,
    names,
)

USER_FILE = "~/.ssh/config"
SYSTEM_FILE = "/etc/ssh/ssh_config"

_DEEPEST = 16
_LISTED = ("host", "originalhost", "user", "localuser", "tagged")
#: Criteria of ssh since 9.4 that are not known here: if they decide, a host is not connected.
_UNTOLD = ("localnetwork", "command", "version", "sessiontype")


class LookedUp(str):
    """A host's name with what was found for it: Fabric, which asks by name alone, gets that again."""

    options: Found


_Conditions = tuple[Names | Match, ...]


@dataclass(frozen=True)
class _Block:
    """Options that hold if all conditions do: of their own line and of those that include it."""

    conditions: _Conditions
    options: list[tuple[str, Value, str]] = field(default_factory=list)


class SSHConfig:
    """What ssh_config says of hosts; for use in place of paramiko's, which stops at what ssh accepts.

    `parse` reads one more file, `lookup` and `find` say what holds for a host. Blocks of literal names are
    found by index, so that many hosts and many blocks do not multiply. Safe for many threads once parsed.
    """

    def __init__(self) -> None:
        self._config: list[object] = []  # which Fabric copies from one of paramiko's to another
        self._blocks: list[_Block] = []
        self._literal: dict[str, list[int]] = {}
        self._general: list[int] = []
        self._ignored: list[str] = []
        self._ignored_everywhere = False
        self._final = False
        self._ran: dict[str, bool] = {}
        self._running = threading.Lock()

    @classmethod
    def from_text(cls, text: str) -> "SSHConfig":
        """What a text says; raises as `parse`."""
        return cls.from_file(StringIO(text))

    @classmethod
    def from_path(cls, path: str) -> "SSHConfig":
        """What a file says; raises as `parse`, and OSError."""
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return cls.from_file(file)

    @classmethod
    def from_file(cls, flo: Iterable[str]) -> "SSHConfig":
        """What an open file says; raises as `parse`."""
        config = cls()
        config.parse(flo)
        return config

    # -- reading

    def parse(self, file_obj: Iterable[str]) -> None:
        """Read a file's lines, which come after those that were read before.

        Raises:
            UsageError: ssh would refuse it, with its name and the line's number.
        """
        self._read("".join(file_obj), str(getattr(file_obj, "name", "ssh_config")), "~/.ssh")

    def _read(self, text: str, name: str, base: str, around: _Conditions = (), depth: int = 0) -> None:
        conditions, block = around, _Block(around)
        for number, line in enumerate(text.split("\n"), 1):
            where = f"{name}, line {number}"
            included: list[Path] = []
            try:
                keyword, rest = ssh_options.split_line(line)
                if not keyword:
                    continue
                known = ssh_options.known(keyword)
                if not known:
                    ssh_options.split_words(rest)
                    if not in_list(keyword, ",".join(self._ignored).lower()):
                        raise UsageError(f"bad configuration option {keyword!r}")
                    continue
                value = ssh_options.read(known, rest)
                if known == "host" and isinstance(value, list):
                    conditions = (*around, names(value))
                elif known == "match" and isinstance(value, list):
                    conditions = (*around, Match(self._criteria(value), where))
                elif known == "include" and isinstance(value, list):
                    included = list(_included(value, base, depth))
                elif value is not None:
                    block.options.append((known, value, where))
                    if known == "ignoreunknown":
                        self._ignore(str(value), not conditions)
                    continue
                else:
                    continue
            except UsageError as error:
                raise UsageError(f"ssh_config {where}: {error}") from None
            self._add(block)
            for path in included:
                self._read(_text(path, where), str(path), base, conditions, depth + 1)
            block = _Block(conditions)
        self._add(block)

    def mentions(self, keyword: str) -> bool:
        """Whether an option is set for some host."""
        return any(keyword == option for block in self._blocks for option, _, _ in block.options)

    def _add(self, block: _Block) -> None:
        if not block.options:
            return
        self._blocks.append(block)
        names = [c.literal for c in block.conditions if isinstance(c, Names) and c.literal is not None]
        if names:
            for name in dict.fromkeys(names[0]):
                self._literal.setdefault(name, []).append(len(self._blocks) - 1)
        else:
            self._general.append(len(self._blocks) - 1)

    def _ignore(self, patterns: str, everywhere: bool) -> None:
        """Unknown keywords are ignored from here on: the first word for all hosts on that is the last."""
        if not self._ignored_everywhere:
            self._ignored.append(patterns)
            self._ignored_everywhere = everywhere

    def _criteria(self, given: list[str]) -> list[tuple[str, str, bool]]:
        criteria: list[tuple[str, str, bool]] = []
        rest = list(given)
        while rest:
            word = rest.pop(0)
            criterion, equals, argument = word.partition("=")
            negated, criterion = criterion.startswith("!"), criterion.removeprefix("!").lower()
            if criterion == "all":
                if len(criteria) > 1 or rest:
                    raise UsageError(f"{word!r} cannot be combined with other criteria of Match")
            elif criterion in PASSES:
                self._final = self._final or (criterion == "final" and not negated)
            elif criterion not in (*_LISTED, *_UNTOLD, "exec"):
                raise UsageError(f"Match has no criterion {criterion!r} here")
            else:
                if not equals and rest and rest[0].startswith("="):
                    equals, argument = "=", rest.pop(0)[1:]
                if not argument:
                    argument = rest.pop(0) if rest else ""
                if not argument:
                    raise UsageError(f"missing argument of {criterion!r} in Match")
            criteria.append((criterion, argument, negated))
        return criteria

    # -- looking up

    def get_hostnames(self) -> set[str]:
        """The names that stand in `Host` lines without wildcards."""
        return set(self._literal)

    def lookup(self, hostname: str) -> Found:
        """What holds for a host, as paramiko and Fabric ask for it; see `find`."""
        return hostname.options if isinstance(hostname, LookedUp) else self.find(hostname)

    def find(
        self, name: str, given: Mapping[str, Value] | None = None, user: str | None = None, port: int = 22
    ) -> Found:
        """What holds for a host: options by their names in lower case.

        `given` options come before all others, as `ssh -o` has them. `user` and `port` are those where
        nothing names any. Tokens and variables are filled in; yes and no, numbers and seconds are plain;
        `none` is left out. Of ProxyCommand and ProxyJump that which was named first is there.

        Raises:
            UsageError: ssh would not connect to the host with these options.
        """
        found = Found({key: value for key, value in (given or {}).items() if value})
        fixed = frozenset(found)
        context = Context(name, found, user or local_user(), port, self._run)
        self._apply(context, fixed)
        host = context.host()
        canonicalize = found.get("canonicalizehostname", "no")
        if canonicalize != "no":
            host = canonical(host, found)
        if self._final or canonicalize != "no":
            found["hostname"] = host
            context.final = True
            self._apply(context, fixed)
        found["hostname"] = host
        ssh_options.check_host(host)
        if "user" in found:
            ssh_options.check_user(found["user"])
        return finished(context)

    def _apply(self, context: Context, fixed: frozenset[str]) -> None:
        found = context.found
        name = found["hostname"] if context.final else context.name
        holds: dict[int, bool] = {}
        for position in sorted(self._general + self._literal.get(name, [])):
            block = self._blocks[position]
            for condition in block.conditions:
                if id(condition) not in holds:
                    if isinstance(condition, Names):
                        holds[id(condition)] = is_named(name, condition.patterns)
                    else:
                        holds[id(condition)] = context.holds(condition)
                if not holds[id(condition)]:
                    break
            else:
                for keyword, value, where in block.options:
                    if keyword in GATHERED and keyword not in fixed:
                        values = value if isinstance(value, list) else [value]
                        before = found.setdefault(keyword, [])
                        before += [one for one in values if one not in before]
                    elif keyword == "refuseconnection":
                        raise UsageError(f"ssh_config {where}: RefuseConnection: {value}")
                    elif keyword not in found and not (
                        (keyword == "proxycommand" and found.get("proxyjump", "none").lower() != "none")
                        or (keyword == "proxyjump" and "proxycommand" in found)
                    ):
                        found[keyword] = value

    def _run(self, command: str, where: str) -> bool:
        """Whether a command of `Match exec` succeeds; the same one is run once.

        Raises:
            UsageError: it cannot be run, or is killed.
        """
        with self._running:
            if command not in self._ran:
                shell = os.environ.get("SHELL") or "/bin/sh"
                null = subprocess.DEVNULL
                try:
                    done = subprocess.run([shell, "-c", command], stdin=null, stdout=null, check=False)
                except (OSError, ValueError) as error:
                    reason = reason_of(error) if isinstance(error, OSError) else str(error)
                    raise UsageError(f"ssh_config {where}: Match exec: {reason}") from None
                if done.returncode < 0:
                    raise UsageError(f"ssh_config {where}: Match exec {command!r}: killed")
                self._ran[command] = done.returncode == 0
            return self._ran[command]


def load(user_file: str = USER_FILE, system_file: str = SYSTEM_FILE) -> SSHConfig:
    """The user's and the system's ssh_config.

    Raises:
        UsageError: ssh would refuse them as a whole.
    """
    config = SSHConfig()
    for name, base in ((user_file, "~/.ssh"), (system_file, "/etc/ssh")):
        path = Path(os.path.expanduser(name))
        if path.is_file() and os.access(path, os.R_OK):
            config._read(_text(path, "", name == user_file), str(path), base)
    return config


def _included(patterns: Iterable[str], base: str, depth: int) -> Iterator[Path]:
    if depth >= _DEEPEST:
        raise UsageError("too many files that include each other")
    for pattern in patterns:
        if pattern.startswith("~") and base != "~/.ssh":
            raise UsageError(f"bad path {pattern!r} to include: '~' is nobody's in the system's file")
        full = os.path.expanduser(pattern if pattern.startswith(("/", "~")) else f"{base}/{pattern}")
        yield from map(Path, sorted(glob.glob(full)))


def _text(path: Path, where: str, check: bool = True) -> str:
    """What is in a file; bytes that are no text are kept."""
    prefix = f"ssh_config {where}: " if where else "ssh_config "
    try:
        with open(path, "rb") if not path.is_dir() else open(os.devnull, "rb") as file:
            fault = doubt(file.fileno()) if check and file.name != os.devnull else ""
            if fault:
                raise UsageError(
                    f"{prefix}{path}: bad owner or permissions ({fault}): chown or chmod go-w it"
                )
            return file.read().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"{prefix}{path}: {reason_of(error)}") from None
