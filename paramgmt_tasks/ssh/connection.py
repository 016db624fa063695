"""HostConnection: one host, reached once, and what all connections share."""

import errno
import logging
import os
import re
import shlex
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import fabric
import paramiko
from paramiko.ssh_exception import NoValidConnectionsError

from ..model import Failure, Host, Outcome, Settings, UsageError, parse_entry, ssh_options
from ..steps import MAY_BLOCK, Steps, WaitForIO, WaitForPermission, run_to_end
from . import config as ssh_config
from . import host_keys
from .authentication import Authentication, Identities
from .command import run_hidden
from .config_lookup import Found, as_found
from .failures import Classified, NoAnswer, classify
from .handshake_gate import HandshakeGate
from .host_keys import HostKeyVerifier, RetryWithKnownTypes
from .known_hosts import KnownHosts
from .paramiko_internals import (
    ExecChannel,
    FabricConfig,
    forget_sftp,
    keep_alive,
    shut_down,
    use_transport,
)
from .proxy_command import Proxy

# The exception is the result: paramiko's tracebacks on standard error would only repeat it.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

CONNECT_TIMEOUT = 10.0
#: Seconds a host may take to answer that it starts a command, once connected.
START_TIMEOUT = 60.0
#: Options of SSHClient.connect that say what to authenticate with.
_KEY_OPTIONS = ("pkey", "key_filename", "passphrase", "password", "allow_agent", "look_for_keys")
#: A host that needs no looking up.
_NUMERIC = re.compile(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%.*)?")
_CONNECTING = (errno.EINPROGRESS, errno.EALREADY, errno.EINTR)
_GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"


class SharedResources:
    """What all connections of one `inv` call share, read or asked for once.

    Identities, known_hosts, ssh_config, the handshake gate and jump hosts. Safe for many threads.

    Raises:
        UsageError: an ssh_config that cannot be read.
    """

    def __init__(self, share: int = 1) -> None:
        self.ssh_config = ssh_config.load()
        self.config = FabricConfig(ssh_config=self.ssh_config)
        # Looked up once: Invoke takes long to find what is below another setting.
        self.configured_timeout: float | None = self.config.timeouts.connect
        self.configured_login: tuple[str | None, int] = self.config.user, self.config.port
        self.connect_kwargs: dict[str, Any] = dict(self.config.connect_kwargs)
        self.identities = Identities()
        self.gate = HandshakeGate(share=share)
        self._lock = threading.RLock()  # a chain of jump hosts is made from its last one on
        self._known_hosts: dict[tuple[str, bool], KnownHosts] = {}
        self._gateways: dict[tuple[str, Settings], _Gateway] = {}

    def known_hosts(self, files: str, hash_new: bool) -> KnownHosts:
        """The keys in `files`: names separated by white space, quoted where they have some."""
        with self._lock:
            if (files, hash_new) not in self._known_hosts:
                names = [name for name in shlex.split(files) if name.lower() != "none"]
                paths = [Path(os.path.expanduser(name)) for name in names]
                self._known_hosts[files, hash_new] = KnownHosts(paths, hash_new)
            return self._known_hosts[files, hash_new]

    def gateway(self, hops: str, settings: Settings) -> "_Gateway":
        """The connection to the last of some jump hosts, made once for all hosts behind it."""
        with self._lock:
            if (hops, settings) not in self._gateways:
                self._gateways[hops, settings] = _Gateway(hops, settings, self)
            return self._gateways[hops, settings]

    def close(self) -> None:
        """Close the connections to jump hosts, and to the agent."""
        for gateway in self._gateways.values():
            gateway.close()
        self.identities.close()


