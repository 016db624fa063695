"""Results as text. Nothing here prints: what is shown is returned, and the tasks write it."""

from . import blocks
from .folder import OutputFolder
from .gathered import Gathered
from .jsonl import JsonLines
from .live import Live
from .progress import ASKING, ProgressLine, StatusLine
from .terminal import shown_on
from .view import ERR, OUT, InOrder, Piece, View

__all__ = [
    "ASKING",
    "ERR",
    "OUT",
    "Gathered",
    "InOrder",
    "JsonLines",
    "Live",
    "OutputFolder",
    "Piece",
    "ProgressLine",
    "StatusLine",
    "View",
    "blocks",
    "shown_on",
]
