"""Run commands, move files and run benchmarks on thousands of servers over SSH.

`namespace` is the Invoke collection to import into a project's tasks; `Fleet` is the way in from Python.
What needs Fabric is imported when it is first used, so that `inv --list` stays quick.
"""

from typing import TYPE_CHECKING

from ._version import __version__
from .model import (
    Copying,
    Host,
    HostResult,
    LocalCommand,
    Operation,
    Outcome,
    OutputEvent,
    Pull,
    Push,
    RemoteCommand,
    Report,
    Script,
    Settings,
    UsageError,
    later,
)
from .recipes import Choice, Recipe, Results, Role
from .tasks import RunFailed, benchmark, namespace

if TYPE_CHECKING:
    from .classic import Controller, all_success, parse_file, parse_stream
    from .engines import Pool, Session
    from .execution import ParallelGroup, Run
    from .fleet import Fleet
    from .inventory import read_list
    from .recipes import BenchmarkRun, Cycle
else:
    __getattr__ = later(
        __name__,
        {
            ".classic": ["Controller", "all_success", "parse_file", "parse_stream"],
            ".engines": ["Pool", "Session"],
            ".execution": ["ParallelGroup", "Run"],
            ".fleet": ["Fleet"],
            ".inventory": ["read_list"],
            ".recipes": ["BenchmarkRun", "Cycle"],
        },
    )

#: As it was called before.
Heard = OutputEvent

__all__ = [
    "BenchmarkRun",
    "Choice",
    "Controller",
    "Copying",
    "Cycle",
    "Fleet",
    "Heard",
    "Host",
    "HostResult",
    "LocalCommand",
    "Operation",
    "Outcome",
    "OutputEvent",
    "ParallelGroup",
    "Pool",
    "Pull",
    "Push",
    "Recipe",
    "RemoteCommand",
    "Report",
    "Results",
    "Role",
    "Run",
    "RunFailed",
    "Script",
    "Session",
    "Settings",
    "UsageError",
    "__version__",
    "all_success",
    "benchmark",
    "namespace",
    "parse_file",
    "parse_stream",
    "read_list",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
