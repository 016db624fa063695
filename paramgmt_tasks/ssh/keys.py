"""Keys: public ones and certificates as SSH writes them, and private ones from files."""

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ..model import reason_of
from .certificate_format import CERTIFICATE, BadCertificate, opened

#: The algorithms that an RSA key can sign with (RFC 8332).
_RSA_HASHES = {"rsa-sha2-512": hashes.SHA512(), "rsa-sha2-256": hashes.SHA256(), "ssh-rsa": hashes.SHA1()}
_CURVE_HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
_MAGIC = b"openssh-key-v1\0"
_BEGIN, _END = b"-----BEGIN OPENSSH PRIVATE KEY-----", b"-----END OPENSSH PRIVATE KEY-----"
_PRIVATE = re.compile(rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
#: Bytes of the largest file that is read as a key, as in OpenSSH.
_LARGEST_FILE = 1024 * 1024
_USER = 1


class BadKey(ValueError):
    """Not a key that can be used; the text says why."""


class NeedsPassphrase(BadKey):
    """A private key that is encrypted, for which there was no pass phrase, or a wrong one."""


@dataclass(frozen=True)
class PublicKey:
    """A public key or certificate, as it is sent (RFC 4253, section 6.6; PROTOCOL.certkeys of OpenSSH)."""

    blob: bytes

    @property
    def kind(self) -> str:
        """Its type, such as `ssh-ed25519` or `ssh-rsa-cert-v01@openssh.com`."""
        return paramiko.Message(self.blob).get_string().decode("ascii", "replace")

    @property
    def is_certificate(self) -> bool:
        """Whether it is a certificate."""
        return self.kind.endswith(CERTIFICATE)

    def plain(self) -> "PublicKey":
        """The key that a certificate is for; a key itself.

        Raises:
            BadKey: a certificate of an unknown kind, or not for users.
        """
        if not self.is_certificate:
            return self
        try:
            _, plain, rest = opened(self.blob)
            rest.number(">Q")  # the serial number
            kind = rest.number(">I")
        except BadCertificate as error:
            raise BadKey(str(error)) from None
        if kind != _USER:
            raise BadKey("not a user's certificate")
        return PublicKey(plain)

    def rsa_bits(self) -> int:
        """The size of a plain RSA key; 0 of another kind."""
        if self.kind != "ssh-rsa":
            return 0
        message = paramiko.Message(self.blob)
        message.get_string()
        message.get_string()
        return int.from_bytes(message.get_string(), "big").bit_length()


class PrivateKey:
    """A private key that signs."""

    def __init__(self, key: object) -> None:
        if not isinstance(key, (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
            raise BadKey(
                f"keys of its kind are not supported ({type(key).__name__.removesuffix('PrivateKey')})"
            )
        self._key = key
        text = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        self.public = PublicKey(base64.b64decode(text.split()[1]))

    def sign(self, data: bytes, algorithm: str) -> bytes:
        """The signature of `data` by an algorithm, as it is sent (RFC 4253, section 6.6, and others)."""
        key = self._key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            signature = key.sign(data)
        elif isinstance(key, rsa.RSAPrivateKey):
            signature = key.sign(data, padding.PKCS1v15(), _RSA_HASHES[algorithm])
        else:
            numbers = paramiko.Message()
            for number in decode_dss_signature(key.sign(data, ec.ECDSA(_CURVE_HASHES[key.curve.key_size]))):
                numbers.add_mpint(number)
            signature = numbers.asbytes()
        message = paramiko.Message()
        message.add_string(algorithm)
        message.add_string(signature)
        return message.asbytes()


def read_file(path: Path) -> bytes:
    """What a file has, with the ends of lines that OpenSSH writes.

    Raises:
        BadKey: it cannot be read, or is no key's.
    """
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadKey("not a file")
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise BadKey(reason_of(error)) from None
    if len(data) > _LARGEST_FILE:
        raise BadKey("too large for a key")
    return data.replace(b"\r\n", b"\n")


def check_permissions(path: Path) -> None:
    """Make sure that only its owner can read a private key, as ssh does for one's own files.

    Raises:
        BadKey: others can.
    """
    status = path.stat()
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        raise BadKey(f"others may read it (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600 {path}")


def private_key(data: bytes, passphrase: str | None) -> PrivateKey:
    """The private key in a file's content: OpenSSH's format, PEM's traditional ones, or PKCS #8.

    Raises:
        NeedsPassphrase: it is encrypted, and `passphrase` is None or wrong.
        BadKey: none that can be used.
    """
    if data.startswith(b"PuTTY-User-Key-File"):
        raise BadKey("in PuTTY's format: puttygen FILE -O private-openssh -o NEW converts it")
    block = _PRIVATE.search(data)
    if block is None:
        raise BadKey("not a private key")
    data = block[0] + b"\n"  # without the parameters that may stand before it
    own = _BEGIN in data
    load = serialization.load_ssh_private_key if own else serialization.load_pem_private_key
    encrypted = _is_encrypted(data)
    if encrypted and not passphrase:
        raise NeedsPassphrase(
            "it has a passphrase: add it to ssh-agent with ssh-add, or give --ask-passphrase"
        )
    if own and (public_half(data) or PublicKey(b"")).kind.startswith("sk-"):
        raise BadKey("a key of a FIDO token, which only ssh-agent can sign with: ssh-add")
    try:
        return PrivateKey(load(data, passphrase.encode() if encrypted and passphrase else None))
    except BadKey:
        raise
    except UnsupportedAlgorithm as error:
        raise BadKey(f"not supported: {error}"[:100]) from None
    except Exception as error:  # whatever a parser makes of a file
        if encrypted:
            raise NeedsPassphrase("wrong passphrase") from None
        raise BadKey(f"not a private key that can be used ({str(error)[:80]})") from None


def _is_encrypted(data: bytes) -> bool:
    if _BEGIN in data:
        blob = _opened(data)
        return blob is not None and blob.get_string() != b"none"
    return b"Proc-Type: 4,ENCRYPTED" in data or b"BEGIN ENCRYPTED PRIVATE KEY" in data


def _opened(data: bytes) -> paramiko.Message | None:
    """What OpenSSH's own format has, behind its magic (PROTOCOL.key of OpenSSH)."""
    try:
        blob = base64.b64decode(data.partition(_BEGIN)[2].partition(_END)[0])
    except binascii.Error:
        return None
    return paramiko.Message(blob[len(_MAGIC) :]) if blob.startswith(_MAGIC) else None


def public_half(data: bytes) -> PublicKey | None:
    """The public key in a file's content: a line with it, or what a private key has unencrypted."""
    message = _opened(data) if _BEGIN in data else None
    if message is not None:
        for _ in ("cipher", "kdf", "its options"):
            message.get_string()
        return PublicKey(message.get_string()) if message.get_int() == 1 else None
    for line in data.splitlines():
        words = line.split()
        for kind, text in pairwise(words):
            try:
                found = PublicKey(base64.b64decode(text, validate=True))
            except binascii.Error:
                continue
            if found.kind == kind.decode("ascii", "replace") and found.kind:
                return found
    return None
