"""One operation on many hosts, in this process."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from .connection_pool import ConnectionPool
    from .group import ParallelGroup
    from .result_stream import Run
    from .run import LocalRun
else:
    __getattr__ = later(
        __name__,
        {
            ".connection_pool": ["ConnectionPool"],
            ".group": ["ParallelGroup"],
            ".result_stream": ["Run"],
            ".run": ["LocalRun"],
        },
    )

__all__ = [
    "ConnectionPool",
    "LocalRun",
    "ParallelGroup",
    "Run",
]