class HostConnection(fabric.Connection):
    """A Fabric Connection that shares what can be shared, verifies host keys and can be abandoned.

    Made from a host-list entry or a Host. Where Fabric and this class differ: the host key is verified,
    `connect_timeout` bounds the whole of reaching the host and may be a fraction, handshakes pass a gate,
    and `run` needs no thread and no polling where its output is hidden and nothing interactive is asked.
    """

    entry: Host = None  # type: ignore[assignment]
    settings: Settings = None  # type: ignore[assignment]
    resources: SharedResources = None  # type: ignore[assignment]
    host: Any = None
    transport: Any = None
    #: Whether a command's start was asked for since `renew`.
    started = False
    #: Seconds spent on tries to reach the host since `renew`, waiting for the gate not counted.
    spent = 0.0
    #: Seconds that the host took to let the last command start, which are the command's too.
    starting = 0.0
    #: When the operation's timeout has passed, in monotonic seconds, from the start of its first command.
    ends_at: float | None = None
    #: Asked before something is started: why it may not be.
    objection: Callable[[], str] = staticmethod(lambda: "")
    #: Called right before something may be started.
    on_start: Callable[[], object] = staticmethod(lambda: None)
    #: Called when the host keeps its thread waiting, on which others may count.
    on_stall: Callable[[], object] = staticmethod(lambda: None)
    #: Whether what is started first waits for leave.
    waits = False
    #: Whether the host was found to have no tar, or no shell.
    without_tar = False
    #: The SFTP session of the last transfer, for the next one.
    sftp_session: Any = None
    #: Temporary files on the host of transfers over SFTP that broke off, which the next one removes.
    left_there: set[str]
    _abandoned = False
    requested: float | None = None
    confirmed: float | None = None
    #: What is wrong with how it is configured: it is not connected.
    _fault: UsageError | None = None
    #: Whether the gateway is a ProxyCommand as the caller wrote it.
    _has_tokens = False
    _own_timeout: float | None = None
    _configured_timeout: float | None = None
    _socket: Any = None
    _proxy: Proxy | None = None

    def __init__(
        self,
        host: str | Host,
        user: str | None = None,
        port: int | None = None,
        config: fabric.Config | None = None,
        gateway: Any = None,
        forward_agent: bool | None = None,
        connect_timeout: float | None = None,
        connect_kwargs: dict[str, Any] | None = None,
        inline_ssh_env: bool | None = None,
        *,
        settings: Settings | None = None,
        resources: SharedResources | None = None,
    ) -> None:
        entry = parse_entry(host) if isinstance(host, str) else host
        settings = settings or Settings()
        resources = resources or SharedResources()
        self.resources = resources
        known = resources.ssh_config if config is None else config.base_ssh_config
        options = self._options(entry)
        user = user or entry.user or options.get("user") or settings.user
        port = port or entry.port or int(options.get("port") or 0) or settings.port
        address: str = entry.address
        if isinstance(known, ssh_config.SSHConfig):
            login = resources.configured_login if config is None else (config.user, config.port)
            given = {**options, "user": user, "port": str(port or "")}
            address = self._look_up(known, address, given, login)
        super().__init__(
            address,
            user=user,
            port=port,
            config=config or resources.config,
            gateway=False if gateway is None else gateway,
            forward_agent=forward_agent,
            connect_timeout=CONNECT_TIMEOUT,  # what holds is found below
            connect_kwargs=connect_kwargs,
            inline_ssh_env=inline_ssh_env,
        )
        self.entry = entry
        self.settings = settings
        self.left_there = set()
        self.original_host = entry.address
        if not isinstance(known, ssh_config.SSHConfig):
            self.ssh_config.update(as_found(options))
            self.host = self.ssh_config.get("hostname", self.host)
        if gateway is None:
            self.gateway = self._find_gateway()
        self._has_tokens = isinstance(gateway, str)
        self._own_timeout = connect_timeout or self.connect_kwargs.get("timeout")
        self._configured_timeout = (
            config.timeouts.connect if config is not None else resources.configured_timeout
        )
        self.use(settings)

    def __setattr__(self, name: str, value: Any) -> None:
        # Invoke's Context asks dir() for each assignment, and turns an attribute that the class does not
        # have into configuration, which all connections share: most of the cost of making a connection.
        object.__setattr__(self, name, value)

    def _options(self, entry: Host) -> dict[str, Any]:
        """What the host's line says, as ssh reads it."""
        try:
            return {key.lower(): ssh_options.given(key, str(value)) for key, value in entry.options.items()}
        except UsageError as error:
            self._fault = error
            return {}

    def _look_up(
        self, known: ssh_config.SSHConfig, address: str, given: dict[str, Any], login: tuple[str | None, int]
    ) -> ssh_config.LookedUp:
        """The host's name with what ssh_config says of it, for Fabric to find."""
        looked_up = ssh_config.LookedUp(address)
        try:
            looked_up.options = known.find(address, given, *login)
        except UsageError as error:
            self._fault = error
            looked_up.options = Found(hostname=address)
        return looked_up

    def use(self, settings: Settings) -> None:
        """Go on with other settings; those that say how the host is reached have to be the same."""
        self.settings = settings
        timeout = self._own_timeout or settings.connect_timeout or self.ssh_config.get("connecttimeout")
        self.connect_timeout = float(timeout or self._configured_timeout or CONNECT_TIMEOUT)

    def derive_shorthand(self, host_string: str) -> dict[str, Any]:
        """As Fabric's; the entry was taken apart before, and an IPv6 address is no `host:port`."""
        return {"user": None, "host": host_string, "port": None}

    def resolve_connect_kwargs(self, connect_kwargs: dict[str, Any] | None) -> dict[str, Any]:
        """As Fabric's, but never changing the dict that all members of a group were given."""
        shared = self.config is self.resources.config
        return dict(
            connect_kwargs or (self.resources.connect_kwargs if shared else self.config.connect_kwargs)
        )

    def _find_gateway(self) -> Any:
        hops = self.settings.jump or self.ssh_config.get("proxyjump")
        if hops and hops.lower() != "none":
            try:
                return self.resources.gateway(hops, self.settings)
            except UsageError as error:
                if self.settings.jump:
                    raise  # what is wrong for all hosts
                self._fault = error
                return None
        if self.settings.jump is None and self.ssh_config.get("proxycommand"):
            return self.ssh_config["proxycommand"]
        return self.config.gateway

    # -- reaching the host

    def open(self) -> None:
        """Reach the host, see `opening`, and wait for it."""
        run_to_end(self.opening())

    def opening(self) -> Steps[None]:
        """Reach the host: dial, exchange keys, verify its key, authenticate. Nothing if already open.

        Raises:
            paramiko.SSHException, OSError, EOFError: as failures.classify tells apart.
            UsageError: what is configured for the host cannot be used.
        """
        if self.is_connected:
            return
        if self._fault is not None:
            raise UsageError(str(self._fault))
        ssh_options.check_host(self.host)
        ssh_options.check_user(self.user)
        self.discard()
        if isinstance(self.gateway, _Gateway):
            yield MAY_BLOCK
            self.gateway.open()
        # Name lookup has no time limit, so it must not hold a place in the gate.
        addresses = [] if self.gateway else (yield from self._resolve())
        gate = self.resources.gate
        with gate.handshake((yield from gate.acquire_slot())):
            began = time.monotonic()
            deadline = began + self.connect_timeout - self.spent
            try:
                yield from self._handshake(addresses, deadline)
            except BaseException as error:
                self.spent += time.monotonic() - began
                proxy, self._proxy = self._proxy, None
                said = proxy.end() if proxy else ""
                self.discard()
                failure = classify(error)
                if said and failure.outcome is Outcome.UNREACHABLE:
                    raise Classified(replace(failure, reason=f"ProxyCommand: {said}")) from error
                if isinstance(error, Exception) and time.monotonic() >= deadline:
                    raise NoAnswer("connect timeout") from error
                raise

    def _handshake(self, addresses: list[Any], deadline: float) -> Steps[None]:
        verifier = self._verifier()
        try:
            yield from self._connect(addresses, deadline, verifier)
        except RetryWithKnownTypes:
            self.discard()
            yield from self._connect(addresses, deadline, verifier)

    def _connect(self, addresses: list[Any], deadline: float, verifier: HostKeyVerifier) -> Steps[None]:
        sock = (
            (yield from self._dial(addresses, deadline)) if addresses else (yield from self._tunnel(deadline))
        )
        self._socket = sock
        self._go_on()
        keys = {name: self.connect_kwargs[name] for name in _KEY_OPTIONS if name in self.connect_kwargs}
        others = {k: v for k, v in self.connect_kwargs.items() if k not in {*_KEY_OPTIONS, "timeout"}}
        authentication = self._authentication(deadline, **keys)
        self.client = client = paramiko.SSHClient()
        if others:
            yield MAY_BLOCK
            client.set_missing_host_key_policy(verifier)
            ours = {
                "sock": sock,
                "timeout": max(0.1, deadline - time.monotonic()),
                "transport_factory": lambda sock, **how: self._offering(verifier.transport(sock, **how)),
                "auth_strategy": authentication,
            }
            client.connect(self.host, port=self.port, **{**ours, **others})
            self.transport = client.get_transport()
            return
        # What SSHClient.connect does, without what was asked for once for all hosts.
        transport = self._offering(verifier.transport(sock))
        use_transport(client, transport)
        yield from transport.exchange_keys(deadline)
        verifier.verify(transport.get_remote_server_key())
        yield from authentication.steps(transport)
        self.transport = transport

    def _go_on(self) -> None:
        if self._abandoned:
            raise ConnectionAbortedError

    def _offering(self, transport: Any) -> Any:
        """The transport, which offers what ssh_config says, and tells where the host keeps it waiting."""
        transport.on_stall = lambda: self.on_stall()
        for kind in ("ciphers", "macs"):
            wanted = self.ssh_config.get(kind)
            if wanted:
                transport.prefer(kind, str(wanted))
        return transport

    def _verifier(self) -> HostKeyVerifier:
        options = self.ssh_config
        if "hostkeyalias" in options:
            ssh_options.check_alias(options["hostkeyalias"])
        user_files = options.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
        all_files = f"{user_files} {options.get('globalknownhostsfile', _GLOBAL_KNOWN_HOSTS)}"
        hash_new = str(options.get("hashknownhosts", "no")).lower() == "yes"
        known = self.resources.known_hosts(all_files, hash_new)
        mode = host_keys.checking_mode(self.settings.host_keys, options.get("stricthostkeychecking"))
        return HostKeyVerifier(self.host_key_name, known, mode)

    def _authentication(
        self,
        deadline: float,
        pkey: paramiko.PKey | None = None,
        key_filename: str | list[str] | None = None,
        passphrase: str | None = None,
        password: str | None = None,
        allow_agent: bool = True,
        look_for_keys: bool = True,
    ) -> Authentication:
        named = [key_filename] if isinstance(key_filename, str) else key_filename or []
        identity = [self.settings.identity] if self.settings.identity else []
        login = None if self.settings.sudo else self.settings.password
        offers = self.resources.identities.offers(
            [*identity, *named, *self.ssh_config.get("identityfile", [])],
            only=str(self.ssh_config.get("identitiesonly", "no")).lower() == "yes",
            passphrase=passphrase or password,
            agent=allow_agent,
            defaults=look_for_keys,
        )
        keys = chain([pkey], offers) if pkey else offers
        return Authentication(self.user, keys, password or login, deadline)

    def _resolve(self) -> Steps[list[Any]]:
        if not _NUMERIC.fullmatch(self.host):
            yield MAY_BLOCK
        try:
            return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except UnicodeError:  # no name that can be asked for: a part is empty, or longer than 63 bytes
            raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from None

    def _tunnel(self, deadline: float) -> Steps[Any]:
        yield MAY_BLOCK
        if isinstance(self.gateway, _Gateway):
            return self.gateway.dial(self.host, self.port, max(0.1, deadline - time.monotonic()))
        if isinstance(self.gateway, str):
            self._proxy = Proxy(self._expand_tokens(self.gateway) if self._has_tokens else self.gateway)
            return self._proxy.socket
        return self.open_gateway()

    def _dial(self, addresses: list[Any], deadline: float) -> Steps[Any]:
        errors: dict[Any, OSError] = {}
        for family, kind, protocol, _, address in addresses:
            self._socket = sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            while (code := sock.connect_ex(address)) in _CONNECTING:
                if time.monotonic() >= deadline:
                    raise TimeoutError
                yield WaitForIO(sock.fileno(), deadline, writable=True)
                self._go_on()
            if code in (0, errno.EISCONN):
                keep_alive(sock)
                return sock
            sock.close()
            errors[address] = OSError(code, os.strerror(code))
        raise NoValidConnectionsError(errors)

    def _expand_tokens(self, text: str) -> str:
        values = {"%%": "%", "%h": self.host, "%n": self.original_host, "%p": str(self.port), "%r": self.user}
        return re.sub("%.", lambda match: values.get(match[0], match[0]), text)

    @property
    def host_key_name(self) -> str:
        """The name under which known_hosts has this host's key."""
        alias = self.ssh_config.get("hostkeyalias")
        name = str(alias or self.host).lower()
        return name if alias or self.port == 22 else f"[{name}]:{self.port}"

    # -- leaving it

    def discard(self) -> None:
        """Drop the connection, whatever state it is in; the next use makes a new one."""
        # Fabric's close() does nothing after a failed authentication, and leaks the transport.
        forget_sftp(self)
        self.sftp_session = None
        shut_down(self._socket)
        transport: Any = self.client.get_transport()
        self.client.close()
        if transport is not None:
            transport.saved_exception = (
                None  # its traceback leads to the transport, which neither would leave
            )
        if self._proxy is not None:
            self._proxy.end()
            self._proxy = None
        self._socket = self.transport = None

    def close(self) -> None:
        """Close the connection and what was opened over it."""
        super().close()
        self.discard()

    def renew(self) -> None:
        """Make ready for another operation: nothing of it is started yet."""
        self.started = self._abandoned = False
        self.requested = self.confirmed = self.ends_at = None
        self.spent = 0.0

    def time_left(self, most: float) -> float:
        """Seconds until `ends_at`, at most so many."""
        left = most if self.ends_at is None else self.ends_at - time.monotonic()
        return max(0.0, min(most, left))

    def leave(self) -> None:
        """Nobody works on it any more, or wants to be asked or told."""
        for hook in ("objection", "on_start", "on_stall", "waits"):
            self.__dict__.pop(hook, None)

    def abandon(self) -> None:
        """Break the connection off, from any thread: whoever waits on it is woken with an error.

        It is not made anew before `renew`.
        """
        self._abandoned = True
        shut_down(self._socket)
        transport = self.transport
        if transport is not None:
            transport.close()

    def look_again(self) -> None:
        """Have whoever waits on the connection ask anew whether to go on waiting."""
        transport = self.transport
        if transport is not None:
            transport.look_again()

    # -- starting commands

    def session(self, timeout: float | None = None) -> Steps[ExecChannel]:
        """A new channel on which requests are answered within `timeout` seconds (START_TIMEOUT without).

        Raises: as opening, and
            Silent, ConnectionResetError: the connection is of no use any more.
            paramiko.ssh_exception.ChannelException: the host refuses another channel.
        """
        yield from self.opening()
        limit = START_TIMEOUT if timeout is None else timeout
        began = time.monotonic()
        try:
            return (yield from self.transport.session(limit))  # type: ignore[no-any-return]
        except Exception:
            self.spent += time.monotonic() - began  # or it would be waited for as long in each try
            raise

    def start(
        self, command: str, timeout: float | None = None, no_input: bool = False, first: bytes = b""
    ) -> Steps[ExecChannel]:
        """Ask the host to start a command. `started` is true from the moment it may have.

        `first` is sent along to its standard input, and with `no_input` the end of that, which otherwise is
        left open; what there was no room for stands in the channel's `unsent`, and the end is not sent then.
        Where it `waits` all that is made ready, and goes out when it has leave to.

        Raises: as session, and
            Known: it may not be started.
            paramiko.SSHException, EOFError: the request was refused, or the connection broke.
        """
        yield from self.opening()
        began = time.monotonic()
        channel = yield from self.session(timeout)
        self.starting = time.monotonic() - began
        channel.limit -= self.starting
        transport = self.transport
        request = command.encode("utf-8", "surrogateescape")
        waits = self.waits and not self.started
        may_block = transport.is_alive()  # its reader has all sent at once, and waits for keys before
        gone = False
        self._permitted()

        def ask() -> None:
            channel.request(request, no_input, first)

        def send(what: Callable[[], object]) -> None:
            sent = transport.sent
            try:
                what()
                transport.flush()
            except EOFError:
                self.started = transport.sent != sent  # whoever goes on is told

        def go() -> None:
            nonlocal gone
            gone = True
            self._begun()
            self.requested = time.monotonic()
            if not may_block:
                send(lambda: None if waits else ask())

        if waits:
            if not may_block:
                ask()
            yield WaitForPermission(go)
            if not gone:  # woken because it will not get leave
                self.discard()  # what was made ready would go out with what is sent next
                self._permitted()
                self._go_on()
        else:
            go()
        if may_block:
            yield MAY_BLOCK
            send(ask)
        yield from channel.confirmation()
        self.confirmed = time.monotonic()
        self.starting += self.confirmed - (self.requested or self.confirmed)
        return channel

    def begin(self) -> None:
        """Something is about to be started on the host.

        Raises:
            Known: it may not be.
        """
        self._permitted()
        self._begun()

    def _permitted(self) -> None:
        objection = "" if self.started else self.objection()
        if objection:
            raise Classified(Failure(Outcome.CANCELLED, objection))

    def _begun(self) -> None:
        self.started = True
        self.on_start()

    def run(self, command: str, **kwargs: Any) -> Any:
        """As Fabric's; without threads and polling where the output is hidden and nothing is watched."""
        self.open()
        quick = run_hidden(self, command, kwargs)
        if quick is not None:
            return quick
        kwargs.setdefault("in_stream", False)
        return super().run(command, **kwargs)

    def sudo(self, command: str, **kwargs: Any) -> Any:
        """As Fabric's; the caller's watchers are not added to."""
        if kwargs.get("watchers") is not None:
            kwargs["watchers"] = list(kwargs["watchers"])
        kwargs.setdefault("in_stream", False)
        return super().sudo(command, **kwargs)


