"""How files are called while they are being written, and which of them a process that is gone has left."""

import contextlib
import os

#: How the names of files that are being pulled begin, and those that processes of this machine write.
PULL = ".paramgmt-pull-"
PULL_HERE = f"{PULL}{os.uname().nodename}-"
#: How the names of files begin that processes of this machine push over SFTP.
SFTP_HERE = f".paramgmt-sftp-{os.uname().nodename}-"


def left_behind(name: str, prefix: str) -> bool:
    """Whether a file named `prefix` and the number of a process of this machine outlived that process."""
    process = name.removeprefix(prefix).partition("-")[0]
    if not name.startswith(prefix) or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError, ValueError):
        return False
    return False


def sweep(folder: int) -> None:
    """Remove what pulls of processes that are gone have left in a folder, which is open."""
    for name in os.listdir(folder):
        if left_behind(name, PULL_HERE):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
