"""An SSH server that does what it is told, right or wrong: one connection after the other, as asyncio code.

It knows one algorithm of each kind (curve25519-sha256, ssh-ed25519, aes128-gcm@openssh.com), lets everybody
in, and plays the host's part of commands, pushes and pulls. Before each of its own messages it calls `stage`,
which those who want to do something else override.
"""

import asyncio
import contextlib
import os
import re
import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = 1, 2, 3, 4, 5, 6, 7
KEXINIT, NEWKEYS, ECDH_INIT, ECDH_REPLY = 20, 21, 30, 31
AUTH_REQUEST, AUTH_FAILURE, AUTH_SUCCESS, AUTH_BANNER, AUTH_PK_OK = 50, 51, 52, 53, 60
GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
OPEN, OPENED, NOT_OPENED, ADJUST, DATA, STDERR, EOF, CLOSE, REQUEST, SUCCESS, FAILURE = range(90, 101)

#: Where something else can be done, in this order.
STAGES = (
    *("version", "kexinit", "kex-reply", "newkeys", "after-newkeys", "service", "auth", "after-auth"),
    *("open", "exec", "data", "exit", "close"),
)
_VERSION = b"SSH-2.0-peer"
_LISTS = (
    *(b"curve25519-sha256,curve25519-sha256@libssh.org", b"ssh-ed25519"),
    *(b"aes128-gcm@openssh.com", b"aes128-gcm@openssh.com"),
    *(b"hmac-sha2-256", b"hmac-sha2-256", b"none", b"none", b"", b""),
)
_TAG = 16
#: Bytes of input that a command is let to send.
_INPUT = 2**31 - 1


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _mpint(data: bytes) -> bytes:
    data = data.lstrip(b"\0")
    return string(b"\0" + data if data and data[0] & 0x80 else data)


def plain(command: bytes) -> bytes:
    """A command without what carries it past login shells, see ssh/login_shell.py."""
    words = re.search(rb"""printf %b "\$@"\)"' sh (.*)""", command, re.DOTALL)
    if not words:
        return command
    joined = b"".join(re.findall(rb"'([^']*)'", words[1]))
    return plain(re.sub(rb"\\0([0-7]{3})", lambda found: bytes((int(found[1], 8),)), joined))


class Fields:
    """Reads the fields of a message, from `at` on."""

    def __init__(self, message: bytes, at: int = 1) -> None:
        self._message, self._at = message, at

    def string(self) -> bytes:
        start = self._at + 4
        self._at = start + self.number()
        return self._message[start : self._at]

    def number(self, size: int = 4) -> int:
        self._at += size
        return int.from_bytes(self._message[self._at - size : self._at], "big")


class _Key:
    def __init__(self, key: bytes, first: bytes) -> None:
        self.cipher = AESGCM(key)
        self._fixed, self._count = first[:4], int.from_bytes(first[4:], "big")

    def once(self) -> bytes:
        number = self._fixed + self._count.to_bytes(8, "big")
        self._count = (self._count + 1) % 2**64
        return number


class Gone(Exception):
    """The connection is over, or not worth more."""


class Channel:
    """A session: its number there, what may be sent to it, and what has come on it."""

    def __init__(self, number: int, window: int) -> None:
        self.number, self.window = number, window
        self.input = b""
        self.ended = self.closed = False
        self.sftp = False


_HOST_KEY = Ed25519PrivateKey.from_private_bytes(sha256(b"a host of the fuzz suite").digest())
_PUBLIC = string(b"ssh-ed25519") + string(_HOST_KEY.public_key().public_bytes_raw())
_EPHEMERAL = X25519PrivateKey.generate()


