"""Programs that print an inventory: Ansible's JSON for `--list`, or the lines of a host list."""

import os
import time
from pathlib import Path

from ..model import UsageError, escaped, exposed
from . import ansible_json
from .ansible_json import Listing, Variables
from .program_output import PATIENCE, Printed, output_of

#: How many hosts are asked for one by one, of a program that does not print their variables with the rest.
MOST_ASKED = 1000


def is_program(path: Path) -> bool:
    """Whether a file is run: it is marked executable, and is no plain text, which some file systems mark too.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file() or not os.access(path, os.X_OK):
        return False
    with path.open("rb") as file:
        start = file.read(4096)
    return start.startswith(b"#!") or b"\0" in start


def read(path: Path, source: str) -> Listing | str:
    """What a program prints for `--list`: groups and variables in JSON, or the text of a list.

    Raises:
        UsageError: others can write it, it fails, or what it prints is neither; begins with `source`.
    """
    _check(path, source)
    absolute, deadline = os.path.abspath(path), time.monotonic() + PATIENCE
    printed = _run(absolute, ["--list"], source, deadline)
    if not printed.out.strip():
        said = f": {printed.remark}" if printed.remark else ""
        raise UsageError(f"{source} --list: prints nothing{said}")
    if not printed.out.lstrip().startswith(b"{"):
        try:
            return printed.out.decode("utf-8")
        except UnicodeDecodeError:
            raise UsageError(f"{source} --list: neither JSON nor text in UTF-8") from None
    return ansible_json.parse(printed.out, source, f"{source} --list")


def _check(path: Path, source: str) -> None:
    """Make sure that only who may is able to change what is run."""
    real = path.resolve()
    for part in (real.parent, real, Path(os.path.abspath(path)).parent):
        if exposed(part):
            raise UsageError(f"{source}: not run, as others can write {part}: chmod go-w {part}")


def check_folder(folder: Path, source: str) -> None:
    """Make sure of the same for all programs in a folder, which Ansible runs.

    A folder that is named as if it were a host list may be any: what is in it is not run.

    Raises:
        UsageError: others can write a program, or there is one in a folder that is named without a `/`.
        OSError: one cannot be read.
    """
    for root, _, files in os.walk(folder):
        for file in files:
            path = Path(root, file)
            if is_program(path):
                _check(path, source)
                if "/" not in source:
                    raise UsageError(
                        f"{source}: a folder with a program, {path}: if it is an inventory, by which that "
                        f"is run, name it ./{source}"
                    )


def ask(path: Path, source: str, listing: Listing) -> None:
    """Have a listing without variables of hosts get them by `--host NAME` for each.

    Raises:
        UsageError: there are too many hosts to ask for, or the program fails.
    """
    names = listing.names()
    if len(names) > MOST_ASKED:
        raise UsageError(
            f"{source} --list: no _meta.hostvars for {len(names)} hosts, and --host NAME is asked for "
            f"at most {MOST_ASKED}: have it print _meta"
        )
    absolute, deadline = os.path.abspath(path), time.monotonic() + PATIENCE
    listing.hostvars = {name: _ask_for(name, absolute, source, deadline) for name in names}


def _ask_for(name: str, absolute: str, source: str, deadline: float) -> Variables:
    if name.startswith("-") or not name.isprintable():
        raise UsageError(f"{source} --list: {name!r} is no name of a host")
    printed = _run(absolute, ["--host", name], source, deadline)
    if not printed.out.strip():
        return {}
    return ansible_json.variables(printed.out, f"{source} --host {escaped(name)}")


def _run(absolute: str, arguments: list[str], source: str, deadline: float) -> Printed:
    what = f"{source} {escaped(' '.join(arguments))}"
    remedy = f": run it once, {source} --list > fleet.json, and name fleet.json"
    printed = output_of([absolute, *arguments], what, deadline, remedy)
    if printed.status:
        raise UsageError(f"{what}: {printed.failure}")
    return printed
