"""RevokedHostKeys: keys that no host may have, as a list of public keys or as a KRL (PROTOCOL.krl)."""

import base64
import binascii
import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from ..model import reason_of
from .certificate_format import BadCertificate, Reader
from .host_certificate import Certificate, ShownKey

_MAGIC = b"SSHKRL\n\0"
_CERTIFICATES, _KEYS, _SHA1, _SHA256 = 1, 2, 3, 5
_SERIALS, _RANGE, _BITMAP, _IDS = 0x20, 0x21, 0x22, 0x23


class Unreadable(Exception):
    """What is revoked cannot be told, so that no host may be trusted."""


def revoked_keys(path: Path) -> "RevokedKeys":
    """What a file revokes, which is read again only if it has changed; raises as RevokedKeys."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return RevokedKeys(path)  # which says what is wrong
    return _as_of(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=16)
def _as_of(path: Path, state: tuple[int, ...]) -> "RevokedKeys":
    return RevokedKeys(path)


class RevokedKeys:
    """What a file revokes.

    Raises:
        Unreadable: the file cannot be read, or has what is not understood here.
    """

    def __init__(self, path: Path) -> None:
        self._keys: set[bytes] = set()
        self._hashes: dict[str, set[bytes]] = {"sha1": set(), "sha256": set()}
        #: By the authority's key, empty for all.
        self._certificates: dict[bytes, list[Callable[[Certificate], bool]]] = {}
        try:
            data = path.read_bytes()
            if data.startswith(_MAGIC):
                self._read_krl(Reader(data[len(_MAGIC) :]))
            else:
                self._read_list(data)
        except (OSError, ValueError, BadCertificate) as error:
            said = reason_of(error) if isinstance(error, OSError) else str(error)
            raise Unreadable(f"RevokedHostKeys {path}: {said}") from None

    def revokes(self, shown: ShownKey) -> bool:
        """Whether a key, its certificate or the certificate's authority is revoked."""
        certificate = shown.certificate
        if self._has(shown.blob):
            return True
        if certificate is None:
            return False
        rules = [*self._certificates.get(certificate.authority, ()), *self._certificates.get(b"", ())]
        return self._has(certificate.authority) or any(rule(certificate) for rule in rules)

    def _has(self, blob: bytes) -> bool:
        return blob in self._keys or any(
            known and hashlib.new(name, blob).digest() in known for name, known in self._hashes.items()
        )

    def _read_list(self, data: bytes) -> None:
        for number, line in enumerate(data.split(b"\n"), 1):
            fields = line.split()
            if fields and not fields[0].startswith(b"#"):
                found = next(filter(None, map(_key, fields[1:])), None)
                if found is None:  # as ssh: the key that it was meant to be would pass
                    raise ValueError(f"line {number} is no key")
                self._keys.add(found)

    def _read_krl(self, reader: Reader) -> None:
        if reader.number(">I") != 1:
            raise ValueError("a KRL of an unknown version")
        for _ in range(3):  # its version, its date and flags
            reader.number(">Q")
        reader.string()
        reader.string()
        while not reader.at_end:
            kind, section = reader.number(">B"), Reader(reader.string())
            if kind == _CERTIFICATES:
                self._read_certificates(section)
            elif kind == _KEYS:
                self._keys.update(section.strings())
            elif kind in (_SHA1, _SHA256):
                self._hashes["sha1" if kind == _SHA1 else "sha256"].update(section.strings())
            else:
                raise ValueError(f"a KRL with a section of type {kind}, which is not supported")

    def _read_certificates(self, section: Reader) -> None:
        rules = self._certificates.setdefault(section.string(), [])
        section.string()
        while not section.at_end:
            kind, part = section.number(">B"), Reader(section.string())
            if kind == _IDS:
                rules.append(_with_ids(part.strings()))
            elif kind == _SERIALS:
                while not part.at_end:
                    serial = part.number(">Q")
                    rules.append(_with_serials(serial, serial))
            elif kind == _RANGE:
                rules.append(_with_serials(part.number(">Q"), part.number(">Q")))
            elif kind == _BITMAP:
                rules.append(_in_bitmap(part.number(">Q"), int.from_bytes(part.string(), "big")))
            else:
                raise ValueError(f"a KRL with certificates by {kind:#x}, which is not supported")


def _key(encoded: bytes) -> bytes | None:
    """The key that a word is, that of a certificate if it is one; None if it is no key."""
    try:
        blob = base64.b64decode(encoded, validate=True)
        shown = ShownKey.of(blob)
        if shown.certificate is None:
            Reader(blob).strings()  # or it is cut off
    except (binascii.Error, BadCertificate):
        return None
    return shown.blob if shown.key_type else None


def _with_ids(ids: list[bytes]) -> Callable[[Certificate], bool]:
    known = frozenset(ids)
    return lambda certificate: certificate.key_id in known


def _with_serials(first: int, last: int) -> Callable[[Certificate], bool]:
    # The number 0 is that of certificates without one.
    return lambda certificate: 0 != certificate.serial >= first and certificate.serial <= last


def _in_bitmap(offset: int, bits: int) -> Callable[[Certificate], bool]:
    def revoked(certificate: Certificate) -> bool:
        bit = certificate.serial - offset
        return certificate.serial != 0 and 0 <= bit < bits.bit_length() and bool(bits >> bit & 1)

    return revoked
