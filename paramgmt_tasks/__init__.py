"""Run commands, move files and run benchmarks on thousands of servers over SSH.

`namespace` is the Invoke collection to import into a project's tasks; `Fleet` is the way in from Python.
What needs Fabric is imported when it is first used, so that `inv --list` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .arrivals import Run
from .errors import UsageError
from .hosts import Host
from .lists import read_list
from .operations import Copying, LocalCommand, Operation, Pull, Push, RemoteCommand, Script
from .recipes.recipe import Choice, Recipe, Results, Role
from .results import Heard, HostResult, Outcome, Report
from .settings import Settings
from .tasks import namespace
from .tasks.benchmark import benchmark
from .tasks.perform import RunFailed

if TYPE_CHECKING:
    from .controller import Controller, all_success, parse_file, parse_stream
    from .fleet import Fleet
    from .group import ParallelGroup
    from .pool import Pool
    from .recipes.cycle import Cycle

__version__ = "0.1.0"

__all__ = [
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

_LATER = {
    "Controller": "controller",
    "Cycle": "recipes.cycle",
    "Fleet": "fleet",
    "ParallelGroup": "group",
    "Pool": "pool",
    "all_success": "controller",
    "parse_file": "controller",
    "parse_stream": "controller",
}


if not TYPE_CHECKING:  # or any name would be taken for one of these

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            return getattr(import_module(f".{_LATER[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
