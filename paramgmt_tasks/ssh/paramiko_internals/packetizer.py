"""Packets: SSH's binary packet protocol (RFC 4253, section 6) over a stream; what seals them is ciphers'.

paramiko copies the content of a packet eight times, and compares MACs byte by byte. Its own way is used only
until there are keys.
"""

import struct
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import paramiko
from paramiko.common import MSG_CHANNEL_DATA
from paramiko.compress import ZlibCompressor, ZlibDecompressor

from .ciphers import LARGEST, PacketKey, packet_key
from .sockets import Piece
from .stream import Stream
from .upstream import PrivatePacketizer

#: Bytes of the largest message once it is decompressed.
_INFLATED = 2 * LARGEST
_NUMBERS = 2**32


class ChannelData:
    """A piece of a channel's data on its way, in place of paramiko's Message."""

    def __init__(self, channel: int, data: memoryview) -> None:
        self._channel, self._data = channel, data
        self.seqno = 0

    def get_int(self) -> int:
        """The channel's number."""
        return self._channel

    def get_binary(self) -> memoryview:
        """The data."""
        return self._data

    def parts(self) -> tuple[bytes, memoryview]:
        """The message as it is sent, in parts."""
        return struct.pack(">BII", MSG_CHANNEL_DATA, self._channel, len(self._data)), self._data

    def asbytes(self) -> bytes:
        """The message as it is sent."""
        return b"".join(self.parts())


class StreamPacketizer(PrivatePacketizer):
    """paramiko's packets over a stream with a deadline and a buffer of its own."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)  # type: ignore[arg-type]
        self._stream = stream
        self._outbox = stream.outbox
        self._outbound: PacketKey | None = None
        self._inbound: PacketKey | None = None
        self._deflate: Callable[[bytes], bytes] | None = None
        self._inflate: Inflate | None = None
        #: The numbers of the next messages.
        self._sent = self._received = 0
        #: Bytes read before there were keys.
        self._read_in_clear = 0
        #: Seconds after which there are to be new keys, and since when those in use are.
        self._key_age: float | None = None
        self._keyed_at = 0.0

    def start_handshake(self, timeout: float) -> None:
        """Nothing: paramiko would start a timer thread for each host; the stream has a deadline."""

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Exactly `n` bytes.

        Raises:
            paramiko.SSHException: no packet has that many: paramiko does not check its length.
        """
        if not 0 <= n <= LARGEST:
            raise paramiko.SSHException(f"not a packet: {n} bytes")
        self._read_in_clear += n
        return bytes(self._stream.read(n))

    def readline(self, timeout: float) -> str:
        """A line; the stream's deadline holds, not `timeout`."""
        return self._stream.read_line().decode("utf-8", "replace")

    def write_all(self, out: Piece) -> None:  # type: ignore[override]
        """Send, now or with what follows."""
        self._outbox.write(out)

    # -- keys

    def set_outbound_cipher(self, *args: Any, **kwargs: Any) -> None:
        """As paramiko's, which names all that it gives."""
        super().set_outbound_cipher(*args, **kwargs)
        self._outbound = packet_key(**kwargs)
        self._keyed_at = time.monotonic()

    def set_inbound_cipher(self, *args: Any, **kwargs: Any) -> None:
        """As paramiko's, which names all that it gives."""
        super().set_inbound_cipher(*args, **kwargs)
        self._inbound = packet_key(**kwargs)

    def limit_keys(self, size: int | None, seconds: float | None) -> None:
        """Ask for new keys after that many bytes, and so many seconds, under those in use."""
        if size:
            self.REKEY_BYTES = size
        self._key_age = seconds

    def set_outbound_compressor(self, compressor: ZlibCompressor) -> None:
        """As paramiko's."""
        super().set_outbound_compressor(compressor)
        self._deflate = compressor

    def set_inbound_compressor(self, compressor: ZlibDecompressor) -> None:
        """As paramiko's, with a bound for what a packet may become."""
        self._inflate = Inflate()
        super().set_inbound_compressor(self._inflate)  # type: ignore[arg-type]

    def reset_seqno_out(self) -> None:
        """As paramiko's."""
        super().reset_seqno_out()
        self._sent = 0

    def reset_seqno_in(self) -> None:
        """As paramiko's."""
        super().reset_seqno_in()
        self._received = 0

    def received(self) -> int:
        """How many bytes have come under the key in use."""
        return self._read_in_clear if self._inbound is None else self._inbound.bytes

    def _used(self, key: PacketKey) -> None:
        """Ask for new keys once this one has been used enough."""
        much = key.bytes >= min(self.REKEY_BYTES, key.limit) or key.packets >= self.REKEY_PACKETS
        old = self._key_age is not None and time.monotonic() - self._keyed_at >= self._key_age
        if (much or old) and not self.need_rekey():
            self._trigger_rekey()

    # -- packets

    def send_message(self, data: paramiko.Message | ChannelData) -> None:
        """Send a message; messages leave in the order of the calls."""
        key = self._outbound
        if key is None:
            super().send_message(data)  # type: ignore[arg-type]
            self._sent += 1
            return
        parts: Sequence[Piece] = data.parts() if isinstance(data, ChannelData) else (data.asbytes(),)
        with self._outbox.lock:
            if self._deflate is not None:
                parts = (self._deflate(b"".join(parts)),)
            self._outbox.gather(*key.seal(self._sent, parts))
            self._sent = (self._sent + 1) % _NUMBERS
        self._outbox.gathered()
        self._used(key)

    def read_message(self) -> tuple[int, paramiko.Message]:
        """The number and the content of the next message.

        Raises:
            paramiko.SSHException: what comes is no packet, or was not sent by the server.
            EOFError, TooLate: nothing comes any more, or not in time.
        """
        key = self._inbound
        if key is None:
            kind, plain = super().read_message()
            self._received = plain.seqno + 1
            return kind, plain
        whole = key.open(self._received, self._stream)
        payload = whole[1 : len(whole) - whole[0]]
        if self._inflate is not None:
            payload = memoryview(self._inflate(payload))
        if not payload:
            raise paramiko.SSHException("a packet without a message")
        message: Any  # or it would have to be said at each use that a ChannelData has what is needed
        if payload[0] == MSG_CHANNEL_DATA and len(payload) >= 9:
            number, length = struct.unpack(">II", payload[1:9])
            if length != len(payload) - 9:  # one that is longer would be kept whole with its data
                raise paramiko.SSHException("a message that is shorter or longer than it says")
            message = ChannelData(number, payload[9 : 9 + length])
        else:
            message = paramiko.Message(bytes(payload[1:]))
        message.seqno = self._received
        self._received = (self._received + 1) % _NUMBERS
        self._used(key)
        return payload[0], message

    def holds_message(self) -> bool:
        """Whether the whole of a message that is not read yet has been received."""
        return self._inbound is not None and self._inbound.holds(self._received, self._stream)


class Inflate:
    """Decompresses messages, in place of paramiko's, which has no bound."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()

    def __call__(self, data: bytes | memoryview) -> bytes:
        """The message; raises paramiko.SSHException if it is too large."""
        message = self._stream.decompress(data, _INFLATED)
        if self._stream.unconsumed_tail:
            raise paramiko.SSHException(f"a message of more than {_INFLATED} bytes")
        return message
