"""Journal: writes what was begun on which host and how it ended, as it happens.

Lines of JSON are only ever added, so that what is there after `kill -9` holds: a host is noted before
anything is started on it. Never written: passwords, the environment's values, standard input, and what
commands print.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from ..model import Host, HostResult, Operation, Settings, reason_of
from .run_folders import RECORD, make_folder, prune, root

log = logging.getLogger("paramgmt_tasks")

#: How many runs are kept.
KEPT = 100
_SECRET = ("password", "passphrase", "env", "stdin")

#: Made once: json makes another one for each line that is not spaced as usual.
_encode = json.JSONEncoder(separators=(",", ":")).encode


def _line(record: Mapping[str, object]) -> bytes:
    return _encode(record).encode() + b"\n"


class Journal:
    """Writes one run's record. If that cannot be, it says so once, and the run goes on without."""

    def __init__(
        self, operation: Operation, hosts: Sequence[Host], settings: Settings, kept: int = KEPT
    ) -> None:
        self._descriptor = -1
        self._lock = threading.RLock()
        self._folder: Path | None = None
        self._since = time.monotonic()
        if kept < 1:
            return
        try:
            self._folder = make_folder()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._folder / RECORD, flags, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # until this process ends: the run is under way
        except OSError as error:
            self._give_up(error)
            return
        self._write(_heading(operation, hosts, settings))
        prune(kept)

    @property
    def marker(self) -> "Marker | None":
        """What notes that something is about to be started on a host, also in other processes."""
        if self._folder is None or self._descriptor < 0:
            return None
        return Marker(str(self._folder / RECORD), self._since)

    def finished(self, result: HostResult) -> None:
        """A host has its result."""
        self._write({"finished": result.index, "at": self._at(), **result.facts()})

    def end(self, interrupted: bool) -> None:
        """All results are there."""
        self._write({"ended": _now(), "interrupted": interrupted})
        self.close()

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def discard(self) -> None:
        """Nothing was begun: there is no such run."""
        self.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _at(self) -> float:
        return round(time.monotonic() - self._since, 3)

    def _write(self, record: Mapping[str, object]) -> None:
        data = _line(record)
        with self._lock:
            if self._descriptor < 0:
                return
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        with self._lock:
            if self._descriptor >= 0:
                # What is there already breaks off, so that nobody takes it for the whole: see past_runs.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, max(0, os.fstat(self._descriptor).st_size - 1))
            self.close()
        log.warning("%s: %s: this run is not recorded", root(), reason_of(error))


class Marker:
    """Notes in a run's record that something is about to be started on a host. Safe for many threads.

    It may be sent to another process of this machine.
    """

    def __init__(self, path: str, since: float) -> None:
        self._path, self._since = path, since
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> "tuple[type[Marker], tuple[str, float]]":
        return Marker, (self._path, self._since)

    def __call__(self, index: int) -> None:
        """Note it of the host with this index in the list."""
        record = {"started": index, "at": round(time.monotonic() - self._since, 3)}
        data = _line(record)
        with self._lock, contextlib.suppress(OSError):  # whoever writes the rest reports a full disk
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            os.write(self._descriptor, data)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _heading(operation: Operation, hosts: Sequence[Host], settings: Settings) -> dict[str, object]:
    # Most hosts share their options: each different set of them is written once.
    options: list[dict[str, str]] = []
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    lines = []
    for host in hosts:
        key = tuple(host.options.items())
        if key not in numbers:
            numbers[key] = len(options)
            options.append(dict(host.options))
        lines.append([host.entry, numbers[key], *([dict(host.variables)] if host.variables else [])])
    default = Settings()
    return {
        "began": _now(),
        "description": operation.description("?HOST"),
        "settings": {
            name: value
            for name, value in vars(settings).items()
            if name not in _SECRET and value != getattr(default, name)
        },
        "options": options,
        "hosts": lines,
    }


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
