"""An SSH server that costs next to nothing, so that what is measured beside it is the client.

It knows one algorithm of each kind (curve25519-sha256, ssh-ed25519, aes128-gcm@openssh.com), and guards
nothing: it lets in whoever comes with a key, without a look at the signature; one key pair serves the key
exchanges of all connections; padding is zeros. Who wants new keys is disconnected. It is one process, and so
takes one core at most. Commands: `whoami`, `sleep N`, `megabyte`; they have no input.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

#: Message numbers of RFC 4250, section 4.1.2, and RFC 8731.
_DISCONNECT, _IGNORE, _UNIMPLEMENTED, _DEBUG, _SERVICE_REQUEST, _SERVICE_ACCEPT = 1, 2, 3, 4, 5, 6
_KEXINIT, _NEWKEYS, _ECDH_INIT, _ECDH_REPLY = 20, 21, 30, 31
_AUTH_REQUEST, _AUTH_FAILURE, _AUTH_SUCCESS, _AUTH_PK_OK = 50, 51, 52, 60
_GLOBAL_REQUEST, _REQUEST_FAILURE = 80, 82
_OPEN, _OPEN_CONFIRMATION, _OPEN_FAILURE, _WINDOW_ADJUST, _DATA = 90, 91, 92, 93, 94
_EOF, _CLOSE, _REQUEST, _SUCCESS, _FAILURE = 96, 97, 98, 99, 100

_VERSION = b"SSH-2.0-lean"
_CIPHER = b"aes128-gcm@openssh.com"
#: As the lists of KEXINIT stand. Clients want a MAC in common, though the cipher brings its own.
_ALGORITHMS = (
    b"curve25519-sha256,curve25519-sha256@libssh.org",
    b"ssh-ed25519",
    *(_CIPHER, _CIPHER),
    *(b"hmac-sha2-256,hmac-sha1", b"hmac-sha2-256,hmac-sha1"),
    *(b"none", b"none"),
    *(b"", b""),
)
_TAG, _BLOCK = 16, 16
#: Bytes of the largest packet that is taken; of a packet's data, whatever more the client takes; of what a
#: command may be sent, which is thrown away.
_LARGEST, _PIECE, _INPUT = 256 * 1024, 32768, 2**31 - 1
#: Packets that are written together.
_TOGETHER = 8
_LINE = b"0123456789abcdef" * 4 + b"\n"
_MEGABYTE = (_LINE * 15385)[:999_999] + b"\n"


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _mpint(data: bytes) -> bytes:
    data = data.lstrip(b"\0")
    return _string(b"\0" + data if data and data[0] & 0x80 else data)


class _Fields:
    """Reads the fields of a message, from its second byte on."""

    def __init__(self, message: bytes) -> None:
        self._message, self._at = message, 1

    def string(self) -> bytes:
        start = self._at + 4
        self._at = start + self.number()
        return self._message[start : self._at]

    def number(self) -> int:
        self._at += 4
        return int.from_bytes(self._message[self._at - 4 : self._at], "big")

    def boolean(self) -> bool:
        self._at += 1
        return self._message[self._at - 1] != 0


class _Key:
    """What one direction is encrypted with (RFC 5647)."""

    def __init__(self, key: bytes, first: bytes) -> None:
        self.cipher = AESGCM(key)
        self._fixed, self._count = first[:4], int.from_bytes(first[4:], "big")

    def once(self) -> bytes:
        """The number for the next packet."""
        number = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) % 2**64
        return number


def _padded(payload: bytes) -> bytes:
    padding = 4 + -(len(payload) + 5) % _BLOCK
    return b"".join((bytes((padding,)), payload, bytes(padding)))


@lru_cache(256)
def _data_packet(text: bytes, start: int, count: int, channel: int) -> bytes:
    """A packet of channel data before it is encrypted: the same for each host."""
    return _padded(struct.pack(">BII", _DATA, channel, count) + text[start : start + count])


class Host:
    """What all connections have in common: the host's keys, and what they make known."""

    def __init__(self, host_key: Path) -> None:
        key = load_ssh_private_key(host_key.read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        self._key = key
        self._exchange = X25519PrivateKey.generate()
        self.public = _string(b"ssh-ed25519") + _string(key.public_key().public_bytes_raw())
        self.ephemeral = self._exchange.public_key().public_bytes_raw()
        lists = b"".join(map(_string, _ALGORITHMS))
        self.kexinit = bytes((_KEXINIT,)) + os.urandom(16) + lists + bytes(5)

    def agree(self, version: bytes, kexinit: bytes, theirs: bytes) -> tuple[bytes, bytes, bytes]:
        """The shared secret, as it is hashed, the hash of the exchange, and its signature."""
        secret = _mpint(self._exchange.exchange(X25519PublicKey.from_public_bytes(theirs)))
        parts = (version, _VERSION, kexinit, self.kexinit, self.public, theirs, self.ephemeral)
        digest = sha256(b"".join((*map(_string, parts), secret))).digest()
        return secret, digest, self._key.sign(digest)


@dataclass
class _Channel:
    """A session: its number there, what may be sent to it, and what its command prints."""

    number: int
    window: int
    piece: int
    started: bool = False
    text: bytes = b""
    sent: int = 0
    timer: asyncio.TimerHandle | None = None
    closed: bool = False


class Connection(asyncio.BufferedProtocol):
    """One client."""

    #: One for all: what comes is taken out of it at once.
    _room = memoryview(bytearray(65536))

    def __init__(self, host: Host) -> None:
        self._host = host
        self._received = b""
        self._unsent: list[bytes] = []
        self._outbound: _Key | None = None
        self._inbound: _Key | None = None
        self._agreed: _Key | None = None
        self._version = self._kexinit = b""
        self._taken = 0
        self._channels: dict[int, _Channel] = {}
        self._paused = False

    # -- the connection

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=0)
        self._unsent.append(_VERSION + b"\r\n")
        self._send(self._host.kexinit)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._room

    def buffer_updated(self, count: int) -> None:
        self._received += self._room[:count]
        try:
            self._take()
        except (ConnectionError, InvalidTag, IndexError, KeyError, ValueError) as error:
            print(f"disconnected: {error!r}", flush=True)
            self._transport.close()
        else:
            self._flush()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        for channel in list(self._channels.values()):
            self._go_on(channel)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        for channel in self._channels.values():
            if channel.timer is not None:
                channel.timer.cancel()
        self._channels.clear()

    # -- packets

    def _take(self) -> None:
        """Take the messages that have come, as far as they are whole."""
        if not self._version:
            line, end, rest = self._received.partition(b"\n")
            if not end:
                return
            self._version, self._received = line.rstrip(b"\r"), rest
        received, at = self._received, 0
        while len(received) - at >= 4:
            size = int.from_bytes(received[at : at + 4], "big")
            if not 5 <= size <= _LARGEST:
                raise ValueError(f"not a packet: {size} bytes")
            key = self._inbound
            end = at + 4 + size + (_TAG if key else 0)
            if len(received) < end:
                break
            packet = received[at + 4 : end]
            if key is not None:
                packet = key.cipher.decrypt(key.once(), packet, received[at : at + 4])
            at = end
            message = packet[1 : size - packet[0]]
            handler = _HANDLERS.get(message[0])
            if handler is not None:
                handler(self, message)
            else:
                self._send(struct.pack(">BI", _UNIMPLEMENTED, self._taken))
            self._taken += 1
        self._received = received[at:]

    def _send(self, payload: bytes) -> None:
        """Send a message, with what follows it until `_flush`."""
        if self._outbound is not None:
            self._seal(self._outbound, _padded(payload))
        else:
            padding = 4 + -(len(payload) + 9) % 8
            head = struct.pack(">IB", len(payload) + padding + 1, padding)
            self._unsent += (head, payload, bytes(padding))

    def _seal(self, key: _Key, packet: bytes) -> None:
        head = len(packet).to_bytes(4, "big")
        self._unsent += (head, key.cipher.encrypt(key.once(), packet, head))

    def _flush(self) -> None:
        if self._unsent:
            self._transport.writelines(self._unsent)
            self._unsent = []

    # -- keys

    def _on_kexinit(self, message: bytes) -> None:
        fields = _Fields(message[16:])
        offered = [fields.string().split(b",") for _ in range(8)]
        wanted = zip(_ALGORITHMS, offered, (1, 1, 1, 1, 0, 0, 1, 1), strict=False)
        if any(needed and not set(ours.split(b",")) & set(theirs) for ours, theirs, needed in wanted):
            raise ConnectionError(f"no algorithm in common: {offered}")
        if self._kexinit or message[-5]:
            raise ConnectionError("no second key exchange, and no guesses")
        self._kexinit = message

    def _on_ecdh_init(self, message: bytes) -> None:
        host, theirs = self._host, _Fields(message).string()
        secret, digest, signature = host.agree(self._version, self._kexinit, theirs)
        signed = _string(b"ssh-ed25519") + _string(signature)
        self._send(bytes((_ECDH_REPLY,)) + b"".join(map(_string, (host.public, host.ephemeral, signed))))
        self._send(bytes((_NEWKEYS,)))

        def derived(letter: bytes) -> bytes:
            return sha256(secret + digest + letter + digest).digest()

        self._agreed = _Key(derived(b"C")[:16], derived(b"A")[:12])
        self._outbound = _Key(derived(b"D")[:16], derived(b"B")[:12])

    def _on_newkeys(self, message: bytes) -> None:
        if self._agreed is None:
            raise ConnectionError("new keys before they are agreed upon")
        self._inbound = self._agreed

    # -- logging in

    def _on_service_request(self, message: bytes) -> None:
        self._send(bytes((_SERVICE_ACCEPT,)) + message[1:])

    def _on_auth_request(self, message: bytes) -> None:
        fields = _Fields(message)
        fields.string(), fields.string()
        if fields.string() != b"publickey":
            self._send(bytes((_AUTH_FAILURE,)) + _string(b"publickey") + b"\0")
        elif fields.boolean():
            self._send(bytes((_AUTH_SUCCESS,)))
        else:
            self._send(bytes((_AUTH_PK_OK,)) + _string(fields.string()) + _string(fields.string()))

    def _on_global_request(self, message: bytes) -> None:
        fields = _Fields(message)
        fields.string()
        if fields.boolean():
            self._send(bytes((_REQUEST_FAILURE,)))

    # -- channels

    def _on_open(self, message: bytes) -> None:
        fields = _Fields(message)
        kind, theirs, window, piece = fields.string(), fields.number(), fields.number(), fields.number()
        if kind != b"session":
            self._send(struct.pack(">BIIII", _OPEN_FAILURE, theirs, 3, 0, 0))
            return
        ours = max(self._channels, default=-1) + 1
        self._channels[ours] = _Channel(theirs, window, min(piece, _PIECE))
        self._send(struct.pack(">BIIII", _OPEN_CONFIRMATION, theirs, ours, _INPUT, _PIECE))

    def _on_window_adjust(self, message: bytes) -> None:
        fields = _Fields(message)
        channel = self._channels.get(fields.number())
        if channel is not None:
            channel.window += fields.number()
            self._go_on(channel)

    def _on_request(self, message: bytes) -> None:
        fields = _Fields(message)
        channel = self._channels.get(fields.number())
        if channel is None:
            return
        kind, answered = fields.string(), fields.boolean()
        known = kind == b"exec" and not channel.started
        if answered:
            self._send(struct.pack(">BI", _SUCCESS if known else _FAILURE, channel.number))
        if known:
            self._start(channel, *fields.string().split())

    def _start(self, channel: _Channel, name: bytes = b"?", *words: bytes) -> None:
        channel.started = True
        if name == b"sleep":
            loop = asyncio.get_running_loop()
            channel.timer = loop.call_later(float(words[0]), self._slept, channel)
        else:
            channel.text = _TEXTS.get(name, b"?\n")
            self._go_on(channel)

    def _slept(self, channel: _Channel) -> None:
        channel.text = b"slept\n"
        self._go_on(channel)
        self._flush()

    def _go_on(self, channel: _Channel) -> None:
        """Send of a channel's text what it and the connection take; after its end, that it has ended."""
        left = len(channel.text) - channel.sent
        while left and channel.window and not self._paused:
            assert self._outbound is not None
            for _ in range(_TOGETHER):
                count = min(left, channel.window, channel.piece)
                if not count:
                    break
                self._seal(self._outbound, _data_packet(channel.text, channel.sent, count, channel.number))
                channel.sent += count
                channel.window -= count
                left -= count
            if left:
                self._flush()
        if channel.text and not left and not channel.closed:
            channel.closed = True
            status = _string(b"exit-status") + bytes(5)
            self._send(struct.pack(">BI", _REQUEST, channel.number) + status)
            self._send(struct.pack(">BI", _EOF, channel.number))
            self._send(struct.pack(">BI", _CLOSE, channel.number))

    def _on_close(self, message: bytes) -> None:
        channel = self._channels.pop(_Fields(message).number(), None)
        if channel is None:
            return
        if channel.timer is not None:
            channel.timer.cancel()
        if not channel.closed:
            self._send(struct.pack(">BI", _CLOSE, channel.number))

    def _on_disconnect(self, message: bytes) -> None:
        self._transport.close()

    def _on_nothing(self, message: bytes) -> None:
        pass


