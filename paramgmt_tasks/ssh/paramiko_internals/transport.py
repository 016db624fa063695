"""paramiko's transport, driven by whoever waits for it: no thread a connection, no polling.

Its parts: who reads is message_pump's, what is done with each message is messages', a command's channel is
channel's. Here are the key exchange, authentication, and what is opened. Only what waits in paramiko's own
ways (SFTP, a runner of Fabric's, agent forwarding) needs the reader thread, which starts when such a channel
is opened.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

import paramiko
from paramiko.common import MSG_KEXINIT

from ...steps import MAY_BLOCK, Steps, WaitForIO, run_to_end
from ..failures import NoAnswer
from .algorithms import CIPHERS, MACS, GroupExchange, preferred
from .channel import HANDLERS, ExecChannel, open_session
from .message_pump import Awaited
from .messages import MessageTransport
from .sockets import TooLate
from .tunnel import Tunnel
from .upstream import PrivateAuthHandler, PrivateClient, PrivateTransport

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


class _EagerAuth(PrivateAuthHandler):
    """Sends the key along with the request for the service, which no server refuses: a round trip less."""

    def _request_auth(self) -> None:
        super()._request_auth()
        accepted = paramiko.Message()
        accepted.add_string("ssh-userauth")
        accepted.rewind()
        super()._parse_service_accept(accepted)

    def _parse_service_accept(self, m: paramiko.Message) -> None:
        return


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
    _kex_info: ClassVar = {**PrivateTransport._kex_info, GroupExchange.name: GroupExchange}
    _preferred_ciphers = CIPHERS
    _preferred_macs = MACS

    # Their lists are asked for several times in each key exchange.
    preferred_ciphers = property(lambda self: self._offered("ciphers"))
    preferred_macs = property(lambda self: self._offered("macs"))
    preferred_pubkeys = property(lambda self: self._offered("pubkeys"))
    preferred_kex = property(lambda self: self._offered("kex"))
    preferred_compression = property(lambda self: self._offered("compression"))

    def _offered(self, kind: str) -> tuple[str, ...]:
        if self.disabled_algorithms:
            return self._filter_algorithm(kind)
        offered: tuple[str, ...] = getattr(self, f"_preferred_{kind}")
        return offered

    def prefer(self, kind: str, wanted: str) -> None:
        """Offer the `ciphers` or `macs` that a list of ssh_config(5) names, see algorithms.preferred.

        Raises:
            paramiko.SSHException: none of them can be used.
        """
        table = self._cipher_info if kind == "ciphers" else self._mac_info
        offered = preferred(wanted, getattr(self, f"_preferred_{kind}"), table)
        if not offered:
            raise paramiko.SSHException(f"none of these {kind} can be used here: {wanted}")
        setattr(self, f"_preferred_{kind}", offered)

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

    # -- authentication and a command's channel

    def auth_publickey(
        self, username: str, key: paramiko.PKey, event: threading.Event | None = None
    ) -> list[str]:
        """As paramiko's; waits `auth_timeout` seconds for the answer, and raises NoAnswer without one."""
        if event is not None:
            return super().auth_publickey(username, key, event)
        return run_to_end(self.offer_key(username, key))

    def offer_key(self, username: str, key: paramiko.PKey) -> Steps[list[str]]:
        """Authenticate with a key within `auth_timeout` seconds; what else the server wants.

        Raises:
            NoAnswer: no answer.
            paramiko.AuthenticationException: it was refused, or the connection broke.
        """
        deadline = time.monotonic() + self.auth_timeout
        answered = Awaited(self.pump, self.auth_timeout, "no answer to authentication")
        if isinstance(key, paramiko.AgentKey):
            yield MAY_BLOCK  # its user may be asked to confirm
        # What an RSA key has to sign with is known only after the server has said what it accepts.
        handler = PrivateAuthHandler(self) if "rsa" in key.get_name() else _EagerAuth(self)
        self.auth_handler = handler
        handler.auth_publickey(username, key, answered)
        come = True
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):  # the handler says why
            come = yield from self.until(answered.is_set, deadline)
        if not come:
            raise NoAnswer("no answer to authentication")
        try:
            return handler.wait_for_response(answered)
        finally:
            handler.auth_event = None

    def session(self, limit: float) -> Steps[ExecChannel]:
        """Open a channel for one command, see channel.open_session."""
        return open_session(self, limit)

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
    auth_interactive = _with_reader(paramiko.Transport.auth_interactive)
    global_request = _with_reader(paramiko.Transport.global_request)
    renegotiate_keys = _with_reader(paramiko.Transport.renegotiate_keys)


def use_transport(client: paramiko.SSHClient, transport: LeanTransport) -> None:
    """Have a client use a connection that it has not made itself."""
    assert isinstance(client, PrivateClient)  # for type checkers: it is paramiko's class
    client._transport = transport
