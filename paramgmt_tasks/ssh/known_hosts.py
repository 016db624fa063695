"""known_hosts: parsed once a run and looked up by index, hashed entries too."""

import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("paramgmt_tasks")

#: What no name in known_hosts has.
_NO_NAME = re.compile(r"[\s\x00-\x1f\x7f,*?!|#@]")


@dataclass(frozen=True)
class HashedEntry:
    """A `|1|salt|hash` entry: it cannot be read, only tried against a name."""

    salt: bytes
    digest: bytes
    key_type: str
    blob: bytes

    def matches(self, name: str) -> bool:
        """Whether this entry is `name`'s."""
        return hmac.compare_digest(hmac.digest(self.salt, _bytes(name), "sha1"), self.digest)


class KnownHosts:
    """The keys in some known_hosts files, the first of which receives new ones.

    A hashed entry costs one HMAC for each name it is tried against, so a host's key is looked for among
    the entries with that very key first; only a key that is not there makes a search through all.
    Safe to use from several threads.
    """

    def __init__(self, paths: list[Path], hash_new: bool = False) -> None:
        self.paths = paths
        self._hash_new = hash_new
        self._lock = threading.Lock()
        self._plain: dict[str, set[tuple[str, bytes]]] = {}
        self._patterns: list[tuple[list[str], str, bytes]] = []
        self._hashed: dict[bytes, list[HashedEntry]] = {}
        self._revoked: set[bytes] = set()
        for path in paths:
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            lines = path.read_text("utf-8", "replace").split("\n")
        except FileNotFoundError:
            return
        except ValueError:
            return  # a name that no file has
        except OSError as error:
            log.warning("cannot read %s: %s", path, error.strerror)
            return
        for line in lines:
            self._parse(line.split())

    def _parse(self, fields: list[str]) -> None:
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", "@revoked"):
            return
        names, key_type, encoded = fields[:3]
        try:
            blob = base64.b64decode(encoded, validate=True)
            if marker:
                self._revoked.add(blob)
            elif names.startswith("|1|"):
                salt, digest = (base64.b64decode(part) for part in names.split("|")[2:4])
                entry = HashedEntry(salt, digest, key_type, blob)
                self._hashed.setdefault(blob, []).append(entry)
            elif any(character in names for character in "*?!"):
                self._patterns.append(([n for n in names.split(",") if n], key_type, blob))
            else:
                for name in names.split(","):
                    self._plain.setdefault(name.lower(), set()).add((key_type, blob))
        except (binascii.Error, ValueError):
            return  # as ssh does: an unreadable line is no entry

    def types(self, name: str) -> list[str]:
        """The key types known for `name` without a search, so that they are asked for first."""
        with self._lock:
            return sorted(key_type for key_type, _ in self._readable(name))

    def _readable(self, name: str) -> set[tuple[str, bytes]]:
        keys = set(self._plain.get(name, ()))
        for patterns, key_type, blob in self._patterns:
            refused = any(_matches(name, pattern[1:]) for pattern in patterns if pattern[0] == "!")
            if not refused and any(_matches(name, pattern) for pattern in patterns):
                keys.add((key_type, blob))
        return keys

    def is_revoked(self, blob: bytes) -> bool:
        """Whether a key is marked @revoked."""
        return blob in self._revoked

    def has(self, name: str, key_type: str, blob: bytes) -> bool:
        """Whether this very key is known for `name`."""
        with self._lock:
            if (key_type, blob) in self._readable(name):
                return True
            for entry in self._hashed.get(blob, ()):
                if entry.matches(name):
                    self._remember(name, entry)
                    return True
            return False

    def search(self, name: str) -> list[str]:
        """The types of all keys known for `name`, every hashed entry tried."""
        with self._lock:
            for entry in [e for entries in self._hashed.values() for e in entries if e.matches(name)]:
                self._remember(name, entry)
            return sorted({key_type for key_type, _ in self._readable(name)})

    def _remember(self, name: str, entry: HashedEntry) -> None:
        self._hashed[entry.blob].remove(entry)
        self._plain.setdefault(name, set()).add((entry.key_type, entry.blob))

    def add(self, name: str, key_type: str, blob: bytes) -> None:
        """Record a new host's key, here and at the end of the first file.

        A name that would stand for other hosts too, or make a line of another kind, is not recorded.
        """
        if not name or _NO_NAME.search(name):
            log.warning("the host key of %r is not recorded: it is no name of a host", name)
            return
        with self._lock:
            self._plain.setdefault(name, set()).add((key_type, blob))
            if not self.paths:
                return
            shown = _hashed(name) if self._hash_new else name
            line = f"{shown} {key_type} {base64.b64encode(blob).decode()}\n"
            try:
                _append(self.paths[0], line)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                log.warning("cannot record host keys in %s: %s", self.paths[0], reason)
                self.paths = []


def _matches(name: str, pattern: str) -> bool:
    # Not fnmatch: a bracket is a bracket here, as in `[10.*]:2222`.
    expression = "".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in pattern)
    return re.fullmatch(expression, name, re.IGNORECASE) is not None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.digest(salt, _bytes(name), hashlib.sha1)
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    with os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(_bytes(line))
