"""PastRun: a run as its record describes it. The record may be damaged in any way."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..model import SSH_OPTIONS, Host, Outcome, UsageError, one_line, parse_entry
from .run_folders import identifiers, is_locked, open_record, root

#: Names of host lists besides those of the outcomes: all that are not ok, and those never begun.
FAILED, UNSTARTED = "failed", "unstarted"
#: All of them.
NAMES = (FAILED, UNSTARTED, *(str(outcome) for outcome in Outcome if str(outcome) != FAILED))
#: Characters that a host's entry may have.
_LONGEST = 1000
#: The state of a run whose record cannot be read, of which no more is known than when it began.
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Ending:
    """How it ended on a host, after how many seconds, and how many bytes of its output were not kept."""

    outcome: Outcome
    reason: str
    seconds: float
    dropped: int = 0


@dataclass(frozen=True)
class PastRun:
    """A run as its record describes it. `state` is ended, interrupted, killed, running or unreadable.

    `damaged` is whether some of the record is missing: then nothing is known of hosts that the rest does not
    mention, and they count as lost.
    """

    identifier: str
    began: str
    description: str
    state: str
    hosts: list[Host]
    started: set[int]
    finished: dict[int, Ending]
    damaged: bool = False

    def outcome(self, index: int) -> str:
        """How it ended on a host: an outcome, also if the run was killed before it was known."""
        if index in self.finished:
            return str(self.finished[index].outcome)
        return str(Outcome.LOST if self.damaged or index in self.started else Outcome.CANCELLED)

    def reason(self, index: int) -> str:
        """Why it was not ok on a host."""
        if index in self.finished:
            return one_line(self.finished[index].reason)
        begun = index in self.started
        what = "still under way" if self.state == "running" else "the run was killed"
        if self.damaged and not (begun and self.state == "killed"):
            what = "the record is damaged"
        return f"{what}; it may have run" if begun or self.damaged else f"{what}; not started"

    def of(self, name: str) -> list[Host]:
        """The hosts with an outcome, or those that are `failed` or `unstarted`.

        Raises:
            UsageError: there is no such name.
        """
        if name not in NAMES:
            names = ", ".join(f"@{each}" for each in NAMES)
            raise UsageError(f"@{name}: no such hosts of a run: name one of {names}")
        return [
            host
            for index, host in enumerate(self.hosts)
            if self.outcome(index) == (str(Outcome.CANCELLED) if name == UNSTARTED else name)
            or (name == FAILED and self.outcome(index) != str(Outcome.OK))
        ]


def read(identifier: str = "") -> PastRun:
    """The record of the run whose identifier begins so; of the last one without an identifier.

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


def all_runs() -> Iterator[PastRun]:
    """The runs there are, the oldest first, also those whose record cannot be read."""
    for name in identifiers():
        past = _read(name)
        if past is not None:
            yield past


def _read(name: str) -> PastRun | None:
    """A run as far as its record can be read; None if it has not begun."""
    try:
        with open_record(name) as record:
            under_way = is_locked(record)  # checked first: it may end meanwhile
            head, *lines = record.read().split(b"\n")
    except FileNotFoundError:
        return None
    except OSError:
        return PastRun(name, "", "", UNREADABLE, [], set(), {})
    try:
        heading = _parsed(head)
        began, description = _text(heading["began"]), _text(heading["description"])
        options = [_texts(each) for each in _list(heading["options"])]
        hosts = [_host(options, line) for line in _list(heading["hosts"])]
    except (ValueError, LookupError, TypeError):
        # Without a line's end the run was killed right then, with nothing started on any host.
        return PastRun(name, "", "", UNREADABLE, [], set(), {}) if lines else None
    past = PastRun(name, began, description, "running" if under_way else "killed", hosts, set(), {})
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


def _parsed(line: bytes) -> dict[str, object]:
    """A line of a record; raises ValueError if it is none."""
    try:
        record = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("no object")
    return record


def _with(past: PastRun, record: dict[str, object], twice: set[int]) -> PastRun:
    """What is known with one line more; raises ValueError, LookupError or TypeError if it is damaged."""
    if "ended" in record:
        return replace(past, state="interrupted" if record["interrupted"] is True else "ended")
    kind = "finished" if "finished" in record else "started"
    index = _number(record[kind])
    if not isinstance(index, int) or not 0 <= index < len(past.hosts):
        raise ValueError("no such host")
    if kind == "started":
        past.started.add(index)
        return past
    seconds = _number(record["seconds"])
    if not 0 <= seconds < 1e12:
        raise ValueError("no seconds")
    if index in past.finished:
        twice.add(index)
    dropped = record.get("dropped")
    past.finished[index] = Ending(
        Outcome(record["outcome"]),
        _text(record["reason"]),
        seconds,
        dropped if isinstance(dropped, int) else 0,
    )
    return past


def _host(options: list[dict[str, str]], line: object) -> Host:
    """A host of the heading: its entry, which of the options it has, and its variables, if any."""
    entry, number, *more = _list(line)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0 or len(more) > 1:
        raise TypeError("no host")
    own, variables = options[number], _texts(more[0]) if more and more[0] is not None else {}
    if not SSH_OPTIONS.issuperset(own):
        raise ValueError("no options of ssh_config")
    if len(_text(entry)) > _LONGEST:
        raise ValueError("no host")
    return replace(parse_entry(_text(entry)), options=own, variables=variables)


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("no number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError("no texts")
    return {name: _text(text) for name, text in value.items()}


def is_name(text: str) -> bool:
    """Whether a text is `@NAME` or `@NAME:RUN`, and nothing besides."""
    name, _, run = text.removeprefix("@").partition(":")
    return text.startswith("@") and name in NAMES and not run.strip("0123456789-")


def select(name: str) -> list[Host]:
    """The hosts that are meant by `@NAME` or `@NAME:RUN`.

    Raises:
        UsageError: there is no such name or run, or the run is under way.
    """
    kind, _, identifier = name.removeprefix("@").partition(":")
    past = read(identifier)
    if past.state == "running":
        raise UsageError(f"{name}: run {past.identifier} is still under way")
    return past.of(kind)
