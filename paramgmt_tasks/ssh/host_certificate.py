"""The key that a host shows, which may be a certificate, and whether that certifies a name.

Certificates as OpenSSH has them (PROTOCOL.certkeys); what they have to fulfil as in its sshkey.c and
sshconnect.c. Nothing here trusts what it reads.
"""

import base64
import hashlib
import time
from dataclasses import dataclass

import paramiko

from .certificate_format import CERTIFICATE, BadCertificate, Reader, opened
from .paramiko_internals import key_of

_HOST = 2
#: The kinds of keys of hosts, and of those who certify them: none is of a FIDO token.
_KINDS = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
_FOREVER = 2**64 - 1
#: Bits that OpenSSH wants an RSA key that has signed something to have.
_LEAST_RSA = 1024


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
        return Reader(self.signature).text()

    def check_signature(self) -> None:
        """Make sure that the authority whose key it names has signed it.

        Raises:
            BadCertificate: it has not, or that cannot be told here.
        """
        kind = Reader(self.authority).text()
        if len(Reader(self.signature).strings()) != 2:
            raise BadCertificate("signed by what is no signature")
        algorithms = (kind, "rsa-sha2-256", "rsa-sha2-512") if kind == "ssh-rsa" else (kind,)
        if kind not in _KINDS or self.signature_algorithm not in algorithms:
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
        key_type = Reader(blob).text()
        if not key_type.endswith(CERTIFICATE):
            return cls(key_type, blob, blob)
        kind, own, rest = opened(blob)
        if kind not in _KINDS:
            raise BadCertificate(f"a certificate of a type that no host has, {key_type}")
        return cls(kind, own, blob, _certificate(rest, blob))

    @property
    def name(self) -> str:
        """Its type, as ssh names it."""
        return f"{self.key_type}{CERTIFICATE}" if self.certificate else self.key_type

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


def _certificate(reader: Reader, blob: bytes) -> Certificate:
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


def _time(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError):
        return f"second {seconds}"
