"""What the options mean: from the command line and the configuration to hosts and settings."""

import getpass
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import hosts as host_lists
from ..errors import UsageError, words
from ..hosts import Host
from ..lists import read_list
from ..operations import Copying
from ..rolling import share
from ..settings import ENGINES, HOST_KEY_MODES, Settings
from .command_line import Option

HOSTS = (
    Option(
        "hosts",
        list,
        "Host list: a file, '-' for standard input, a name in hostlists/, or @failed of a run (repeatable)",
        "f",
    ),
    Option("machines", list, "Hosts given here, such as web[01-20],db (repeatable)", "m"),
    Option("exclude", list, "Hosts to leave out, with the same patterns (repeatable)", "x"),
)
RUN = (
    Option("sequential", bool, "One host after the other", "s"),
    Option("no_color", bool, "No colours, also on a terminal", "c"),
    Option("fanout", str, "How many hosts are worked on at once"),
    Option("timeout", str, "Seconds a command may take on a host"),
    Option("env", list, "KEY=VALUE in the command's environment (repeatable)"),
    Option("stdin", str, "File whose bytes every command gets as standard input"),
    Option("dry_run", bool, "Print what would be done on each host and do nothing"),
    Option("batch", str, "Hosts that finish before the next ones begin: a number, or a share such as 10%"),
    Option("canary", str, "Hosts that go first; the others begin only where all of those are ok"),
    Option("max_fail", str, "Begin no more where more hosts than this fail: a number, or a share"),
    Option("gather", bool, "Show identical output once, under the hosts that have it"),
    Option("diff", bool, "As --gather, with how each output differs from that of most hosts"),
    Option("live", bool, "Show lines as they come, each with its host"),
    Option("json", bool, "Show each result as a line of JSON"),
    Option("output_dir", str, "Folder for what each host wrote: HOST.out, HOST.err and results.jsonl"),
    Option("quiet", bool, "Show no results; failed hosts are still named on standard error"),
    Option("order", str, "Show results in the order of the hosts (without it) or as they finish: finished"),
)
REMOTE = (
    Option("user", str, "User to log in as", "u"),
    Option("attempts", str, "How often a host is tried", "a"),
    Option("connect_timeout", str, "Seconds a host may take to be reached, all attempts together"),
    Option("port", str, "Port of the SSH server"),
    Option("identity", str, "Private key file"),
    Option("jump", str, "Jump host, [user@]host[:port]; several with commas"),
    Option("host_keys", str, "Check of host keys: strict, accept-new or ignore"),
    Option(
        "engine", str, "Where hosts are worked on: threads, processes, dask, or auto: one of the first two"
    ),
    Option("workers", str, "How many processes, or workers of a Dask cluster"),
    Option("scheduler", str, "The Dask scheduler: tls://HOST:PORT, or its scheduler file"),
    Option("tls_ca", str, "File with the certificate authority of the Dask cluster"),
    Option("tls_cert", str, "File with the certificate for the Dask cluster"),
    Option("tls_key", str, "File with the key of that certificate"),
    Option("insecure_scheduler", bool, "Allow a Dask cluster on other machines without TLS"),
    Option("verbose", bool, "Tell more: which engine is taken, and each file that is copied", "v"),
    Option("sudo", bool, "Run as root by sudo"),
    Option("ask_password", bool, "Ask once for the password: sudo's with --sudo, else for logging in"),
)
COPY = (
    Option("destination", str, "Where the files go (~/ without it)", "d"),
    Option("follow", bool, "Copy what symbolic links point to, not the links"),
    Option("preserve", bool, "Keep the times of files"),
    Option("no_overwrite", bool, "Refuse to replace files that exist"),
    Option("no_verify", bool, "Do not compare SHA-256 sums"),
    Option("compress", bool, "Compress on the way: with zstd where both ends have it, else gzip"),
    Option("limit_rate", str, "Bytes a second to or from each host, such as 500K or 10M"),
    Option("limit_rate_all", str, "Bytes a second of all hosts together"),
)
TOGETHER = Option("together", bool, "Connect to all hosts first, then start on all at once; tells the skew")
CHANGED = Option("changed", bool, "Leave out files that are the same on the host already")
UNSAFE_LINKS = Option("unsafe_links", bool, "Keep also symbolic links that lead out of what is pulled")

