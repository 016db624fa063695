"""Benchmarks composed of operations: build, push, configure, run, pull, analyse."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from .comparison import compare
    from .network import NETWORK
    from .recipe import Choice, Recipe, RecipeFailed, Results, Role
    from .runner import BenchmarkRun, Cycle, analyze, folders, unfinished
    from .sweep import ORDERS, Progress, Step, StepFailed, points
    from .uds_vs_tcp import UDS_VS_TCP
else:
    __getattr__ = later(
        __name__,
        {
            ".comparison": ["compare"],
            ".network": ["NETWORK"],
            ".recipe": ["Choice", "Recipe", "RecipeFailed", "Results", "Role"],
            ".runner": ["BenchmarkRun", "Cycle", "analyze", "folders", "unfinished"],
            ".sweep": ["ORDERS", "Progress", "Step", "StepFailed", "points"],
            ".uds_vs_tcp": ["UDS_VS_TCP"],
        },
    )

__all__ = [
    "NETWORK",
    "ORDERS",
    "UDS_VS_TCP",
    "BenchmarkRun",
    "Choice",
    "Cycle",
    "Progress",
    "Recipe",
    "RecipeFailed",
    "Results",
    "Role",
    "Step",
    "StepFailed",
    "analyze",
    "compare",
    "folders",
    "points",
    "unfinished",
]
