"""Benchmarks composed of operations: build, push, configure, run, pull, analyse."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from .analysis import analyze, compare
    from .network import NETWORK
    from .recipe import ORDERS, Choice, Chosen, Recipe, RecipeFailed, Results, Role
    from .result_folder import ResultFolder, has_results, latest
    from .runner import BenchmarkRun, Cycle, planned
    from .sweep import Progress, Step, StepFailed
    from .uds_vs_tcp import UDS_VS_TCP
else:
    __getattr__ = later(
        __name__,
        {
            ".analysis": ["analyze", "compare"],
            ".network": ["NETWORK"],
            ".recipe": ["ORDERS", "Choice", "Chosen", "Recipe", "RecipeFailed", "Results", "Role"],
            ".result_folder": ["ResultFolder", "has_results", "latest"],
            ".runner": ["BenchmarkRun", "Cycle", "planned"],
            ".sweep": ["Progress", "Step", "StepFailed"],
            ".uds_vs_tcp": ["UDS_VS_TCP"],
        },
    )

__all__ = [
    "NETWORK",
    "ORDERS",
    "UDS_VS_TCP",
    "BenchmarkRun",
    "Choice",
    "Chosen",
    "Cycle",
    "Progress",
    "Recipe",
    "RecipeFailed",
    "ResultFolder",
    "Results",
    "Role",
    "Step",
    "StepFailed",
    "analyze",
    "compare",
    "has_results",
    "latest",
    "planned",
]
