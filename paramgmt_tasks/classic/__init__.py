"""ParaMgmt 0.3: its Python API here, its six executables in `executables`."""

from .api import Controller, all_success, parse_file, parse_stream

__all__ = [
    "Controller",
    "all_success",
    "parse_file",
    "parse_stream",
]
