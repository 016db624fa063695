"""Folders that only their user can look into, whatever the umask."""

from pathlib import Path


def make_private(folder: Path) -> None:
    """Make a folder, and each that is missing above it, for the user alone.

    Raises:
        OSError: one cannot be made, or is there and no folder.
    """
    for missing in reversed(folder.parents):
        if not missing.exists():
            missing.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
