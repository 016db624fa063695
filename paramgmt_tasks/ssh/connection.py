"""HostConnection: a Fabric Connection to one host."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import fabric
import paramiko

from ..model import Host, Outcome, Settings, UsageError, parse_entry
from ..steps import MAY_BLOCK, Steps, run_to_end
from . import config as ssh_config
from .agent import socket_of
from .command import run_hidden
from .config_lookup import FORWARDED, Found
from .dialling import SocketOptions
from .failures import Classified, NoAnswer, classify
from .handshake import Handshake
from .host_keys import RetryWithKnownTypes
from .host_run import Attachment, HostRun, Kept
from .jump import JumpHost
from .link import Link, Socket
from .name_lookup import Address, look_up
from .paramiko_internals import ExecChannel, ForwardedAgent, LeanTransport, forget_sftp
from .proxy_command import expand_tokens
from .shared import Defaults, SharedResources
from .target import Target, resolve

# The exception is the result: paramiko's tracebacks on standard error would only repeat it.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

CONNECT_TIMEOUT = 10.0
#: ServerAliveInterval and ServerAliveCountMax if ssh_config says nothing: seconds of silence after which a
#: host is asked for a sign of life, and how often it may fail to give one.
ALIVE_INTERVAL, ALIVE_COUNT_MAX = 30, 3


class HostConnection(fabric.Connection):
    """A Fabric Connection that shares what can be shared, verifies host keys and can be abandoned.

    Made from a host-list entry or a Host. Fabric and this class differ in this: the host key is verified,
    `connect_timeout` bounds the whole of reaching the host and may be a fraction, handshakes pass a gate,
    and `run` needs no thread and no polling if its output is hidden and nothing interactive is asked.
    """

    target: Target
    settings: Settings
    resources: SharedResources
    transport: LeanTransport | None = None
    link: Link
    #: Seconds spent on tries to reach the host since `renew`, waiting for the gate not counted.
    spent = 0.0
    #: Seconds of the last try for which somebody was waited for, who was asked something.
    _waited = 0.0

    def __init__(
        self,
        host: str | Host,
        user: str | None = None,
        port: int | None = None,
        config: fabric.Config | None = None,
        gateway: "fabric.Connection | str | bool | None" = None,
        forward_agent: bool | None = None,
        connect_timeout: float | None = None,
        connect_kwargs: Mapping[str, object] | None = None,
        inline_ssh_env: bool | None = None,
        *,
        settings: Settings | None = None,
        resources: SharedResources | None = None,
    ) -> None:
        entry = parse_entry(host) if isinstance(host, str) else host
        settings = settings or Settings()
        self.resources = resources = resources or SharedResources()
        defaults = resources.defaults if config is None else Defaults.of(config)
        known = resources.ssh_config if config is None else config.base_ssh_config
        self._ssh_config = known
        self._resolve = partial(resolve, entry, settings, known, defaults.login, user, port)
        self.target = target = self._resolve()
        looked_up = ssh_config.LookedUp(entry.address)
        looked_up.options = target.options
        self._as_configured = (gateway is None, forward_agent is None)
        usual = bool((config or resources.config).forward_agent)
        super().__init__(
            looked_up,
            user=target.user,
            port=target.port,
            config=config or resources.config,
            gateway=False if gateway is None else gateway,
            forward_agent=_forwards(target.options, usual) if forward_agent is None else forward_agent,
            connect_timeout=CONNECT_TIMEOUT,  # `use` sets the one that holds
            connect_kwargs=connect_kwargs,
            inline_ssh_env=inline_ssh_env,
        )
        self.original_host, self.host, self.ssh_config = entry.address, target.address, target.options
        if gateway is None:
            self.gateway = self._find_gateway(settings)
        self.link = Link()
        self._has_tokens = isinstance(gateway, str)
        self._attached: dict[type[Attachment], Attachment] = {}
        self._own_timeout = connect_timeout or self.connect_kwargs.get("timeout")
        self._default_timeout = defaults.connect_timeout
        self.use(settings)

    def __setattr__(self, name: str, value: object) -> None:
        # Invoke's Context asks dir() for each assignment, and turns an attribute that the class does not
        # have into configuration, which all connections share: most of the cost of making a connection.
        object.__setattr__(self, name, value)

    def use(self, settings: Settings) -> None:
        """Go on with other settings; those that say how the host is reached have to be the same."""
        self.settings = settings
        timeout = self._own_timeout or settings.connect_timeout or self.ssh_config.get("connecttimeout")
        self.connect_timeout = float(timeout or self._default_timeout or CONNECT_TIMEOUT)

    def derive_shorthand(self, host_string: str) -> dict[str, str | None]:
        """As Fabric's; the entry was taken apart before, and an IPv6 address is no `host:port`."""
        return {"user": None, "host": host_string, "port": None}

    def resolve_connect_kwargs(self, connect_kwargs: Mapping[str, object] | None) -> dict[str, object]:
        """As Fabric's, but never changing the dict that all members of a group were given."""
        shared = self.config is self.resources.config
        return dict(
            connect_kwargs or (self.resources.connect_kwargs if shared else self.config.connect_kwargs)
        )

    def _find_gateway(self, settings: Settings) -> "JumpHost | fabric.Connection | str | None":
        resources, target = self.resources, self.target

        def connect(hop: str, through: Settings) -> HostConnection:
            return HostConnection(hop, settings=through, resources=resources)

        if target.jump:
            try:
                return resources.jump_host(target.jump, settings, connect)
            except UsageError as error:
                self.target = replace(target, fault=target.fault or str(error))
                return None
        return target.proxy_command or self.config.gateway

    # -- reaching the host

    def settling(self) -> Steps[None]:
        """Wait for what ssh_config has to ask, such as a command of `Match exec`, to know the target.

        Until this is done `target`, `host`, `user`, `port` and `gateway` are as if the answer were no.
        It takes from the time that the host may take to be reached.

        Raises:
            UsageError: the answer has not come in time.
        """
        while self.target.question is not None:
            assert isinstance(self._ssh_config, ssh_config.SSHConfig)
            began, seconds = time.monotonic(), self.connect_timeout - self.spent
            try:
                yield from self._ssh_config.answers.wait(self.target.question, seconds, self.link.check)
            finally:
                self.spent += time.monotonic() - began
            self.target = self._resolve()
            self._retarget()

    def _retarget(self) -> None:
        """Have what Fabric made of the guessed target follow the known one."""
        target, (gateway, forward_agent) = self.target, self._as_configured
        self.host, self.user, self.port = target.address, target.user, target.port
        self.ssh_config = target.options
        if gateway:
            self.gateway = self._find_gateway(self.settings)
        if forward_agent:
            self.forward_agent = _forwards(target.options, bool(self.config.forward_agent))
        self.use(self.settings)

    def open(self) -> None:
        """Reach the host, see `opening`, and wait for it."""
        run_to_end(self.opening())

    def opening(self, on_stall: Callable[[], object] = lambda: None) -> Steps[None]:
        """Reach the host: dial, exchange keys, verify its key, authenticate. Nothing if already open.

        `on_stall` is called when the host keeps the thread waiting, from now on.

        Raises:
            paramiko.SSHException, OSError, EOFError: as failures.classify tells apart.
            UsageError: what is configured for the host cannot be used.
        """
        if self.is_connected and self.transport is not None:
            self.transport.on_stall = on_stall
            return
        yield from self.settling()
        target = replace(self.target, address=self.host, user=self.user, port=self.port)
        target.check()
        self.discard()
        dialling = SocketOptions.of(target.options)
        # What comes before the handshake may take long, and must not hold a slot of the gate.
        took, addresses = 0.0, []
        if isinstance(self.gateway, JumpHost):
            yield MAY_BLOCK
            with self._spending() as deadline:
                self.gateway.open(deadline)
        elif not self.gateway:
            with self._spending() as deadline:
                began = time.monotonic()
                addresses = yield from look_up(target.address, target.port, dialling.family, deadline)
                took = time.monotonic() - began
        gate = self.resources.gate
        with gate.handshake((yield from gate.acquire_slot())), self._spending(took) as deadline:
            try:
                yield from self._reach(target, addresses, dialling, deadline, on_stall)
            except BaseException as error:
                said = self.link.end_proxy()
                self.discard()
                failure = classify(error)
                if said and failure.outcome is Outcome.UNREACHABLE:
                    raise Classified(replace(failure, reason=f"ProxyCommand: {said}")) from error
                if isinstance(error, Exception) and time.monotonic() - self._waited >= deadline:
                    raise NoAnswer("connect timeout") from error
                raise

    @contextmanager
    def _spending(self, took: float = 0.0) -> Iterator[float]:
        """Try something until a deadline, in monotonic seconds, that follows from what was spent before.

        `took` seconds were spent on this try before; if it fails, they count too.
        """
        began = time.monotonic() - took
        self._waited = 0.0
        try:
            yield began + self.connect_timeout - self.spent
        except BaseException:
            self.spent += time.monotonic() - began - self._waited
            raise

    def _reach(
        self,
        target: Target,
        addresses: list[Address],
        dialling: SocketOptions,
        deadline: float,
        on_stall: Callable[[], object],
    ) -> Steps[None]:
        handshake = Handshake(
            target,
            self.settings,
            self.resources,
            self.connect_kwargs,
            on_stall,
            bool(self.forward_agent),
        )

        def connect() -> Steps[None]:
            dial = self.link.dial(addresses, dialling, deadline) if addresses else self._tunnel(deadline)
            sock = yield from dial
            self.client = paramiko.SSHClient()
            self.transport = yield from handshake.steps(self.client, sock, deadline)

        try:
            yield from connect()
        except RetryWithKnownTypes:
            self.discard()
            yield from connect()
        finally:
            self._waited = handshake.waited
        yield from self._set_up(target.options, handshake.distrust)

    def _set_up(self, options: Found, distrust: str) -> Steps[None]:
        """Watch over the connection, and let programs on the host reach the agent that is forwarded."""
        transport = self.transport
        assert transport is not None  # for type checkers: it was just made
        interval = float(options.get("serveraliveinterval", ALIVE_INTERVAL))
        if interval:
            transport.watch_over(interval, int(options.get("serveralivecountmax", ALIVE_COUNT_MAX)))
        if self.forward_agent and distrust:
            self.forward_agent = False
        if self.forward_agent:
            yield MAY_BLOCK
            transport.forwarded_agent = self._forwarded_agent()

    def _forwarded_agent(self) -> ForwardedAgent | None:
        """The agent that programs on the host may use: that of ForwardAgent, else that of IdentityAgent."""
        options = self.target.options
        socket = socket_of(options.get(FORWARDED) or options.get("identityagent"))
        trouble = self.resources.trouble_with_agent(socket)
        return ForwardedAgent(socket) if socket and not trouble else None

    def create_session(self) -> paramiko.Channel:
        """As Fabric's; the agent that is forwarded is the one that ssh would forward."""
        self.open()
        assert self.transport is not None  # for type checkers: it is open
        channel = self.transport.open_session()
        self.transport.forward_agent(channel)
        return channel

    def _tunnel(self, deadline: float) -> Steps[Socket]:
        gateway = self.gateway
        if isinstance(gateway, str):
            if self._has_tokens:
                gateway = expand_tokens(gateway, self.host, self.original_host, self.port, self.user)
            passes = self.target.options.is_yes("proxyusefdpass")
            return self.link.run_proxy(gateway, passes, deadline)
        if isinstance(gateway, JumpHost):
            return self.link.tunnel(
                lambda: gateway.dial(self.host, self.port, max(0.1, deadline - time.monotonic()))
            )
        return self.link.tunnel(self.open_gateway)

    # -- releasing it

    def discard(self) -> None:
        """Drop the connection, whatever state it is in; the next use makes a new one."""
        # Fabric's close() does nothing after a failed authentication, and leaks the transport.
        forget_sftp(self)
        for attachment in self._attached.values():
            attachment.on_discard()
        transport = self.client.get_transport()
        self.link.close()
        self.client.close()
        if transport is not None:
            transport.saved_exception = None  # its traceback leads to the transport: neither would be freed
        self.transport = None

    def close(self) -> None:
        """Close the connection and what was opened over it."""
        super().close()
        self.discard()

    def renew(self) -> None:
        """Make ready for another operation, after this one's tries and even if it was abandoned."""
        self.link.mend()
        self.spent = 0.0

    def abandon(self) -> None:
        """Break the connection off, from any thread: whoever waits on it is woken with an error.

        It is not opened again before `renew`.
        """
        self.link.cut()
        transport = self.transport
        if transport is not None:
            transport.close()

    def attached(self, kind: type[Kept]) -> Kept:
        """The object of this kind that is kept with the connection, made when it is first asked for."""
        found = self._attached.get(kind)
        if not isinstance(found, kind):
            found = self._attached[kind] = kind()
        return found

    # -- commands

    def start(
        self, command: str, timeout: float | None = None, no_input: bool = False, first: bytes = b""
    ) -> Steps[ExecChannel]:
        """Start a command for which nobody's permission is needed; as HostRun.start."""
        return HostRun(self).start(command, timeout, no_input, first)

    def run(self, command: str, **kwargs: object) -> fabric.Result:
        """As Fabric's; without threads and polling if the output is hidden and nothing is watched."""
        self.open()
        quick = run_hidden(self, command, kwargs)
        if quick is not None:
            return quick
        kwargs.setdefault("in_stream", False)
        return super().run(command, **kwargs)

    def sudo(self, command: str, **kwargs: Any) -> fabric.Result:
        """As Fabric's; the caller's watchers are not added to."""
        if kwargs.get("watchers") is not None:
            kwargs["watchers"] = list(kwargs["watchers"])
        kwargs.setdefault("in_stream", False)
        return super().sudo(command, **kwargs)


def _forwards(options: Found, usual: bool) -> bool:
    """Whether an agent is forwarded, by ForwardAgent; `usual` holds without it."""
    word = options.get("forwardagent")
    return usual if word is None else word == "yes" or bool(options.get(FORWARDED))
