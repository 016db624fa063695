"""ssh-agent: the keys that it holds, and signatures by it (draft-miller-ssh-agent)."""

import os
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Protocol

import paramiko

from .keys import PublicKey

#: Seconds for the agent to list its keys; and to sign, for which it may ask somebody.
_LISTING, SIGNING = 10.0, 60.0
#: Bytes of the largest message, as in OpenSSH's agent.
LARGEST = 256 * 1024
_REQUEST_IDENTITIES, _IDENTITIES, _SIGN_REQUEST, _SIGNATURE = 11, 12, 13, 14
#: What asks for a signature of RSA with another hash than SHA-1.
_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}


class AgentFailure(Exception):
    """The agent is not there, or does not do what it was asked."""


@dataclass(frozen=True)
class HeldKey:
    """A key that an agent holds, and what it is called there."""

    public: PublicKey
    comment: str


class Agent:
    """An agent behind a socket, whose keys are listed once. Safe for many threads: one question at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._keys: list[HeldKey] | None = None
        self._is_stuck = False
        #: Why it has no keys, empty if it could be asked.
        self.trouble = ""

    def held(self) -> list[HeldKey]:
        """The keys that it holds; none if it cannot be asked, which `trouble` says."""
        with self._lock:
            if self._keys is None:
                self._keys = []
                try:
                    self._keys = self._list()
                except AgentFailure as error:
                    self.trouble = f"ssh-agent {self.path}: {error}"
            return self._keys

    def _list(self) -> list[HeldKey]:
        kind, answer = self._ask(bytes([_REQUEST_IDENTITIES]), _LISTING)
        if kind != _IDENTITIES:
            raise AgentFailure("it does not list its keys")
        found = []
        for _ in range(min(answer.get_int(), LARGEST // 8)):
            blob = answer.get_string()
            comment = answer.get_string().decode("utf-8", "replace")
            if blob:
                found.append(HeldKey(PublicKey(blob), comment))
        return found

    def sign(self, key: PublicKey, data: bytes, algorithm: str) -> bytes:
        """The signature of `data` by a key that the agent holds; may wait for somebody to agree.

        Raises:
            AgentFailure: it does not sign.
        """
        request = paramiko.Message()
        request.add_byte(bytes([_SIGN_REQUEST]))
        request.add_string(key.blob)
        request.add_string(data)
        request.add_int(_FLAGS.get(algorithm, 0))
        with self._lock:
            if self._is_stuck:  # or each host would wait as long, one after the other
                raise AgentFailure("ssh-agent did not answer before")
            kind, answer = self._ask(request.asbytes(), SIGNING)
        signature = answer.get_string()
        if kind != _SIGNATURE or not signature:
            raise AgentFailure("ssh-agent refused to sign")
        return signature

    def _ask(self, request: bytes, limit: float) -> tuple[int, paramiko.Message]:
        try:
            if self._socket is None:
                self._socket = connect(self.path)
            self._socket.settimeout(limit)
            send_frame(self._socket, request)
            answer = read_frame(self._socket)
        except OSError as error:
            self._is_stuck = isinstance(error, TimeoutError)
            self._disconnect()
            raise AgentFailure(error.strerror or str(error) or "no answer") from None
        if not answer:
            self._disconnect()
            raise AgentFailure("it closed the connection")
        return answer[0], paramiko.Message(answer[1:])

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        self._disconnect()

    def close(self) -> None:
        """Close the connection to the agent; the next question opens another."""
        with self._lock:
            self._disconnect()


def connect(path: str) -> socket.socket:
    """A connection to the agent behind a socket; raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_LISTING)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def send_frame(connection: socket.socket, message: bytes) -> None:
    """Send a message with its length before it; raises OSError."""
    connection.sendall(struct.pack(">I", len(message)) + message)


class Receives(Protocol):
    """A socket, or a channel that is like one."""

    def recv(self, size: int, /) -> bytes:
        """Up to `size` bytes that have come, none at the end."""


def read_frame(connection: Receives) -> bytes:
    """The next message; empty if there is none, or none that can be. Raises OSError."""
    head = _read(connection, 4)
    (size,) = struct.unpack(">I", head) if len(head) == 4 else (0,)
    message = _read(connection, size) if size <= LARGEST else b""
    return message if len(message) == size else b""


def _read(connection: Receives, size: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        piece = connection.recv(size - len(pieces))
        if not piece:
            break
        pieces += piece
    return bytes(pieces)


def socket_of(value: str | None) -> str | None:
    """The socket that a value of IdentityAgent names: a path, `SSH_AUTH_SOCK`, `$NAME`, or None for `none`.

    Without a value it is SSH_AUTH_SOCK's (ssh_config(5)).
    """
    if value is None or value == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if value.lower() == "none":
        return None
    if value.startswith("$") and not value.startswith("${"):
        return os.environ.get(value[1:]) or None
    return os.path.expanduser(value)
