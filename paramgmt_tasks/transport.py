"""paramiko's transport, channels and sockets, made to cost nothing while a command runs."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from typing import Any

import paramiko
from paramiko.packet import Packetizer

from .failures import Silent

_AEAD = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")


class _Packetizer(Packetizer):
    def start_handshake(self, timeout: float) -> None:
        # paramiko would start a timer thread for each host; open() has a deadline of its own.
        return


def _channel_request(channel: Any, message: paramiko.Message) -> None:
    # paramiko drops the name of the signal that ended a command.
    position = message.packet.tell()
    if message.get_text() == "exit-signal":
        message.get_boolean()
        channel.exit_signal = message.get_text()
    message.packet.seek(position)
    channel._handle_request(message)


def _channel_close(channel: Any, message: paramiko.Message) -> None:
    # paramiko closes a channel alike where the server does and where the connection breaks.
    channel.closed_by_peer = True
    channel._handle_close(message)


class LeanTransport(paramiko.Transport):
    """A transport that prefers AEAD ciphers: paramiko compares MACs byte by byte in Python."""

    def __init__(self, sock: Any, **options: Any) -> None:
        super().__init__(sock, packetizer_class=_Packetizer, **options)
        preferred = self.get_security_options()
        preferred.ciphers = _AEAD + tuple(name for name in preferred.ciphers if name not in _AEAD)
        table = dict(self._channel_handler_table)  # type: ignore[has-type]
        table[paramiko.common.MSG_CHANNEL_REQUEST] = _channel_request
        table[paramiko.common.MSG_CHANNEL_CLOSE] = _channel_close
        self._channel_handler_table = table


class BoundedEvent(threading.Event):
    """paramiko waits for the answer to a request without a limit; this wait has one."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self._limit = limit

    def wait(self, timeout: float | None = None) -> bool:
        """True, or Silent is raised."""
        if not super().wait(self._limit if timeout is None else timeout):
            raise Silent("no answer to the request to start the command")
        return True


def rest_easy(sock: Any) -> None:
    """Let the reader thread sleep, and the kernel find out where a peer is gone."""
    sock.settimeout(60)
    if not isinstance(sock, socket.socket) or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000)


def shut_down(sock: Any) -> None:
    """Close a socket and wake the reader thread out of recv(), which close() alone does not."""
    try:
        if isinstance(sock, socket.socket):
            sock.shutdown(socket.SHUT_RDWR)
        if sock is not None:
            sock.close()
    except OSError:
        pass


class Proxy:
    """A ProxyCommand at the other end of a socket.

    Not paramiko's ProxyCommand: that one polls ten times a second, and never notices that its process
    has ended.
    """

    def __init__(self, command: str) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,
            )

    def _signal(self, number: int) -> None:
        # To the whole group: what it started holds the pipe that is read to its end below.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def end(self) -> str:
        """End the process; the last line of what it had to say."""
        self._signal(signal.SIGTERM)
        try:
            _, said = self._process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            _, said = self._process.communicate()
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""
