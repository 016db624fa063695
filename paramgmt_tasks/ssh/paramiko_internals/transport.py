"""paramiko's transport, driven by whoever waits for it: no thread a connection, no polling.

paramiko gives each connection a thread that reads, and wakes up those who wait. Here the one who waits
reads: it takes messages off the connection and hands them to paramiko's handlers until what it waits for
has come. Where several wait, one of them reads for all. Only what waits in paramiko's own ways (SFTP,
a runner of Fabric's, agent forwarding) needs the reader thread, which starts when such a channel is opened.
"""

import contextlib
import functools
import re
import socket
import threading
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import paramiko
from paramiko.auth_handler import AuthHandler
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_REQUEST,
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_EXT_INFO,
    MSG_IGNORE,
    MSG_KEXINIT,
    MSG_UNIMPLEMENTED,
    MSG_USERAUTH_INFO_REQUEST,
    cMSG_CHANNEL_OPEN,
    cMSG_CHANNEL_REQUEST,
    cMSG_CHANNEL_WINDOW_ADJUST,
    cMSG_UNIMPLEMENTED,
)

from ...steps import LONGEST_WAIT, MAY_BLOCK, Reactor, Steps, WaitForIO, run_to_end
from ..allowance import (
    BULK,
    KEX_METHOD,
    Allowance,
    GroupExchange,
    check_prompts,
    check_window,
    extensions,
    signal_name,
)
from ..failures import NoAnswer
from .packetizer import ChannelData, StreamPacketizer
from .stream import Stream, TooLate

_AEAD = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
#: Seconds for the rest of a message that has begun to come when a command's time is up.
_REST_OF_MESSAGE = 5.0
#: Seconds after which a host that is always ready lets others have the thread.
_TURN = 0.005
_NO_START = "no answer to the request to start the command"
#: More bytes than a channel takes before it is read.
_WINDOW = 2**30
#: How OpenSSH tells of an authorized_keys line with command="…", since and before its version 7.7.
_FORCED = re.compile(rb"key options:.* command\b|^Forced command")
#: Bytes of a text for debugging that are looked at.
_DEBUG_TEXT = 1024
#: Pieces of what has come that are kept as they are: one of a byte takes hundreds.
_KEPT_APART = 1024
#: Pieces that may wait to be sent before more is taken from a command's standard input.
_GATHERED = 64


def _never() -> bool:
    return False


def _channel_request(channel: Any, message: paramiko.Message) -> None:
    # paramiko drops the name of the signal that ended a command.
    position = message.packet.tell()
    if message.get_string() == b"exit-signal":
        message.get_boolean()
        channel.exit_signal = signal_name(message.get_string())
    message.packet.seek(position)
    channel._handle_request(message)


def _channel_data(channel: Any, message: paramiko.Message) -> None:
    pieces = getattr(channel, "pieces", None)
    data = message.get_binary()
    channel.transport.allowance.data(len(data))
    if pieces is None:
        channel._feed(bytes(data))
        check_window(len(channel.in_buffer), channel.in_window_size)
    elif data:
        pieces.append(data)
        channel.unread += len(data)
        if len(pieces) > _KEPT_APART:
            pieces[:] = [b"".join(pieces)]
        check_window(channel.unread, BULK)


def _channel_extended_data(channel: Any, message: paramiko.Message) -> None:
    before = len(channel.in_stderr_buffer)
    channel._feed_extended(message)
    unread = len(channel.in_stderr_buffer)
    channel.transport.allowance.data(unread - before)  # of another kind it is dropped
    check_window(unread, max(BULK, channel.in_window_size))


def _channel_close(channel: Any, message: paramiko.Message) -> None:
    # paramiko closes a channel alike where the server does and where the connection breaks.
    channel.closed_by_peer = True
    channel._handle_close(message)


