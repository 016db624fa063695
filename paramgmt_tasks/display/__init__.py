"""Results as text. Nothing here prints: what is shown is returned, and the tasks write it."""

from . import blocks
from .folder import Folder
from .gathered import Gathered
from .jsonl import JsonLines
from .live import Live
from .progress import Progress, duration
from .terminal import shown_on
from .view import ERR, OUT, InOrder, Piece, View

__all__ = [
    "ERR",
    "OUT",
    "Folder",
    "Gathered",
    "InOrder",
    "JsonLines",
    "Live",
    "Piece",
    "Progress",
    "View",
    "blocks",
    "duration",
    "shown_on",
]
