"""Host keys: which are accepted, which recorded, and which refused."""

import paramiko

from ..model import UsageError
from .failures import Untrusted
from .known_hosts import KnownHosts
from .paramiko_internals import LeanTransport, SocketLike

_TRUST = {"yes": "strict", "ask": "strict", "no": "ignore", "off": "ignore", "accept-new": "accept-new"}


def checking_mode(asked: str | None, configured: str | None) -> str:
    """How host keys are checked: as asked, else as StrictHostKeyChecking says, else `accept-new`.

    `ask` is `strict`: there is nobody to ask.

    Raises:
        UsageError: StrictHostKeyChecking has a value that ssh does not know either.
    """
    if asked:
        return asked
    try:
        return _TRUST[(configured or "accept-new").lower()]
    except KeyError:
        raise UsageError(f"StrictHostKeyChecking {configured!r} is not known") from None


class RetryWithKnownTypes(Exception):
    """The host showed a key of a type other than those known for it: ask it for one of those."""


class HostKeyVerifier(paramiko.MissingHostKeyPolicy):
    """Verifies the key of one host. It is called for each, as the client itself is given no keys."""

    def __init__(self, name: str, known: KnownHosts, checking_mode: str) -> None:
        self._name, self._known, self._mode = name, known, checking_mode
        self._types: list[str] = [] if checking_mode == "ignore" else known.types(name)
        self._only_these = False

    def transport(self, sock: SocketLike, **options: object) -> LeanTransport:
        """A transport that asks for the key types known for the host first."""
        transport = LeanTransport(sock, **options)
        if self._types:
            offer = transport.get_security_options()
            known = [name for name in offer.key_types if _plain_type(name) in self._types]
            if self._only_these and not known:
                kinds = ", ".join(self._types)
                raise Untrusted(f"{self._name} is known with keys that cannot be used here: {kinds}")
            others = [] if self._only_these else [n for n in offer.key_types if n not in known]
            offer.key_types = [*known, *others]
        return transport

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """As paramiko calls it for a host that it does not know, which is each."""
        self.verify(key)

    def verify(self, key: paramiko.PKey) -> None:
        """Accept the key, record it, or raise Untrusted."""
        if self._mode == "ignore":
            return
        key_type, blob = key.get_name(), key.asbytes()
        if self._known.is_revoked(blob):
            raise Untrusted(f"the host key of {self._name} is revoked")
        if self._known.has(self._name, key_type, blob):
            return
        known_types = self._known.search(self._name)
        if key_type in known_types or (known_types and self._only_these):
            raise Untrusted(f"the host key of {self._name} has changed: {key.fingerprint}")
        if known_types:
            self._types, self._only_these = known_types, True
            raise RetryWithKnownTypes
        if self._mode == "strict":
            raise Untrusted(f"the host key of {self._name} is not in known_hosts")
        self._known.add(self._name, key_type, blob)


def _plain_type(algorithm: str) -> str:
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm
