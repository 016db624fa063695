"""The record of runs: what was begun on which host and how it ended, written as it happens.

A folder for each run, with lines of JSON that are only ever added to, so that what is there after `kill -9`
holds: a host is noted before anything is started on it. Never written: passwords, the environment's values,
standard input, and what commands print. Only their user can read them.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from ..model import (
    SSH_OPTIONS,
    Host,
    HostResult,
    Operation,
    Outcome,
    Settings,
    UsageError,
    make_private,
    one_line,
    parse_entry,
    reason_of,
)

log = logging.getLogger("paramgmt_tasks")

#: How many runs are kept.
KEPT = 100
#: Names of host lists besides those of the outcomes: all that are not ok, and those never begun.
FAILED, UNSTARTED = "failed", "unstarted"
_FILE = "run.jsonl"
#: Characters that a host's entry may have.
_LONGEST = 1000
_ID = re.compile(r"\d{8}-\d{6}-\d{3}")
_SECRET = ("password", "env", "stdin")


def root() -> Path:
    """The folder of all runs, in the user's folder for state (XDG Base Directory Specification)."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(os.path.expanduser(state)) / "paramgmt" / "runs"


#: Made once: json makes one anew for each line that is not spaced as usual.
_encode = json.JSONEncoder(separators=(",", ":")).encode


def _line(record: dict[str, Any]) -> bytes:
    return _encode(record).encode() + b"\n"


class Journal:
    """Writes one run's record. Where that cannot be, it says so once, and the run goes on without."""

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
            self._folder = _make_folder()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._folder / _FILE, flags, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # until this process ends: the run is under way
        except OSError as error:
            self._give_up(error)
            return
        self._write(_heading(operation, hosts, settings))
        _prune(kept)

    @property
    def marker(self) -> "Marker | None":
        """What notes that something is about to be started on a host; for other processes too."""
        if self._folder is None or self._descriptor < 0:
            return None
        return Marker(str(self._folder / _FILE), self._since)

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

    def _write(self, record: dict[str, Any]) -> None:
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
                # What is there already breaks off, so that nobody takes it for the whole: see _read.
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

    def __reduce__(self) -> Any:
        return Marker, (self._path, self._since)

    def __call__(self, index: int) -> None:
        """Note it of the host at this place in the list."""
        record = {"started": index, "at": round(time.monotonic() - self._since, 3)}
        data = _line(record)
        with self._lock, contextlib.suppress(OSError):  # who writes the rest tells of a full disk
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            os.write(self._descriptor, data)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _make_folder() -> Path:
    """A folder for a run, named by its time: names sort as the runs began."""
    make_private(root())
    for folder in (root().parent, root()):
        state = folder.stat()
        if state.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"{folder} belongs to another user")
        if state.st_mode & 0o077:
            folder.chmod(0o700)
    while True:
        now = time.time()
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{int(now % 1 * 1000):03}"
        try:
            (root() / name).mkdir(mode=0o700)
        except FileExistsError:
            time.sleep(0.001)
            continue
        return root() / name


def _heading(operation: Operation, hosts: Sequence[Host], settings: Settings) -> dict[str, Any]:
    # Most hosts share their options: each different set of them stands once.
    options: list[dict[str, str]] = []
    places: dict[tuple[tuple[str, str], ...], int] = {}
    lines = []
    for host in hosts:
        key = tuple(host.options.items())
        if key not in places:
            places[key] = len(options)
            options.append(dict(host.options))
        lines.append([host.entry, places[key], *([dict(host.variables)] if host.variables else [])])
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


def _prune(kept: int) -> None:
    """Remove the oldest runs, unless they are under way."""
    for name in identifiers()[:-kept]:
        if not _under_way(name):
            shutil.rmtree(root() / name, ignore_errors=True)


def identifiers() -> list[str]:
    """The runs there are, the oldest first."""
    try:
        return sorted(name for name in os.listdir(root()) if _ID.fullmatch(name))
    except OSError:
        return []


