"""The Invoke tasks, and the namespace for `inv` and for import into other projects."""

from invoke import Collection

from .benchmark import collection as benchmarks
from .operations import lcmd, rcmd, rhosts, rpull, rpush, rscript
from .perform import RunFailed
from .runs import runs
from .sandbox import demo, sandbox

__all__ = [
    "RunFailed",
    "benchmarks",
    "demo",
    "lcmd",
    "namespace",
    "rcmd",
    "rhosts",
    "rpull",
    "rpush",
    "rscript",
    "runs",
    "sandbox",
]

namespace = Collection("paramgmt", rhosts, lcmd, rcmd, rpush, rpull, rscript, runs, demo, sandbox, benchmarks)
