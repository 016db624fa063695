"""Where the records of runs are: a folder for each run, which only its user can look into."""

import errno
import fcntl
import os
import re
import shutil
import stat
import time
from pathlib import Path
from typing import BinaryIO

from ..model import make_private

RECORD = "run.jsonl"
_ID = re.compile(r"\d{8}-\d{6}-\d{3}")


def root() -> Path:
    """The folder of all runs, in the user's folder for state (XDG Base Directory Specification)."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(os.path.expanduser(state)) / "paramgmt" / "runs"


def identifiers() -> list[str]:
    """The runs there are, the oldest first."""
    try:
        return sorted(name for name in os.listdir(root()) if _ID.fullmatch(name))
    except OSError:
        return []


def make_folder() -> Path:
    """A folder for a run, named by its time: names sort as the runs began.

    Raises:
        OSError: it cannot be made, or another user could look into it.
    """
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


def prune(kept: int) -> None:
    """Remove the oldest runs, unless they are under way."""
    for name in identifiers()[:-kept]:
        if not _is_under_way(name):
            shutil.rmtree(root() / name, ignore_errors=True)


def open_record(name: str) -> BinaryIO:
    """A run's record, to be read.

    Raises:
        OSError: there is none, or it is not the user's own.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(root() / name / RECORD, flags)
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "no file of the user's own")
    return os.fdopen(descriptor, "rb")


def is_locked(record: BinaryIO) -> bool:
    """Whether a record's run is under way: a Journal holds the lock until its process ends."""
    try:
        fcntl.flock(record, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _is_under_way(name: str) -> bool:
    try:
        with open_record(name) as record:
            return is_locked(record)
    except OSError:
        return False
