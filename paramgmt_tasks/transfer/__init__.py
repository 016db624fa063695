"""Files and scripts to and from one host, and to workers on other machines."""

from . import over_tar, scripts
from .local_files import Files
from .relay import Courier, Delivered, Placed

__all__ = [
    "Courier",
    "Delivered",
    "Files",
    "Placed",
    "over_tar",
    "scripts",
]
