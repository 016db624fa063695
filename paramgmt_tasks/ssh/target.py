"""Target: how one host is reached, once its line, ssh_config and settings have been put together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..model import Host, Settings, UsageError, Value, parse_entry, ssh_options, ssh_support
from .config import SSHConfig
from .config_lookup import GATHERED, Found, as_found
from .config_questions import Guesses, Question, Unanswered

#: Of these the first that is named holds.
_WAYS = ("proxyjump", "proxycommand")


class Lookup(Protocol):
    """An ssh_config that is not ours, such as paramiko's."""

    def lookup(self, hostname: str) -> dict[str, str]:
        """The options that hold for a host, by their names in lower case."""


@dataclass(frozen=True)
class Target:
    """How one host is reached.

    `options` are those of its line and of ssh_config that hold for it. `jump` are the hops on the way,
    separated by commas, and `proxy_command` is a command to reach it by; both are empty for most hosts.
    `fault` is what is wrong with its configuration: it is not connected then.
    `question` is what has to be asked before the target is known; the others are a guess until then.
    """

    host: Host
    address: str
    user: str
    port: int
    options: Found = field(default_factory=Found, hash=False)
    jump: str = ""
    proxy_command: str = ""
    fault: str = ""
    question: Question | None = None

    def check(self) -> None:
        """Make sure that the host may be connected.

        Raises:
            UsageError: its configuration cannot be used.
        """
        if self.fault:
            raise UsageError(self.fault)
        ssh_options.check_host(self.address)
        ssh_options.check_user(self.user)

    @property
    def unsupported(self) -> tuple[str, ...]:
        """The options that ask for something which is not done here."""
        return ssh_support.unsupported(self.options)

    @property
    def host_key_names(self) -> tuple[str, ...]:
        """The names under which known_hosts may have the host's key: its own, and one that it falls back to.

        As ssh has it, an entry without a port holds for another port if there is none with it.
        """
        alias = self.options.get("hostkeyalias")
        name = str(alias or self.address).lower()
        return (name,) if alias or self.port == 22 else (f"[{name}]:{self.port}", name)


def resolve(
    host: Host,
    settings: Settings,
    ssh_config: SSHConfig | Lookup,
    login: tuple[str, int],
    user: str | None = None,
    port: int | None = None,
) -> Target:
    """How `host` is reached. `user` and `port` come before all others, those of `login` after all others.

    >>> target = resolve(Host("web1", "web1", port=2222), Settings(user="nic"), SSHConfig(), ("me", 22))
    >>> target.address, target.user, target.port
    ('web1', 'nic', 2222)

    Raises:
        UsageError: `settings.jump` is malformed. What is wrong with this host alone is its target's fault.
    """
    faults: list[str] = []
    own = _own_options(host, faults)
    asked = _asked(settings, own)
    user = user or host.user or _text(own, "user") or settings.user or _text(asked, "user")
    port = port or host.port or _number(own, "port") or settings.port or _number(asked, "port")
    given = {**asked, **own, "user": user, "port": str(port or "")}
    options, question = _look_up(host, ssh_config, given, login, faults)
    jump, proxy_command = _way(settings, options, faults)
    return Target(
        host,
        options.get("hostname", host.address),
        user or options.get("user", login[0]),
        port or int(options.get("port", login[1])),
        options,
        jump,
        proxy_command,
        faults[-1] if faults else "",
        question,
    )


def _own_options(host: Host, faults: list[str]) -> dict[str, Value]:
    """The options of the host's line, as ssh reads them."""
    try:
        return {key.lower(): ssh_options.given(key, str(value)) for key, value in host.options.items()}
    except UsageError as error:
        faults.append(str(error))
        return {}


def _text(options: Mapping[str, Value], name: str) -> str | None:
    return str(options[name]) if options.get(name) else None


def _number(options: Mapping[str, Value], name: str) -> int | None:
    return int(str(options[name])) if options.get(name) else None


def _asked(settings: Settings, own: Mapping[str, Value]) -> dict[str, Value]:
    """The options of the settings, the first of each, or all of those of which every value counts."""
    asked: dict[str, Value] = {}
    for name, text in settings.ssh_options:
        keyword, value = name.lower(), ssh_options.option(name, text)
        if value is None or (keyword in _WAYS and any(way in own or way in asked for way in _WAYS)):
            continue
        if keyword in GATHERED:
            before = asked.setdefault(keyword, [])
            assert isinstance(before, list)
            before += value if isinstance(value, list) else [value]
        else:
            asked.setdefault(keyword, value)
    return asked


def _look_up(
    host: Host,
    ssh_config: SSHConfig | Lookup,
    given: Mapping[str, Value],
    login: tuple[str, int],
    faults: list[str],
) -> tuple[Found, Question | None]:
    if not isinstance(ssh_config, SSHConfig):
        chosen = {key: value for key, value in given.items() if value}
        return Found({**ssh_config.lookup(host.address), **as_found(chosen)}), None
    question = None
    try:
        try:
            return ssh_config.look_up(host.address, given, *login), None
        except Unanswered as unanswered:
            question = unanswered.question
        return ssh_config.look_up(host.address, given, *login, Guesses()), question
    except UsageError as error:
        if question is None:
            faults.append(str(error))
        return Found(hostname=host.address), question


def _way(settings: Settings, options: Found, faults: list[str]) -> tuple[str, str]:
    """The hops to the host, and the command to reach it by."""
    hops = str(settings.jump or options.get("proxyjump") or "")
    if hops and hops.lower() != "none":
        try:
            for hop in reversed(hops.split(",")):
                parse_entry(hop.strip())
        except UsageError as error:
            if settings.jump:
                raise  # what is wrong for all hosts
            faults.append(str(error))
            return "", ""
        return hops, ""
    return "", str(options.get("proxycommand") or "") if settings.jump is None else ""
