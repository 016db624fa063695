"""The key that a host shows, which may be a certificate, and whether that certifies a name.

Certificates as OpenSSH has them (PROTOCOL.certkeys); what they have to fulfil as in its sshkey.c and
sshconnect.c. Nothing here trusts what it reads.
"""

import base64
import hashlib
import struct
import time
from dataclasses import dataclass

import paramiko

from .paramiko_internals import key_of

_SUFFIX = "-cert-v01@openssh.com"
_HOST = 2
#: How many strings the key itself is, in a certificate after its nonce.
_PARTS = {
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
}
_FOREVER = 2**64 - 1
#: Bits that OpenSSH wants an RSA key that has signed something to have.
_LEAST_RSA = 1024


class BadCertificate(Exception):
    """Data that is cut off, or a certificate that nobody has signed."""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says, whether it is true or not; times are in seconds since 1970."""

    kind: int
    serial: int
    key_id: bytes
    principals: tuple[bytes, ...]
    valid_from: int
    valid_until: int
    critical: bytes
    authority: bytes
    signature: bytes
    signed: bytes

    @property
    def signature_algorithm(self) -> str:
        """What it is signed with."""
        return _text(Reader(self.signature).string())

    def check_signature(self) -> None:
        """Make sure that the authority whose key it names has signed it.

        Raises:
            BadCertificate: it has not, or that cannot be told here.
        """
        kind = _text(Reader(self.authority).string())
        algorithms = (kind, "rsa-sha2-256", "rsa-sha2-512") if kind == "ssh-rsa" else (kind,)
        if kind not in _PARTS or self.signature_algorithm not in algorithms:
            raise BadCertificate(f"signed in a way that is not supported here: {self.signature_algorithm}")
        try:
            key = key_of(self.authority)
            signed = key.verify_ssh_sig(self.signed, paramiko.Message(self.signature))
        except Exception:  # of several libraries, for what is no key or no signature
            signed = False
        if not signed:
            raise BadCertificate("not signed by the authority that it names")
        if kind == "ssh-rsa" and key.get_bits() < _LEAST_RSA:
            raise BadCertificate(f"signed by a key of {key.get_bits()} bits, less than {_LEAST_RSA}")

    def refusal(self, name: str, algorithms: tuple[str, ...], now: float | None = None) -> str:
        """Why it does not certify the host `name`, if signed with one of these algorithms; empty if it does.

        A principal is one name, without wildcards; none at all stands for every host.
        """
        now = time.time() if now is None else now
        if self.kind != _HOST:
            return "it is not a host's"
        if now < self.valid_from:
            return f"it is not valid before {_time(self.valid_from)}"
        if now >= self.valid_until and self.valid_until != _FOREVER:
            return f"it expired on {_time(self.valid_until)}"
        if self.principals and name.encode("utf-8", "surrogateescape") not in self.principals:
            listed = b",".join(self.principals[:4]).decode("utf-8", "replace")
            return f"it is for {listed}{',...' if len(self.principals) > 4 else ''}"
        if self.critical:
            return "it has critical options, which are not supported"
        if self.signature_algorithm not in algorithms:
            return f"CASignatureAlgorithms has no {self.signature_algorithm}"
        return ""


@dataclass(frozen=True)
class ShownKey:
    """A host's key as it was `shown`: its own, and the certificate around it if there is one."""

    key_type: str
    blob: bytes
    shown: bytes
    certificate: Certificate | None = None

    @classmethod
    def of(cls, blob: bytes) -> "ShownKey":
        """What a host has shown.

        Raises:
            BadCertificate: a certificate that is none.
        """
        reader = Reader(blob)
        key_type = _text(reader.string())
        if not key_type.endswith(_SUFFIX):
            return cls(key_type, blob, blob)
        plain = key_type.removesuffix(_SUFFIX)
        if plain not in _PARTS:
            raise BadCertificate(f"a certificate of an unknown type, {key_type}")
        reader.string()  # a nonce
        begin = reader.position
        for _ in range(_PARTS[plain]):
            reader.string()
        own = _string(plain.encode()) + blob[begin : reader.position]
        return cls(plain, own, blob, _certificate(reader, blob))

    @property
    def name(self) -> str:
        """Its type, as ssh names it."""
        return f"{self.key_type}{_SUFFIX}" if self.certificate else self.key_type

    @property
    def base64(self) -> str:
        """It as it was shown."""
        return base64.b64encode(self.shown).decode()

    @property
    def fingerprint(self) -> str:
        """That of the key, as ssh writes it."""
        return fingerprint(self.blob)


def fingerprint(blob: bytes) -> str:
    """A key's fingerprint as ssh writes it."""
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def _certificate(reader: "Reader", blob: bytes) -> Certificate:
    serial, kind = reader.number(">Q"), reader.number(">I")
    key_id, principals = reader.string(), Reader(reader.string()).strings()
    valid_from, valid_until = reader.number(">Q"), reader.number(">Q")
    critical = reader.string()
    reader.string()  # extensions, which a client does not need
    reader.string()  # reserved
    authority = reader.string()
    signed = blob[: reader.position]
    signature = reader.string()
    if reader.position != len(blob):
        raise BadCertificate("a certificate with something after its end")
    return Certificate(
        *(kind, serial, key_id, tuple(principals), valid_from, valid_until),
        *(critical, authority, signature, signed),
    )


class Reader:
    """Reads the strings and numbers of RFC 4251, section 5; raises BadCertificate when cut off."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def _bytes(self, size: int) -> bytes:
        found = self._data[self.position : self.position + size]
        if len(found) < size:
            raise BadCertificate("cut off")
        self.position += size
        return found

    @property
    def at_end(self) -> bool:
        """Whether there is nothing more."""
        return self.position >= len(self._data)

    def number(self, kind: str) -> int:
        """A number, in a form of the module struct."""
        number: int = struct.unpack(kind, self._bytes(struct.calcsize(kind)))[0]
        return number

    def string(self) -> bytes:
        """A string."""
        return self._bytes(self.number(">I"))

    def strings(self) -> list[bytes]:
        """All strings up to the end."""
        found = []
        while not self.at_end:
            found.append(self.string())
        return found


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")


def _time(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError):
        return f"second {seconds}"
