"""Dialling: a TCP connection to the first of a host's addresses that answers, as ssh_config says.

An address that is silent does not hold up the next one: they are tried as RFC 8305 (Happy Eyeballs) has it,
each a moment after the one before, while those go on.
"""

import errno
import fcntl
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from paramiko.ssh_exception import NoValidConnectionsError

from ..model import UsageError, reason_of, ssh_values
from ..steps import Steps, WaitForIO
from .name_lookup import FAMILIES, Address
from .paramiko_internals import keep_alive

#: Seconds after which the next address is tried while one is silent (RFC 8305, section 8).
NEXT_ADDRESS = 0.25
#: Seconds between the tries of ConnectionAttempts, as ssh has them (ssh_config(5)).
_BETWEEN_TRIES = 1.0
_CONNECTING = (errno.EINPROGRESS, errno.EALREADY, errno.EINTR)
_INTERFACE_ADDRESS = 0x8915  # SIOCGIFADDR
#: The scope of an IPv6 address that is good on its link only, as /proc/net/if_inet6 has it.
_LINK = 0x20


@dataclass(frozen=True)
class SocketOptions:
    """How ssh_config has a host dialled: the options of these names, see ssh_config(5).

    `service` is the field for differentiated services, None to leave that to the system.
    """

    family: socket.AddressFamily = socket.AF_UNSPEC
    bind_address: str = ""
    bind_interface: str = ""
    attempts: int = 1
    keep_alive: bool = True
    service: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, object]) -> "SocketOptions":
        """Those among the options of a host.

        Raises:
            UsageError: IPQoS has a value that ssh does not know.
        """

        def text(name: str, default: str = "") -> str:
            return str(options.get(name, default))

        return cls(
            FAMILIES.get(text("addressfamily").lower(), socket.AF_UNSPEC),
            text("bindaddress"),
            text("bindinterface"),
            max(1, int(text("connectionattempts", "1"))),
            text("tcpkeepalive", "yes").lower() != "no",
            _service(text("ipqos")),
        )

    def open(self, address: Address) -> socket.socket:
        """A socket from which to connect to an address, which does not block.

        Raises:
            UsageError: BindAddress or BindInterface is nothing that can be used.
        """
        family, kind, protocol, _, there = address
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            if self.service is not None:
                _set_service(sock, self.service)
            if self.bind_address:
                _bind(sock, f"BindAddress {self.bind_address}", lambda: self.bind_address)
            elif self.bind_interface:
                interface = self.bind_interface
                what = f"BindInterface {interface}"
                _bind(sock, what, lambda: _address_of(interface, sock, str(there[0])))
        except BaseException:
            sock.close()
            raise
        return sock


def dial(
    addresses: list[Address],
    options: SocketOptions,
    deadline: float,
    opened: list[socket.socket],
    check: Callable[[], None],
) -> Steps[socket.socket]:
    """Connect to the first address that answers before a deadline, in monotonic seconds.

    `opened` has the sockets that are open meanwhile, so that another thread can shut them down; `check`
    raises if one has.

    Raises:
        TimeoutError, NoValidConnectionsError: none does.
        UsageError: BindAddress or BindInterface cannot be used for any.
    """
    errors: dict[tuple[str | int | bytes, ...], OSError | UsageError] = {}
    for attempt in range(options.attempts):
        if attempt:
            again = time.monotonic() + _BETWEEN_TRIES
            if again >= deadline:
                break
            yield WaitForIO(None, again)
            check()
        sock = yield from _first(interleaved(addresses), options, deadline, opened, check, errors)
        if sock is not None:
            keep_alive(sock, options.keep_alive)
            return sock
    unusable = [error for error in errors.values() if isinstance(error, UsageError)]
    if len(unusable) == len(errors):
        raise unusable[0]
    raise NoValidConnectionsError(errors)  # type: ignore[arg-type]


def interleaved(addresses: list[Address]) -> list[Address]:
    """The addresses in the order to try them: by turns of the families, beginning with that of the first.

    RFC 8305, section 4: one family may be cut off altogether.
    """
    if len(addresses) < 3:
        return addresses
    first = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, others)) if each is not None]


def _first(
    addresses: list[Address],
    options: SocketOptions,
    deadline: float,
    opened: list[socket.socket],
    check: Callable[[], None],
    errors: dict[tuple[str | int | bytes, ...], OSError | UsageError],
) -> Steps[socket.socket | None]:
    """The first socket that is connected; None if all addresses have failed, and why is in `errors`."""
    pending: dict[socket.socket, Address] = {}
    left, next_at = addresses[::-1], 0.0
    try:
        while True:
            now = time.monotonic()
            if left and (now >= next_at or not pending):
                address, next_at = left.pop(), now + NEXT_ADDRESS
                try:
                    sock = options.open(address)
                except (OSError, UsageError) as error:
                    errors[address[4]] = error
                    next_at = now
                else:
                    opened.append(sock)
                    pending[sock] = address
            for sock, address in list(pending.items()):
                code = sock.connect_ex(address[4])
                if code in (0, errno.EISCONN):
                    check()
                    del pending[sock]
                    return sock
                if code not in _CONNECTING:
                    errors[address[4]] = OSError(code, os.strerror(code))
                    del pending[sock]
                    sock.close()
                    next_at = now  # of no use to wait for it
            if not left and not pending:
                return None
            if now >= deadline:
                raise TimeoutError
            if pending and not (left and now >= next_at):
                yield from _wait(pending, min(deadline, next_at) if left else deadline)
                check()
    finally:
        for sock in pending:
            sock.close()


def _wait(pending: Iterable[socket.socket], until: float) -> Steps[None]:
    """Wait for news of one of some sockets."""
    first, *others = pending
    if not others:
        yield WaitForIO(first.fileno(), until, writable=True)
        return
    with selectors.DefaultSelector() as selector:  # has a descriptor, which is ready if one of them is
        for sock in pending:
            selector.register(sock, selectors.EVENT_WRITE)
        yield WaitForIO(selector.fileno(), until)


def _service(text: str) -> int | None:
    """The field that IPQoS asks for: of its two values the second, which is for what is no terminal's."""
    return ssh_values.services(text.split())[-1] if text else None


def _set_service(sock: socket.socket, service: int) -> None:
    with suppress(OSError):  # as ssh, which goes on too
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, service)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, service)


def _bind(sock: socket.socket, what: str, address: Callable[[], str]) -> None:
    try:
        found = socket.getaddrinfo(address(), 0, sock.family, socket.SOCK_STREAM)
        sock.bind(found[0][4])
    except socket.gaierror:
        family = "IPv6" if sock.family == socket.AF_INET6 else "IPv4"
        raise UsageError(f"{what}: no {family} address of this machine") from None
    except OSError as error:
        raise UsageError(f"{what}: {reason_of(error)}") from None


def _address_of(interface: str, sock: socket.socket, there: str) -> str:
    """An address of a network interface: one that is good beyond its link, unless the peer is on that.

    Raises:
        OSError: it has none.
    """
    if sock.family == socket.AF_INET:
        name = interface.encode()[:15]
        return socket.inet_ntoa(fcntl.ioctl(sock, _INTERFACE_ADDRESS, struct.pack("256s", name))[20:24])
    found = {}
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        digits, _, _, scope, _, device = line.split()
        if device == interface:
            text = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
            found[int(scope, 16) == _LINK] = f"{text}%{interface}" if int(scope, 16) == _LINK else text
    on_link = there.lower().startswith("fe80:")
    if on_link not in found and not found:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return found.get(on_link) or found[not on_link]
