"""What is offered in a key exchange, and the one method whose cost the server may choose."""

import secrets
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

import paramiko

from ..allowance import LARGEST_GROUP
from .upstream import PrivateGroupExchange

_AEAD = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
#: Ciphers that authenticate come first: paramiko compares MACs byte by byte in Python. 3DES, CBC and MD5 are
#: offered only if asked for.
CIPHERS = (*_AEAD, "aes128-ctr", "aes192-ctr", "aes256-ctr")
MACS = (
    *("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"),
    *("hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"),
)
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


class GroupExchange(PrivateGroupExchange):
    """paramiko's, with groups that cost no more than the fixed ones."""

    max_bits = LARGEST_GROUP

    def _parse_kexdh_gex_group(self, m: paramiko.Message) -> None:
        position = m.packet.tell()
        size = m.get_int()
        m.packet.seek(position)
        if size > LARGEST_GROUP // 8 + 1:
            raise paramiko.SSHException(f"a group of {size} bytes, more than {LARGEST_GROUP} bits")
        super()._parse_kexdh_gex_group(m)

    def _generate_x(self) -> None:
        self.x = 1 << (_SECRET - 1) | secrets.randbits(_SECRET - 1)