class Peer:
    """One connection. `serve` is its whole life."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        #: The number of the address that was connected to, from 127.0.0.0 on.
        address = writer.get_extra_info("sockname")[0]
        self.number = int.from_bytes(bytes(map(int, address.split(".")[1:])), "big")
        self.outbound: _Key | None = None
        self._inbound: _Key | None = None
        self.session = b""
        self._theirs = b""
        self.channels: dict[int, Channel] = {}
        self.channel: Channel | None = None
        #: What is pulled from it: an archive and its trailer, without compression; and what it prints.
        self.archive = b""
        self.tools = b"with "
        self.output = b"root\n"
        #: What SFTP finds: by path, the content of a file or the names in a folder.
        self.tree: dict[bytes, bytes | list[bytes]] = {b".": []}
        self._handles: dict[bytes, bytes] = {}

    async def stage(self, name: str) -> None:
        """Called before the message of that name is sent."""

    async def serve(self) -> None:
        try:
            await self._connect()
            while True:
                await self.handle(await self.receive())
        except (Gone, OSError, EOFError, InvalidTag, IndexError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writer.close()

    # -- packets

    async def receive(self) -> bytes:
        """The next message."""
        head = await self.reader.readexactly(4)
        size, key = int.from_bytes(head, "big"), self._inbound
        if size > 2**19:
            raise Gone
        packet = await self.reader.readexactly(size + (_TAG if key else 0))
        if key is not None:
            packet = key.cipher.decrypt(key.once(), packet, head)
        return packet[1 : size - packet[0]]

    def sealed(self, payload: bytes) -> bytes:
        """A message as it stands on the wire."""
        key = self.outbound
        if key is None:
            padding = 4 + -(len(payload) + 9) % 8
            return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)
        padding = 4 + -(len(payload) + 5) % 16
        packet = bytes((padding,)) + payload + bytes(padding)
        head = struct.pack(">I", len(packet))
        return head + key.cipher.encrypt(key.once(), packet, head)

    async def send(self, *payloads: bytes) -> None:
        await self.raw(b"".join(map(self.sealed, payloads)))

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def flood(self, payload: bytes, seconds: float = 30.0, together: int = 100) -> None:
        """Send a message again and again, as fast as it goes."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while loop.time() < ends:
            await self.send(*[payload] * together)
            await asyncio.sleep(0)
        raise Gone

    # -- keys and login

    async def _connect(self) -> None:
        await self.stage("version")
        await self.raw(_VERSION + b"\r\n")
        self._version = (await self.reader.readline()).rstrip(b"\r\n")
        await self.exchange_keys()
        await self.stage("after-newkeys")

    async def exchange_keys(self, theirs: bytes = b"") -> None:
        """A key exchange, which the client has begun with `theirs` or begins when it is asked to."""
        kexinit = bytes((KEXINIT,)) + os.urandom(16) + b"".join(map(string, _LISTS)) + bytes(5)
        await self.stage("kexinit")
        await self.send(kexinit)
        while not theirs:
            message = await self.receive()
            theirs = message if message[0] == KEXINIT else b""
            if not theirs:
                await self.handle(message)
        while (message := await self.receive())[0] != ECDH_INIT:
            pass
        public = Fields(message).string()
        secret = _mpint(_EPHEMERAL.exchange(X25519PublicKey.from_public_bytes(public)))
        ours = _EPHEMERAL.public_key().public_bytes_raw()
        parts = (self._version, _VERSION, theirs, kexinit, _PUBLIC, public, ours)
        digest = sha256(b"".join((*map(string, parts), secret))).digest()
        self.session = self.session or digest
        signed = string(b"ssh-ed25519") + string(_HOST_KEY.sign(digest))
        await self.stage("kex-reply")
        await self.send(bytes((ECDH_REPLY,)) + string(_PUBLIC) + string(ours) + string(signed))
        await self.stage("newkeys")
        await self.send(bytes((NEWKEYS,)))

        def derived(letter: bytes) -> bytes:
            return sha256(secret + digest + letter + self.session).digest()

        self.outbound = _Key(derived(b"D")[:16], derived(b"B")[:12])
        while (await self.receive())[0] != NEWKEYS:
            pass
        self._inbound = _Key(derived(b"C")[:16], derived(b"A")[:12])

    async def _on_kexinit(self, message: bytes) -> None:
        await self.exchange_keys(message)

    async def _on_service(self, message: bytes) -> None:
        await self.stage("service")
        await self.send(bytes((SERVICE_ACCEPT,)) + message[1:])

    async def _on_auth(self, message: bytes) -> None:
        fields = Fields(message)
        fields.string(), fields.string()
        await self.stage("auth")
        await self.authenticate(fields.string(), fields)

    async def authenticate(self, method: bytes, fields: Fields) -> None:
        if method != b"publickey":
            await self.send(bytes((AUTH_FAILURE,)) + string(b"publickey") + b"\0")
        elif fields.number(1):
            await self.send(bytes((AUTH_SUCCESS,)))
            await self.stage("after-auth")
        else:
            await self.send(bytes((AUTH_PK_OK,)) + string(fields.string()) + string(fields.string()))

    async def _on_global(self, message: bytes) -> None:
        fields = Fields(message)
        fields.string()
        if fields.number(1):
            await self.send(bytes((REQUEST_FAILURE,)))

    async def _on_disconnect(self, message: bytes) -> None:
        raise Gone

    # -- channels

    async def _on_open(self, message: bytes) -> None:
        fields = Fields(message)
        fields.string()
        theirs, window = fields.number(), fields.number()
        ours = max(self.channels, default=-1) + 1
        self.channel = self.channels[ours] = Channel(theirs, window)
        await self.stage("open")
        await self.send(struct.pack(">BIIII", OPENED, theirs, ours, _INPUT, 32768))

    async def _on_adjust(self, message: bytes) -> None:
        channel = self._of(message)
        channel.window += Fields(message, 5).number()

    def _of(self, message: bytes) -> Channel:
        channel = self.channels.get(Fields(message).number())
        if channel is None:
            raise Gone
        return channel

    async def _on_request(self, message: bytes) -> None:
        channel, fields = self._of(message), Fields(message, 5)
        kind, answered = fields.string(), fields.number(1)
        self.channel = channel
        if kind not in (b"exec", b"subsystem"):
            return
        await self.stage("exec")
        if answered:
            await self.send(struct.pack(">BI", SUCCESS, channel.number))
        command = fields.string()
        channel.sftp = kind == b"subsystem" or b"sftp-server" in command
        if not channel.sftp:
            await self.stage("data")
            await self.execute(channel, command)

    async def execute(self, channel: Channel, command: bytes) -> None:
        """The host's part of what is asked for."""
        command = plain(command)
        ready = re.search(rb"\[paramgmt [0-9a-f]+ ready", command)
        if ready is not None:
            await self.write(channel, ready[0] + b" 0]", STDERR)
        if b"pack() {" not in command and b"codecs=$1" not in command:
            await self.write(channel, self.output)
        elif b"unpack() {" not in command and b"xargs" not in command:  # a pull
            await self.write(channel, b"paramgmt-ready " + self.tools + b"\n")
            if self.tools != b"without":
                await self.write(channel, self.archive)
        else:  # a push, or which files are there
            await self.write(channel, b"paramgmt-ready " + self.tools + b"\n")
            if b"unpack() {" not in command:
                await self.write(channel, b"folder\n")
            while self.tools != b"without" and not channel.ended:
                await self.handle(await self.receive())
        await self.end(channel)

    async def end(self, channel: Channel, code: int = 0) -> None:
        await self.stage("exit")
        status = string(b"exit-status") + b"\0" + struct.pack(">I", code)
        await self.send(
            struct.pack(">BI", REQUEST, channel.number) + status, struct.pack(">BI", EOF, channel.number)
        )
        await self.stage("close")
        channel.closed = True
        await self.send(struct.pack(">BI", CLOSE, channel.number))

    async def write(self, channel: Channel, data: bytes, kind: int = DATA) -> None:
        """Send data as the channel's window allows."""
        at = 0
        while at < len(data):
            count = min(len(data) - at, 32768, channel.window)
            if not count:
                await self.handle(await self.receive())
                continue
            piece = data[at : at + count]
            code = struct.pack(">I", 1) if kind == STDERR else b""
            await self.send(struct.pack(">BI", kind, channel.number) + code + string(piece))
            channel.window -= count
            at += count

    async def _on_data(self, message: bytes) -> None:
        channel = self._of(message)
        if channel.sftp:
            channel.input += Fields(message, 5).string()
            while len(channel.input) >= 4 + (size := int.from_bytes(channel.input[:4], "big")):
                request, channel.input = channel.input[4 : 4 + size], channel.input[4 + size :]
                answer = await self.sftp(request)
                if answer:
                    await self.write(channel, string(answer))

    async def _on_eof(self, message: bytes) -> None:
        channel = self._of(message)
        channel.ended = True
        if channel.sftp and not channel.closed:
            await self.end(channel)

    async def _on_close(self, message: bytes) -> None:
        channel = self._of(message)
        channel.ended = True
        if not channel.closed:
            channel.closed = True
            await self.send(struct.pack(">BI", CLOSE, channel.number))

    # -- SFTP, version 3

    async def sftp(self, request: bytes) -> bytes:
        """The answer to a request, without its length."""
        if request[0] == 1:
            return bytes((2,)) + struct.pack(">I", 3)
        number, fields = request[1:5], Fields(request, 5)
        return await self.sftp_answer(request[0], number, fields)

    async def sftp_answer(self, kind: int, number: bytes, fields: Fields) -> bytes:
        path = fields.string()
        if kind == 200:  # an extension: to rename
            kind, path = 18, fields.string()
        path = self._handles.get(path, path).removeprefix(b"./")
        entry = self.tree.get(path)
        if kind == 3 and entry is None and fields.number() & 2:  # open, to write
            self.tree[path] = b""
        elif kind == 6 and isinstance(entry, bytes):  # write
            at = fields.number(8)
            self.tree[path] = entry[:at].ljust(at, b"\0") + fields.string()
        elif kind == 14:  # mkdir
            self.tree[path] = []
        elif kind == 18 and entry is not None:
            self.tree[fields.string()] = self.tree.pop(path)
        if kind in (7, 8, 17) and entry is not None:  # lstat, fstat, stat
            return b"i" + number + self.attributes(entry)
        if kind in (3, 11) and (entry is not None or kind == 3):  # open, opendir
            handle = b"%d" % len(self._handles)
            self._handles[handle] = path
            if kind == 11:
                self._handles[handle + b" listing"] = path
            return b"f" + number + string(handle)
        if kind == 5 and isinstance(entry, bytes):  # read
            at, count = fields.number(8), fields.number()
            piece = entry[at : at + count]
            return b"g" + number + string(piece) if piece else self.status(number, 1)
        if kind == 12 and isinstance(entry, list):  # readdir
            if not any(name.endswith(b" listing") for name in self._handles):
                return self.status(number, 1)
            for name in [name for name in self._handles if name.endswith(b" listing")]:
                del self._handles[name]
            names = b"".join(
                string(name) + string(name) + self.attributes(self.tree.get(path + b"/" + name, b""))
                for name in entry
            )
            return b"h" + number + struct.pack(">I", len(entry)) + names
        if kind == 16:  # realpath
            return b"h" + number + struct.pack(">I", 1) + string(path) + string(path) + self.attributes([])
        known = kind in (4, 6, 9, 10, 13, 14, 15, 18, 19, 20, 200)
        return self.status(number, 0 if known else 2)

    def status(self, number: bytes, code: int) -> bytes:
        return b"e" + number + struct.pack(">I", code) + string(b"no such file") + string(b"")

    def attributes(self, entry: bytes | list[bytes]) -> bytes:
        """Size and mode."""
        folder = isinstance(entry, list)
        return struct.pack(">IQI", 5, 0 if folder else len(entry), 0o40755 if folder else 0o100644)

    # -- what comes

    async def handle(self, message: bytes) -> None:
        handler = _HANDLERS.get(message[0])
        if handler is not None:
            await handler(self, message)


async def _nothing(peer: Peer, message: bytes) -> None:
    return


_HANDLERS: dict[int, Callable[[Peer, bytes], Any]] = {
    DISCONNECT: Peer._on_disconnect,
    KEXINIT: Peer._on_kexinit,
    SERVICE_REQUEST: Peer._on_service,
    AUTH_REQUEST: Peer._on_auth,
    GLOBAL_REQUEST: Peer._on_global,
    OPEN: Peer._on_open,
    ADJUST: Peer._on_adjust,
    DATA: Peer._on_data,
    EOF: Peer._on_eof,
    CLOSE: Peer._on_close,
    REQUEST: Peer._on_request,
}


async def listen(make: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Peer], port: int) -> None:
    """Serve on all of 127.0.0.0/8."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            writer.transport.set_write_buffer_limits(high=65536)
            await make(reader, writer).serve()

    server = await asyncio.start_server(serve, "0.0.0.0", port, backlog=1024, limit=2**17)
    print("ready", flush=True)
    await server.serve_forever()


def address(number: int) -> str:
    """The address of a number, as Peer.number gives it back."""
    return ".".join(map(str, (127, *number.to_bytes(3, "big"))))
