"""Ciphers: how packets are sealed and opened under the key of one direction (RFC 4253, section 6).

Few copies and no loop over bytes: a large transfer is to cost little more than its encryption.
"""

import hmac
import os
import struct
from collections.abc import Sequence
from typing import Any, Protocol

import paramiko
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from .sockets import Piece
from .stream import Stream

#: Bytes of the largest packet that is accepted, as OpenSSH's, and of the tag of a cipher that authenticates.
LARGEST = 256 * 1024
_TAG = 16
_COUNTS = 2**64
#: Bytes under one key of a cipher with blocks of 16 bytes and of 8, as OpenSSH (RFC 4344, section 3.2).
_LIMIT, _LIMIT_OF_SMALL_BLOCKS = 2**36, 2**30


class PacketKey:
    """The key of one direction, and what has gone under it; what a cipher does is in its subclasses.

    A packet is 4 bytes with the length of the rest, one with the length of the padding, the payload and the
    padding; `number` is the packet's, which begins at 0 and counts on from key to key.
    """

    def __init__(self, block: int) -> None:
        self.block = block
        self.bytes = self.packets = 0
        #: Bytes after which there must be another key.
        self.limit = _LIMIT if block >= 16 else _LIMIT_OF_SMALL_BLOCKS

    def seal(self, number: int, parts: Sequence[Piece]) -> tuple[Piece, ...]:
        """What is sent for a payload that comes in parts."""
        raise NotImplementedError

    def open(self, number: int, stream: Stream) -> memoryview:
        """Read the next packet, without its length.

        Raises:
            paramiko.SSHException: it is none, or was not sent by the server.
        """
        raise NotImplementedError

    def holds(self, number: int, stream: Stream) -> bool:
        """Whether the whole of the next packet has been received."""
        raise NotImplementedError

    def _packet(self, parts: Sequence[Piece], apart: int) -> tuple[bytes, bytes]:
        """The length and the rest of a packet, of which `apart` bytes are not among the cipher's blocks."""
        size = sum(map(len, parts)) + 1
        padding = 3 + self.block - (size + 7 - apart) % self.block
        return struct.pack(">I", size + padding), b"".join((bytes((padding,)), *parts, os.urandom(padding)))

    def _size(self, head: bytes, apart: int) -> int:
        """The length of a packet, which its first 4 bytes say; counts it."""
        size = int.from_bytes(head[:4], "big")
        blocks = size + 4 - apart
        if size > LARGEST or blocks < self.block or blocks % self.block:
            raise paramiko.SSHException(f"not a packet: {size} bytes")
        self._count(size)
        return size

    def _count(self, size: int) -> None:
        self.bytes += size
        self.packets += 1


class Sealing(Protocol):
    """What seals, as cryptography's AESGCM."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """Encrypt and authenticate."""

    def decrypt(self, nonce: bytes, data: memoryview, associated_data: bytes) -> bytes:
        """Decrypt, or raise InvalidTag."""


class AesGcm(PacketKey):
    """AES-GCM (RFC 5647, as OpenSSH has it): the length is authenticated and not encrypted."""

    def __init__(self, engine: Sealing, first: bytes) -> None:
        super().__init__(block=16)
        self._engine = engine
        self._fixed, self._next = first[:4], int.from_bytes(first[4:], "big")

    def _nonce(self) -> bytes:
        nonce = self._fixed + self._next.to_bytes(8, "big")
        self._next = (self._next + 1) % _COUNTS
        return nonce

    def seal(self, number: int, parts: Sequence[Piece]) -> tuple[Piece, ...]:
        """As PacketKey's."""
        head, rest = self._packet(parts, apart=4)
        self._count(len(rest))
        return head, self._engine.encrypt(self._nonce(), rest, head)

    def open(self, number: int, stream: Stream) -> memoryview:
        """As PacketKey's."""
        head = bytes(stream.read(4))
        sealed = stream.read(self._size(head, apart=4) + _TAG)
        try:
            return memoryview(self._engine.decrypt(self._nonce(), sealed, head))
        except InvalidTag:
            raise paramiko.SSHException("Mismatched MAC") from None

    def holds(self, number: int, stream: Stream) -> bool:
        """As PacketKey's."""
        head = stream.peek(4)
        return len(head) == 4 and stream.held() >= 4 + int.from_bytes(head, "big") + _TAG


