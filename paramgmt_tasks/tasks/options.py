"""What the options mean: from the command line and the configuration to hosts and settings."""

import getpass
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..inventory import find_list, read_list
from ..model import Copying, Host, Settings, UsageError, check, exclude, parse_patterns, reason_of
from .command_line import Option


def _group(group: str, *options: Option) -> tuple[Option, ...]:
    return tuple(replace(option, group=group) for option in options)


HOSTS = _group(
    "Hosts",
    Option(
        "hosts",
        list,
        "Host list: a file, '-' for standard input, a name in hostlists/, or @failed of a run (repeatable)",
        "f",
    ),
    Option("machines", list, "Hosts given here, such as web[01-20],db (repeatable)", "m"),
    Option(
        "exclude", list, "Hosts to leave out, with the same patterns; each must be there (repeatable)", "x"
    ),
    Option("allow_proxy_command", bool, "Take ProxyCommands, which run here, from a list on standard input"),
)
_DOING = _group(
    "Run",
    Option("dry_run", bool, "Print what would be done on each host and do nothing"),
    Option("sequential", bool, "One host after the other", "s"),
    Option("fanout", str, f"How many hosts are worked on at once ({Settings.fanout})"),
    Option("timeout", str, "Seconds a command may take on a host (no limit)"),
    Option("env", list, "KEY=VALUE in the command's environment, or KEY as it is here (repeatable)"),
    Option("stdin", str, "File whose bytes every command gets as standard input (none)"),
    Option("batch", str, "Hosts that finish before the next ones begin: a number, or a share such as 10%"),
    Option(
        "canary", str, "Hosts that go first; the others begin only where all of those are ok (0: without)"
    ),
    Option("max_fail", str, "Begin no more where more hosts than this fail: a number, or a share (no limit)"),
)
_SHOWING = _group(
    "Output",
    Option("no_color", bool, "No colours, also on a terminal", "c"),
    Option("gather", bool, "Show identical output once, under the hosts that have it"),
    Option("diff", bool, "As --gather, with how each output differs from that of most hosts"),
    Option("live", bool, "Show lines as they come, each with its host"),
    Option("json", bool, "Show each result as a line of JSON"),
    Option("max_output", str, "Bytes kept of what each host writes, such as 10M (1G without it)"),
    Option("output_dir", str, "Folder for what each host wrote: HOST.out, HOST.err and results.jsonl"),
    Option("quiet", bool, "Show no results; failed hosts are still named on standard error"),
    Option("order", str, "Show results as they finish, `finished`, or in the order of the hosts (hosts)"),
)
RUN = (*_DOING, *_SHOWING)
_REACHING = _group(
    "Reaching hosts",
    Option("user", str, "User to log in as (as ssh has it)", "u"),
    Option("attempts", str, f"How often a host is tried ({Settings.attempts})", "a"),
    Option(
        "connect_timeout",
        str,
        "Seconds a host may take to be reached, all attempts together (ConnectTimeout, else 10)",
    ),
    Option("port", str, "Port of the SSH server (as ssh has it)"),
    Option("identity", str, "Private key file (as ssh has it)"),
    Option("jump", str, "Jump host, [user@]host[:port]; several with commas"),
    Option("host_keys", str, "Check of host keys: strict, accept-new or ignore (accept-new)"),
    Option("sudo", bool, "Run as root by sudo"),
    Option("ask_password", bool, "Ask once for the password: sudo's with --sudo, else for logging in"),
    Option("verbose", bool, "Tell more: which engine is taken, and each file that is copied", "v"),
)
_WHERE = _group(
    "Engine",
    Option(
        "engine",
        str,
        "Where hosts are worked on: threads, processes, dask, or auto: one of the first two (auto)",
    ),
    Option("workers", str, "How many processes (one a processor), or workers of a Dask cluster (all)"),
    Option("scheduler", str, "The Dask scheduler: tls://HOST:PORT, or its scheduler file"),
    Option("tls_ca", str, "File with the certificate authority of the Dask cluster"),
    Option("tls_cert", str, "File with the certificate for the Dask cluster"),
    Option("tls_key", str, "File with the key of that certificate"),
    Option("insecure_scheduler", bool, "Allow a Dask cluster without TLS"),
)
REMOTE = (*_REACHING, *_WHERE)
COPY = _group(
    "Files",
    Option("destination", str, "Where the files go (~/)", "d"),
    Option("follow", bool, "Copy what symbolic links point to, not the links"),
    Option("preserve", bool, "Keep the times of files"),
    Option("no_overwrite", bool, "Refuse to replace files that exist"),
    Option("no_verify", bool, "Do not compare SHA-256 sums"),
    Option("compress", bool, "Compress on the way: with zstd where both ends have it, else gzip"),
    Option("limit_rate", str, "Bytes a second to or from each host, such as 500K or 10M (no limit)"),
    Option("limit_rate_all", str, "Bytes a second of all hosts together (no limit)"),
)
TOGETHER = Option(
    "together", bool, "Connect to all hosts first, then start on all at once; tells the skew", group="Run"
)
CHANGED = Option("changed", bool, "Leave out files that are the same on the host already", group="Files")
UNSAFE_LINKS = Option(
    "unsafe_links", bool, "Keep also symbolic links that lead out of what is pulled", group="Files"
)

