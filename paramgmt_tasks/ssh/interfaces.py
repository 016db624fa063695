"""The addresses of this machine's network interfaces, for `Match localnetwork`."""

import ctypes
import ctypes.util
import ipaddress
import os
import socket
import sys

from ..model import UsageError

_IFF_UP = 1
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Interface(ctypes.Structure):
    """struct ifaddrs, getifaddrs(3), as far as it is the same everywhere."""


_Interface._fields_ = [
    ("next", ctypes.POINTER(_Interface)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]


def addresses() -> list[str]:
    """The addresses of all interfaces that are up, as text; those of IPv6 with their zone if they have one.

    Raises:
        OSError: they cannot be asked for.
    """
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    first = ctypes.POINTER(_Interface)()
    if libc.getifaddrs(ctypes.byref(first)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        found, one = [], first
        while one:
            interface = one.contents
            if interface.address and interface.flags & _IFF_UP:
                found += _address(interface.address)
            one = interface.next
        return found
    finally:
        libc.freeifaddrs(first)


def _address(at: int) -> list[str]:
    """The address in a struct sockaddr; none if it is of another family."""
    # BSD and macOS have a length in the first byte, and the family in the second.
    family = ctypes.string_at(at, 2)
    number = family[1] if sys.platform == "darwin" else int.from_bytes(family, sys.byteorder)
    if number == socket.AF_INET:
        return [socket.inet_ntop(socket.AF_INET, ctypes.string_at(at + 4, 4))]
    if number == socket.AF_INET6:
        address = socket.inet_ntop(socket.AF_INET6, ctypes.string_at(at + 8, 16))
        zone = int.from_bytes(ctypes.string_at(at + 24, 4), sys.byteorder)
        return [f"{address}%{zone}" if zone else address]
    return []


def networks(text: str) -> list[Network]:
    """The networks of a list with commas between, as `10.0.0.0/8,fe80::/10`.

    Raises:
        UsageError: one of them is none, or has bits beyond its length.
    """
    found: list[Network] = []
    for part in text.split(","):
        try:
            found.append(ipaddress.ip_network(part))
        except ValueError as error:
            raise UsageError(f"Match localnetwork: {error}") from None
    return found


def is_local(wanted: list[Network]) -> bool:
    """Whether an interface that is up has an address in one of these networks.

    Raises:
        OSError: the interfaces cannot be asked for.
    """
    # An address with a zone is in no network that has none, to ssh too.
    plain = [ipaddress.ip_address(address) for address in addresses() if "%" not in address]
    return any(address.version == one.version and address in one for address in plain for one in wanted)
