"""Settings: how hosts are reached and how an operation is run on them, as plain picklable data."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TypedDict

from .errors import UsageError
from .ssh_options import check_user, name_of, option

#: How host keys are checked: `strict` accepts known keys only, `accept-new` also records new hosts,
#: `ignore` checks nothing.
HOST_KEY_MODES = ("strict", "accept-new", "ignore")
#: How a command becomes another user's, but by a command of one's own.
WAYS = ("sudo", "su", "doas")
#: Where hosts are worked on.
ENGINES = ("auto", "threads", "processes", "dask")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Whole numbers above cannot all be floats, which times and rates become.
_LARGEST = 1e300
_PAIRS = "such as {'JOBS': '8'}"


class Verbatim(str):
    """The value of a variable of the environment in which nothing is replaced."""


class _Pairs:
    """A field that is set as a mapping or as pairs, and kept as pairs."""

    def __init__(self, read: Callable[[object], tuple[tuple[str, str], ...]]) -> None:
        self._read = read

    def __set_name__(self, owner: type[object], name: str) -> None:
        self._name = name

    def __get__(self, settings: object | None, owner: type[object]) -> tuple[tuple[str, str], ...]:
        return () if settings is None else settings.__dict__[self._name]

    def __set__(self, settings: object, value: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        settings.__dict__[self._name] = self._read(value)


def _each(field: str, value: object, such_as: str) -> Iterator[tuple[object, object]]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise UsageError(f"{field}: must be a mapping, {such_as}")
    for pair in value.items() if isinstance(value, Mapping) else value:
        if isinstance(pair, (str, bytes)) or not isinstance(pair, Iterable) or len(each := tuple(pair)) != 2:
            raise UsageError(f"{field}: must be a mapping, {such_as}, or pairs of name and value")
        yield each


def _ssh_options(value: object) -> tuple[tuple[str, str], ...]:
    pairs = []
    for name, text in _each("ssh_options", value, "such as {'Port': '22'}"):
        if not isinstance(name, str) or isinstance(text, bool) or not isinstance(text, (str, int)):
            raise UsageError(f"ssh_options: the name and the value of {name} must be text")
        try:
            option(name, str(text))
            pairs.append((name_of(name), str(text)))
        except UsageError as error:
            raise UsageError(f"ssh_options: {error}") from None
    return tuple(pairs)


def _variables(value: object) -> tuple[tuple[str, str], ...]:
    """Raises UsageError, which shows no values: they may be secrets."""
    pairs = []
    for name, text in _each("env", value, _PAIRS):
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise UsageError(f"env: {name!r} is no name of letters, digits and underscores")
        if isinstance(text, bool) or not isinstance(text, (str, int, float)):
            raise UsageError(f"env: the value of {name} must be text")
        if "\0" in str(text):
            raise UsageError(f"env: the value of {name} has a NUL in it, which no environment can have")
        pairs.append((name, text if isinstance(text, Verbatim) else str(text)))
    return tuple(pairs)


@dataclass(frozen=True)
class Settings:
    """How hosts are reached and worked on. None means: as ssh_config says, else the field's default.

    Timeouts are seconds. `connect_timeout` bounds all tries to reach one host together and falls back to
    ConnectTimeout, then 10; `timeout` bounds the operation on a host from its start, be it several scripts or
    tries of a transfer, None without a bound.
    `fanout` is how many hosts are worked on at once, `attempts` how often each is tried;
    `together` connects to all hosts before a command is started on any, and then starts it on all at once.
    `canary` hosts are worked on first, and the others only if all of those are ok; `batch` hosts then
    finish before the next ones begin; once more than `max_fail` hosts have failed no more begin. `batch` and
    `max_fail` are numbers of hosts, or shares such as "10%".
    `engine` is where hosts are worked on: `threads` in this process, `processes` in `workers` of them on this
    machine (without: as many as it has processors), `dask` at `workers` (without: all) of the Dask cluster of
    a `scheduler`, an address or a scheduler file; `auto` is threads or processes, by the number of hosts.
    The `tls_` files are the cluster's; without them the configuration of dask.distributed holds.
    `insecure_scheduler` allows connections to the cluster that are not encrypted.
    `keep` leaves its connection open for the next operation.
    `identity` is a private key file, `jump` is `[user@]host[:port]`, several separated by commas.
    `ssh_options` are options of ssh_config(5), a mapping of names to values as ssh_config has them. They come
    before those of ssh_config, and after those of a host's own line; the fields above come before both.
    `limit_rate` is how many bytes a second are copied to or from a host, `limit_rate_all` all hosts together.
    `max_output` is how many bytes are kept of what each host writes; its command goes on if it writes more.
    `run_as` is the user as whom all runs on a host, root without it; `become` is the way there: `sudo`, `su`,
    `doas` or a command, in which `{user}` stands for the user and `{command}` for what is run, as one word;
    without the latter, `/bin/sh` and its arguments follow. Any of `sudo`, `become` and `run_as` is enough;
    the way is sudo if it is not said. With `tty` commands run on a terminal, and both outputs are one.
    `password` is for the way to another user if there is one, else for logging in; `passphrase` is for
    private keys. With `ask_interactive` somebody is asked what servers want to know, see Pool; that is for
    the engine `threads`.
    `stdin` goes to every host.
    `env` is given as a mapping or as pairs of name and value; `?HOST`, a host's variables and its rank are
    replaced in the values.

    Raises:
        UsageError: a value that cannot be used.
    """

    user: str | None = None
    port: int | None = None
    identity: str | None = None
    jump: str | None = None
    host_keys: str | None = None
    ssh_options: _Pairs = _Pairs(_ssh_options)
    connect_timeout: float | None = None
    timeout: float | None = None
    attempts: int = 3
    fanout: int = 512
    sequential: bool = False
    together: bool = False
    batch: int | str | None = None
    canary: int = 0
    max_fail: int | str | None = None
    engine: str = "threads"
    workers: int | None = None
    scheduler: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure_scheduler: bool = False
    keep: bool = True
    sudo: bool = False
    become: str | None = None
    run_as: str | None = None
    tty: bool = False
    password: str | None = None
    passphrase: str | None = None
    ask_interactive: bool = False
    env: _Pairs = _Pairs(_variables)
    stdin: bytes | None = None
    limit_rate: float | None = None
    limit_rate_all: float | None = None
    max_output: int = 1_000_000_000

    def __post_init__(self) -> None:
        for name in _FILES:
            if hasattr(path := getattr(self, name), "__fspath__"):
                object.__setattr__(self, name, path.__fspath__())
        for name, value in vars(self).items():
            if value is not _DEFAULTS[name]:
                check(name, value)
        if self.run_as and self.way not in WAYS and "{user}" not in self.way:
            where = f"put {{user}} into become {self.way!r}, as in 'pbrun -u {{user}}'"
            raise UsageError(f"run_as {self.run_as!r}: {where}")

    @property
    def way(self) -> str:
        """How what runs on a host becomes another user's; empty if it is that of who logs in."""
        return self.become or ("sudo" if self.sudo or self.run_as else "")

    def __repr__(self) -> str:
        shown = {
            name: value
            for name, value in vars(self).items()
            if value not in (None, ()) and name not in ("password", "passphrase", "env", "stdin")
        }
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class Changes(TypedDict, total=False):
    """Settings of one call: those of Settings, by their names."""

    user: str | None
    port: int | None
    identity: str | None
    jump: str | None
    host_keys: str | None
    ssh_options: Mapping[str, str] | Iterable[tuple[str, str]]
    connect_timeout: float | None
    timeout: float | None
    attempts: int
    fanout: int
    sequential: bool
    together: bool
    batch: int | str | None
    canary: int
    max_fail: int | str | None
    engine: str
    workers: int | None
    scheduler: str | None
    tls_ca: str | None
    tls_cert: str | None
    tls_key: str | None
    insecure_scheduler: bool
    keep: bool
    sudo: bool
    become: str | None
    run_as: str | None
    tty: bool
    password: str | None
    passphrase: str | None
    ask_interactive: bool
    env: Mapping[str, str] | Iterable[tuple[str, str]]
    stdin: bytes | None
    limit_rate: float | None
    limit_rate_all: float | None
    max_output: int


