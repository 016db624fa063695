"""One operation on many hosts, in this process."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from .connection_pool import ConnectionPool
    from .group import ParallelGroup
    from .local_run import LocalRun
    from .run import Run
else:
    __getattr__ = later(
        __name__,
        {
            ".connection_pool": ["ConnectionPool"],
            ".group": ["ParallelGroup"],
            ".local_run": ["LocalRun"],
            ".run": ["Run"],
        },
    )

__all__ = [
    "ConnectionPool",
    "LocalRun",
    "ParallelGroup",
    "Run",
]
