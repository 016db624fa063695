"""Where hosts are worked on: in this process, in several, on a Dask cluster."""

from .machine import processors
from .session import Engine, Pool, Session

__all__ = ["Engine", "Pool", "Session", "processors"]
