"""Handshake: the exchange of keys, verification of the host's key and authentication, over a socket."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import paramiko

from ..model import Settings, ssh_options, ssh_values
from ..steps import MAY_BLOCK, Steps, run_to_end
from . import host_keys
from .authentication import (
    ASKING_ORDER,
    GSSAPI,
    INTERACTIVE,
    ORDER,
    PASSWORD,
    PUBLICKEY,
    Authentication,
    Methods,
)
from .gssapi import Tickets
from .host_keys import HostKeyVerifier
from .identities import RSA_BITS, Wanted, of_paramiko
from .link import Socket
from .paramiko_internals import LeanTransport, use_transport
from .shared import SharedResources
from .target import Target

#: Options of SSHClient.connect that say what to authenticate with.
_KEY_OPTIONS = ("pkey", "key_filename", "passphrase", "password", "allow_agent", "look_for_keys")
_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
#: By which option of ssh_config(5) a method is switched off.
_METHOD_SWITCHES = {
    PUBLICKEY: "pubkeyauthentication",
    PASSWORD: "passwordauthentication",
    INTERACTIVE: "kbdinteractiveauthentication",
}
_GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"


class Handshake:
    """What is needed for an SSH connection to a target over a socket, once or a second time.

    `connect_kwargs` are options of paramiko's SSHClient.connect; `on_stall` is called when the host keeps the
    thread waiting; `forwards_agent` says whether the host shall reach an agent.

    Raises:
        UsageError: options of the target that cannot be used.
    """

    def __init__(
        self,
        target: Target,
        settings: Settings,
        resources: SharedResources,
        connect_kwargs: Mapping[str, Any],
        on_stall: Callable[[], object],
        forwards_agent: bool = False,
    ) -> None:
        self._target, self._settings, self._resources = target, settings, resources
        self._connect_kwargs, self._on_stall = connect_kwargs, on_stall
        self._verifier = _verifier(target, settings, resources)
        self._login: Authentication | None = None
        self._forwards_agent = forwards_agent
        #: Why the host must not reach an agent, see HostKeyVerifier.distrust; empty if it may.
        self.distrust = ""

    def steps(self, client: paramiko.SSHClient, sock: Socket, deadline: float) -> Steps[LeanTransport]:
        """Connect over a socket until a deadline, in monotonic seconds; `client` has what it comes to.

        Raises:
            RetryWithKnownTypes: it is to be done again, over another socket.
            paramiko.SSHException, OSError, EOFError: as failures.classify tells apart.
        """
        others = {k: v for k, v in self._connect_kwargs.items() if k not in {*_KEY_OPTIONS, "timeout"}}
        wanted = self._wanted()
        if self._resources.identities.takes_long(wanted):
            yield MAY_BLOCK
        self._login = authentication = self._authentication(wanted, deadline)
        verifier = self._verifier
        yield from verifier.prepare(deadline)
        if others:
            yield MAY_BLOCK
            verify = partial(self._verify, authentication, deadline)
            client.set_missing_host_key_policy(_Policy(verify))
            ours = {
                "sock": sock,
                "timeout": max(0.1, deadline - time.monotonic()),
                "transport_factory": lambda sock, **how: self._offering(verifier.transport(sock, **how)),
                "auth_strategy": authentication,
            }
            client.connect(self._target.address, port=self._target.port, **{**ours, **others})
            return client.get_transport()  # type: ignore[return-value]
        # What SSHClient.connect does, without what was asked for once for all hosts.
        transport = self._offering(verifier.transport(sock))
        use_transport(client, transport)
        yield from transport.exchange_keys(deadline)
        yield from self._verify(authentication, deadline, transport)
        yield from authentication.steps(transport)
        return transport

    def _verify(
        self, authentication: Authentication, deadline: float, transport: LeanTransport
    ) -> Steps[None]:
        yield from self._verifier.verify(transport, deadline)
        settings = self._settings
        transport.doubts = self._verifier.doubts  # who becomes another user later asks
        becomes = settings.way and settings.password is not None
        if self._forwards_agent or authentication.has_password or becomes:
            self.distrust = self._verifier.distrust(transport)
            if self.distrust:
                authentication.withhold_password(self.distrust)

    @property
    def waited(self) -> float:
        """Seconds for which somebody was waited for, which is not the host's time."""
        return self._login.waited if self._login else 0.0

    def _offering(self, transport: LeanTransport) -> LeanTransport:
        """The transport, which offers what ssh_config says."""
        transport.on_stall = self._on_stall
        options = self._target.options
        for option in ("KexAlgorithms", "Ciphers", "MACs"):
            wanted = options.get(option.lower())
            if wanted:
                transport.prefer(option, str(wanted))
        if options.is_yes("compression"):
            transport.compress()
        if "rekeylimit" in options:
            transport.limit_keys(*ssh_values.rekey_limit(str(options["rekeylimit"]).split()))
        return transport

    def _authentication(self, wanted: Wanted, deadline: float) -> Authentication:
        target, settings, given = self._target, self._settings, self._connect_kwargs
        options = target.options
        password = given.get("password") or (None if settings.way else settings.password)
        offers = self._resources.identities.offers(wanted)
        pkey = given.get("pkey")
        if pkey:
            offers = replace(offers, keys=(of_paramiko(pkey), *offers.keys))
        order: tuple[str, ...] = ASKING_ORDER if settings.ask_interactive else ORDER
        if options.get("preferredauthentications"):
            order = tuple(str(options["preferredauthentications"]).split(","))
        tickets = Tickets(target.address, options) if options.is_yes("gssapiauthentication") else None
        methods = Methods(
            offers,
            tuple(
                name
                for name in order
                if options.is_yes(_METHOD_SWITCHES.get(name, ""), True) and (name != GSSAPI or tickets)
            ),
            password,
            attempts=int(options.get("numberofpasswordprompts", 3)),
            batch=options.is_yes("batchmode"),
            devices=str(options.get("kbdinteractivedevices", "")),
            questions=self._resources.questions if settings.ask_interactive else None,
            tickets=tickets,
        )
        return Authentication(target.host.entry, target.user, methods, deadline)

    def _wanted(self) -> Wanted:
        """The keys that settings, Fabric and ssh_config name, in this order."""
        options, settings, given = self._target.options, self._settings, self._connect_kwargs
        key_filename = given.get("key_filename") or []
        named = [key_filename] if isinstance(key_filename, str) else key_filename
        identity = [settings.identity] if settings.identity else []
        return Wanted(
            (*identity, *named, *options.get("identityfile", [])),
            tuple(options.get("certificatefile", [])),
            options.is_yes("identitiesonly"),
            options.get("identityagent"),
            str(options.get("pubkeyacceptedalgorithms", "")),
            int(options.get("requiredrsasize", RSA_BITS)),
            given.get("passphrase") or given.get("password") or settings.passphrase,
            bool(given.get("allow_agent", True)),
            bool(given.get("look_for_keys", True)),
        )


def _verifier(target: Target, settings: Settings, resources: SharedResources) -> HostKeyVerifier:
    options = target.options
    if "hostkeyalias" in options:
        ssh_options.check_alias(options["hostkeyalias"])
    known = resources.known_hosts(
        str(options.get("userknownhostsfile", _KNOWN_HOSTS)),
        str(options.get("globalknownhostsfile", _GLOBAL_KNOWN_HOSTS)),
    )
    mode = host_keys.checking_mode(settings.host_keys, options.get("stricthostkeychecking"))
    return HostKeyVerifier(target, known, mode)


class _Policy(paramiko.MissingHostKeyPolicy):
    """Has SSHClient.connect verify the key of a host that it does not know, which is each."""

    def __init__(self, verify: Callable[[LeanTransport], Steps[None]]) -> None:
        self._verify = verify

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """As paramiko calls it."""
        transport = client.get_transport()
        assert isinstance(transport, LeanTransport)
        run_to_end(self._verify(transport))
