"""JumpHost: a host that others are reached through, connected once for all of them."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import paramiko

from ..model import Failure, Outcome, Settings
from .failures import Classified, classify

#: Seconds for which a jump host that could not be reached is not tried again.
_REST = 5.0


class Connection(Protocol):
    """A connection to a jump host."""

    @property
    def transport(self) -> paramiko.Transport | None:
        """What channels are opened over."""

    def open(self) -> None:
        """Reach the host."""

    def close(self) -> None:
        """Close the connection."""


#: Makes a connection to a host, given its entry and the settings for it.
Connect = Callable[[str, Settings], Connection]


class JumpHost:
    """The last of a chain of jump hosts, connected once and shared by all hosts that are reached through it.

    If it cannot be reached, those who ask within the next seconds are refused without another try.
    """

    def __init__(self, hops: str, settings: Settings, connect: Connect) -> None:
        before, _, last = hops.rpartition(",")
        # That of sudo and the like is for the hosts, and must not be offered to log in to a jump host.
        password = None if settings.way else settings.password
        through = replace(
            settings,
            jump=before or "none",
            user=None,
            port=None,
            ssh_options=(),  # which ssh does not pass on to a jump host either
            sudo=False,
            become=None,
            run_as=None,
            password=password,
        )
        self._hop = last.strip()
        self._connection = connect(self._hop, through)
        self._lock = threading.Lock()
        self._failure: Failure | None = None
        self._failed_at = 0.0

    def open(self) -> None:
        """Reach the last hop, unless that is done.

        Raises:
            Classified: with why it cannot be reached.
        """
        with self._lock:
            if self._failure and time.monotonic() - self._failed_at < _REST:
                raise Classified(self._failure)
            try:
                self._connection.open()
            except Exception as error:
                failure = classify(error)
                reason = f"jump host {self._hop}: {failure.reason}"
                self._failure = replace(failure, outcome=Outcome.UNREACHABLE, reason=reason)
                self._failed_at = time.monotonic()
                raise Classified(self._failure) from error

    def dial(self, host: str, port: int, timeout: float) -> paramiko.Channel:
        """A channel to `host:port` from the last hop."""
        transport = self._connection.transport
        if transport is None:
            raise ConnectionAbortedError  # closed since it was opened
        return transport.open_channel("direct-tcpip", (host, port), ("", 0), timeout=timeout)

    def close(self) -> None:
        """Close the connection to the last hop."""
        self._connection.close()
