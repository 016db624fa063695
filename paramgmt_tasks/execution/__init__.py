"""One operation on many hosts, in this process."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from .connection_pool import Threads
    from .group import ParallelGroup
    from .result_stream import Run
    from .run import GroupRun
else:
    __getattr__ = later(
        __name__,
        {
            ".connection_pool": ["Threads"],
            ".group": ["ParallelGroup"],
            ".result_stream": ["Run"],
            ".run": ["GroupRun"],
        },
    )

__all__ = [
    "GroupRun",
    "ParallelGroup",
    "Run",
    "Threads",
]
