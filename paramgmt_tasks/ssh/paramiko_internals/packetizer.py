"""Packets: SSH's binary packet protocol (RFC 4253, section 6) over a stream, with AES-GCM done here.

paramiko copies the content of a packet eight times. Here it is copied once on its way out and not at all on
its way in, so that a large transfer costs little more than its encryption (RFC 5647).
"""

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import paramiko
from cryptography.exceptions import InvalidTag
from paramiko.common import MSG_CHANNEL_DATA
from paramiko.compress import ZlibCompressor, ZlibDecompressor

from .sockets import Piece
from .stream import Stream
from .upstream import PrivatePacketizer

_TAG = 16
_BLOCK = 16
#: Bytes of the largest packet that is accepted, as OpenSSH's; of the largest MAC; of a decompressed message.
_LARGEST = 256 * 1024
_MAC = 64
_INFLATED = 2 * _LARGEST
_COUNTS = 2**64


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


class Key(Protocol):
    """An AES-GCM key, as cryptography's AESGCM."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """Encrypt and authenticate."""

    def decrypt(self, nonce: bytes, data: memoryview, associated_data: bytes) -> bytes:
        """Decrypt, or raise InvalidTag."""


class Direction:
    """The key of one direction, the nonce that it is used with, and what has gone under it."""

    def __init__(self, engine: Key, first: bytes) -> None:
        self.engine = engine
        self._fixed, self._count = first[:4], int.from_bytes(first[4:], "big")
        self.bytes = self.packets = 0

    def nonce(self, size: int) -> bytes:
        """The nonce for the next packet, which has `size` bytes."""
        self.bytes += size
        self.packets += 1
        nonce = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) % _COUNTS
        return nonce


class StreamPacketizer(PrivatePacketizer):
    """paramiko's packets over a stream with a deadline and a buffer of its own."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)  # type: ignore[arg-type]
        self._stream = stream
        self._outbox = stream.outbox
        self._outbound: Direction | None = None
        self._inbound: Direction | None = None
        self._deflate: Callable[[bytes], bytes] | None = None
        self._inflate: Inflate | None = None
        #: The number of the next message.
        self._received = 0
        #: Bytes read in paramiko's way since it has a key.
        self._read_under_key = 0

    def start_handshake(self, timeout: float) -> None:
        """Nothing: paramiko would start a timer thread for each host; the stream has a deadline."""

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Exactly `n` bytes.

        Raises:
            paramiko.SSHException: no packet has that many: paramiko does not check its length.
        """
        if not 0 <= n <= _LARGEST + _MAC:
            raise paramiko.SSHException(f"not a packet: {n} bytes")
        self._read_under_key += n
        return bytes(self._stream.read(n))

    def readline(self, timeout: float) -> str:
        """A line; the stream's deadline holds, not `timeout`."""
        return self._stream.read_line().decode("utf-8", "replace")

    def write_all(self, out: Piece) -> None:  # type: ignore[override]
        """Send, now or with what follows."""
        self._outbox.write(out)

    # -- keys

    def set_outbound_cipher(self, *args: Any, **kwargs: Any) -> None:
        """As paramiko's."""
        super().set_outbound_cipher(*args, **kwargs)
        self._outbound = _direction(self._outbound, kwargs.get("block_engine"), kwargs.get("iv_out"))

    def set_inbound_cipher(self, *args: Any, **kwargs: Any) -> None:
        """As paramiko's."""
        super().set_inbound_cipher(*args, **kwargs)
        self._inbound = _direction(self._inbound, kwargs.get("block_engine"), kwargs.get("iv_in"))
        self._read_under_key = 0

    def set_outbound_compressor(self, compressor: ZlibCompressor) -> None:
        """As paramiko's."""
        super().set_outbound_compressor(compressor)
        self._deflate = compressor

    def set_inbound_compressor(self, compressor: ZlibDecompressor) -> None:
        """As paramiko's, with a bound for what a packet may become."""
        self._inflate = Inflate()
        super().set_inbound_compressor(self._inflate)  # type: ignore[arg-type]

    def reset_seqno_in(self) -> None:
        """As paramiko's."""
        super().reset_seqno_in()
        self._received = 0

    def received(self) -> int:
        """How many bytes have come under the key in use."""
        return self._read_under_key if self._inbound is None else self._inbound.bytes

    def _used(self, key: Direction) -> None:
        """Ask for new keys once this one has been used enough."""
        if (key.bytes >= self.REKEY_BYTES or key.packets >= self.REKEY_PACKETS) and not self.need_rekey():
            self._trigger_rekey()

    # -- packets

    def send_message(self, data: paramiko.Message | ChannelData) -> None:
        """Send a message; messages leave in the order of the calls."""
        key = self._outbound
        if key is None:
            super().send_message(data)  # type: ignore[arg-type]
            return
        parts: Sequence[Piece] = data.parts() if isinstance(data, ChannelData) else (data.asbytes(),)
        with self._outbox.lock:
            if self._deflate is not None:
                parts = (self._deflate(b"".join(parts)),)
            size = sum(map(len, parts)) + 1
            padding = 3 + _BLOCK - (size + 3) % _BLOCK
            head = struct.pack(">I", size + padding)
            whole = b"".join((bytes((padding,)), *parts, os.urandom(padding)))
            self._outbox.gather(head, key.engine.encrypt(key.nonce(len(whole)), whole, head))
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
        head = bytes(self._stream.read(4))
        (size,) = struct.unpack(">I", head)
        if size > _LARGEST or size < _BLOCK or size % _BLOCK:
            raise paramiko.SSHException(f"not a packet: {size} bytes")
        try:
            sealed = self._stream.read(size + _TAG)
            whole = memoryview(key.engine.decrypt(key.nonce(size), sealed, head))
        except InvalidTag:
            raise paramiko.SSHException("Mismatched MAC") from None
        payload = whole[1 : size - whole[0]]
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
        self._received = (self._received + 1) % 2**32
        self._used(key)
        return payload[0], message

    def holds_message(self) -> bool:
        """Whether the whole of a message that is not read yet has been received."""
        head = self._stream.peek(4)
        if self._inbound is None or len(head) < 4:
            return False
        return self._stream.held() >= 4 + int.from_bytes(head, "big") + _TAG


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


def _direction(before: Direction | None, engine: Key | None, first: bytes | None) -> Direction | None:
    """A direction's new key; None if it is not one of AES-GCM's."""
    if engine is not None and first is not None:
        return Direction(engine, first)
    if before is not None:  # paramiko has not counted the packets, which other ciphers need
        raise paramiko.SSHException("the server went from AES-GCM to another cipher")
    return None
