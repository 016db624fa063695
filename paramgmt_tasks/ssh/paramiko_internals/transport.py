"""paramiko's transport, driven by whoever waits for it: no thread a connection, no polling.

Its parts: who reads is message_pump's, what is done with each message is messages', a command's channel is
channel's. Here are the key exchange, authentication, and what is opened. Only what waits in paramiko's own
ways (SFTP, a runner of Fabric's) needs the reader thread, which starts when such a channel
is opened.
"""

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
from .forwarding import ForwardedAgent
from .messages import MessageTransport
from .sockets import TooLate
from .upstream import PrivateClient, PrivateTransport

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


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

    # -- a command's channel

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
