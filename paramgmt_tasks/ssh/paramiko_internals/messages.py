"""Messages: each is read from the connection, checked, and handed to what handles it, here or in paramiko.

What `step` and `_dispatch` do is what the loop of paramiko's `Transport.run` does in its thread (RFC 4253).
"""

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

import paramiko
from paramiko.common import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_EXT_INFO,
    MSG_IGNORE,
    MSG_KEXINIT,
    MSG_UNIMPLEMENTED,
    MSG_USERAUTH_INFO_REQUEST,
    cMSG_GLOBAL_REQUEST,
    cMSG_UNIMPLEMENTED,
)

from ...steps import MAY_BLOCK, Steps, WaitForIO
from ..allowance import KEX_METHOD, Allowance, check_prompts, extensions
from ..failures import Silent
from .message_pump import MessagePump
from .packetizer import ChannelData, StreamPacketizer
from .sockets import SocketLike, TooLate
from .stream import Stream
from .upstream import PrivateChannel, PrivateTransport

ChannelHandler = Callable[["MessageTransport", PrivateChannel, paramiko.Message], None]

_DATA = (MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA)
#: How OpenSSH says that an authorized_keys line has command="…", since and before its version 7.7.
_FORCED = re.compile(rb"key options:.* command\b|^Forced command")
#: Seconds between two looks whether a key exchange is over.
_KEYS_PAUSE = 0.05
#: Bytes of a text for debugging that are looked at.
_DEBUG_TEXT = 1024
#: Bytes kept of why a server ends a connection.
_FAREWELL = 1024


