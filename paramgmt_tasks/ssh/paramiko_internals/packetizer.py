"""Packets: SSH's binary packet protocol (RFC 4253, section 6) over a stream, AES-GCM in a way of its own.

paramiko copies the content of a packet eight times. Here it is copied once on its way out and not at all on
its way in, so that a large transfer costs little more than its encryption (RFC 5647).
"""

import os
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import paramiko
from cryptography.exceptions import InvalidTag
from paramiko.common import MSG_CHANNEL_DATA
from paramiko.packet import Packetizer

from .stream import Stream

_TAG = 16
_BLOCK = 16
#: Bytes of the largest packet that is taken, as OpenSSH's; of the largest MAC; and of a decompressed message.
_LARGEST = 256 * 1024
_MAC = 64
_INFLATED = 2 * _LARGEST
_COUNTS = 2**64


class ChannelData:
    """A piece of a channel's data on its way; stands where paramiko has a Message."""

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


class _Direction:
    """The key of one direction, the number used once that it is used with, and what has gone under it."""

    def __init__(self, engine: Any, first: bytes) -> None:
        self.engine = engine
        self._fixed, self._count = first[:4], int.from_bytes(first[4:], "big")
        self.bytes = self.packets = 0

    def once(self, size: int) -> bytes:
        """The number for the next packet, which has so many bytes."""
        self.bytes += size
        self.packets += 1
        number = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) % _COUNTS
        return number


class StreamPacketizer(Packetizer):
    """paramiko's packets over a stream with a deadline and a buffer of its own."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._stream: Stream = stream
        self._outbound: _Direction | None = None
        self._inbound: _Direction | None = None
        self._deflate: Any = None
        self._inflate: Any = None
        self._received = 0
        self._taken = 0

    def start_handshake(self, timeout: float) -> None:
        """Nothing: paramiko would start a timer thread for each host; the stream has a deadline."""

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Exactly `n` bytes.

        Raises:
            paramiko.SSHException: not as many as any packet has: paramiko does not check the length of one.
        """
        if not 0 <= n <= _LARGEST + _MAC:
            raise paramiko.SSHException(f"not a packet: {n} bytes")
        self._taken += n
        return bytes(self._stream.read(n))

    def readline(self, timeout: float) -> str:
        """A line; the stream's deadline holds, not `timeout`."""
        return self._stream.read_line().decode("utf-8", "replace")

    def write_all(self, out: Any) -> None:
        """Send, now or with what follows."""
        self._stream.write(out)

    # -- keys

    def set_outbound_cipher(self, *args: Any, **kwargs: Any) -> None:
        """As paramiko's."""
        super().set_outbound_cipher(*args, **kwargs)
        self._outbound = _direction(self._outbound, kwargs.get("block_engine"), kwargs.get("iv_out"))

    def set_inbound_cipher(self, *args: Any, **kwargs: Any) -> None:
        """As paramiko's."""
        super().set_inbound_cipher(*args, **kwargs)
        self._inbound = _direction(self._inbound, kwargs.get("block_engine"), kwargs.get("iv_in"))
        self._taken = 0

    def set_outbound_compressor(self, compressor: Any) -> None:
        """As paramiko's."""
        super().set_outbound_compressor(compressor)
        self._deflate = compressor

    def set_inbound_compressor(self, compressor: Any) -> None:
        """As paramiko's, with a bound for what a packet may become."""
        self._inflate = _Inflate()
        super().set_inbound_compressor(self._inflate)

    def reset_seqno_in(self) -> None:
        """As paramiko's."""
        super().reset_seqno_in()
        self._received = 0

    def received(self) -> int:
        """How many bytes have come under the key in use."""
        return self._taken if self._inbound is None else self._inbound.bytes

    def _used(self, key: _Direction) -> None:
        """Ask for new keys where this one has been used enough."""
        if (key.bytes >= self.REKEY_BYTES or key.packets >= self.REKEY_PACKETS) and not self.need_rekey():
            self._trigger_rekey()  # type: ignore[attr-defined]

    # -- packets

    def send_message(self, data: Any) -> None:
        """Send a message; its place among the others is that of the call."""
        key = self._outbound
        if key is None:
            super().send_message(data)
            return
        parts: Sequence[Any] = data.parts() if isinstance(data, ChannelData) else (data.asbytes(),)
        with self._stream.sending:
            if self._deflate is not None:
                parts = (self._deflate(b"".join(parts)),)
            size = sum(map(len, parts)) + 1
            padding = 3 + _BLOCK - (size + 3) % _BLOCK
            head = struct.pack(">I", size + padding)
            whole = b"".join((bytes((padding,)), *parts, os.urandom(padding)))
            self._stream.gather(head, key.engine.encrypt(key.once(len(whole)), whole, head))
        self._stream.gathered()
        self._used(key)

    def read_message(self) -> tuple[int, Any]:
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
            whole = memoryview(key.engine.decrypt(key.once(size), sealed, head))
        except InvalidTag:
            raise paramiko.SSHException("Mismatched MAC") from None
        payload = whole[1 : size - whole[0]]
        if self._inflate is not None:
            payload = memoryview(self._inflate(payload))
        if not payload:
            raise paramiko.SSHException("a packet without a message")
        message: Any
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
        """Whether the whole of a message was received already that is not read yet."""
        head = self._stream.peek(4)
        if self._inbound is None or len(head) < 4:
            return False
        return self._stream.held() >= 4 + int.from_bytes(head, "big") + _TAG


class _Inflate:
    """What decompresses messages; stands where paramiko has one without a bound."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()

    def __call__(self, data: bytes | memoryview) -> bytes:
        message = self._stream.decompress(data, _INFLATED)
        if self._stream.unconsumed_tail:
            raise paramiko.SSHException(f"a message of more than {_INFLATED} bytes")
        return message


def _direction(before: _Direction | None, engine: Any, first: bytes | None) -> _Direction | None:
    """A direction's new key; None where it has none of AES-GCM's."""
    if first is not None:
        return _Direction(engine, first)
    if before is not None:  # paramiko has not counted the packets, which other ciphers need
        raise paramiko.SSHException("the server went from AES-GCM to another cipher")
    return None
