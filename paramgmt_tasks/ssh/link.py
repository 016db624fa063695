"""Link: the socket to a host, whether dialled here or opened through a jump host or a ProxyCommand."""

import socket
from collections.abc import Callable

import paramiko

from ..steps import MAY_BLOCK, Steps
from .dialling import SocketOptions, dial
from .name_lookup import Address
from .paramiko_internals import Tunnel, shut_down
from .proxy_command import Proxy

#: What an SSH connection is made over: a socket, or a channel of a connection to another host.
Socket = socket.socket | Tunnel | paramiko.Channel


class Link:
    """The socket to a host, and the ProxyCommand at its other end if there is one. Any thread may cut it."""

    def __init__(self) -> None:
        self._socket: Socket | None = None
        self._proxy: Proxy | None = None
        self._is_cut = False
        #: Sockets that are connecting.
        self._opened: list[socket.socket] = []

    def dial(self, addresses: list[Address], options: SocketOptions, deadline: float) -> Steps[Socket]:
        """Connect to the first address that answers before a deadline (monotonic); see dialling.dial.

        Raises:
            TimeoutError, NoValidConnectionsError, UsageError: none does.
            ConnectionAbortedError: the link was cut.
        """
        try:
            self._socket = sock = yield from dial(addresses, options, deadline, self._opened, self.check)
        finally:
            self._opened = []
        self.check()
        return sock

    def run_proxy(self, command: str, passes: bool, deadline: float) -> Steps[Socket]:
        """Have a ProxyCommand reach the host by a deadline (monotonic); see Proxy for `passes`."""

        def run() -> Socket:
            self._proxy = Proxy(command, passes)
            self._socket = self._proxy.socket  # what a cut has to wake
            return self._proxy.connected(deadline)

        return self.tunnel(run)

    def tunnel(self, connect: Callable[[], Socket]) -> Steps[Socket]:
        """Have something else reach the host, which may block.

        Raises:
            ConnectionAbortedError: the link was cut.
        """
        yield MAY_BLOCK
        self._socket = sock = connect()
        self.check()
        return sock

    def check(self) -> None:
        """Make sure that the link was not cut.

        Raises:
            ConnectionAbortedError: it was.
        """
        if self._is_cut:
            raise ConnectionAbortedError

    def cut(self) -> None:
        """Break the link off, from any thread: whoever waits on it is woken with an error."""
        self._is_cut = True
        for sock in (self._socket, *self._opened):
            shut_down(sock)

    def mend(self) -> None:
        """Allow to dial again after a cut."""
        self._is_cut = False

    def close(self) -> None:
        """Close the socket, and end the ProxyCommand."""
        shut_down(self._socket)
        self._socket = None
        self.end_proxy()

    def end_proxy(self) -> str:
        """End the ProxyCommand; the last line that it has written on standard error."""
        proxy, self._proxy = self._proxy, None
        return proxy.end() if proxy is not None else ""
