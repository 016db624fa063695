"""Names to be offered while one types: of lists, of what stands in them, and of runs.

Only what can be read at once is looked at. No program is run, so that groups of executables, of
`ansible-inventory` and of ClusterShell's sources are not among them, and a line that cannot be used is none.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..history import past_runs, run_folders
from .host_lists import find_list

#: How long a file may be, in bytes, how many names come from one, and how many runs are offered.
_LONGEST, _NAMES, _RUNS = 1_000_000, 1000, 20
_SUFFIXES = (".txt", ".ini", ".yml", ".yaml", ".json", ".toml")
_HEADING = re.compile(r"\[([^\[\]:\s]+)(?::(\w+))?\]")


def lists() -> list[str]:
    """The names of the lists in `hostlists/`, here and in all folders above."""
    found: set[str] = set()
    for folder in (here := Path.cwd(), *here.parents):
        for path in _entries(folder / "hostlists"):
            found.add(path.stem if path.suffix in _SUFFIXES else path.name)
    return sorted(name for name in found if not name.startswith("."))


def files() -> list[str]:
    """The files here, by their names."""
    return sorted(path.name for path in _entries(Path()) if path.is_file() and path.name[0] != ".")


def runs() -> list[str]:
    """The names of runs, such as `@failed`, and `@failed:RUN` of the last runs."""
    names = [f"@{name}" for name in past_runs.NAMES]
    last = run_folders.identifiers()[: -_RUNS - 1 : -1]
    return [*names, *(f"{name}:{run}" for name in names for run in last)]


def hosts(names: Iterable[str]) -> list[str]:
    """The groups of lists, as `@group`, and their entries as they are written."""
    groups: dict[str, None] = {}
    entries: dict[str, None] = {}
    for name in names:
        section = ""
        for line in _lines(name):
            words = line.partition("#")[0].split()
            heading = _HEADING.fullmatch(" ".join(words))
            if heading:
                section = heading[2] or ""
                groups.setdefault(f"@{heading[1]}")
            elif words and words[0] != "*" and words[0][0] != ";" and section != "vars":
                (groups if section == "children" else entries).setdefault("@" * (section != "") + words[0])
            if len(groups) + len(entries) >= _NAMES:
                break
    return [*groups, *entries]


def _lines(name: str) -> Iterator[str]:
    """The lines of a list that is no program."""
    try:
        path = find_list(name)
        if path.is_file() and path.stat().st_size <= _LONGEST and not os.access(path, os.X_OK):
            with path.open(encoding="utf-8-sig") as file:
                yield from file
    except (OSError, ValueError):  # a UsageError too, of one that is not to be trusted
        return


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
