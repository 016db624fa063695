"""Host lists where they are kept: in files, in `hostlists/`, in the record of runs."""

import os
import sys
from pathlib import Path

from . import hosts as host_lists
from . import journal
from .errors import UsageError, words
from .hosts import Host


def read_list(name: str, hint: str = "") -> list[Host]:
    """The hosts of a list: a file, `-` for standard input, a name in hostlists/, or `@failed` of a run.

    `hint` is added to the error where there is no such file.

    Raises:
        UsageError: it cannot be read.
    """
    if name.startswith("@"):
        return journal.select(name)
    if name == "-" and sys.stdin is None:
        raise UsageError("host list -: standard input is closed")
    if name == "-":
        return host_lists.parse_lines(sys.stdin, "standard input")
    try:
        path = find_list(name)
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"host list {name}: not a text file in UTF-8") from None
    except OSError as error:
        reason = words(error)
        if isinstance(error, FileNotFoundError):
            reason += hint
        raise UsageError(f"host list {name}: {reason}") from None
    return host_lists.parse_lines(text.split("\n"), str(path))


def find_list(name: str) -> Path:
    """The file of a host list: as named, else in `hostlists/` here or in a folder above."""
    path = Path(os.path.expanduser(name))
    if os.path.exists(path) or len(path.parts) != 1:
        return path
    here = Path.cwd()
    for folder in (here, *here.parents):
        for candidate in (folder / "hostlists" / f"{name}.txt", folder / "hostlists" / name):
            if candidate.is_file():
                return candidate
    return path
