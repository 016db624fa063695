"""The record of runs: what was done, on which hosts, and how it ended."""

from . import past_runs, run_folders
from .journal import KEPT, Journal
from .past_runs import PastRun

__all__ = [
    "KEPT",
    "Journal",
    "PastRun",
    "past_runs",
    "run_folders",
]