_ALL = (*HOSTS, *RUN, *REMOTE, *COPY, TOGETHER, CHANGED, UNSAFE_LINKS)
_LISTS = frozenset(option.name for option in _ALL if option.kind is list)
#: The `paramgmt` section of Invoke's configuration, with what holds where nothing is said; None is the
#: default of Settings.
DEFAULTS: dict[str, Any] = {
    **{option.name: False if option.kind is bool else None for option in _ALL},
    "destination": "~/",
    "runs_kept": None,
}
_ON, _OFF = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "")


class Options:
    """A task's options, each from where it was given: the task's own, the configuration, the default.

    Whatever `given` has wins over what is `configured`, an empty text or None too: that is without the
    option, as if nothing were configured. An empty list of hosts is no hosts.
    """

    def __init__(self, given: Mapping[str, Any], configured: Mapping[str, Any]) -> None:
        self._given = {
            name: list(value) if name in _LISTS and _is_several(value) else value
            for name, value in given.items()
        }
        self._configured = configured

    def __getitem__(self, name: str) -> Any:
        value = self._given[name] if name in self._given else self._configured.get(name)
        return DEFAULTS[name] if value is None or value == "" else value

    def is_given(self, name: str) -> bool:
        """Whether the option is the task's own, and not configured."""
        return name in self._given

    def called(self, name: str, value: Any = None) -> str:
        """How an error calls an option, and its value: `--fanout 0`, or by where it is configured."""
        if name in self._given:
            called, between = f"--{name.replace('_', '-')}", " "
        else:
            called, between = f"{name}, below paramgmt in the configuration", ": "
        return called if value is None else f"{called}{between}{value}"

    def several(self, name: str) -> list[str | Host]:
        """An option that may be given several times; one text in the configuration is split at spaces.

        Raises:
            UsageError: what is neither text nor a Host, such as a result.
        """
        value = self[name]
        if value is None:
            return []
        items = value.split() if isinstance(value, str) else [value] if _is_one(value) else value
        if not isinstance(items, Iterable):
            raise UsageError(f"{self.called(name, repr(value))}: must be text, or a list of texts")
        return [item if isinstance(item, Host) else self._text(name, item) for item in items]

    def _text(self, name: str, item: Any) -> str:
        if isinstance(item, bool) or not isinstance(item, (str, int, os.PathLike)):
            raise UsageError(f"{self.called(name, repr(item))}: must be text")
        return str(item)

    def texts(self, name: str) -> list[str]:
        """The same as texts alone: a Host as it was written.

        Raises:
            UsageError: what is neither text nor a Host.
        """
        return [str(item) for item in self.several(name)]

    def text(self, name: str) -> str | None:
        """An option's text, or None.

        Raises:
            UsageError: it is something else.
        """
        value = self[name]
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, os.PathLike):
            return str(value)
        raise UsageError(f"{self.called(name, repr(value))}: must be text")

    def flag(self, name: str) -> bool:
        """An option that is on or off.

        Raises:
            UsageError: it is neither.
        """
        return switch(self.called(name, self[name]), self[name])

    def number(self, name: str, whole: bool = True, least: int = 1) -> Any:
        """A positive number, or None; one that is `whole` is `least` or more.

        Raises:
            UsageError: anything else.
        """
        value = self[name]
        return None if value is None else positive(self.called(name, value), value, whole, least)

    # -- hosts

    def hosts(self) -> list[Host]:
        """The hosts, those given inline first, as in ParaMgmt.

        Raises:
            UsageError: a list that cannot be read, a malformed entry, or no host at all.
        """
        files, inline = self.texts("hosts"), self.several("machines")
        if self._given.get("machines") is not None and self._given.get("hosts") is None:
            files = []  # machines that are given, be it none, replace a configured list
        if self._is_empty("hosts") and self._given.get("machines") is None:
            inline = []
        found: list[Host] = []
        for machine in inline:
            if isinstance(machine, Host):  # with the variables and options of its line
                found.append(machine)
            else:
                found += parse_patterns([machine], self.called("machines"))
        for name in files:
            found += read_list(name, _hint(name), self.flag("allow_proxy_command"))
        if not files and not inline:
            raise UsageError("no hosts: name a list with --hosts FILE or hosts with --machines HOST")
        kept = self.without_excluded(found) if found else []
        if not kept:
            sources = " and ".join([*files, *(["--machines"] if inline else [])])
            raise UsageError(f"no hosts in {sources}" + (" after --exclude" if found else ""))
        return kept

    def _is_empty(self, name: str) -> bool:
        """Whether hosts were given, and are none."""
        return self._given.get(name) is not None and not self.texts(name)

    def without_excluded(self, hosts: list[Host]) -> list[Host]:
        """`hosts` without those that are excluded.

        Raises:
            UsageError: an exclusion that meets none of them: what it was to spare would not be spared.
        """
        source = self.called("exclude", "").rstrip()
        return exclude(hosts, self.texts("exclude"), source, _no_list)

    # -- settings

    def settings(self) -> Settings:
        """How the hosts are reached and worked on; asks for a password where one is wanted.

        Raises:
            UsageError: a value that cannot be used.
        """
        return Settings(
            engine=self._engine(),
            workers=self.number("workers"),
            scheduler=self.text("scheduler"),
            tls_ca=self.text("tls_ca"),
            tls_cert=self.text("tls_cert"),
            tls_key=self.text("tls_key"),
            insecure_scheduler=self.flag("insecure_scheduler"),
            user=self._user(),
            port=self._checked("port", self.number("port")),
            identity=self.text("identity"),
            jump=self.text("jump"),
            host_keys=self._checked("host_keys", self.text("host_keys")),
            connect_timeout=self.number("connect_timeout", whole=False),
            timeout=self.number("timeout", whole=False),
            attempts=self.number("attempts") or Settings.attempts,
            fanout=self.number("fanout") or Settings.fanout,
            sequential=self.flag("sequential"),
            together=self.flag("together"),
            batch=self._checked("batch", self["batch"]),
            canary=self.number("canary", least=0) or 0,
            max_fail=self._checked("max_fail", self["max_fail"]),
            sudo=self.flag("sudo"),
            env=self._environment(),
            stdin=self._stdin(),
            password=self._password(),
            limit_rate=self._bytes("limit_rate", " a second"),
            limit_rate_all=self._bytes("limit_rate_all", " a second"),
            max_output=int(self._bytes("max_output") or Settings.max_output),
        )

    def _engine(self) -> str:
        engine: str = self._checked("engine", self.text("engine")) or "auto"
        for name in ("scheduler", "tls_ca", "tls_cert", "tls_key", "insecure_scheduler"):
            if self._given.get(name) and engine != "dask":
                raise UsageError(f"--{name.replace('_', '-')} is for --engine dask")
        return engine

    def _checked(self, name: str, value: Any) -> Any:
        """A value as Settings checks it, under the name that the option has here."""
        if value is not None:
            check(name, value, self.called(name, "").rstrip())
        return value

    def _bytes(self, name: str, per: str = "") -> float | None:
        value = self[name]
        if value is None:
            return None
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)", str(value))
        count = float(found[1]) * 1000 ** " kmg".index(found[2].lower() or " ") if found else 0.0
        if not 1 <= count < float("inf"):
            raise UsageError(f"{self.called(name, value)}: must be bytes{per}, such as 500K or 10M")
        return count

    def _user(self) -> str | None:
        user = self.text("user")
        if user and (user.startswith("-") or re.search(r"[\s\x00-\x1f]", user)):
            raise UsageError(f"{self.called('user', repr(user))}: not a user name")
        return user

    def _environment(self) -> Mapping[str, Any] | tuple[tuple[str, str], ...]:
        """Variables; Settings checks those of a mapping. Values may be secrets, so no error shows them."""
        given: Any = self["env"]
        if isinstance(given, Mapping):
            return given
        texts = [] if given is None else list(given) if _is_several(given) else [given]
        pairs = []
        for text in texts:
            if not isinstance(text, str):
                raise UsageError(f"{self.called('env')}: must be KEY=VALUE, or a mapping of names to values")
            name, equals, value = text.partition("=")
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise UsageError(
                    f"{self.called('env', name)}: must be KEY=VALUE, KEY of letters, digits and underscores"
                )
            if not equals and name not in os.environ:
                raise UsageError(f"{self.called('env', name)}: is not set here: set it, or give {name}=VALUE")
            pairs.append((name, value if equals else os.environ[name]))
        return tuple(pairs)

    def _stdin(self) -> bytes | None:
        name = self.text("stdin")
        if name is None:
            return None
        if name == "-" and sys.stdin is None:
            raise UsageError(f"{self.called('stdin', name)}: standard input is closed")
        try:
            return sys.stdin.buffer.read() if name == "-" else Path(os.path.expanduser(name)).read_bytes()
        except OSError as error:
            raise UsageError(f"{self.called('stdin', name)}: {reason_of(error)}") from None

    def copying(self, changed: bool = False) -> Copying:
        """How files are copied; `changed` is whether there is that option."""
        return Copying(
            verify=not self.flag("no_verify"),
            follow=self.flag("follow"),
            preserve=self.flag("preserve"),
            overwrite=not self.flag("no_overwrite"),
            changed=changed and self.flag("changed"),
            compress=self.flag("compress"),
            verbose=self.flag("verbose"),
            unsafe_links=self.flag("unsafe_links"),
        )

    def _password(self) -> str | None:
        if not self.flag("ask_password") or self.flag("dry_run"):
            return None
        try:
            return getpass.getpass("sudo password: " if self.flag("sudo") else "password: ")
        except (EOFError, KeyboardInterrupt):
            raise UsageError("--ask-password: no password was given") from None