#: The `paramgmt` section of Invoke's configuration. None is the default of Settings; Invoke turns an
#: environment variable into the type of what stands here, and a wrong number there would be a traceback.
DEFAULTS: dict[str, Any] = {
    "hosts": None,
    "machines": None,
    "exclude": None,
    "sequential": False,
    "no_color": False,
    "fanout": None,
    "timeout": None,
    "env": None,
    "stdin": None,
    "dry_run": False,
    "batch": None,
    "canary": None,
    "max_fail": None,
    "gather": False,
    "diff": False,
    "live": False,
    "json": False,
    "output_dir": None,
    "quiet": False,
    "order": None,
    "runs_kept": None,
    "user": None,
    "attempts": None,
    "connect_timeout": None,
    "port": None,
    "identity": None,
    "jump": None,
    "host_keys": None,
    "engine": None,
    "workers": None,
    "scheduler": None,
    "tls_ca": None,
    "tls_cert": None,
    "tls_key": None,
    "insecure_scheduler": False,
    "sudo": False,
    "together": False,
    "ask_password": False,
    "destination": "~/",
    "follow": False,
    "preserve": False,
    "no_overwrite": False,
    "no_verify": False,
    "compress": False,
    "limit_rate": None,
    "limit_rate_all": None,
    "verbose": False,
    "changed": False,
    "unsafe_links": False,
}


