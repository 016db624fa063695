"""The hosts that an Ansible inventory lists under `all` itself: they come first, and nothing prints that."""

import contextlib
import re
import string
from collections.abc import Iterable, Iterator
from pathlib import Path

_YAML = (".yml", ".yaml", ".json")
_RANGE = re.compile(r"\[(?P<first>\w+):(?P<last>\w+)(?::(?P<step>\d+))?\]")
_PORT = re.compile(r":\d+$")
_HEADING = re.compile(r"\[(?P<group>[^\[\]]+)\]")
#: More hosts than this are no mistake of ours.
_MOST = 1_000_000


def listed_under_all(path: Path) -> list[str]:
    """The names under `all` in a file of YAML, JSON or INI, or in all of a folder, in the order of Ansible.

    What cannot be read is left out: `ansible-inventory` has read the inventory, and says what is wrong.
    """
    if path.is_dir():
        parts = sorted(part for part in path.iterdir() if not part.name.startswith("."))
        return [name for part in parts for name in listed_under_all(part)]
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError):
        return []
    names = _of_yaml(text) if path.suffix.lower() in _YAML else _of_ini(text)
    return [host for name in names for host in _expanded(_PORT.sub("", name))]


def _of_yaml(text: str) -> Iterable[str]:
    # Most inventories have no such hosts, and to read them takes long.
    if not re.search(r"\ball\b", text) or not re.search(r"\bhosts\b", text):
        return []
    import yaml

    # As it stands, whatever tags such as !vault would make of it.
    top: object = None
    for loader in (getattr(yaml, "CBaseLoader", yaml.BaseLoader), yaml.BaseLoader):
        with contextlib.suppress(Exception):  # the one in C may be of another import of yaml, and its errors
            top = yaml.load(text, Loader=loader)
        if isinstance(top, (dict, list)):
            break
    try:
        return list(top["all"]["hosts"])  # type: ignore[index]
    except (LookupError, TypeError):
        return []


def _of_ini(text: str) -> Iterator[str]:
    group = ""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        heading = _HEADING.fullmatch(words[0]) if words else None
        if heading:
            group = heading["group"]
        elif words and group == "all" and not words[0].startswith(";"):
            yield words[0]


def _expanded(name: str) -> Iterator[str]:
    """The hosts of a name with ranges.

    >>> list(_expanded("web[08:10:2]-[a:b]")), list(_expanded("db"))
    (['web08-a', 'web08-b', 'web10-a', 'web10-b'], ['db'])
    """
    found = _RANGE.search(name)
    if not found:
        yield name
        return
    for part in _range(found["first"], found["last"], int(found["step"] or 1)):
        for rest in _expanded(name[found.end() :]):
            yield f"{name[: found.start()]}{part}{rest}"


def _range(first: str, last: str, step: int) -> Iterable[str]:
    if first.isdecimal() and last.isdecimal() and step:
        width = len(first) if first.startswith("0") else 0
        return [f"{number:0{width}}" for number in range(int(first), min(int(last), _MOST) + 1, step)]
    letters = string.ascii_letters
    if len(first) == len(last) == 1 and first in letters and last in letters and step:
        return letters[letters.index(first) : letters.index(last) + 1 : step]
    return []
