"""Files and scripts to and from one host, and to workers on other machines."""

from . import over_tar, scripts
from .local_files import LocalFiles
from .relay import FileRelay
from .relay_messages import Delivery, Pulled
from .relayed_files import FilesOfBatch, RelayedFiles

__all__ = [
    "Delivery",
    "FileRelay",
    "FilesOfBatch",
    "LocalFiles",
    "Pulled",
    "RelayedFiles",
    "over_tar",
    "scripts",
]
