"""Host lists: from files, from `hostlists/`, from standard input, and from the record of runs."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..history import past_runs
from ..model import UsageError, doubt, reason_of
from .inventory import Inventory
from .list_groups import parse
from .list_text import decoded, lines_of_standard_input

#: Names of standard input.
STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
#: Of files in hostlists/, in the order in which they are looked for.
SUFFIXES = (".txt", "", ".ini", ".yml", ".yaml", ".json", ".toml")
#: Folders of Ansible with variables of the groups and hosts of an inventory beside them.
VARIABLES_BESIDE = ("group_vars", "host_vars")


def read(name: str, hint: str = "", allow_proxy_command: bool = False) -> Inventory:
    """The hosts and groups of a list: a file, `-` for standard input, a name in hostlists/, or of a run.

    `hint` is added to the error if there is no such file. A list can run programs here, by a ProxyCommand;
    one from standard input only if that is allowed.

    Raises:
        UsageError: it cannot be read, or is not to be trusted.
    """
    if not name.strip():
        raise UsageError(f"host list {name!r}: must be a file, or the name of one in hostlists/")
    if name.startswith("@"):
        return Inventory.of(name, past_runs.select(name))
    if name in STDIN and sys.stdin is None:
        raise UsageError(f"host list {name}: standard input is closed")
    try:
        if name in STDIN:
            lines = lines_of_standard_input(f"host list {name}")
            return parse(lines, "standard input", allow_proxy_command)
        path = find_list(name)
        text = decoded(path.read_bytes(), f"host list {name}")
    except OSError as error:
        reason = reason_of(error)
        if isinstance(error, FileNotFoundError):
            reason += hint
        raise UsageError(f"host list {name}: {reason}") from None
    return parse(text.split("\n"), str(path))


def find_list(name: str) -> Path:
    """The file of a host list: as named, else in `hostlists/` here or in a folder above, whatever its suffix.

    A folder, which is an inventory of Ansible's, is found after files. What is in a folder above has to be
    the user's or root's: whoever writes a list can run programs as its user.

    Raises:
        UsageError: the list that is found belongs to somebody else, or others can write it.
        OSError: it cannot be looked at.
    """
    path = Path(os.path.expanduser(name))
    if len(path.parts) != 1 or name.endswith("/") or name == ".." or (path.exists() and not path.is_dir()):
        return path
    here = Path.cwd()
    for folder in (here, *here.parents):
        lists = folder / "hostlists"
        files = (file for suffix in SUFFIXES if (file := lists / f"{name}{suffix}").is_file())
        found = next(files, lists / name)
        if found.exists():
            if folder != here:
                _trust(found)
            return found
    return path


def _trust(path: Path) -> None:
    for part in (path.parent, path, *_read_with(path)):
        reason = doubt(part)
        if reason:
            raise UsageError(
                f"host list {path.stem}: {part} is not used, as {reason}: chmod go-w or chown it, "
                f"or name the file: {path}"
            )


def _read_with(path: Path) -> Iterator[Path]:
    """What Ansible reads with an inventory: all of a folder, and variables beside a file."""
    if path.suffix == SUFFIXES[0]:
        return
    for folder in [path] if path.is_dir() else [path.parent / name for name in VARIABLES_BESIDE]:
        for root, folders, files in os.walk(folder):
            yield Path(root)
            yield from (part for name in (*folders, *files) if (part := Path(root, name)).exists())