def _open(name: str) -> BinaryIO:
    """A run's record, to be read; raises OSError where there is none, or it is not the user's own."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(root() / name / _FILE, flags)
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "no file of the user's own")
    return os.fdopen(descriptor, "rb")


def _is_locked(stream: BinaryIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _under_way(name: str) -> bool:
    try:
        with _open(name) as stream:
            return _is_locked(stream)
    except OSError:
        return False


# -- reading it

#: The state of a run whose record cannot be read, of which no more is known than when it began.
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Past:
    """A run as its record tells. `state` is ended, interrupted, killed, running or unreadable.

    `damaged` is whether some of the record is missing: then nothing is known of hosts that do not stand in
    the rest, and they count as lost.
    """

    identifier: str
    began: str
    description: str
    state: str
    hosts: list[Host]
    started: set[int]
    finished: dict[int, dict[str, Any]]
    damaged: bool = False

    def outcome(self, index: int) -> str:
        """How it ended on a host: an outcome, also where the run was killed before it was known."""
        if index in self.finished:
            return str(self.finished[index]["outcome"])
        return str(Outcome.LOST if self.damaged or index in self.started else Outcome.CANCELLED)

    def reason(self, index: int) -> str:
        """Why it was not ok on a host."""
        if index in self.finished:
            return one_line(self.finished[index]["reason"])
        begun = index in self.started
        what = "still under way" if self.state == "running" else "the run was killed"
        if self.damaged and not (begun and self.state == "killed"):
            what = "the record is damaged"
        return f"{what}; it may have run" if begun or self.damaged else f"{what}; not started"

    def of(self, name: str) -> list[Host]:
        """The hosts with an outcome, or that are `failed` or `unstarted`.

        Raises:
            UsageError: there is no such name.
        """
        if name not in (FAILED, UNSTARTED, *map(str, Outcome)):
            names = ", ".join(f"@{each}" for each in (FAILED, UNSTARTED, *Outcome) if each != "failed")
            raise UsageError(f"@{name}: no such hosts of a run: name one of @failed, {names}")
        return [
            host
            for index, host in enumerate(self.hosts)
            if self.outcome(index) == (str(Outcome.CANCELLED) if name == UNSTARTED else name)
            or (name == FAILED and self.outcome(index) != str(Outcome.OK))
        ]


def read(identifier: str = "") -> Past:
    """The record of a run, of the last one without an identifier, of which a beginning is enough.

    Raises:
        UsageError: there is none.
    """
    names = identifiers()
    found = [name for name in names if name.startswith(identifier)]
    if not found:
        raise UsageError(f"no run {identifier}: see inv runs" if names else f"no runs in {root()} yet")
    if identifier and len(found) > 1:
        raise UsageError(f"run {identifier}: may be any of {', '.join(found[:5])}")
    for name in reversed(found):  # the last one may just be beginning, or have been killed before
        past = _read(name)
        if past is not None:
            if past.state != UNREADABLE:
                return past
            others = "" if identifier or len(found) == 1 else "; name another one of inv runs"
            raise UsageError(f"run {name}: its record cannot be read{others}")
    raise UsageError(f"run {found[-1]}: its record cannot be read")


def all_runs() -> Iterator[Past]:
    """The runs there are, the oldest first, also those whose record cannot be read."""
    for name in identifiers():
        past = _read(name)
        if past is not None:
            yield past


def _read(name: str) -> Past | None:
    """A run, of whose record nothing has to be as it was written; None where it has not begun."""
    try:
        with _open(name) as stream:
            under_way = _is_locked(stream)  # asked first: it may end meanwhile
            head, *lines = stream.read().split(b"\n")
    except FileNotFoundError:
        return None
    except OSError:
        return Past(name, "", "", UNREADABLE, [], set(), {})
    try:
        heading = _parsed(head)
        began, description = _text(heading["began"]), _text(heading["description"])
        hosts = [_host(heading["options"], *line) for line in heading["hosts"]]
    except (ValueError, LookupError, TypeError):
        # Without a line's end the run was killed right then, with nothing started on any host.
        return Past(name, "", "", UNREADABLE, [], set(), {}) if lines else None
    past = Past(name, began, description, "running" if under_way else "killed", hosts, set(), {})
    twice: set[int] = set()
    rest = lines.pop() if lines else head  # empty, unless it was broken off
    damaged = bool(rest) and not under_way
    for line in (*lines, rest):
        try:
            past = _with(past, _parsed(line), twice)
        except (ValueError, LookupError, TypeError):
            damaged = damaged or line is not rest
    for index in twice:
        del past.finished[index]
    if past.state in ("ended", "interrupted"):  # said when every host had its result
        damaged = damaged or len(past.finished) < len(hosts)
    return replace(past, damaged=damaged)


def _parsed(line: bytes) -> dict[str, Any]:
    """A line of a record; raises ValueError where it is none."""
    try:
        record = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("no object")
    return record


def _with(past: Past, record: dict[str, Any], twice: set[int]) -> Past:
    """What is known with one line more; raises ValueError, LookupError or TypeError where it is damaged."""
    if "ended" in record:
        return replace(past, state="interrupted" if record["interrupted"] is True else "ended")
    kind = "finished" if "finished" in record else "started"
    index = record[kind]
    if type(index) is not int or not 0 <= index < len(past.hosts):
        raise ValueError("no such host")
    if kind == "started":
        past.started.add(index)
        return past
    seconds = record["seconds"]
    if type(seconds) not in (int, float) or not 0 <= seconds < 1e12:
        raise ValueError("no seconds")
    Outcome(record["outcome"])
    _text(record["reason"])
    if index in past.finished:
        twice.add(index)
    past.finished[index] = record
    return past


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _host(options: Any, entry: Any, place: Any, variables: Any = None) -> Host:
    if type(place) is not int or place < 0:
        raise TypeError("no place")
    own, variables = _texts(options[place]), _texts({} if variables is None else variables)
    if not SSH_OPTIONS.issuperset(own):
        raise ValueError("no options of ssh_config")
    if len(_text(entry)) > _LONGEST:
        raise ValueError("no host")
    return replace(parse_entry(entry), options=own, variables=variables)


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("no texts")
    return {name: _text(text) for name, text in value.items()}


def select(name: str) -> list[Host]:
    """The hosts that `@NAME` or `@NAME:RUN` stands for.

    Raises:
        UsageError: there is no such name or run, or the run is under way.
    """
    kind, _, identifier = name.removeprefix("@").partition(":")
    past = read(identifier)
    if past.state == "running":
        raise UsageError(f"{name}: run {past.identifier} is still under way")
    return past.of(kind)
