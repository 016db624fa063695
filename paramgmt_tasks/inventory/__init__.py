"""Where hosts come from: lists in files, in `hostlists/` and on standard input, and the record of runs."""

from .host_lists import find_list, read_list

__all__ = [
    "find_list",
    "read_list",
]