class ChaChaPoly(PacketKey):
    """ChaCha20 and Poly1305 (OpenSSH's PROTOCOL.chacha20poly1305), of a key with 64 bytes.

    The length is encrypted by the second half of the key. The first 32 bytes of the stream of the first half
    are the key by which the packet is authenticated; what encrypts it begins with the next block.
    """

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.poly1305 import Poly1305  # few servers need it

        super().__init__(block=8)
        self._poly1305 = Poly1305
        self._body, self._length = _ChaCha(key[:32]), _ChaCha(key[32:])

    def seal(self, number: int, parts: Sequence[Piece]) -> tuple[Piece, ...]:
        """As PacketKey's."""
        head, rest = self._packet(parts, apart=4)
        self._count(len(rest))
        body = self._body.at(number)
        authenticator = self._poly1305(body.update(bytes(64))[:32])
        head, sealed = self._length.at(number).update(head), body.update(rest)
        authenticator.update(head)
        authenticator.update(sealed)
        return head, sealed, authenticator.finalize()

    def open(self, number: int, stream: Stream) -> memoryview:
        """As PacketKey's."""
        head = bytes(stream.read(4))
        size = self._size(self._length.at(number).update(head), apart=4)
        sealed = stream.read(size + _TAG)
        body = self._body.at(number)
        authenticator = self._poly1305(body.update(bytes(64))[:32])
        authenticator.update(head)
        authenticator.update(sealed[:size])
        if not hmac.compare_digest(authenticator.finalize(), sealed[size:]):
            raise paramiko.SSHException("Mismatched MAC")
        return memoryview(body.update(sealed[:size]))

    def holds(self, number: int, stream: Stream) -> bool:
        """As PacketKey's."""
        head = stream.peek(4)
        if len(head) < 4:
            return False
        size = int.from_bytes(self._length.at(number).update(head), "big")
        return stream.held() >= 4 + size + _TAG


class _ChaCha:
    """A key of ChaCha20, whose stream begins anew with each packet."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._stream = self._begin(bytes(16))
        #: Which does not set up everything again; older releases of cryptography have none.
        self._restart = getattr(self._stream, "reset_nonce", None)

    def _begin(self, nonce: bytes) -> Any:
        return Cipher(algorithms.ChaCha20(self._key, nonce), mode=None).encryptor()

    def at(self, number: int) -> Any:
        """The stream for a packet: what encrypts also decrypts."""
        nonce = struct.pack("<Q", 0) + struct.pack(">Q", number)  # a counter of blocks, and OpenSSH's nonce
        if self._restart is None:
            return self._begin(nonce)
        self._restart(nonce)
        return self._stream


class WithMac(PacketKey):
    """A cipher that only encrypts, and a MAC of what is sent (`-etm@openssh.com`), or of what it says."""

    def __init__(
        self, engine: Any, block: int, mac: "hmac.HMAC", mac_size: int, encrypt_then_mac: bool
    ) -> None:
        super().__init__(block)
        self._engine, self._mac, self._mac_size = engine, mac, mac_size
        #: Bytes of the length, if they are not encrypted.
        self._apart = 4 if encrypt_then_mac else 0
        #: The beginning of the next packet, if it is decrypted already: that is done once.
        self._begun = b""

    def seal(self, number: int, parts: Sequence[Piece]) -> tuple[Piece, ...]:
        """As PacketKey's."""
        head, rest = self._packet(parts, self._apart)
        self._count(len(rest))
        if self._apart:
            sealed = self._engine.update(rest)
            return head, sealed, self._authenticated(number, head, sealed)
        return self._engine.update(head + rest), self._authenticated(number, head, rest)

    def open(self, number: int, stream: Stream) -> memoryview:
        """As PacketKey's."""
        begun = self._begin(bytes(stream.read(self._apart or self.block)))
        self._begun = b""
        size = self._size(begun, self._apart)
        left = size + 4 - len(begun)
        rest = stream.read(left + self._mac_size)
        if self._apart:
            self._verify(rest[left:], self._authenticated(number, begun, rest[:left]))
            return memoryview(self._engine.update(rest[:left]))
        mac = bytes(rest[left:])
        packet = begun + self._engine.update(rest[:left])
        self._verify(mac, self._authenticated(number, packet))
        return memoryview(packet)[4:]

    def holds(self, number: int, stream: Stream) -> bool:
        """As PacketKey's."""
        count = self._apart or self.block
        if stream.held() < count:
            return False
        begun = self._begin(stream.peek(count))
        return stream.held() >= 4 + int.from_bytes(begun[:4], "big") + self._mac_size

    def _begin(self, received: bytes) -> bytes:
        if self._apart:
            return received
        self._begun = self._begun or self._engine.update(received)
        return self._begun

    def _authenticated(self, number: int, *parts: Piece) -> bytes:
        mac = self._mac.copy()
        mac.update(struct.pack(">I", number))
        for part in parts:
            mac.update(part)
        return mac.digest()[: self._mac_size]

    def _verify(self, received: Piece, expected: bytes) -> None:
        if not hmac.compare_digest(received, expected):
            raise paramiko.SSHException("Mismatched MAC")


def packet_key(
    *,
    block_engine: Any,
    block_size: int,
    mac_engine: Any,
    mac_size: int,
    mac_key: bytes,
    etm: bool = False,
    aead: bool = False,
    iv_in: bytes | None = None,
    iv_out: bytes | None = None,
    sdctr: bool = False,
) -> PacketKey:
    """The key of a direction, of what paramiko's Packetizer is given for it."""
    if isinstance(block_engine, PacketKey):
        return block_engine
    if aead:
        return AesGcm(block_engine, iv_in or iv_out or b"")
    return WithMac(block_engine, block_size, hmac.new(mac_key, digestmod=mac_engine), mac_size, etm)
