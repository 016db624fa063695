"""paramiko's transport, driven by whoever waits for it: no thread a connection, no polling.

Its parts: who reads is message_pump's, what is done with each message is messages', a command's channel is
channel's. Here are the key exchange, authentication, and what is opened. Only what waits in paramiko's own
ways (SFTP, a runner of Fabric's) needs the reader thread, which starts when such a channel
is opened.
"""

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import paramiko
from paramiko.common import MSG_KEXINIT
from paramiko.ssh_exception import IncompatiblePeer

from ...model import UsageError
from ...steps import MAY_BLOCK, Steps, WaitForIO, run_to_end
from ..certificate_format import CERTIFICATE
from ..failures import NoAnswer
from .algorithms import (
    CIPHER_TABLE,
    CIPHERS,
    COMPRESSION,
    KEX,
    KEX_METHODS,
    MAC_TABLE,
    MACS,
    preferred,
)
from .channel import ExecChannel, open_session
from .channel_handlers import HANDLERS
from .forwarding import ForwardedAgent
from .host_key_types import HOST_KEYS, KEY_TABLE, type_of_key
from .messages import MessageTransport
from .sockets import TooLate
from .tunnel import Tunnel
from .upstream import PrivateClient

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


#: What ssh_config(5) names an algorithm's kind, paramiko's name for it, and the server's list of it.
_LISTS = {
    "KexAlgorithms": ("kex", "kex_algo_list"),
    "HostKeyAlgorithms": ("keys", "server_key_algo_list"),
    "Ciphers": ("ciphers", "client_encrypt_algo_list"),
    "MACs": ("macs", "client_mac_algo_list"),
}


