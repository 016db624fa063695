"""JumpHost: a host that others are reached through, connected once for all of them."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ..model import Failure, Outcome, Settings
from .failures import Classified, NoAnswer, classify
from .paramiko_internals import LeanTransport, Tunnel

#: Seconds for which a jump host that could not be reached is not tried again.
_REST = 5.0


class Connection(Protocol):
    """A connection to a jump host."""

    @property
    def transport(self) -> LeanTransport | None:
        """What channels are opened over."""

    @property
    def is_connected(self) -> bool:
        """Whether the host is reached."""

    def open(self) -> None:
        """Reach the host."""

    def renew(self) -> None:
        """Make ready for another try."""

    def close(self) -> None:
        """Close the connection."""


#: Makes a connection to a host, given its entry and the settings for it.
Connect = Callable[[str, Settings], Connection]


class JumpHost:
    """The last of a chain of jump hosts, connected once and shared by all hosts that are reached through it.

    If it cannot be reached, those who ask within the next seconds are refused without another try. As with
    `ssh -J`, the first of a chain is reached as ssh_config says, through jump hosts of its own for instance.
    """

    def __init__(self, hops: str, settings: Settings, connect: Connect) -> None:
        before, _, last = hops.rpartition(",")
        # That of sudo and the like is for the hosts, and must not be offered to log in to a jump host.
        password = None if settings.way else settings.password
        through = replace(
            settings,
            jump=before or None,
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
        self._try: _Try | None = None

    def open(self, deadline: float) -> None:
        """Reach the last hop by a deadline, in monotonic seconds, unless that is done.

        Raises:
            Classified: with why it cannot be reached.
            NoAnswer: the deadline has passed.
        """
        with self._lock:
            if self._try is None or (self._try.is_old() and not self._connection.is_connected):
                self._try = _Try(self._hop, self._connection)
            attempt = self._try
        attempt.wait(deadline)

    def dial(self, host: str, port: int, timeout: float) -> Tunnel:
        """A tunnel to `host:port` from the last hop.

        Raises:
            ConnectionAbortedError, paramiko.SSHException: it is closed, or has no way there.
        """
        transport = self._connection.transport
        if transport is None:
            raise ConnectionAbortedError  # closed since it was opened
        return transport.tunnel(host, port, timeout)

    def close(self) -> None:
        """Close the connection to the last hop."""
        self._connection.close()


class _Try:
    """One try to reach a jump host, in a thread of its own: each who waits has a deadline of theirs."""

    def __init__(self, hop: str, connection: Connection) -> None:
        self._hop, self._connection = hop, connection
        self._over = threading.Event()
        self._failure: Failure | None = None
        self._ended = 0.0
        threading.Thread(target=self._run, name="paramgmt jump host", daemon=True).start()

    def _run(self) -> None:
        try:
            self._connection.renew()
            self._connection.open()
        except Exception as error:
            failure = classify(error)
            reason = f"jump host {self._hop}: {failure.reason}"
            self._failure = replace(failure, outcome=Outcome.UNREACHABLE, reason=reason)
        self._ended = time.monotonic()
        self._over.set()

    def is_old(self) -> bool:
        """Whether it is over, and long enough ago to try again if it has failed."""
        return self._over.is_set() and (self._failure is None or time.monotonic() - self._ended >= _REST)

    def wait(self, deadline: float) -> None:
        """Wait for its end; raises as JumpHost.open."""
        if not self._over.wait(max(0.0, deadline - time.monotonic())):
            raise NoAnswer(f"jump host {self._hop}: no answer")
        if self._failure is not None:
            raise Classified(self._failure)
