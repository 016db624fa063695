"""ssh_config, read once and looked up by index, as ssh reads it (ssh_config(5))."""

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from ..model import UsageError, Value, doubt, reason_of, ssh_options
from ..steps import run_to_end
from .canonical_names import canonical
from .config_lookup import (
    CRITERIA,
    GATHERED,
    PASSES,
    Context,
    Found,
    Match,
    check_variables,
    finished,
    gather,
    if_possible,
    included,
    local_user,
)
from .config_questions import Answers, Guesses, Unanswered
from .host_patterns import Names, in_list, is_named, names

USER_FILE = "~/.ssh/config"
SYSTEM_FILE = "/etc/ssh/ssh_config"
#: What openSUSE's ssh reads if there is no other.
_VENDOR_FILE = "/usr/etc/ssh/ssh_config"

_DEEPEST = 16
#: Seconds that what a lookup asks for may take, if nobody says how long.
_WITHIN = 10.0


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
    found by index, so that many hosts and many blocks do not multiply. `answers` are those to what lookups
    have to ask of commands and name servers. Safe for many threads once parsed.
    """

    def __init__(self) -> None:
        self._config: list[object] = []  # which Fabric copies from one of paramiko's to another
        self._blocks: list[_Block] = []
        self._literal: dict[str, list[int]] = {}
        self._general: list[int] = []
        self._ignored: list[str] = []
        self._ignored_everywhere = False
        self._final = False
        self._nested: dict[str, SSHConfig] = {}
        self.answers = Answers()

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
            files: list[Path] = []
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
                    files = list(_files(map(included, value), base, depth))
                    if any("%" in pattern for pattern in value):  # may depend on the host
                        files = []
                        block.options.append((known, [base, str(depth), *value], where))
                        continue
                elif value is not None:
                    if known in ("forwardagent", "identityagent"):
                        check_variables(str(value))  # which ssh does as it reads
                    block.options.append((known, value, where))
                    if known == "ignoreunknown":
                        self._ignore(str(value), not conditions)
                    continue
                else:
                    continue
            except UsageError as error:
                raise UsageError(f"ssh_config {where}: {error}") from None
            self._add(block)
            for path in files:
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
                self._final = self._final or criterion == "final"  # `!final` too, as in ssh
            elif criterion not in CRITERIA:
                raise UsageError(f"Match has no criterion {criterion!r} here")
            else:
                if not equals and rest and rest[0].startswith("="):
                    argument = rest.pop(0)[1:]
                is_there = bool(argument or rest)
                argument = argument or (rest.pop(0) if rest else "")
                if not argument and not (is_there and criterion in ("tagged", "command")):
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
        """What holds for a host, see `look_up`; asks what has to be asked, and waits for the answers.

        Raises:
            UsageError: as `look_up`, or no answer has come within 10 seconds.
        """
        while True:
            try:
                return self.look_up(name, given, user, port)
            except Unanswered as unanswered:
                run_to_end(self.answers.wait(unanswered.question, _WITHIN))

    def look_up(
        self,
        name: str,
        given: Mapping[str, Value] | None = None,
        user: str | None = None,
        port: int = 22,
        answers: Answers | Guesses | None = None,
    ) -> Found:
        """What holds for a host: options by their names in lower case. Runs nothing, and asks nobody.

        `given` options come before all others, as `ssh -o` has them; of IdentityFile and its like, of which
        every value counts, a list is added to, and a text is not. `user` and `port` are those where
        nothing names any. Tokens and variables are filled in; yes and no, numbers and seconds are plain;
        `none` is left out. Of ProxyCommand and ProxyJump that which was named first is there.

        Raises:
            UsageError: ssh would not connect to the host with these options.
            Unanswered: it depends on the answer to a question, for which `answers` can be asked.
        """
        found = Found({key: value for key, value in (given or {}).items() if value})
        # Before anything is run with them in its command line, by Match exec, or ProxyCommand's %n.
        ssh_options.check_host(name)
        if "user" in found:
            ssh_options.check_user(str(found["user"]))
        # To several values of what is gathered those of the files are added: not into the caller's list.
        added_to = {key: list(found[key]) for key in GATHERED if isinstance(found.get(key), list)}
        found.update(added_to)
        fixed = frozenset(found).difference(added_to)
        context = Context(name, found, user or local_user(), port, answers or self.answers)
        self._apply(context, fixed)
        host = context.host()
        host = host if ":" in host or "%" in host else host.lower()  # but for the zone of an address
        host = canonical(host, found, answers or self.answers)
        if self._final or found.get("canonicalizehostname", "no") != "no":
            found["hostname"] = host
            context.final = True
            self._apply(context, fixed)
        found["hostname"] = host
        ssh_options.check_host(host)
        if "user" in found:
            if "user" not in fixed:
                found["user"] = if_possible(str(found["user"]), "user", context)
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
                        gather(found, keyword, value if isinstance(value, list) else [str(value)])
                    elif keyword == "include" and isinstance(value, list):
                        self._include(value, where, context, fixed)
                    elif keyword == "refuseconnection":
                        raise UsageError(f"ssh_config {where}: RefuseConnection: {value}")
                    elif keyword not in found and not (
                        (keyword == "proxycommand" and found.get("proxyjump", "none").lower() != "none")
                        or (keyword == "proxyjump" and "proxycommand" in found)
                    ):
                        found[keyword] = value
                    elif keyword == "rekeylimit" and isinstance(value, list):
                        # Its time may be named in another line than its size.
                        found[keyword] = [*found[keyword], *value[len(found[keyword]) :]]

    def _include(self, given: list[str], where: str, context: Context, fixed: frozenset[str]) -> None:
        """Apply the files of an Include whose names depend on the host."""
        base, depth, *patterns = given
        for path in _files((included(one, context.token) for one in patterns), base, int(depth)):
            if str(path) not in self._nested:
                nested = SSHConfig()
                nested._read(_text(path, where), str(path), base, depth=int(depth) + 1)
                self._nested[str(path)] = nested
            self._nested[str(path)]._apply(context, fixed)


def load(user_file: str = USER_FILE, system_file: str = SYSTEM_FILE) -> SSHConfig:
    """The user's and the system's ssh_config.

    Raises:
        UsageError: ssh would refuse them as a whole.
    """
    config = SSHConfig()
    if system_file == SYSTEM_FILE and not os.path.exists(system_file):
        system_file = _VENDOR_FILE
    for name, base in ((user_file, "~/.ssh"), (system_file, "/etc/ssh")):
        path = Path(os.path.expanduser(name))
        if path.is_file() and os.access(path, os.R_OK):
            config._read(_text(path, "", name == user_file), str(path), base)
    return config


def _files(patterns: Iterable[str], base: str, depth: int) -> Iterator[Path]:
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