class Awaited(threading.Event):
    """An event that a message sets; to wait for it is to read messages, for `limit` seconds at most."""

    def __init__(self, transport: "LeanTransport", limit: float, what: str) -> None:
        super().__init__()
        self._transport, self._limit, self._what = transport, limit, what

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set: where the connection breaks it is not, and paramiko tells why.

        `timeout` is not heeded: paramiko gives a tenth of a second, again and again.

        Raises:
            Silent: the limit has passed.
        """
        try:
            come = self._transport.pump(self.is_set, time.monotonic() + self._limit)
        except Exception:
            return self.is_set()
        if not come:
            raise NoAnswer(self._what)
        return True


class _EagerAuth(AuthHandler):
    """Sends the key along with the request for the service, which no server refuses: a round trip less."""

    def _request_auth(self) -> None:
        super()._request_auth()  # type: ignore[misc]
        accepted = paramiko.Message()
        accepted.add_string("ssh-userauth")
        accepted.rewind()
        super()._parse_service_accept(accepted)  # type: ignore[misc]

    def _parse_service_accept(self, message: paramiko.Message) -> None:
        return


def _with_reader(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of paramiko's that waits in paramiko's own way, so that a thread has to read."""

    @functools.wraps(method)
    def call(transport: "LeanTransport", *args: Any, **kwargs: Any) -> Any:
        transport.read_in_background()
        return method(transport, *args, **kwargs)

    return call


class WaitForMessage(WaitForIO):
    """A connection on which nothing comes, and what is waited for there."""

    def __init__(self, transport: "LeanTransport", done: Callable[[], bool], deadline: float | None) -> None:
        super().__init__(transport.fileno(), deadline)
        self._transport, self._done = transport, done

    def on_watched(self, watch: Reactor[Any], number: int) -> bool:
        """It is watched from now on; whether it has been over before."""
        self._transport.on_break = lambda: watch.resume(number)
        return self._transport.attended() or self._done()

    def block(self) -> None:
        """Wait in this thread."""
        with contextlib.suppress(Exception):  # whoever goes on is told
            self._transport.pump(self._done, self.deadline)


