"""Algorithms: which are known, which are offered unless ssh_config says otherwise, and exchanges by groups.

What is offered is what OpenSSH's client offers, in its order but for AES-GCM, which is the quickest here and
needs no MAC. sntrup761x25519-sha512 and UMAC are in no library, and too slow in Python. What OpenSSH knows
and does not offer, such as CBC and groups with SHA-1, has to be asked for here too.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from hashlib import md5, sha1, sha512

import paramiko
from paramiko.kex_curve25519 import KexCurve25519

from ..allowance import LARGEST_GROUP
from .ciphers import ChaChaPoly
from .upstream import PrivateGroup, PrivateGroupExchange, PrivateTransport

CIPHERS = (
    *("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"),
    *("aes128-ctr", "aes192-ctr", "aes256-ctr"),
)
MACS = (
    *("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha1-etm@openssh.com"),
    *("hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"),
)
_KEX = (
    *("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org"),
    *("ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"),
    *("diffie-hellman-group-exchange-sha256", "diffie-hellman-group16-sha512"),
    *("diffie-hellman-group18-sha512", "diffie-hellman-group14-sha256"),
)
#: By whether Compression of ssh_config(5) asks for it; the server may insist on it.
COMPRESSION = {
    False: ("none", "zlib@openssh.com", "zlib"),
    True: ("zlib@openssh.com", "zlib", "none"),
}
#: Bits of the secret number in a group that a host chooses: twice what such a group is worth is enough
#: (RFC 4419, section 6.2). paramiko takes as many as the group has, which costs eight times as much.
_SECRET = 512


def preferred(wanted: str, usual: Sequence[str], available: Collection[str]) -> tuple[str, ...]:
    """The algorithms that a list of ssh_config(5) names, as far as there are any here.

    With `+` or `^` in front they are offered too, last or first, with `-` those that match are not. A name
    may have wildcards, which stand for what is `available`, in that order (OpenSSH's kex_assemble_names).

    >>> preferred("c,x", ["a", "b"], ["a", "b", "c"])
    ('c',)
    >>> preferred("+c", ["a", "b"], ["a", "b", "c"]), preferred("^b", ["a", "b"], ["a", "b", "c"])
    (('a', 'b', 'c'), ('b', 'a'))
    >>> preferred("-a*", ["a1", "a2", "b"], []), preferred("^a*", ["b"], ["b", "a1", "a2"])
    (('b',), ('a1', 'a2', 'b'))
    """
    sign = wanted[:1] if wanted[:1] in ("+", "-", "^") else ""
    patterns = wanted[len(sign) :].split(",")
    if sign == "-":
        offered = [name for name in usual if not any(fnmatchcase(name, each) for each in patterns)]
    else:
        own = [name for each in patterns for name in available if fnmatchcase(name, each)]
        offered = {"": own, "+": [*usual, *own], "^": [*own, *usual]}[sign]
    return tuple(dict.fromkeys(offered))


def _secret() -> int:
    return 1 << (_SECRET - 1) | secrets.randbits(_SECRET - 1)


@cache
def _prime(bits: int, offset: int) -> int:
    """The prime of a group, which RFC 2409 and RFC 3526 give by the digits of pi and an offset.

    >>> hex(_prime(1024, 129_093))[:40]
    '0xffffffffffffffffc90fdaa22168c234c4c662'
    """
    one = 1 << bits  # of which 130 bits more than are needed are lost to rounding

    def arctan(inverse: int) -> int:
        power = total = one // inverse
        for odd in range(3, bits, 2):
            power //= -inverse * inverse
            total += power // odd
        return total

    pi = 4 * (4 * arctan(5) - arctan(239)) >> 130
    return int(2**bits - 2 ** (bits - 64) - 1 + 2**64 * (pi + offset))


class GroupExchange(PrivateGroupExchange):
    """paramiko's, with groups that cost no more than the fixed ones."""

    #: The smallest is OpenSSH's.
    min_bits, max_bits = 2048, LARGEST_GROUP

    def _parse_kexdh_gex_group(self, m: paramiko.Message) -> None:
        position = m.packet.tell()
        size = m.get_int()
        m.packet.seek(position)
        if size > LARGEST_GROUP // 8 + 1:
            raise paramiko.SSHException(f"a group of {size} bytes, more than {LARGEST_GROUP} bits")
        bits = m.get_mpint().bit_length()
        m.packet.seek(position)
        if bits < self.min_bits:  # which paramiko does not look at
            raise paramiko.SSHException(f"a group of {bits} bits, fewer than {self.min_bits}")
        super()._parse_kexdh_gex_group(m)

    def _generate_x(self) -> None:
        self.x = _secret()


class GroupExchangeSHA1(GroupExchange):
    """As old servers have it."""

    name = "diffie-hellman-group-exchange-sha1"
    hash_algo = sha1


class Group14(PrivateGroup):
    """paramiko's, with a secret number that is no longer than it has to be."""

    def _generate_x(self) -> None:
        self.x = _secret()


class Group14SHA1(Group14):
    """As old servers have it (RFC 4253, section 8.2)."""

    name = "diffie-hellman-group14-sha1"
    hash_algo = sha1


class Group1SHA1(Group14SHA1):
    """As very old servers have it (RFC 4253, section 8.1), with the group of RFC 2409, section 6.2."""

    name = "diffie-hellman-group1-sha1"
    P = property(lambda self: _prime(1024, 129_093))


class Group16(Group14):
    """RFC 8268, with the group of RFC 3526, section 5."""

    name = "diffie-hellman-group16-sha512"
    hash_algo = sha512
    P = property(lambda self: _prime(4096, 240_904))


class Group18(Group16):
    """RFC 8268, with the group of RFC 3526, section 7."""

    name = "diffie-hellman-group18-sha512"
    P = property(lambda self: _prime(8192, 4_743_158))


KEX_METHODS: Mapping[str, type] = {
    **PrivateTransport._kex_info,
    "curve25519-sha256": KexCurve25519,
    **{
        method.name: method
        for method in (GroupExchange, GroupExchangeSHA1, Group14, Group14SHA1, Group1SHA1, Group16, Group18)
    },
}
#: mlkem768x25519-sha256 needs paramiko 5.1 and cryptography 48.
KEX = tuple(name for name in _KEX if name in KEX_METHODS)
CIPHER_TABLE: Mapping[str, Mapping[str, object]] = {
    **PrivateTransport._cipher_info,
    "chacha20-poly1305@openssh.com": {
        **{"class": ChaChaPoly, "is_aead": True},
        **{"block-size": 8, "iv-size": 0, "key-size": 64},
    },
}
MAC_TABLE: Mapping[str, Mapping[str, object]] = {
    **PrivateTransport._mac_info,
    "hmac-sha1-etm@openssh.com": {"class": sha1, "size": 20},
    "hmac-sha1-96-etm@openssh.com": {"class": sha1, "size": 12},
    "hmac-md5-etm@openssh.com": {"class": md5, "size": 16},
    "hmac-md5-96-etm@openssh.com": {"class": md5, "size": 12},
}
