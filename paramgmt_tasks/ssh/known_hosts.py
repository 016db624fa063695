"""known_hosts: each file is read once a run, and again if it has changed; looked up by index, hashed too."""

import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import shlex
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..model import reason_of
from .host_patterns import Names, is_named, names

log = logging.getLogger("paramgmt_tasks")

#: What no name in known_hosts has.
_NO_NAME = re.compile(r"[\s\x00-\x1f\x7f,*?!|#@]")


class Entry(NamedTuple):
    """A key that stands in a file."""

    key_type: str
    blob: bytes
    file: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """The file and line."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class HashedEntry:
    """A `|1|salt|hash` entry: its name cannot be read, only tried."""

    salt: bytes
    digest: bytes
    entry: Entry

    def matches(self, name: str) -> bool:
        """Whether this entry is `name`'s."""
        return hmac.compare_digest(hmac.digest(self.salt, _bytes(name), "sha1"), self.digest)


class Index:
    """Entries by the names that they are for.

    A hashed entry costs one HMAC for each name it is tried against, so a host's key is looked for among
    the entries with that very key first; only a key that is not there makes a search through all.
    """

    def __init__(self) -> None:
        self._plain: dict[str, list[Entry]] = {}
        self._patterns: list[tuple[Names, Entry]] = []
        self._hashed: dict[bytes, list[HashedEntry]] = {}

    def add(self, given: str, entry: Entry) -> None:
        """Add an entry for the names of a line.

        Raises:
            ValueError: they are hashed, in no way that is known.
        """
        if given.startswith("|"):
            _, version, salt, digest = given.split("|")
            if version != "1":
                raise ValueError(given)
            hashed = HashedEntry(base64.b64decode(salt), base64.b64decode(digest), entry)
            self._hashed.setdefault(entry.blob, []).append(hashed)
        elif any(character in given for character in "*?!"):
            self._patterns.append((names([name for name in given.lower().split(",") if name]), entry))
        else:
            for name in given.lower().split(","):
                self._plain.setdefault(name, []).append(entry)

    def readable(self, name: str) -> list[Entry]:
        """The entries for `name` that are found without a search."""
        if not self._patterns:
            return self._plain.get(name, [])
        matching = [entry for given, entry in self._patterns if is_named(name, given.patterns)]
        return [*self._plain.get(name, []), *matching]

    def find(self, name: str, blob: bytes) -> Entry | None:
        """The entry with this very key."""
        for entry in self.readable(name):
            if entry.blob == blob:
                return entry
        for hashed in self._hashed.get(blob, ()):
            if hashed.matches(name):
                self._remember(name, hashed)
                return hashed.entry
        return None

    def search(self, name: str) -> list[Entry]:
        """All entries for `name`, every hashed one tried."""
        if self._hashed:
            for found in [h for entries in self._hashed.values() for h in entries if h.matches(name)]:
                self._remember(name, found)
        return self.readable(name)

    def _remember(self, name: str, hashed: HashedEntry) -> None:
        self._hashed[hashed.entry.blob].remove(hashed)
        self._plain.setdefault(name, []).append(hashed.entry)