def check(name: str, value: object, said: str = "") -> None:
    """Make sure that a setting may have a value; `said` is what an error calls it, if not by its name.

    Raises:
        UsageError: it may not.
    """
    _CHECKS[name](said or name, value)


def share(value: int | str, hosts: int, least: int = 0) -> int:
    """A number of hosts, given as such or as a share of all, rounded down. `least` holds for a number.

    >>> share("10%", 75), share(3, 75), share("80", 75)
    (7, 3, 80)

    Raises:
        UsageError: it is neither.
    """
    found = re.fullmatch(r"(\d+)(%?)", str(value), re.ASCII)
    if not found or (int(found[1]) > 100 if found[2] else int(found[1]) < least):
        more = f", {least} or more" if least else ""
        given = " ".join(str(value).split())
        raise UsageError(f"{given}: must be a whole number of hosts{more}, or a share of them such as 10%")
    return int(found[1]) * hosts // 100 if found[2] else int(found[1])


def _whole(least: int, most: int | None = None) -> Callable[[str, object], None]:
    kind = f"{least} or more" if most is None else f"from {least} to {most}"

    def check(name: str, value: object) -> None:
        number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
        if number is None or number < least or (most is not None and number > most):
            raise UsageError(f"{name} {value!r}: must be a whole number, {kind}")

    return check


