"""Ansible's inventories of any kind, as `ansible-inventory` reads them: INI, YAML, TOML, folders, plugins."""

import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..model import UsageError, one_line
from . import ansible_json
from .ansible_json import ALL, UNGROUPED, Listing
from .ansible_order import listed_under_all
from .program_output import PATIENCE, Printed, output_of

log = logging.getLogger("paramgmt_tasks")

NAME = "ansible-inventory"
#: What would change what it prints, whatever the user's ansible.cfg says.
_PLAINLY = {
    "ANSIBLE_DEBUG": "0",
    "ANSIBLE_FORCE_COLOR": "0",
    "ANSIBLE_INVENTORY_EXPORT": "0",
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_VERBOSITY": "0",
    "COLUMNS": "10000",
}
#: It only warns of what it cannot read, unless it is told to fail.
_STRICTLY = "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED"

_MESSAGE = re.compile(
    r"(?:^\[(?:WARNING|ERROR)\]:|^ERROR!)(.*?)(?=^\s*$|^\[|^ERROR!|\Z)", re.MULTILINE | re.DOTALL
)
_UNREAD = re.compile(
    r"(?:Completely failed to|Unable to) parse (?:inventory source )?(.*?)( as an inventory source)?"
)
_BY_PLUGIN = re.compile(r"(?:\* )?Failed to parse .*?\bwith '?(?P<plugin>\w+)'? plugin: (?P<reason>.*)")
#: Of what it could not use, without failing.
_DROPPED = re.compile(r"(Unable to parse|Skipping) ")
#: What plugins say that were not meant.
_NOT_FOR_IT = re.compile(r"no root 'plugin' key|Plugin configuration YAML file|Failed to parse inventory: $")
_YAML = (".yml", ".yaml", ".json")


def program() -> str | None:
    """The `ansible-inventory` of the PATH, else the one that is installed with this program."""
    beside = Path(sys.executable).parent / NAME
    return shutil.which(NAME) or (str(beside) if os.access(beside, os.X_OK) else None)


def read(path: Path, source: str) -> Listing:
    """The hosts, groups and variables of an inventory, as Ansible knows them.

    Raises:
        UsageError: there is no `ansible-inventory`, or it cannot read all of it; begins with `source`.
    """
    words = program()
    elsewhere = f"{NAME} -i {source} --list > fleet.json, and name fleet.json"
    if words is None:
        raise UsageError(
            f"{source}: an Ansible inventory, and {NAME} is not installed: "
            f"pip install ansible-core, or where it is {elsewhere}"
        )
    absolute = os.path.abspath(path)
    if "," in absolute:
        raise UsageError(f"{source}: Ansible takes a path with a comma for a list of hosts: rename it")
    if path.suffix.lower() != path.suffix and path.suffix.lower() in (*_YAML, ".toml"):
        raise UsageError(f"{source}: Ansible knows files by suffixes in small letters: rename it")
    printed = output_of(
        [words, "-i", absolute, "--list"],
        f"{source}: {NAME}",
        time.monotonic() + PATIENCE,
        f": ask it once, by {elsewhere}",
        _environment(),
    )
    if printed.status:
        raise UsageError(f"{source}: {NAME} cannot read {_failure(printed, absolute)}")
    listing = ansible_json.parse(printed.out, source, f"{source}: what {NAME} prints")
    dropped = [text for text in _messages(printed.said) if _DROPPED.match(text)]
    if dropped and not listing.names():
        raise UsageError(f"{source}: {NAME} cannot read {_failure(printed, absolute)}")
    for text in dict.fromkeys(dropped):
        log.warning("%s: %s: %s", source, NAME, one_line(text))
    hosts = set(listing.names())
    if len(hosts) > len(listing.groups[UNGROUPED].hosts):
        listing.groups[ALL].hosts = [name for name in listed_under_all(path) if name in hosts]
    return listing


def _environment() -> dict[str, str]:
    env = {_STRICTLY: "1", **os.environ, **_PLAINLY}
    if env.get("LC_ALL") in ("C", "POSIX"):  # with which it does not start
        env["LC_ALL"] = "C.UTF-8"
    return env


def _messages(said: str) -> Iterator[str]:
    """Its warnings and errors, each as one line."""
    for match in _MESSAGE.finditer(said):
        yield " ".join(match[1].split())


def _failure(printed: Printed, path: str) -> str:
    """What it could not read, with the reason of the plugin that was meant for it; else all that it said."""
    messages = list(_messages(printed.said))
    unread = [match[1] for match in map(_UNREAD.fullmatch, messages) if match]
    if not unread:
        said = "; ".join(messages)
        return f"it: {one_line(said) if said else printed.failure}"
    what = "it" if unread[-1] == path else unread[-1]
    others = ("ini", "toml") if unread[-1].lower().endswith(_YAML) else ()
    reasons = {
        match["reason"]
        for match in map(_BY_PLUGIN.fullmatch, messages)
        if match and match["plugin"] not in others and not _NOT_FOR_IT.search(match["reason"])
    }
    text = one_line("; ".join(sorted(reasons)) or messages[-1])
    if "vault secrets" in text:
        return f"{what}: {text}: name a file with the password in ANSIBLE_VAULT_PASSWORD_FILE"
    return f"{what}: {text}" + ("" if what == "it" else f" ({_STRICTLY}=0 goes on without it)")
