"""HostRun: an operation under way on one host, over its connection."""

import os
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from ..model import Failure, Outcome, Settings
from ..steps import MAY_BLOCK, Steps, WaitForPermission
from .config_lookup import Options
from .failures import Classified, NoAnswer, NotStarted
from .link import Link
from .paramiko_internals import ExecChannel, LeanTransport
from .permit import PERMITTED, Permit
from .session_options import environment

#: Seconds a host may take to answer that it starts a command, once connected.
START_TIMEOUT = 60.0
#: Bytes of a command that dropbear takes (its MAX_CMD_LEN); with more it closes the connection.
_DROPBEAR_TAKES = 9000


class Attachment(Protocol):
    """What is kept with a connection by those who work over it."""

    def on_discard(self) -> None:
        """The connection is closed."""


Kept = TypeVar("Kept", bound=Attachment)


class Connection(Protocol):
    """What an operation needs of a connection to a host."""

    settings: Settings
    transport: LeanTransport | None
    link: Link
    #: What ssh_config says of the host.
    ssh_config: Options
    #: Seconds spent on tries to reach the host, waiting for the gate not counted.
    spent: float

    @property
    def is_connected(self) -> bool:
        """Whether the host is reached."""

    def opening(self, on_stall: Callable[[], object] = ...) -> Steps[None]:
        """Reach the host."""

    def discard(self) -> None:
        """Drop the connection."""

    def abandon(self) -> None:
        """Break the connection off, from any thread."""

    def attached(self, kind: type[Kept]) -> Kept:
        """The object of this kind that is kept with the connection."""