class MessageTransport(PrivateTransport):
    """The messages of one connection: who reads them, what is done with each, and what is sent."""

    packetizer: StreamPacketizer
    #: What is done with messages of a channel; of those that are not named paramiko's own table says it.
    channel_handlers: ClassVar[Mapping[int, ChannelHandler]] = {}

    def __init__(self, sock: SocketLike, **options: object) -> None:
        self._stream = Stream(sock)
        self._outbox = self._stream.outbox
        super().__init__(self._stream, packetizer_class=StreamPacketizer, **options)  # type: ignore[arg-type]
        self._pump = MessagePump(self._stream)
        #: What is to be sent once keys are exchanged, by the thread that has to read on for that.
        self._held: list[paramiko.Message | ChannelData] = []
        # Bound to it they would keep a transport that nobody uses any more until Python looks for cycles.
        bound = self.__dict__.pop("_handler_table")
        self._handlers = {kind: handler.__func__ for kind, handler in bound.items()}
        self._handlers[MSG_EXT_INFO] = MessageTransport._on_extensions
        #: What else than data the host may send.
        self.allowance = Allowance()
        #: Whether the server says that the key runs one command only, whatever it is asked for.
        self.forced = False
        #: Why the server has ended the connection, if it said so.
        self.farewell = b""

    @property
    def distrust(self) -> str:
        """Why the host must not be sent a password; empty if it may."""
        return ""

    # -- waiting for them

    def until(self, done: Callable[[], bool], deadline: float | None = None) -> Steps[bool]:
        """Steps that read messages until `done`, see MessagePump.until."""
        return self._pump.until(self, done, deadline)

    def pump(self, done: Callable[[], bool], deadline: float | None = None) -> bool:
        """Read messages until `done`, see MessagePump.pump."""
        return self._pump.pump(self, done, deadline)

    def watch_over(self, interval: float, most: int) -> None:
        """Find out that the host does not answer any more, see Pulse.begin."""
        self._pump.pulse.begin(interval, most)

    @property
    def is_silent(self) -> bool:
        """Whether the connection was broken off because the host did not answer any more."""
        return isinstance(self.saved_exception, Silent)

    def ask_for_sign(self) -> None:
        """Send what the host answers at once if it lives (OpenSSH's PROTOCOL, keepalive@openssh.com)."""
        if not self.clear_to_send.is_set():
            return  # a key exchange is under way, in which nothing else may be sent
        question = paramiko.Message()
        question.add_byte(cMSG_GLOBAL_REQUEST)
        question.add_string("keepalive@openssh.com")
        question.add_boolean(True)
        self.send_message(question)
        self.flush()

    def look_again(self) -> None:
        """Have all threads that wait ask again whether what they wait for is there."""
        self._pump.look_again()

    @property
    def on_stall(self) -> Callable[[], object]:
        """Called when the host keeps its thread waiting, on which others may count."""
        return self._outbox.on_stall

    @on_stall.setter
    def on_stall(self, called: Callable[[], object]) -> None:
        self._outbox.on_stall = called

    # -- reading

    def holds_message(self) -> bool:
        """Whether the whole of a message that is not read yet is here; not told while another thread reads.

        To look at it is to decrypt its beginning, by what that thread decrypts with.
        """
        return not self._pump.is_read_elsewhere() and self.packetizer.holds_message()

    def step(self) -> None:
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

    def _next_message(self) -> tuple[int, paramiko.Message]:
        packetizer = self.packetizer
        if packetizer.need_rekey() and not self.in_kex and self.authenticated:  # before, some servers cannot
            self._send_kex_init()
        kind, message = packetizer.read_message()
        allowance = self.allowance
        if kind not in _DATA:
            allowance.no_data()
        if kind == MSG_KEXINIT:
            allowance.key_exchange(kind, message)
            allowance.new_keys(packetizer.received(), self._outbox.sent, ours=self.in_kex)
        elif kind in KEX_METHOD:
            allowance.key_exchange(kind, message)
            allowance.method(getattr(self.kex_engine, "name", ""))
        elif kind == MSG_USERAUTH_INFO_REQUEST:
            check_prompts(message)
        return kind, message

    def _dispatch(self, kind: int, message: paramiko.Message) -> None:
        """Hand a message to its handler, as RFC 4253 has it and paramiko's own thread does."""
        if kind in (MSG_IGNORE, MSG_DEBUG):
            if kind == MSG_DEBUG:
                message.get_boolean()
                self.forced |= _FORCED.search(message.get_binary()[:_DEBUG_TEXT]) is not None
            self._enforce_strict_kex(kind)
            return
        if kind == MSG_DISCONNECT:
            position = message.packet.tell()
            message.get_int()
            self.farewell = message.get_string()[:_FAREWELL] or b"disconnected"
            message.packet.seek(position)
            self._parse_disconnect(message)
            raise EOFError("disconnected by the server")
        if self._expected_packet:
            if kind not in self._expected_packet:
                raise paramiko.SSHException(f"message {kind} out of order in the key exchange")
            self._expected_packet = ()
            if kind in KEX_METHOD and self.kex_engine is not None:
                self.kex_engine.parse_next(kind, message)
                return
        if kind in self._handlers:
            self._handlers[kind](self, message)
        elif kind in self._channel_handler_table:
            self._hand_to_channel(kind, message)
        elif self.auth_handler is not None and kind in self.auth_handler._handler_table:
            self.auth_handler._handler_table[kind](message)
        elif kind != MSG_UNIMPLEMENTED:
            self._answer_unimplemented(message)
        while self._held and self.clear_to_send.is_set():
            self._send_message(self._held.pop(0))

    def _on_extensions(self, message: paramiko.Message) -> None:
        self.server_extensions = extensions(message)

    def _answer_unimplemented(self, message: paramiko.Message) -> None:
        answer = paramiko.Message()
        answer.add_byte(cMSG_UNIMPLEMENTED)
        answer.add_int(message.seqno)
        self._send_message(answer)

    def _hand_to_channel(self, kind: int, message: paramiko.Message) -> None:
        number = message.get_int()
        channel = self._channels.get(number)
        if channel is not None:
            handler = self.channel_handlers.get(kind)
            if handler is not None:
                handler(self, channel, message)
            else:
                self._channel_handler_table[kind](channel, message)
            return
        if number not in self.channels_seen:
            raise paramiko.SSHException(f"message for a channel that was never opened: {number}")
        if kind == MSG_CHANNEL_EXTENDED_DATA:
            message.get_int()  # its kind
        if kind in _DATA:
            self.allowance.late_data(number, len(message.get_binary()))
        else:
            self.allowance.no_data()

    # -- sending

    def send_message(self, data: paramiko.Message | ChannelData) -> None:
        """Send a message, after the end of a key exchange that is under way."""
        if isinstance(data, ChannelData) or data.packet.getbuffer()[0] == MSG_CHANNEL_DATA:
            self.allowance.serve()
        # paramiko waits for the end of the key exchange, also in the thread that has to bring it about.
        with self.clear_to_send_lock:
            if self.active and self.clear_to_send.is_set():
                self.packetizer.send_message(data)
                return
        if self._pump.reads_here() and not self.clear_to_send.is_set():
            self._held.append(data)
        else:
            super()._send_user_message(data)

    #: By which name paramiko's channels send.
    _send_user_message = send_message  # type: ignore[assignment]

    def flush(self) -> None:
        """Send what was gathered as far as it goes at once; the rest goes when the next message is read."""
        self._outbox.push()

    def takes(self) -> bool:
        """Whether what is sent now leaves at once."""
        return self._outbox.push() and self.clear_to_send.is_set()

    def wait_for_room(self, until: float) -> None:
        """Wait in this thread until more can leave, or until monotonic seconds."""
        if self._outbox.unsent():
            self._outbox.wait_for_room(until)
        else:  # a key exchange is under way
            time.sleep(max(0.0, min(until - time.monotonic(), _KEYS_PAUSE)))

    def drained(self, deadline: float) -> Steps[bool]:
        """Steps that send what was gathered; False if the deadline passes first."""
        if not self._stream.waitable or self.is_alive():
            yield MAY_BLOCK
            with contextlib.suppress(TooLate):
                self._outbox.flush(deadline)
            return not self._outbox.unsent()
        while not self._outbox.push():
            if time.monotonic() >= deadline:
                return False
            self._pump.look(self)
            yield WaitForIO(self.fileno(), self._pump.pulse.earlier(deadline), writable=True)
        return True

    def unsent(self) -> int:
        """How many pieces were gathered and have not gone yet."""
        return self._outbox.unsent()

    @property
    def sent(self) -> int:
        """Bytes that have gone."""
        return self._outbox.sent

    def set_grace(self, seconds: float) -> None:
        """Give the rest of a message that has begun to come some time more than a deadline has."""
        self._stream.grace = seconds

    def bound_writes(self, deadline: float | None) -> None:
        """Let what paramiko sends in its own ways wait no longer than until then, in monotonic seconds."""
        self._outbox.write_deadline = deadline

    # -- the end

    def break_off(self, error: BaseException) -> None:
        """The connection is of no use any more: wake up all who wait."""
        self.saved_exception = error  # type: ignore[assignment]
        self.active = False
        self.packetizer.close()
        if self.auth_handler is not None:
            self.auth_handler.abort()
        for event in self.channel_events.values():
            event.set()
        for channel in list(self._channels.values()):
            channel._unlink()
        self._pump.broken()

    def close(self) -> None:
        """Close the connection; whoever reads it is woken up."""
        if self.active:
            self.break_off(EOFError("connection closed here"))

    def fileno(self) -> int:
        """The descriptor that becomes readable when a message comes; -1 once closed."""
        return self._stream.fileno()

    def _log(self, level: int, msg: object, *args: object) -> None:
        if self.logger.isEnabledFor(level):
            super()._log(level, msg, *args)