def _is_several(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, Mapping))


def _is_one(value: Any) -> bool:
    return isinstance(value, (Host, os.PathLike))


def _hint(name: str) -> str:
    """What is added where there is no list of that name."""
    if name == "sandbox":
        return "; inv sandbox.up makes it, for this folder and those below"
    return f"; for hosts given here use --machines {name}"


def _no_list(pattern: str) -> str:
    """What is added where hosts were to be excluded by what names a list."""
    if pattern.startswith("@"):
        return "; hosts of a run cannot be excluded, only be taken: --hosts " + pattern
    if os.path.exists(find_list(pattern)):
        return "; a host list cannot be excluded, only the names of hosts"
    return ""


def switch(said: str, value: Any) -> bool:
    """Whether something is on, from True, False or text.

    Raises:
        UsageError: it is neither on nor off, with what was `said` in front.
    """
    text = str(value).lower()
    if text not in (*_ON, *_OFF):
        raise UsageError(f"{said}: must be true or false")
    return text in _ON


def positive(said: str, value: Any, whole: bool = True, least: int = 1) -> Any:
    """A number above 0, from text; one that is `whole` is `least` or more.

    Raises:
        UsageError: anything else, with what was `said` in front, such as `--fanout 0`.
    """
    try:
        number = int(str(value)) if whole else float(str(value))
    except ValueError:
        number = -1
    if number < least if whole else not 0 < number < float("inf"):
        kind = f"a whole number, {least} or more" if whole else "a number of seconds above 0"
        raise UsageError(f"{said}: must be {kind}")
    return number


def color(options: Options) -> bool:
    """Whether to colour: on a terminal, unless the user or NO_COLOR (no-color.org) says otherwise."""
    if options.flag("no_color") or os.environ.get("NO_COLOR"):
        return False
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
