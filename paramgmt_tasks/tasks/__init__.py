"""The Invoke tasks, and the namespace for `inv` and for import into other projects."""

from invoke import Collection

from .benchmark import benchmark
from .benchmark import collection as benchmarks
from .command_line import OPPOSITES, Option
from .operations import lcmd, operation_of, print_hosts, rcmd, rhosts, rpull, rpush, rscript
from .options import CHANGED, COPY, HOSTS, REMOTE, RUN, TOGETHER, UNSAFE_LINKS, Options
from .run_operation import RunFailed, log_to_stderr, perform
from .runs import runs
from .sandbox import demo, sandbox
from .streams import stand_in

__all__ = [
    "CHANGED",
    "COPY",
    "HOSTS",
    "OPPOSITES",
    "REMOTE",
    "RUN",
    "TOGETHER",
    "UNSAFE_LINKS",
    "Option",
    "Options",
    "RunFailed",
    "benchmark",
    "benchmarks",
    "demo",
    "lcmd",
    "log_to_stderr",
    "namespace",
    "operation_of",
    "perform",
    "print_hosts",
    "rcmd",
    "rhosts",
    "rpull",
    "rpush",
    "rscript",
    "runs",
    "sandbox",
    "stand_in",
]

namespace = Collection("paramgmt", rhosts, lcmd, rcmd, rpush, rpull, rscript, runs, demo, sandbox, benchmarks)