_TEXTS = {b"whoami": b"root\n", b"megabyte": _MEGABYTE}
_HANDLERS: dict[int, Callable[[Connection, bytes], None]] = {
    _DISCONNECT: Connection._on_disconnect,
    _IGNORE: Connection._on_nothing,
    _UNIMPLEMENTED: Connection._on_nothing,
    _DEBUG: Connection._on_nothing,
    _SERVICE_REQUEST: Connection._on_service_request,
    _KEXINIT: Connection._on_kexinit,
    _NEWKEYS: Connection._on_newkeys,
    _ECDH_INIT: Connection._on_ecdh_init,
    _AUTH_REQUEST: Connection._on_auth_request,
    _GLOBAL_REQUEST: Connection._on_global_request,
    _OPEN: Connection._on_open,
    _WINDOW_ADJUST: Connection._on_window_adjust,
    _DATA: Connection._on_nothing,
    _EOF: Connection._on_nothing,
    _CLOSE: Connection._on_close,
    _REQUEST: Connection._on_request,
}


async def _serve(port: int, host: Host) -> None:
    loop = asyncio.get_running_loop()
    sock = socket.create_server(("0.0.0.0", port), backlog=4096)
    await loop.create_server(lambda: Connection(host), sock=sock)
    print("ready", flush=True)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("host_key", type=Path)
    given = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
    asyncio.run(_serve(given.port, Host(given.host_key)))


if __name__ == "__main__":
    main()
