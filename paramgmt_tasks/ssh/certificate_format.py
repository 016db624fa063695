"""The fields of keys and certificates as they are sent (RFC 4251, section 5; OpenSSH's PROTOCOL.certkeys)."""

import struct

#: What ends the names of certificates.
CERTIFICATE = "-cert-v01@openssh.com"
#: How many fields the public key of each kind has.
_FIELDS = {
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    **dict.fromkeys(("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"), 2),
    "sk-ssh-ed25519@openssh.com": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}


class BadCertificate(Exception):
    """Data that is cut off, or a certificate that nobody has signed."""


class Reader:
    """Reads strings and numbers; raises BadCertificate when cut off."""

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

    def text(self) -> str:
        """A string that is the name of something."""
        return self.string().decode("ascii", "replace")

    def strings(self) -> list[bytes]:
        """All strings up to the end."""
        found = []
        while not self.at_end:
            found.append(self.string())
        return found


def opened(blob: bytes) -> tuple[str, bytes, Reader]:
    """The kind and the blob of the key that a certificate is for, and a reader of what comes after that.

    Raises:
        BadCertificate: it is none, or of an unknown kind.
    """
    reader = Reader(blob)
    name = reader.text()
    kind = name.removesuffix(CERTIFICATE) + ("@openssh.com" if name.startswith("sk-") else "")
    if not name.endswith(CERTIFICATE) or kind not in _FIELDS:
        raise BadCertificate(f"a certificate of an unknown type, {name}")
    reader.string()  # a nonce
    begin = reader.position
    for _ in range(_FIELDS[kind]):
        reader.string()
    plain = struct.pack(">I", len(kind)) + kind.encode() + blob[begin : reader.position]
    return kind, plain, reader
