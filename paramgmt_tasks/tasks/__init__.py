"""The Invoke tasks, and the namespace for `inv` and for import into other projects.

Beside them `OPTIONS` and what performs an operation from options: for ParaMgmt's executables.
"""

from invoke import Collection

from .benchmark import benchmark
from .benchmark import collection as benchmarks
from .command_line import near_option
from .groups import rgroups
from .notes import usage_errors
from .operations import lcmd, operation_of, print_hosts, rcmd, rhosts, rpull, rpush, rscript
from .option_table import OPPOSITES, OPTIONS, Option
from .options import Options
from .run_operation import RunFailed, perform
from .runs import runs
from .sandbox import demo, sandbox

__all__ = [
    "OPPOSITES",
    "OPTIONS",
    "Option",
    "Options",
    "RunFailed",
    "benchmark",
    "benchmarks",
    "demo",
    "lcmd",
    "namespace",
    "near_option",
    "operation_of",
    "perform",
    "print_hosts",
    "rcmd",
    "rgroups",
    "rhosts",
    "rpull",
    "rpush",
    "rscript",
    "runs",
    "sandbox",
    "usage_errors",
]

namespace = Collection(
    "paramgmt", rhosts, rgroups, lcmd, rcmd, rpush, rpull, rscript, runs, demo, sandbox, benchmarks
)