class Lines:
    """Lines of known_hosts, from wherever they come; `source` is named in what is said of them."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self.keys, self.authorities, self.revoked = Index(), Index(), Index()
        self._count = 0

    def parse(self, text: bytes) -> None:
        """Add the lines of a text. One that cannot be read is no entry, as with ssh."""
        lines = text.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for line in lines:
            self._count += 1
            try:
                self._add(line.split())
            except (binascii.Error, KeyError, ValueError):
                continue

    def _add(self, fields: list[bytes]) -> None:
        if not fields or fields[0].startswith(b"#"):
            return
        index = self.keys
        if fields[0].startswith(b"@"):
            index = {b"@cert-authority": self.authorities, b"@revoked": self.revoked}[fields.pop(0)]
        given, key_type, encoded = fields[:3]
        blob = base64.b64decode(encoded, validate=True)
        if blob[4 : 4 + len(key_type)] == key_type:
            index.add(given.decode("utf-8", "replace"), self._entry(key_type.decode(), blob))

    def _entry(self, key_type: str, blob: bytes) -> Entry:
        return Entry(key_type, blob, self.source, self._count)


class KnownHostsFile(Lines):
    """One file of known_hosts. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        super().__init__(_shown(path))
        self._path = path
        self._text = bytearray()
        self._state: tuple[int, ...] | None = None
        self._is_file = True
        self._can_record = True
        self.refresh()

    def refresh(self) -> bool:
        """Read the file again if it has changed since; whether it has."""
        with self.lock:
            try:
                found = self._path.stat() if self._is_file else None
            except (OSError, ValueError):
                return False
            if found is None or _state(found) == self._state:
                return False
            self._is_file, self._state = stat.S_ISREG(found.st_mode), _state(found)
            try:
                text = self._path.read_bytes()
            except OSError as error:
                log.warning("cannot read %s: %s", self._path, reason_of(error))
                return False
            self._replace(text)
            return True

    def _replace(self, text: bytes) -> None:
        # Usually lines were added: by an ssh, or by the ProxyCommand of another host.
        if not text.startswith(self._text) or not self._text.endswith(b"\n"):
            self._begin()
            self._text.clear()
        added = text[len(self._text) :]
        self._text += added
        self.parse(added)

    def record(self, name: str, key_type: str, blob: bytes, hashed: bool) -> None:
        """Add a host's key, here and at the end of the file."""
        shown = _hashed(name) if hashed else name
        line = _bytes(f"{shown} {key_type} {base64.b64encode(blob).decode()}\n")
        with self.lock:
            if self._can_record:
                try:
                    if not self._append(line) and self._is_file:
                        return  # `refresh` reads it, with what others have written
                except (OSError, ValueError) as error:
                    reason = reason_of(error) if isinstance(error, OSError) else error
                    log.warning("cannot record host keys in %s: %s", self._path, reason)
                    self._can_record = False
            self.keys.add(name, self._entry(key_type, blob))

    def _append(self, line: bytes) -> bool:
        """Write a line at the end; whether nobody else has written since the file was read."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(self._path, flags, 0o600), "r+b", buffering=0) as file:
            before = os.fstat(file.fileno())
            if before.st_size:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)
            after = os.fstat(file.fileno())
        as_read = _state(before) == self._state or (self._state is None and not before.st_size)
        as_read = as_read and after.st_size == before.st_size + len(line)
        if as_read:
            self._state = _state(after)
            self._text += line
            self._count += line.count(b"\n")
        return as_read


class KnownHosts:
    """The keys in some files: the user's, of which the first receives new ones, and others."""

    def __init__(self, own: Sequence[KnownHostsFile], others: Sequence[Lines] = ()) -> None:
        self._own, self._others = own, others
        self._all: tuple[Lines, ...] = (*own, *others)

    def having(self, more: Lines) -> "KnownHosts":
        """These and more."""
        return KnownHosts(self._own, [*self._others, more])

    @property
    def records(self) -> bool:
        """Whether there is a file for new keys."""
        return bool(self._own)

    def types(self, name: str) -> frozenset[str]:
        """The key types known for `name` without a search, so that they are asked for first."""
        return frozenset(entry.key_type for lines in self._all for entry in _readable(lines, name))

    def find(self, name: str, blob: bytes) -> Entry | None:
        """The entry for `name` with this very key."""
        for lines in self._all:
            with lines.lock:
                entry = lines.keys.find(name, blob)
            if entry is not None:
                return entry
        return None

    def search(self, name: str) -> list[Entry]:
        """All keys known for `name`, every hashed entry tried."""
        found: list[Entry] = []
        for lines in self._all:
            with lines.lock:
                found += lines.keys.search(name)
        return found

    def authorities(self, name: str) -> list[Entry]:
        """The keys of those that certify `name`'s key."""
        return [entry for lines in self._all for entry in _marked(lines, lines.authorities, name)]

    def revoked(self, name: str) -> list[Entry]:
        """The keys that must not be `name`'s, nor have certified it."""
        return [entry for lines in self._all for entry in _marked(lines, lines.revoked, name)]

    def refresh(self) -> bool:
        """Read again the files that have changed; whether there are any."""
        changed = [lines.refresh() for lines in self._all if isinstance(lines, KnownHostsFile)]
        return any(changed)

    def add(self, name: str, key_type: str, blob: bytes, hashed: bool = False) -> None:
        """Record a new host's key, here and at the end of the first of the user's files.

        A name that would stand for other hosts too, or make a line of another kind, is not recorded.
        """
        if not name or _NO_NAME.search(name):
            log.warning("the host key of %r is not recorded: it is no name of a host", name)
        else:
            self._own[0].record(name, key_type, blob, hashed)


def _shown(path: Path) -> str:
    """A path as it may be given to a shell, and short: with `~` for the home."""
    home, text = os.path.expanduser("~/"), str(path)
    return f"~/{shlex.quote(text[len(home) :])}" if text.startswith(home) else shlex.quote(text)


def _readable(lines: Lines, name: str) -> list[Entry]:
    with lines.lock:
        return lines.keys.readable(name)


def _marked(lines: Lines, index: Index, name: str) -> list[Entry]:
    with lines.lock:  # few lines have a marker
        return index.search(name)


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.digest(salt, _bytes(name), hashlib.sha1)
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
