"""HostConnection: a Fabric Connection to one host."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import fabric
import paramiko

from ..model import Host, Outcome, Settings, parse_entry
from ..steps import MAY_BLOCK, Steps, run_to_end
from . import config as ssh_config
from .agent import socket_of
from .command import run_hidden
from .config_lookup import FORWARDED
from .failures import Classified, NoAnswer, classify
from .handshake import Handshake
from .host_keys import RetryWithKnownTypes
from .host_run import Attachment, HostRun, Kept
from .jump import JumpHost
from .link import Address, Link, Socket, look_up
from .paramiko_internals import ExecChannel, ForwardedAgent, LeanTransport, forget_sftp
from .proxy_command import expand_tokens
from .shared import Defaults, SharedResources
from .target import Target, resolve

# The exception is the result: paramiko's tracebacks on standard error would only repeat it.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

CONNECT_TIMEOUT = 10.0


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
        if forward_agent is None:
            word = target.options.get("forwardagent")
            usual = bool((config or resources.config).forward_agent)
            forward_agent = usual if word is None else word == "yes" or bool(target.options.get(FORWARDED))
        super().__init__(
            looked_up,
            user=target.user,
            port=target.port,
            config=config or resources.config,
            gateway=False if gateway is None else gateway,
            forward_agent=forward_agent,
            connect_timeout=CONNECT_TIMEOUT,  # `use` sets the one that holds
            connect_kwargs=connect_kwargs,
            inline_ssh_env=inline_ssh_env,
        )
        self.original_host, self.host, self.ssh_config = entry.address, target.address, target.options
        if gateway is None:
            self.gateway = self._find_gateway(settings)
        self.link = Link()
        self._has_tokens = isinstance(gateway, str)
        self._as_configured = (gateway is None, forward_agent is None)
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
            return resources.jump_host(target.jump, settings, connect)
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
        if forward_agent and "forwardagent" in target.options:
            self.forward_agent = target.options.as_bool("forwardagent")
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
        if isinstance(self.gateway, JumpHost):
            yield MAY_BLOCK
            self.gateway.open()
        # Name lookup has no time limit, so it must not hold a slot of the gate.
        addresses = [] if self.gateway else (yield from look_up(target.address, target.port))
        gate = self.resources.gate
        with gate.handshake((yield from gate.acquire_slot())):
            began = time.monotonic()
            deadline = began + self.connect_timeout - self.spent
            self._waited = 0.0
            try:
                yield from self._reach(target, addresses, deadline, on_stall)
            except BaseException as error:
                self.spent += time.monotonic() - began - self._waited
                said = self.link.end_proxy()
                self.discard()
                failure = classify(error)
                if said and failure.outcome is Outcome.UNREACHABLE:
                    raise Classified(replace(failure, reason=f"ProxyCommand: {said}")) from error
                if isinstance(error, Exception) and time.monotonic() - self._waited >= deadline:
                    raise NoAnswer("connect timeout") from error
                raise

    def _reach(
        self, target: Target, addresses: list[Address], deadline: float, on_stall: Callable[[], object]
    ) -> Steps[None]:
        handshake = Handshake(
            target,
            self.settings,
            self.resources,
            self.connect_kwargs,
            on_stall,
            bool(self.forward_agent),
        )
        try:
            yield from self._connect(handshake, addresses, deadline)
        except RetryWithKnownTypes:
            self.discard()
            yield from self._connect(handshake, addresses, deadline)
        finally:
            self._waited = handshake.waited

    def _connect(self, handshake: Handshake, addresses: list[Address], deadline: float) -> Steps[None]:
        sock = yield from (self.link.dial(addresses, deadline) if addresses else self._tunnel(deadline))
        self.client = paramiko.SSHClient()
        self.transport = yield from handshake.steps(self.client, sock, deadline)
        if self.forward_agent and handshake.distrust:
            self.forward_agent = False
        if self.forward_agent:
            yield MAY_BLOCK
            self.transport.forwarded_agent = self._forwarded_agent()

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
            return self.link.run_proxy(gateway)
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