class _Gateway:
    """A chain of jump hosts, connected once and shared by all hosts behind it.

    Where it cannot be reached, those who ask within the next seconds are told so without another try.
    """

    def __init__(self, hops: str, settings: Settings, resources: SharedResources) -> None:
        before, _, last = hops.rpartition(",")
        # sudo's password is for the hosts, and must not be offered to log in to a jump host.
        password = None if settings.sudo else settings.password
        through = replace(
            settings, jump=before or "none", user=None, port=None, sudo=False, password=password
        )
        self._hop = last.strip()
        self._connection = HostConnection(self._hop, settings=through, resources=resources)
        self._lock = threading.Lock()
        self._failure: Failure | None = None
        self._failed_at = 0.0

    def open(self) -> None:
        """Reach the last hop, unless that is done.

        Raises:
            Known: with why it cannot be reached.
        """
        with self._lock:
            if self._failure and time.monotonic() - self._failed_at < 5:
                raise Classified(self._failure)
            try:
                self._connection.open()
            except Exception as error:
                failure = classify(error)
                reason = f"jump host {self._hop}: {failure.reason}"
                self._failure = replace(failure, outcome=Outcome.UNREACHABLE, reason=reason)
                self._failed_at = time.monotonic()
                raise Classified(self._failure) from error

    def dial(self, host: str, port: int, timeout: float) -> paramiko.Channel:
        """A channel to `host:port` from the last hop."""
        return self._connection.transport.open_channel(  # type: ignore[no-any-return]
            "direct-tcpip", (host, port), ("", 0), timeout=timeout
        )

    def close(self) -> None:
        """Close the connection to the last hop."""
        self._connection.close()