class HostRun:
    """An operation under way on one host: over its connection, with the permit of its run.

    It may take several tries and several commands.
    """

    def __init__(self, connection: Connection, permit: Permit = PERMITTED) -> None:
        self.connection = connection
        self.permit = permit
        self._reached = False
        #: Seconds that tries before this one have waited for a channel.
        self._waited = 0.0
        #: Whether something may have been started.
        self.started = False
        #: When the last command's start was asked for, and confirmed, in monotonic seconds.
        self.requested: float | None = None
        self.confirmed: float | None = None
        #: Seconds that the host took to let the last command start, which are the command's too.
        self.starting = 0.0
        #: When the operation's timeout has passed, in monotonic seconds, from the start of its first command.
        self.ends_at: float | None = None

    @property
    def settings(self) -> Settings:
        """Those of the run."""
        return self.connection.settings

    @property
    def is_connected(self) -> bool:
        """Whether the host is reached."""
        return self.connection.is_connected

    @property
    def transport(self) -> LeanTransport:
        """The transport of the open connection.

        Raises:
            ConnectionAbortedError: the connection was closed.
        """
        transport = self.connection.transport
        if transport is None:
            raise ConnectionAbortedError
        return transport

    def attached(self, kind: type[Kept]) -> Kept:
        """The object of this kind that is kept with the connection, for the operations after this one too."""
        return self.connection.attached(kind)

    def time_left(self, most: float) -> float:
        """Seconds until `ends_at`, at most `most`."""
        left = most if self.ends_at is None else self.ends_at - time.monotonic()
        return max(0.0, min(most, left))

    # -- starting something

    def opening(self) -> Steps[None]:
        """Reach the host; raises as HostConnection.opening."""
        self._reached = False
        yield from self.connection.opening(self.permit.on_stall)
        self._reached = True

    def has_stalled(self, error: BaseException) -> bool:
        """Whether this error says that the host, once reached, has not answered in time."""
        return self._reached and isinstance(error, TimeoutError)

    def session(self, timeout: float | None = None) -> Steps[ExecChannel]:
        """A new channel on which requests are answered within `timeout` seconds (START_TIMEOUT without).

        Raises: as opening, and
            NoAnswer, ConnectionResetError: the connection cannot be used any more.
            paramiko.ssh_exception.ChannelException: the host refuses another channel.
        """
        yield from self.opening()
        limit = (START_TIMEOUT if timeout is None else timeout) - self._waited
        began = time.monotonic()
        try:
            return (yield from self.transport.session(max(0.0, limit)))
        except Exception as error:
            took = time.monotonic() - began
            self._waited += took  # or each try would wait for it as long
            if took >= limit and not isinstance(error, NoAnswer):  # as after half an answer
                raise NoAnswer("no answer to the request for a channel") from error
            raise

    def start(
        self,
        command: str,
        timeout: float | None = None,
        no_input: bool = False,
        first: bytes = b"",
        terminal: bool = False,
    ) -> Steps[ExecChannel]:
        """Ask the host to start a command, on a `terminal` or not, with the environment of ssh_config.

        `started` is true from the moment it may have.

        `first` is sent along to its standard input, and with `no_input` the end of that, which otherwise is
        left open; what there was no room for is the channel's `unsent`, and the end is not sent then.
        If the permit `waits`, all is made ready, and sent when permission comes.

        Raises: as session, and
            Classified: it may not be started.
            NotStarted: the server refuses it.
            paramiko.SSHException, EOFError: the connection broke.
        """
        yield from self.opening()
        began = time.monotonic()
        channel = yield from self.session(timeout)
        self.starting = time.monotonic() - began
        channel.limit -= self.starting
        transport = self.transport
        request = command.encode("utf-8", "surrogateescape")
        if len(request) > _DROPBEAR_TAKES and "dropbear" in transport.remote_version:
            size = f"the command has {len(request)} bytes"
            raise NotStarted(f"{size}, and this server (dropbear) takes {_DROPBEAR_TAKES}: try a script")
        may_block = transport.is_alive()  # its reader has all sent at once, and waits for keys before
        variables = environment(self.connection.ssh_config)
        if terminal:
            if may_block:
                yield MAY_BLOCK
            kind = dict(variables).get(b"TERM") or os.environ.get("TERM", "dumb").encode()
            yield from channel.request_terminal(kind)
        self._check_permit()

        def ask() -> None:
            channel.set_environment(variables)
            channel.request(request, no_input, first)

        if self.permit.waits and not self.started:
            yield from self._wait_for_permission(transport, ask, may_block)
        else:
            self._begin()
            self.requested = time.monotonic()
            if not may_block:
                self._send(transport, ask)
        if may_block:
            yield MAY_BLOCK
            self._send(transport, ask)
        yield from channel.confirmation()
        self.confirmed = time.monotonic()
        self.starting += self.confirmed - (self.requested or self.confirmed)
        return channel

    def _wait_for_permission(
        self, transport: LeanTransport, ask: Callable[[], None], may_block: bool
    ) -> Steps[None]:
        """Make all ready, and send it when permission comes; unless that may block, which is for later."""
        permitted = False

        def on_permit() -> None:
            nonlocal permitted
            permitted = True
            self._begin()
            self.requested = time.monotonic()
            if not may_block:
                self._send(transport, lambda: None)

        if not may_block:
            ask()
        yield WaitForPermission(on_permit)
        if not permitted:  # resumed because permission will not come
            self.connection.discard()  # what was made ready would go out with what is sent next
            self._check_permit()
            self.connection.link.check()

    def _send(self, transport: LeanTransport, ask: Callable[[], None]) -> None:
        sent = transport.sent
        try:
            ask()
            transport.flush()
        except EOFError:
            self.started = transport.sent != sent  # whoever goes on sees the end

    def begin(self) -> None:
        """Something is about to be started on the host.

        Raises:
            Classified: it may not be.
        """
        self._check_permit()
        self._begin()

    def _check_permit(self) -> None:
        objection = "" if self.started else self.permit.objection()
        if objection:
            raise Classified(Failure(Outcome.CANCELLED, objection))

    def _begin(self) -> None:
        self.started = True
        self.permit.on_start()

    # -- ending it

    def interrupt(self) -> None:
        """Have a command under way ended on the host, and a try to reach the host broken off."""
        if not self.started:
            self.abandon()
            return
        transport = self.connection.transport
        if transport is not None:
            transport.look_again()  # who waits then sees that the run is cancelled

    def abandon(self) -> None:
        """Break the connection off, from any thread."""
        self.connection.abandon()

    def release(self) -> None:
        """Nothing more is done on the host; the connection may serve another run."""
        transport = self.connection.transport
        if transport is not None:
            transport.on_stall = PERMITTED.on_stall
        self.permit = PERMITTED  # the run's own would keep the run
