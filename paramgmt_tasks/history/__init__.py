"""The record of runs: what was done, on which hosts, and how it ended."""

from . import journal
from .journal import KEPT, Journal

__all__ = [
    "KEPT",
    "Journal",
    "journal",
]
