"""What `--hosts` and `--inventory` name, whatever it is: our own lists, and inventories of others."""

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

from ..model import SSH_OPTIONS, Host, UsageError, reason_of
from . import ansible, ansible_json, host_lists, list_groups, list_text, programs
from .host_lists import STDIN, VARIABLES_BESIDE, find_list
from .inventory import Inventory

log = logging.getLogger("paramgmt_tasks")

#: Of files that only Ansible reads.
_ANSIBLES = (".yml", ".yaml", ".json", ".toml")
#: Of files that are lists of ours, whatever is in them.
_OURS = ".txt"

_HEADING = re.compile(r"\[[^\[\]:]+(?::(?P<kind>vars|children))?\]")
#: What begins a line of our lists, and not of Ansible's: `*`, `user@host`, `web[01-20]`, `a,b`.
_OUR_ENTRY = re.compile(r"^\*$|[@,]|\[[^\[\]:]*-")


def read_inventory(name: str, hint: str = "", allow_proxy_command: bool = False) -> Inventory:
    """The hosts and groups of a file, a folder or a program, of `-` for standard input, or of hostlists/.

    `hint` is added to the error if there is no such file. What comes from standard input may run programs
    here, as a ProxyCommand does, only if that is allowed.

    Raises:
        UsageError: it cannot be read, or is not to be trusted.
    """
    if name.strip() and not name.startswith("@") and name not in STDIN:
        try:
            path = find_list(name)
            source = str(path)
            here = Path.cwd()
            # Where the user is, and above, there is more than an inventory, and programs among it.
            if path.is_dir() and path.resolve() not in (here, *here.parents):
                programs.check_folder(path, name if path == Path(name) else source)
                return ansible.read(path, source).inventory()
            if path.is_file():
                if programs.is_program(path):
                    return _of_program(path, source)
                if _is_ansibles(path):
                    list_text.check_for_ansible(path.read_bytes(), source, path.suffix.lower() in _ANSIBLES)
                    return ansible.read(path, source).inventory()
                if path.suffix.lower() == ".json":
                    return ansible_json.parse(path.read_bytes(), source, source).inventory()
        except OSError as error:
            raise UsageError(f"host list {name}: {reason_of(error)}") from None
    return host_lists.read(name, hint, allow_proxy_command)


def read_list(name: str, hint: str = "", allow_proxy_command: bool = False) -> list[Host]:
    """The hosts alone of what `read_inventory` reads.

    Raises:
        UsageError: it cannot be read, or is not to be trusted.
    """
    return list(read_inventory(name, hint, allow_proxy_command).hosts)


def _of_program(path: Path, source: str) -> Inventory:
    printed = programs.read(path, source)
    if isinstance(printed, str):
        return replace(list_groups.parse(printed.split("\n"), f"{source} --list"), source=source)
    if _has_variables_beside(path):
        if ansible.program():
            return ansible.read(path, source).inventory()
        _warn_of_variables(path)
    if printed.hostvars is None:
        programs.ask(path, source, printed)
    return printed.inventory()


def _is_ansibles(path: Path) -> bool:
    """Whether a file is for Ansible to read. In doubt it is not: our lists are INI, too, as far as that goes.

    Raises:
        OSError: it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        return not _is_printed(path)
    if suffix in _ANSIBLES or suffix == _OURS:
        return suffix != _OURS
    text, beside = path.read_text("utf-8", "replace"), _has_variables_beside(path)
    if suffix != ".ini" and "ansible_" not in text and ":vars]" not in text and not beside:
        return False
    ours, ansibles = _marks(text)
    if ours or not (suffix == ".ini" or ansibles or (beside and "[" in text)):
        return False
    if ansible.program():
        return True
    if beside:
        _warn_of_variables(path)
    return False


def _is_printed(path: Path) -> bool:
    """Whether a file is what a program has printed for `--list`, kept."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "_meta" in found


def _marks(text: str) -> tuple[bool, bool]:
    """Whether a list has what only ours have, and what is Ansible's.

    >>> _marks("nic@web1"), _marks("web1 ansible_host=10.0.0.1"), _marks("[web]\\nweb1 # [web:vars]")
    ((True, False), (False, True), (False, False))
    """
    ansibles, kind = False, None
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0].startswith(";"):
            continue
        heading = _HEADING.fullmatch(" ".join(words))
        if heading:
            kind = heading["kind"]
            ansibles = ansibles or kind == "vars"
        elif not kind:
            names = {word.partition("=")[0] for word in words[1:]}
            if _OUR_ENTRY.search(words[0]) or names & SSH_OPTIONS:
                return True, ansibles
            ansibles = ansibles or any(name.startswith("ansible_") for name in names)
    return False, ansibles


def _has_variables_beside(path: Path) -> bool:
    return any((path.parent / name).is_dir() for name in VARIABLES_BESIDE)


def _warn_of_variables(path: Path) -> None:
    beside = " and ".join(VARIABLES_BESIDE)
    log.warning("%s: %s beside it are not read: ansible-inventory is not installed", path, beside)
