"""The algorithms of host keys: which there are, which are offered, and keys from what is sent of them."""

from collections.abc import Callable, Mapping
from functools import lru_cache

import paramiko
from cryptography.hazmat.primitives import hashes

from ...model import UsageError
from ..certificate_format import CERTIFICATE
from .algorithms import preferred
from .upstream import PrivateTransport

_KEYS = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256"),
)
#: As OpenSSH has them, but for keys of FIDO tokens, which no host has.
HOST_KEYS = (*(f"{name}{CERTIFICATE}" for name in _KEYS), *_KEYS)
#: What those who certify hosts may sign with, unless CASignatureAlgorithms says otherwise.
CA_SIGNATURES = _KEYS


class _RSAWithSHA1(paramiko.RSAKey):
    """As old servers have it, offered only if ssh_config asks for `ssh-rsa`."""

    HASHES = {**paramiko.RSAKey.HASHES, "ssh-rsa": hashes.SHA1}  # type: ignore[misc]  # noqa: RUF012


KEY_TABLE: Mapping[str, object] = {
    **PrivateTransport._key_info,
    "ssh-rsa": _RSAWithSHA1,
    f"ssh-rsa{CERTIFICATE}": _RSAWithSHA1,
}
_CLASSES: Mapping[str, Callable[..., paramiko.PKey]] = {
    "ssh-ed25519": paramiko.Ed25519Key,
    "ssh-rsa": _RSAWithSHA1,
    **dict.fromkeys(_KEYS[1:4], paramiko.ECDSAKey),
}


def key_of(blob: bytes) -> paramiko.PKey:
    """A public key from what is sent of it; raises KeyError, or as its library does."""
    return _CLASSES[paramiko.Message(blob).get_text()](data=blob)


def type_of_key(algorithm: str) -> str:
    """The type of the key that is shown under an algorithm.

    >>> type_of_key("rsa-sha2-512"), type_of_key("rsa-sha2-256-cert-v01@openssh.com")
    ('ssh-rsa', 'ssh-rsa-cert-v01@openssh.com')
    """
    if not algorithm.startswith("rsa-sha2-"):
        return algorithm
    return f"ssh-rsa{CERTIFICATE}" if algorithm.endswith(CERTIFICATE) else "ssh-rsa"


@lru_cache(maxsize=64)
def host_key_offer(wanted: str, known: frozenset[str], certified: bool) -> tuple[str, ...]:
    """The algorithms to offer, as HostKeyAlgorithms says and so that the host shows what can be verified.

    Certificates come first if somebody is known to certify the host (`certified`), last otherwise; of keys
    those of `known` types come first. A list that begins with a name or `^` keeps its order (ssh_config(5)).

    Raises:
        UsageError: none of them can be used here.
    """
    offer = preferred(wanted, HOST_KEYS, KEY_TABLE) if wanted else HOST_KEYS
    if not offer:
        raise UsageError(f"HostKeyAlgorithms {wanted}: none of them can be used here")
    if wanted[:1] not in ("", "+", "-"):
        return offer

    def rank(algorithm: str) -> int:
        if algorithm.endswith(CERTIFICATE):
            return 0 if certified else 3
        return 1 if type_of_key(algorithm) in known else 2

    return tuple(sorted(offer, key=rank))
