"""Link: the socket to a host, whether dialled here or opened through a jump host or a ProxyCommand."""

import errno
import os
import re
import socket
import time
from collections.abc import Callable

import paramiko
from paramiko.ssh_exception import NoValidConnectionsError

from ..steps import MAY_BLOCK, Steps, WaitForIO
from .paramiko_internals import keep_alive, shut_down
from .proxy_command import Proxy

#: A host that needs no looking up.
_NUMERIC = re.compile(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%.*)?")
_CONNECTING = (errno.EINPROGRESS, errno.EALREADY, errno.EINTR)

#: As socket.getaddrinfo gives it: family, type, protocol, canonical name and address.
Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str | int | bytes, ...]]
#: What an SSH connection is made over: a socket, or a channel of the connection to a jump host.
Socket = socket.socket | paramiko.Channel


def look_up(host: str, port: int) -> Steps[list[Address]]:
    """The addresses of a host.

    Raises:
        socket.gaierror: it has none.
    """
    if not _NUMERIC.fullmatch(host):
        yield MAY_BLOCK
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except UnicodeError:  # no name that can be asked for: a label is empty, or longer than 63 bytes
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from None


class Link:
    """The socket to a host, and the ProxyCommand at its other end if there is one. Any thread may cut it."""

    def __init__(self) -> None:
        self._socket: Socket | None = None
        self._proxy: Proxy | None = None
        self._is_cut = False

    def dial(self, addresses: list[Address], deadline: float) -> Steps[Socket]:
        """Connect to the first address that answers before a deadline, in monotonic seconds.

        Raises:
            TimeoutError, NoValidConnectionsError: none does.
            ConnectionAbortedError: the link was cut.
        """
        errors: dict[tuple[str | int | bytes, ...], OSError] = {}
        for family, kind, protocol, _, address in addresses:
            self._socket = sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            while (code := sock.connect_ex(address)) in _CONNECTING:
                if time.monotonic() >= deadline:
                    raise TimeoutError
                yield WaitForIO(sock.fileno(), deadline, writable=True)
                self.check()
            if code in (0, errno.EISCONN):
                keep_alive(sock)
                self.check()
                return sock
            sock.close()
            errors[address] = OSError(code, os.strerror(code))
        raise NoValidConnectionsError(errors)  # type: ignore[arg-type]

    def run_proxy(self, command: str) -> Steps[Socket]:
        """Have a ProxyCommand reach the host."""

        def run() -> Socket:
            self._proxy = Proxy(command)
            return self._proxy.socket

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
        shut_down(self._socket)

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
