"""Tunnel: the channel of a jump host's connection over which another host is reached.

All tunnels of a jump host share its connection, so none may wait within it: if the jump host takes nothing
any more, each host waits no longer than its own limits allow.
"""

import time
from typing import Protocol

import paramiko

#: Seconds between two looks whether the host at the other end has made room.
_PAUSE = 0.05


class Through(Protocol):
    """The connection to the jump host."""

    def takes(self) -> bool:
        """Whether what is sent now leaves at once."""

    def flush(self) -> None:
        """Send what was gathered as far as it goes at once."""

    def wait_for_room(self, until: float) -> None:
        """Wait in this thread until more can leave, or until monotonic seconds."""


class Tunnel:
    """A channel to a host that a jump host reaches, as a socket; nothing that is sent waits."""

    def __init__(self, channel: paramiko.Channel, through: Through) -> None:
        self._channel, self._through = channel, through

    def recv(self, size: int) -> bytes:
        """What comes next, at most that many bytes."""
        self._through.flush()
        return self._channel.recv(size)

    def send(self, data: bytes) -> int:
        """Send some of it; how many bytes.

        Raises:
            BlockingIOError: there is no room.
        """
        self._through.flush()
        if not self._channel.closed and not (self._through.takes() and self._channel.send_ready()):
            raise BlockingIOError
        return self._channel.send(data)

    def wait_for_room(self, until: float) -> None:
        """Wait in this thread until more can be sent, or until monotonic seconds; it may be over before."""
        if self._through.takes():
            time.sleep(max(0.0, min(until - time.monotonic(), _PAUSE)))  # for the host behind
        else:
            self._through.wait_for_room(until)

    def settimeout(self, seconds: float | None) -> None:
        """Let `recv` wait that long."""
        self._channel.settimeout(seconds)

    def fileno(self) -> int:
        """The descriptor that becomes readable when something comes."""
        return self._channel.fileno()

    def close(self) -> None:
        """Close it."""
        self._channel.close()
