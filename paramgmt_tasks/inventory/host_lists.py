"""Host lists: from files, from `hostlists/`, from standard input, and from the record of runs."""

import os
import sys
from pathlib import Path

from ..history import past_runs
from ..model import Host, UsageError, doubt, parse_lines, reason_of
from .list_text import decoded, lines_of_standard_input

#: Names of standard input.
_STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def read_list(name: str, hint: str = "", allow_proxy_command: bool = False) -> list[Host]:
    """The hosts of a list: a file, `-` for standard input, a name in hostlists/, or `@failed` of a run.

    `hint` is added to the error if there is no such file. A list can run programs here, by a ProxyCommand;
    one from standard input only if that is allowed.

    Raises:
        UsageError: it cannot be read, or is not to be trusted.
    """
    if not name.strip():
        raise UsageError(f"host list {name!r}: must be a file, or the name of one in hostlists/")
    if name.startswith("@"):
        return past_runs.select(name)
    if name in _STDIN and sys.stdin is None:
        raise UsageError(f"host list {name}: standard input is closed")
    try:
        if name in _STDIN:
            lines = lines_of_standard_input(f"host list {name}")
            return parse_lines(lines, "standard input", allow_proxy_command)
        path = find_list(name)
        text = decoded(path.read_bytes(), f"host list {name}")
    except OSError as error:
        reason = reason_of(error)
        if isinstance(error, FileNotFoundError):
            reason += hint
        raise UsageError(f"host list {name}: {reason}") from None
    return parse_lines(text.split("\n"), str(path))


def find_list(name: str) -> Path:
    """The file of a host list: as named, else in `hostlists/` here or in a folder above.

    One in a folder above has to be the user's or root's: whoever writes a list can run programs as its user.

    Raises:
        UsageError: the list that is found belongs to somebody else, or others can write it.
        OSError: it cannot be looked at.
    """
    path = Path(os.path.expanduser(name))
    if os.path.exists(path) or len(path.parts) != 1:
        return path
    here = Path.cwd()
    for folder in (here, *here.parents):
        for candidate in (folder / "hostlists" / f"{name}.txt", folder / "hostlists" / name):
            if candidate.is_file():
                if folder != here:
                    _trust(candidate)
                return candidate
    return path


def _trust(path: Path) -> None:
    for part in (path.parent, path):
        reason = doubt(part)
        if reason:
            raise UsageError(
                f"host list {path.stem}: {part} is not used, as {reason}: chmod go-w or chown it, "
                f"or name the file: {path}"
            )
