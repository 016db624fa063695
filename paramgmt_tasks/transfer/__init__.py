"""Files and scripts to and from one host, and to workers on other machines."""

from . import over_tar, scripts
from .local_files import LocalFiles
from .relay import FileRelay, FilesOfBatch, RelayedFiles
from .shared import SharedTransfers

__all__ = [
    "FileRelay",
    "FilesOfBatch",
    "LocalFiles",
    "RelayedFiles",
    "SharedTransfers",
    "over_tar",
    "scripts",
]