def _with_reader(
    method: Callable[Concatenate[paramiko.Transport, Arguments], Returned],
) -> Callable[Concatenate["LeanTransport", Arguments], Returned]:
    """A method of paramiko's that waits in paramiko's own way, so that a thread has to read."""

    @functools.wraps(method)
    def call(transport: "LeanTransport", /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
        transport.read_in_background()
        return method(transport, *args, **kwargs)

    return call


class LeanTransport(MessageTransport):
    """A transport without a thread of its own, see the module's text, that prefers AEAD ciphers."""

    channel_handlers = HANDLERS
    #: What programs on the host may ask; set before the first session.
    forwarded_agent: ForwardedAgent | None = None
    #: Why the host must not be sent a password, see HostKeyVerifier.doubts; empty if it may.
    doubts: Callable[["LeanTransport"], str] = staticmethod(lambda transport: "")
    _kex_info = KEX_METHODS
    _cipher_info = CIPHER_TABLE
    _mac_info = MAC_TABLE
    _preferred_kex = KEX
    _preferred_ciphers = CIPHERS
    _preferred_macs = MACS
    _preferred_compression = COMPRESSION[False]
    _key_info = KEY_TABLE
    _preferred_keys = HOST_KEYS
    #: The key of the host as it was sent, which may be a certificate.
    shown_host_key = b""

    # Their lists are asked for several times in each key exchange.
    preferred_ciphers = property(lambda self: self._offered("ciphers"))
    preferred_macs = property(lambda self: self._offered("macs"))
    preferred_pubkeys = property(lambda self: self._offered("pubkeys"))
    preferred_kex = property(lambda self: self._offered("kex"))
    preferred_compression = property(lambda self: self._offered("compression"))
    preferred_keys = property(lambda self: self._offered("keys"))

    def _offered(self, kind: str) -> tuple[str, ...]:
        if self.disabled_algorithms:
            return self._filter_algorithm(kind)
        offered: tuple[str, ...] = getattr(self, f"_preferred_{kind}")
        return offered

    def prefer(self, option: str, wanted: str) -> None:
        """Offer what a list of ssh_config(5) names, see algorithms.preferred.

        `option` is KexAlgorithms, Ciphers or MACs.

        Raises:
            UsageError: none of them can be used here.
        """
        (kind, _), table = _LISTS[option], self._algorithms()[option]
        offered = preferred(wanted, getattr(self, f"_preferred_{kind}"), table)
        if not offered:
            raise UsageError(f"{option} {wanted}: none of them can be used here")
        setattr(self, f"_preferred_{kind}", offered)

    def offer_host_keys(self, algorithms: tuple[str, ...]) -> None:
        """Ask the host for a key of these, the first of them that it has."""
        self._preferred_keys = algorithms

    def _verify_key(self, host_key: bytes, sig: bytes) -> None:
        # paramiko looks neither whether the key is of the type that was agreed upon, nor what it signed with.
        signature = self.host_key_type.removesuffix(CERTIFICATE)
        if paramiko.Message(host_key).get_text() != type_of_key(self.host_key_type):
            raise paramiko.SSHException(f"the host key is not of the type agreed upon, {self.host_key_type}")
        if paramiko.Message(sig).get_text() != signature:
            raise paramiko.SSHException(f"the host key has not signed with {signature}")
        super()._verify_key(host_key, sig)  # which also runs in each further exchange of keys
        self.shown_host_key = host_key

    def compress(self) -> None:
        """Ask for compression before all else."""
        self._preferred_compression = COMPRESSION[True]

    def limit_keys(self, size: int | None, seconds: float | None) -> None:
        """Ask for new keys after that many bytes, and so many seconds, under those in use."""
        self.packetizer.limit_keys(size, seconds)

    def _algorithms(self) -> dict[str, Mapping[str, object]]:
        """What there is here, by the option that offers it."""
        return {
            "KexAlgorithms": self._kex_info,
            "HostKeyAlgorithms": self._key_info,
            "Ciphers": self._cipher_info,
            "MACs": self._mac_info,
        }

    def _really_parse_kex_init(
        self, m: paramiko.Message, ignore_first_byte: bool = False
    ) -> dict[str, list[str]]:
        lists = super()._really_parse_kex_init(m, ignore_first_byte)
        for side in ("client", "server"):
            # paramiko wants a MAC in common even if the cipher needs none, as OpenSSH does not.
            common = [name for name in self.preferred_ciphers if name in lists[f"{side}_encrypt_algo_list"]]
            if common and self._cipher_info[common[0]].get("is_aead"):
                lists[f"{side}_mac_algo_list"] = list(self.preferred_macs)
        return lists

    def _parse_kex_init(self, m: paramiko.Message) -> None:
        begin = m.packet.tell()
        try:
            super()._parse_kex_init(m)
        except IncompatiblePeer as error:
            m.packet.seek(begin)
            raise IncompatiblePeer(self._lacking(self._really_parse_kex_init(m)) or str(error)) from None

    def _lacking(self, lists: Mapping[str, list[str]]) -> str:
        """Of what there is none in common with the server, and what would be with another option."""
        for option, (kind, name) in _LISTS.items():
            offered = getattr(self, f"preferred_{kind}")
            theirs = [each for each in lists[name] if not each.startswith(("ext-info-", "kex-strict-"))]
            if any(each in offered for each in theirs):
                continue
            known = [each for each in theirs if each in self._algorithms()[option]]
            if known:
                return f"{option}=+{known[0]} would allow what the server has ({', '.join(theirs)})"
            return f"{option} that the server has cannot be used here: {', '.join(theirs)}"
        return ""

    # -- the handshake

    def start_client(self, event: threading.Event | None = None, timeout: float | None = None) -> None:
        """As `exchange_keys`, within `timeout` seconds."""
        run_to_end(self.exchange_keys(None if timeout is None else time.monotonic() + timeout))

    def exchange_keys(self, deadline: float | None) -> Steps[None]:
        """Exchange versions and keys with the server, by `deadline` in monotonic seconds.

        Raises:
            NoAnswer, paramiko.SSHException, OSError, EOFError: no key exchange with this server.
        """
        self.active = True
        self._outbox.gathers = True
        self.completion_event = threading.Event()
        try:
            self.packetizer.write_all(f"{self.local_version}\r\n".encode())
            self._outbox.flush(deadline)
            yield WaitForIO(self.fileno(), deadline) if self._stream.waitable else MAY_BLOCK
            self._stream.deadline, self._stream.within_message = deadline, True
            self._check_banner()
            self._send_kex_init()
            self._expect_packet(MSG_KEXINIT)
        except BaseException as error:
            self.break_off(error)
            if isinstance(error, TooLate) or isinstance(error.__context__, TooLate):
                raise NoAnswer("no answer from the SSH server") from None
            if isinstance(error.__context__, paramiko.SSHException):  # paramiko puts words before it
                raise error.__context__ from None
            raise
        if not (yield from self.until(self.completion_event.is_set, deadline)):
            raise NoAnswer("no answer from the SSH server")
        self.completion_event = None

    # -- a command's channel

    @property
    def distrust(self) -> str:
        """Why the host must not be sent a password; empty if it may."""
        return self.doubts(self)

    def session(self, limit: float) -> Steps[ExecChannel]:
        """Open a channel for one command, see channel.open_session."""
        channel = yield from open_session(self, limit)
        self.forward_agent(channel)
        return channel

    def forward_agent(self, channel: paramiko.Channel) -> None:
        """Have a session's programs see the agent, if it is to be forwarded."""
        if self.forwarded_agent is not None:
            self.forwarded_agent.request(channel)

    # -- what waits in paramiko's own ways

    def read_in_background(self) -> None:
        """Start the reader thread, unless it runs."""
        with self.lock:
            if self.active and not self.is_alive():
                self._outbox.gathers = False
                self._outbox.flush()
                self.start()

    def run(self) -> None:
        """Read until the connection ends."""
        try:
            self.pump(lambda: not self.active)
        except Exception:
            return  # those who wait were woken up

    def open_channel(self, *args: Any, **kwargs: Any) -> paramiko.Channel:
        """As paramiko's."""
        self.allowance.serve()
        self.read_in_background()
        return super().open_channel(*args, **kwargs)

    def tunnel(self, host: str, port: int, timeout: float) -> Tunnel:
        """A tunnel to `host:port`, within `timeout` seconds; from now on nobody waits to send over this.

        Raises:
            paramiko.SSHException: there is none.
        """
        self._outbox.waits = False
        return Tunnel(self.open_channel("direct-tcpip", (host, port), ("", 0), timeout=timeout), self)

    auth_none = _with_reader(paramiko.Transport.auth_none)
    auth_password = _with_reader(paramiko.Transport.auth_password)
    auth_publickey = _with_reader(paramiko.Transport.auth_publickey)
    auth_interactive = _with_reader(paramiko.Transport.auth_interactive)
    global_request = _with_reader(paramiko.Transport.global_request)
    renegotiate_keys = _with_reader(paramiko.Transport.renegotiate_keys)


def use_transport(client: paramiko.SSHClient, transport: LeanTransport) -> None:
    """Have a client use a connection that it has not made itself."""
    assert isinstance(client, PrivateClient)  # for type checkers: it is paramiko's class
    client._transport = transport
