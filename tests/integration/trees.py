"""Folders in tests of transfers: what is in one, and hosts that send what was not asked for."""

import io
import os
import stat
import tarfile
from pathlib import Path


def tree_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            info = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(info.st_mode):
                found[os.path.relpath(path, folder)] = os.readlink(path)
                continue
            if stat.S_ISREG(info.st_mode):
                content = Path(path).read_bytes()
            found[os.path.relpath(path, folder)] = (stat.S_IMODE(info.st_mode), content)
    return found


def litter(folder: Path) -> list[str]:
    return [name for name in tree_of(folder) if ".paramgmt-" in name]


def lying_tar(folder: Path, *entries: str) -> Path:
    """A folder with a tar that sends these entries whatever it is asked."""
    tools = folder / "tools"
    tools.mkdir()
    with tarfile.open(tools / "lie", "w") as lie:
        for entry in entries:
            target = entry.partition(":")[2]
            info = tarfile.TarInfo("wanted/link" if target else entry)
            if target:
                info.type, info.linkname = tarfile.SYMTYPE, target
                lie.addfile(info)
            else:
                info.size = 4
                lie.addfile(info, io.BytesIO(b"evil"))
    (tools / "tar").write_text(f"#!/bin/sh\ncase $* in *-c*) cat {tools}/lie ;; esac\n")
    (tools / "tar").chmod(0o755)
    return tools