class Options:
    """A task's options, each from where it was given: the task's own, the configuration, the default."""

    def __init__(self, given: Mapping[str, Any], configured: Mapping[str, Any]) -> None:
        self._given = given
        self._configured = configured

    def __getitem__(self, name: str) -> Any:
        value = self._given.get(name)
        if value in (None, [], False, ()):
            value = self._configured.get(name, DEFAULTS[name])
        return value

    def texts(self, name: str) -> list[str]:
        """An option that may be given several times; one text in the configuration is split at spaces."""
        value = self[name]
        if value is None:
            return []
        return value.split() if isinstance(value, str) else [str(item) for item in value]

    def flag(self, name: str) -> bool:
        """An option that is on or off."""
        return bool(self[name])

    def number(self, name: str, whole: bool = True) -> Any:
        """A positive number, or None.

        Raises:
            UsageError: anything else.
        """
        value = self[name]
        return None if value in (None, "") else positive(f"--{name.replace('_', '-')}", value, whole)

    # -- hosts

    def hosts(self) -> list[Host]:
        """The hosts, those given inline first, as in ParaMgmt.

        Raises:
            UsageError: a list that cannot be read, a malformed entry, or no host at all.
        """
        files, inline = self.texts("hosts"), self.texts("machines")
        if self._given.get("machines") and not self._given.get("hosts"):
            files = []  # machines named on the command line replace a configured list
        found = host_lists.parse_patterns(inline, "--machines")
        for name in files:
            found += read_list(name, f"; for hosts given here use --machines {name}")
        if not files and not inline:
            raise UsageError("no hosts: name a list with --hosts FILE or hosts with --machines HOST")
        kept = host_lists.exclude(found, self.texts("exclude"))
        if not kept:
            sources = " and ".join([*files, *(["--machines"] if inline else [])])
            raise UsageError(f"no hosts in {sources}" + (" after --exclude" if found else ""))
        return kept

    # -- settings

    def settings(self) -> Settings:
        """How the hosts are reached and worked on; asks for a password where one is wanted.

        Raises:
            UsageError: a value that cannot be used.
        """
        port = self.number("port")
        if port is not None and port > 65535:
            raise UsageError(f"--port {port}: must be at most 65535")
        host_keys = self["host_keys"]
        if host_keys not in (None, "", *HOST_KEY_MODES):
            raise UsageError(f"--host-keys {host_keys}: must be one of {', '.join(HOST_KEY_MODES)}")
        return Settings(
            engine=self._engine(),
            workers=self.number("workers"),
            scheduler=self["scheduler"] or None,
            tls_ca=self["tls_ca"] or None,
            tls_cert=self["tls_cert"] or None,
            tls_key=self["tls_key"] or None,
            insecure_scheduler=self.flag("insecure_scheduler"),
            user=_user(self["user"]),
            port=port,
            identity=self["identity"] or None,
            jump=self["jump"] or None,
            host_keys=host_keys or None,
            connect_timeout=self.number("connect_timeout", whole=False),
            timeout=self.number("timeout", whole=False),
            attempts=self.number("attempts") or Settings.attempts,
            fanout=self.number("fanout") or Settings.fanout,
            sequential=self.flag("sequential"),
            together=self.flag("together"),
            batch=self._share("batch", least=1),
            canary=self.number("canary") or 0,
            max_fail=self._share("max_fail"),
            sudo=self.flag("sudo"),
            env=_environment(self["env"]),
            stdin=_stdin(self["stdin"]),
            password=self._password(),
            limit_rate=self._rate("limit_rate"),
            limit_rate_all=self._rate("limit_rate_all"),
        )

    def _engine(self) -> str:
        engine = self["engine"] or "auto"
        if engine not in ENGINES:
            raise UsageError(f"--engine {engine}: must be one of {', '.join(ENGINES)}")
        for name in ("scheduler", "tls_ca", "tls_cert", "tls_key", "insecure_scheduler"):
            if self._given.get(name) and engine != "dask":
                raise UsageError(f"--{name.replace('_', '-')} is for --engine dask")
        return str(engine)

    def _share(self, name: str, least: int = 0) -> str | None:
        value = self[name]
        if value in (None, ""):
            return None
        try:
            share(value, hosts=1, least=least)
        except UsageError as error:
            raise UsageError(f"--{name.replace('_', '-')} {error}") from None
        return str(value)

    def _rate(self, name: str) -> float | None:
        value = self[name]
        if value in (None, ""):
            return None
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)", str(value))
        rate = float(found[1]) * 1000 ** " kmg".index(found[2].lower() or " ") if found else 0.0
        if not rate:
            raise UsageError(
                f"--{name.replace('_', '-')} {value}: must be bytes a second, such as 500K or 10M"
            )
        return rate

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


def positive(option: str, value: Any, whole: bool = True) -> Any:
    """A number above 0, from text.

    Raises:
        UsageError: anything else, with `option` in front.
    """
    try:
        number = int(str(value)) if whole else float(value)
    except (TypeError, ValueError):
        number = 0
    if not 0 < number < float("inf"):
        kind = "a whole number, 1 or more" if whole else "a number of seconds above 0"
        raise UsageError(f"{option} {value}: must be {kind}")
    return number


def _user(user: str | None) -> str | None:
    if user and (user.startswith("-") or re.search(r"[\s\x00-\x1f]", user)):
        raise UsageError(f"--user {user!r}: not a user name")
    return user or None


def _environment(given: str | Iterable[str] | Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    if isinstance(given, Mapping):
        return tuple((str(name), str(value)) for name, value in given.items())
    pairs = []
    for text in [given] if isinstance(given, str) else given or []:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            # The value may be a secret, so it is not shown.
            raise UsageError(f"--env {name}: must be KEY=VALUE, KEY of letters, digits and underscores")
        pairs.append((name, value))
    return tuple(pairs)


def _stdin(name: str | None) -> bytes | None:
    if not name:
        return None
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(os.path.expanduser(name)).read_bytes()
    except OSError as error:
        raise UsageError(f"--stdin {name}: {words(error)}") from None


def color(options: Options) -> bool:
    """Whether to colour: on a terminal, unless the user or NO_COLOR (no-color.org) says otherwise."""
    if options.flag("no_color") or os.environ.get("NO_COLOR"):
        return False
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