def _positive(kind: str, none: str = "without a limit") -> Callable[[str, object], None]:
    def check(name: str, value: object) -> None:
        if not isinstance(value, Real) or isinstance(value, bool) or value <= 0 or not value <= _LARGEST:
            raise UsageError(f"{name} {value!r}: must be a number of {kind} above 0; None is {none}")

    return check


def _share(least: int) -> Callable[[str, object], None]:
    def check(name: str, value: object) -> None:
        try:
            share(str(value), hosts=1, least=least)
        except UsageError as error:
            raise UsageError(f"{name} {error}") from None

    return check


def _one_of(names: tuple[str, ...]) -> Callable[[str, object], None]:
    def check(name: str, value: object) -> None:
        if value not in names:
            raise UsageError(f"{name} {value!r}: must be one of {', '.join(names)}")

    return check


def _switch(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise UsageError(f"{name} {value!r}: must be True or False")


def _text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise UsageError(f"{name} {value!r}: must be text")
    if not value or "\0" in value:
        raise UsageError(f"{name} {value!r}: must not be empty, nor have a NUL in it")


def _way(name: str, value: object) -> None:
    _text(name, value)
    if not str(value).strip() or not str(value).isprintable():
        raise UsageError(f"{name} {value!r}: must be sudo, su, doas or a command of one line")


def _user(name: str, value: object) -> None:
    _text(name, value)
    try:
        check_user(str(value))
    except UsageError as error:
        raise UsageError(str(error) if name == "user" else f"{name}: {error}") from None


def _password(name: str, value: object) -> None:
    if not isinstance(value, str):  # which is not shown
        raise UsageError(f"{name}: must be text")


def _bytes(name: str, value: object) -> None:
    if not isinstance(value, bytes):
        raise UsageError(f"{name}: must be bytes; of text, text.encode() gives them")


#: Those that may name files, also as paths.
_FILES = ("identity", "scheduler", "tls_ca", "tls_cert", "tls_key")
#: How each setting that is not its default is checked.
_CHECKS: dict[str, Callable[[str, object], None]] = {
    **dict.fromkeys(("jump", *_FILES), _text),
    **dict.fromkeys(
        ("sequential", "together", "insecure_scheduler", "keep", "sudo", "tty", "ask_interactive"), _switch
    ),
    **dict.fromkeys(("fanout", "attempts", "workers", "max_output"), _whole(1)),
    "connect_timeout": _positive("seconds", "as ssh_config says"),
    "timeout": _positive("seconds"),
    **dict.fromkeys(("limit_rate", "limit_rate_all"), _positive("bytes a second")),
    **dict.fromkeys(("user", "run_as"), _user),
    "become": _way,
    "port": _whole(1, 65535),
    "host_keys": _one_of(HOST_KEY_MODES),
    "engine": _one_of(ENGINES),
    "batch": _share(least=1),
    "canary": _whole(0),
    "max_fail": _share(least=0),
    **dict.fromkeys(("password", "passphrase"), _password),
    **dict.fromkeys(("env", "ssh_options"), lambda name, value: None),
    "stdin": _bytes,
}
_DEFAULTS = {name: getattr(Settings, name) for name in Settings.__dataclass_fields__}
