"""Ownership: whether others than the user and root can write a file; folders for the user alone."""

import grp
import os
import pwd
import stat
from pathlib import Path


def doubt(path: Path | int) -> str:
    """Why a file or folder is not to be trusted, as ssh judges its own files; empty if it is.

    A group that has only its owner as a member may write it.

    Raises:
        OSError: it cannot be looked at.
    """
    status = os.stat(path)
    owners = {status.st_uid}
    if isinstance(path, Path):
        owners.add(path.lstat().st_uid)  # whoever made a link decides where it leads
    for owner in owners - {0, os.getuid()}:
        return f"it belongs to {_user(owner)}"
    return "others can write it" if _is_exposed(status) else ""


def exposed(path: Path) -> bool:
    """Whether others than its owner can write a file, or replace what is in a folder.

    Raises:
        OSError: it cannot be looked at.
    """
    status = os.stat(path)
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    return not is_sticky and _is_exposed(status)


def _is_exposed(status: os.stat_result) -> bool:
    if status.st_mode & 0o002:
        return True
    return bool(status.st_mode & 0o020) and not _is_private(status.st_gid, status.st_uid)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"the user {number}"


def _is_private(group: int, owner: int) -> bool:
    try:
        name, members = pwd.getpwuid(owner).pw_name, grp.getgrgid(group).gr_mem
    except KeyError:
        return False
    primary = {entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == group}
    return primary <= {owner} and set(members) <= {name} and bool(primary or members)


def make_private(folder: Path) -> None:
    """Make a folder, and each that is missing above it, for the user alone.

    Raises:
        OSError: one cannot be made, or is not a folder.
    """
    for missing in reversed(folder.parents):
        if not missing.exists():
            missing.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