class LeanTransport(paramiko.Transport):
    """A transport without a thread of its own, see the module's text, that prefers AEAD ciphers.

    (paramiko compares MACs byte by byte in Python.) 3DES, CBC and MD5 are offered only if asked for.
    """

    def __init__(self, sock: Any, **options: Any) -> None:
        self._stream = Stream(sock)
        super().__init__(self._stream, packetizer_class=StreamPacketizer, **options)  # type: ignore[arg-type]
        self._turn = threading.Condition()
        #: The thread that reads, and what it has to send once keys are exchanged, for which it must read on.
        self._reader: int | None = None
        self._held: list[Any] = []
        #: How many threads wait for what another reads.
        self._followers = 0
        self._waitable = isinstance(sock, socket.socket)
        #: When what waits here last went on, in monotonic seconds.
        self._resumed = 0.0
        # Bound to it they would keep a transport that nobody uses any more until Python looks for cycles.
        bound: Any = self.__dict__.pop("_handler_table")
        self._handlers = {kind: handler.__func__ for kind, handler in bound.items()}
        self._handlers[MSG_EXT_INFO] = LeanTransport._take_extensions
        #: What else than data the host may send.
        self.allowance = Allowance()
        #: Whether the server says that the key runs one command only, whatever it is asked for.
        self.forced = False
        #: Called when the connection breaks.
        self.on_break: Callable[[], object] | None = None

    _kex_info: ClassVar = {
        **paramiko.Transport._kex_info,  # type: ignore[attr-defined]
        GroupExchange.name: GroupExchange,
    }
    _preferred_ciphers = (*_AEAD, "aes128-ctr", "aes192-ctr", "aes256-ctr")
    _preferred_macs = (
        *("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"),
        *("hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"),
    )

    # Their lists are asked for several times in each key exchange.
    preferred_ciphers = property(lambda self: self._offered("ciphers"))
    preferred_macs = property(lambda self: self._offered("macs"))
    preferred_pubkeys = property(lambda self: self._offered("pubkeys"))
    preferred_kex = property(lambda self: self._offered("kex"))
    preferred_compression = property(lambda self: self._offered("compression"))

    @property
    def on_stall(self) -> Callable[[], object]:
        """Called when the host keeps its thread waiting, on which others may count."""
        return self._stream.on_stall

    @on_stall.setter
    def on_stall(self, told: Callable[[], object]) -> None:
        self._stream.on_stall = told

    def _offered(self, kind: str) -> tuple[str, ...]:
        if self.disabled_algorithms:
            return self._filter_algorithm(kind)  # type: ignore[attr-defined, no-any-return]
        return getattr(self, f"_preferred_{kind}")  # type: ignore[no-any-return]

    def prefer(self, kind: str, wanted: str) -> None:
        """Offer the `ciphers` or `macs` that a list of ssh_config(5) names, as far as there are any here.

        With `+` or `^` in front these are offered too, last or first, with `-` those that match are not.

        Raises:
            paramiko.SSHException: there are none.
        """
        table: dict[str, Any] = self._cipher_info if kind == "ciphers" else self._mac_info  # type: ignore[attr-defined]
        usual: tuple[str, ...] = getattr(self, f"_preferred_{kind}")
        sign = wanted[:1] if wanted[:1] in "+-^" else ""
        named = wanted[len(sign) :].split(",")
        if sign == "-":
            offered = [name for name in usual if not any(fnmatchcase(name, each) for each in named)]
        else:
            own = [name for name in named if name in table]
            others = [name for name in usual if name not in own] if sign else []
            offered = [*own, *others] if sign == "^" else [*others, *own]
        if not offered:
            raise paramiko.SSHException(f"none of these {kind} can be used here: {wanted}")
        setattr(self, f"_preferred_{kind}", tuple(dict.fromkeys(offered)))

    # -- the handshake

    def start_client(self, event: Any = None, timeout: float | None = None) -> None:
        """As `exchange_keys`, within `timeout` seconds."""
        run_to_end(self.exchange_keys(None if timeout is None else time.monotonic() + timeout))

    def exchange_keys(self, deadline: float | None) -> Steps[None]:
        """Exchange versions and keys with the server, by `deadline` in monotonic seconds.

        Raises:
            Silent, paramiko.SSHException, OSError, EOFError: no key exchange with this server.
        """
        self.active = True
        self._stream.gathers = True
        self.completion_event = threading.Event()
        try:
            self.packetizer.write_all(f"{self.local_version}\r\n".encode())
            self._stream.flush(deadline)
            yield WaitForIO(self.fileno(), deadline) if self._waitable else MAY_BLOCK
            self._stream.deadline, self._stream.within_message = deadline, True
            self._check_banner()  # type: ignore[attr-defined]
            self._send_kex_init()  # type: ignore[attr-defined]
            self._expect_packet(MSG_KEXINIT)  # type: ignore[attr-defined]
        except BaseException as error:
            self._break(error)
            if isinstance(error, TooLate) or isinstance(error.__context__, TooLate):
                raise NoAnswer("no answer from the SSH server") from None
            if isinstance(error.__context__, paramiko.SSHException):  # which paramiko puts words in front of
                raise error.__context__ from None
            raise
        if not (yield from self.until(self.completion_event.is_set, deadline)):
            raise NoAnswer("no answer from the SSH server")
        self.completion_event = None

    # -- messages

    def until(self, done: Callable[[], bool], deadline: float | None = None) -> Steps[bool]:
        """Steps that read messages until `done`, which return False where the deadline passed first.

        Raises: as pump.
        """
        if not self._waitable or self.is_alive():
            yield MAY_BLOCK
            return self.pump(done, deadline)
        now = time.monotonic()
        if now - self._resumed > _TURN:
            yield WaitForIO(None, now)
            self._resumed = time.monotonic()
        while not self.pump(done, deadline, waits=False):
            if deadline is not None and time.monotonic() >= deadline:
                if self.in_kex:
                    self._break(EOFError("stalled in a key exchange"))
                return False
            now = time.monotonic()
            yield (
                WaitForIO(None, now) if now - self._resumed > _TURN else WaitForMessage(self, done, deadline)
            )
            self._resumed = time.monotonic()
        return True

    def pump(self, done: Callable[[], bool], deadline: float | None = None, waits: bool = True) -> bool:
        """Read messages until `done`, which is asked after each; False where the deadline passed first.

        False also, unless it `waits`, where no message has begun to come, or others are to have the thread.

        Raises:
            EOFError, OSError, paramiko.SSHException: the connection is broken.
        """

        def over() -> bool:
            # Not in the middle of a key exchange: nothing can be sent before that is over.
            return done() and not (self.in_kex and self.active)

        try:
            self._stream.flush(deadline)
        except TooLate:
            return over()
        except BaseException as error:
            self._break(error)
            raise

        with self._turn:
            self._followers += 1
            try:
                while self._reader is not None and not over():
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    if not waits:
                        self._stream.on_stall()
                    self._turn.wait(None if left is None else min(left, LONGEST_WAIT))
            finally:
                self._followers -= 1
            if over():
                return True
            if not self.active:
                raise self.saved_exception or EOFError("connection closed")
            self._reader = threading.get_ident()
        try:
            while not over():
                if not waits and time.monotonic() - self._resumed > _TURN:
                    return False
                self._stream.deadline = deadline
                self._stream.waits = waits
                if not self._waitable:
                    self._stream.enough = over
                self._stream.within_message = False
                self._step()
                self._tell_followers()
            return True
        except TooLate:
            if self._stream.within_message or (self.in_kex and waits):
                self._break(EOFError("stalled in the middle of a message"))
                return done()
            return over()
        except BaseException as error:
            self._break(error)
            raise
        finally:
            self._stream.settle()
            if not self._waitable:
                self._stream.enough = _never  # what was waited for is not to be kept
            self._reader = None
            self._tell_followers()

    def look_again(self) -> None:
        """Have all threads that wait ask anew whether what they wait for is there."""
        with self._turn:
            self._turn.notify_all()

    def _tell_followers(self) -> None:
        if self._followers:
            with self._turn:
                self._turn.notify_all()

    def _step(self) -> None:
        """Read a message and handle it.

        Raises:
            TooLate, EOFError, OSError, paramiko.SSHException: there is none, or none that can be used.
        """
        try:
            self._dispatch(*self._next_message())
        except (paramiko.SSHException, OSError, EOFError, TooLate):
            raise
        except Exception as error:  # whatever paramiko's handlers make of what a host may send
            raise paramiko.SSHException(f"a message that makes no sense ({type(error).__name__})") from error

    def _next_message(self) -> tuple[int, Any]:
        packetizer: Any = self.packetizer
        if packetizer.need_rekey() and not self.in_kex:
            self._send_kex_init()  # type: ignore[attr-defined]
        kind, message = packetizer.read_message()
        allowance = self.allowance
        if kind not in (MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA):
            allowance.no_data()
        if kind == MSG_KEXINIT:
            allowance.key_exchange(kind, message)
            allowance.new_keys(packetizer.received(), self._stream.sent, ours=self.in_kex)
        elif kind in KEX_METHOD:
            allowance.key_exchange(kind, message)
            allowance.method(getattr(self.kex_engine, "name", ""))
        elif kind == MSG_USERAUTH_INFO_REQUEST:
            check_prompts(message)
        return kind, message

    def _take_extensions(self, message: paramiko.Message) -> None:
        self.server_extensions = extensions(message)

    def _dispatch(self, kind: int, message: Any) -> None:
        """Hand a message to its handler, as RFC 4253 has it and paramiko's own thread does."""
        transport: Any = self
        if kind == MSG_DEBUG:
            message.get_boolean()
            self.forced |= _FORCED.search(message.get_binary()[:_DEBUG_TEXT]) is not None
        if kind in (MSG_IGNORE, MSG_DEBUG):
            transport._enforce_strict_kex(kind)
            return
        if kind == MSG_DISCONNECT:
            transport._parse_disconnect(message)
            raise EOFError("disconnected by the server")
        if transport._expected_packet:
            if kind not in transport._expected_packet:
                raise paramiko.SSHException(f"message {kind} out of order in the key exchange")
            transport._expected_packet = ()
            if kind in KEX_METHOD:
                transport.kex_engine.parse_next(kind, message)
                return
        if kind in self._handlers:
            self._handlers[kind](self, message)
        elif kind in _channel_handlers:
            self._hand_to_channel(kind, message)
        elif transport.auth_handler is not None and kind in transport.auth_handler._handler_table:
            transport.auth_handler._handler_table[kind](message)
        elif kind != MSG_UNIMPLEMENTED:
            answer = paramiko.Message()
            answer.add_byte(cMSG_UNIMPLEMENTED)
            answer.add_int(message.seqno)
            transport._send_message(answer)
        while self._held and self.clear_to_send.is_set():
            transport._send_message(self._held.pop(0))

    def _send_user_message(self, message: Any) -> None:
        if isinstance(message, ChannelData) or message.packet.getbuffer()[0] == MSG_CHANNEL_DATA:
            self.allowance.serve()
        # paramiko waits for the end of the key exchange, also in the thread that has to bring it about.
        with self.clear_to_send_lock:
            if self.active and self.clear_to_send.is_set():
                self.packetizer.send_message(message)
                return
        if self._reader == threading.get_ident() and not self.clear_to_send.is_set():
            self._held.append(message)
        else:
            super()._send_user_message(message)  # type: ignore[misc]

    def _hand_to_channel(self, kind: int, message: Any) -> None:
        number = message.get_int()
        channel = self._channels.get(number)  # type: ignore[attr-defined]
        if channel is not None:
            _channel_handlers[kind](channel, message)
            return
        if number not in self.channels_seen:
            raise paramiko.SSHException(f"message for a channel that was never opened: {number}")
        if kind == MSG_CHANNEL_EXTENDED_DATA:
            message.get_int()  # its kind
        if kind in (MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA):
            self.allowance.late_data(number, len(message.get_binary()))
        else:
            self.allowance.no_data()

    def _break(self, error: BaseException) -> None:
        """The connection is of no use any more: tell all who wait."""
        self.saved_exception = error  # type: ignore[assignment]
        self.active = False
        self.packetizer.close()
        if self.auth_handler is not None:
            self.auth_handler.abort()
        for event in self.channel_events.values():
            event.set()
        for channel in list(self._channels.values()):  # type: ignore[attr-defined]
            channel._unlink()
        self._tell_followers()
        if self.on_break is not None:
            self.on_break()

    def fileno(self) -> int:
        """The descriptor that becomes readable when a message comes; -1 once closed."""
        return self._stream.fileno()  # type: ignore[no-any-return]

    def attended(self) -> bool:
        """Whether a thread reads what comes, or nothing can come any more."""
        with self._turn:
            return self._reader is not None or not self.active

    # -- authentication and channels

    def auth_publickey(self, username: str, key: paramiko.PKey, event: Any = None) -> list[str]:
        """As paramiko's; waits `auth_timeout` seconds for the answer, and raises Silent without one."""
        if event is not None:
            return super().auth_publickey(username, key, event)
        return run_to_end(self.offer_key(username, key))

    def offer_key(self, username: str, key: paramiko.PKey) -> Steps[list[str]]:
        """Authenticate with a key within `auth_timeout` seconds; what else the server wants.

        Raises:
            Silent: no answer.
            paramiko.AuthenticationException: it was refused, or the connection broke.
        """
        deadline = time.monotonic() + self.auth_timeout
        answered = Awaited(self, self.auth_timeout, "no answer to authentication")
        if isinstance(key, paramiko.AgentKey):
            yield MAY_BLOCK  # its user may be asked to confirm
        # Which signature an RSA key gives is known only after the server has told which it takes.
        handler: Any = AuthHandler(self) if "rsa" in key.get_name() else _EagerAuth(self)
        self.auth_handler = handler
        handler.auth_publickey(username, key, answered)
        come = True
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):  # the handler tells
            come = yield from self.until(answered.is_set, deadline)
        if not come:
            raise NoAnswer("no answer to authentication")
        try:
            return handler.wait_for_response(answered)  # type: ignore[no-any-return]
        finally:
            handler.auth_event = None

    def session(self, limit: float) -> Steps[paramiko.Channel]:
        """Open a channel for one command, within `limit` seconds, and without the reader thread.

        Raises:
            Silent, ConnectionResetError: the connection is of no use.
            paramiko.ssh_exception.ChannelException: the host refuses another channel.
        """
        transport: Any = self
        request = paramiko.Message()
        if self.is_alive():
            yield MAY_BLOCK  # paramiko waits for the end of a key exchange before it sends
        self._stream.grace = _REST_OF_MESSAGE
        self.allowance.serve()
        with self.lock:
            number = transport._next_channel()
            channel: Any = paramiko.Channel(number)
            transport._channels.put(number, channel)
            transport.channels_seen[number] = True
            opened = transport.channel_events[number] = threading.Event()
            channel._set_transport(self)
            channel._set_window(self.default_window_size, self.default_max_packet_size)
        request.add_byte(cMSG_CHANNEL_OPEN)
        request.add_string("session")
        request.add_int(number)
        request.add_int(self.default_window_size)
        request.add_int(self.default_max_packet_size)
        channel.limit = limit
        channel.began = time.monotonic()
        channel.event = Awaited(self, limit, _NO_START)
        channel.exit_signal, channel.closed_by_peer = "", False
        try:
            transport._send_user_message(request)
            come = yield from self.until(opened.is_set, time.monotonic() + limit)
        except (EOFError, OSError, paramiko.SSHException):
            # A kept connection may have died since: it shows here, before anything is started.
            raise ConnectionResetError("connection closed") from None
        if not come:
            raise NoAnswer("no answer to the request for a channel")
        if transport._channels.get(number) is None:
            raise self.get_exception() or ConnectionResetError("connection closed")
        return channel  # type: ignore[no-any-return]

    def request(self, channel: Any, command: bytes, no_input: bool, first: bytes = b"") -> None:
        """Ask for a command on a channel of `session`; with `no_input` its standard input ends at once.

        It goes out with `flush`, or the next message that is read, and with it what is `first` on its
        standard input. What the channel's window does not take of that becomes the channel's `unsent`.
        """
        channel._event_pending()
        self._ask(channel, "exec", True, command)
        channel.unsent = first[self.send_data(channel, memoryview(first)) :] if first else b""
        if no_input and not channel.unsent:
            channel.shutdown_write()

    def signal(self, channel: Any, name: str) -> None:
        """Ask for the command on a channel to be sent a signal, such as TERM; there is no answer."""
        self._ask(channel, "signal", False, name.encode())

    def _ask(self, channel: Any, kind: str, wants_answer: bool, argument: bytes) -> None:
        request = paramiko.Message()
        request.add_byte(cMSG_CHANNEL_REQUEST)
        request.add_int(channel.remote_chanid)
        request.add_string(kind)
        request.add_boolean(wants_answer)
        request.add_string(argument)
        self._send_user_message(request)

    def confirmation(self, channel: Any) -> Steps[None]:
        """The answer to `request`.

        Raises:
            Silent, paramiko.SSHException: no answer, a refusal, or a broken connection.
        """
        come = True
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):  # told below
            come = yield from self.until(channel.event.is_set, time.monotonic() + channel.limit)
        if not come:
            raise NoAnswer(_NO_START)
        channel._wait_for_event()

    def _log(self, level: int, *args: Any) -> None:
        if self.logger.isEnabledFor(level):
            super()._log(level, *args)  # type: ignore[misc]

    def read_in_background(self) -> None:
        """Start the reader thread, unless it runs."""
        with self.lock:
            if self.active and not self.is_alive():
                self._stream.gathers = False
                self._stream.flush()
                self.start()

    def run(self) -> None:
        """Read until the connection ends."""
        try:
            self.pump(lambda: not self.active)
        except Exception:
            return  # those who wait were told

    def open_channel(self, *args: Any, **kwargs: Any) -> paramiko.Channel:
        """As paramiko's."""
        self.allowance.serve()
        self.read_in_background()
        return super().open_channel(*args, **kwargs)

    auth_none = _with_reader(paramiko.Transport.auth_none)
    auth_password = _with_reader(paramiko.Transport.auth_password)
    auth_interactive = _with_reader(paramiko.Transport.auth_interactive)
    global_request = _with_reader(paramiko.Transport.global_request)
    renegotiate_keys = _with_reader(paramiko.Transport.renegotiate_keys)

    def bound_writes(self, deadline: float | None) -> None:
        """Let what paramiko sends in its own ways wait no longer than until then, in monotonic seconds."""
        self._stream.write_deadline = deadline

    def flush(self) -> None:
        """Send what waits for the next message to be read, which takes with it what does not go at once."""
        self._stream.push()

    @property
    def sent(self) -> int:
        """Bytes that have gone."""
        return self._stream.sent

    def receive_data(self, channel: Any) -> list[Any]:
        """What has come on a channel's standard output, in pieces; they bypass paramiko's buffer from now on.

        `has_come` tells whether there are some.
        """
        pieces: list[Any] | None = getattr(channel, "pieces", None)
        channel.pieces, channel.unread = [], 0
        if pieces is None:
            channel.in_window_sofar += BULK - channel.in_window_size
            channel.in_window_threshold = BULK // 4
            pieces = []
        if channel.recv_ready():  # it came before the first call
            return [channel.recv(_WINDOW)]
        more = channel._check_add_window(sum(map(len, pieces)))
        if more > 0:
            adjust = paramiko.Message()
            adjust.add_byte(cMSG_CHANNEL_WINDOW_ADJUST)
            adjust.add_int(channel.remote_chanid)
            adjust.add_int(more)
            self._send_user_message(adjust)
        return pieces

    def has_come(self, channel: Any) -> bool:
        """Whether there is something for `receive_data`, and nothing more can be read without waiting.

        So what follows is done once for many packets.
        """
        packetizer: Any = self.packetizer
        return bool(channel.pieces) and not packetizer.holds_message()

    def send_data(self, channel: Any, data: memoryview) -> int:
        """Send what the channel's window takes of `data`; how many bytes. As Channel.send.

        Nothing waits: there has to be a window. It leaves with `sending`, or the next message that is read.
        """
        with channel.lock:
            count: int = min(len(data), channel.out_window_size)
            channel.out_window_size -= count
        for start in range(0, count, channel.out_max_packet_size):
            piece = data[start : min(start + channel.out_max_packet_size, count)]
            self._send_user_message(ChannelData(channel.remote_chanid, piece))
        return count

    def takes_more(self, channel: Any) -> bool:
        """Whether the channel has a window, and what was given before has mostly gone."""
        return channel.out_window_size > 0 and not channel.closed and self._stream.unsent() < _GATHERED

    def send(self, channel: Any, data: bytes, deadline: float | None) -> Steps[bool]:
        """Send all of something short; False where the deadline passed or the channel ended before.

        paramiko's own `sendall` waits for a window as long as the host likes.
        """
        rest = memoryview(data)
        while rest:
            ready = yield from self.until(lambda: channel.send_ready() or channel.closed, deadline)
            if not ready or channel.closed:
                return False
            rest = rest[self.send_data(channel, rest) :]
        return True

    def sending(self, deadline: float) -> Steps[bool]:
        """Steps that send what was gathered; False where the deadline passed first."""
        if not self._waitable or self.is_alive():
            yield MAY_BLOCK
            with contextlib.suppress(TooLate):
                self._stream.flush(deadline)
            return not self._stream.unsent()
        while not self._stream.push():
            if time.monotonic() >= deadline:
                return False
            yield WaitForIO(self.fileno(), deadline, writable=True)
        return True

    def close(self) -> None:
        """Close the connection; whoever reads it is woken up."""
        if self.active:
            self._break(EOFError("connection closed here"))


_channel_handlers = {
    **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
    MSG_CHANNEL_DATA: _channel_data,
    MSG_CHANNEL_EXTENDED_DATA: _channel_extended_data,
    MSG_CHANNEL_REQUEST: _channel_request,
    MSG_CHANNEL_CLOSE: _channel_close,
}
