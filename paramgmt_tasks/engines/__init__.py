"""Where hosts are worked on: in this process, in several, on a Dask cluster."""

from .processes import ProcessEngine, processors
from .session import Engine, Pool, Session

__all__ = ["Engine", "Pool", "ProcessEngine", "Session", "processors"]
