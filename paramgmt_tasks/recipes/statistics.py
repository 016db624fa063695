"""Statistics of repeated runs: medians, spread, percentiles, and whether two differ beyond noise."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: Resamples of the bootstrap; and its seed, so that the same samples always give the same interval.
_RESAMPLES, _SEED = 2000, 1


@dataclass(frozen=True)
class Summary:
    """The median of some runs, the lowest and the highest, and the quartiles."""

    median: float
    low: float
    high: float
    quartiles: tuple[float, float]
    count: int

    @property
    def range(self) -> tuple[float, float, float]:
        """The median, the lowest and the highest, as charts show them."""
        return self.median, self.low, self.high

    @property
    def spread(self) -> float:
        """What lies between the quartiles, as a part of the median."""
        return (self.quartiles[1] - self.quartiles[0]) / self.median if self.median else 0.0


def summarize(values: Sequence[float]) -> Summary:
    """The summary of one or more values.

    >>> summarize([3.0, 1.0, 2.0])
    Summary(median=2.0, low=1.0, high=3.0, quartiles=(1.0, 3.0), count=3)
    """
    quartiles = (percentile(values, 0.25), percentile(values, 0.75))
    return Summary(statistics.median(values), min(values), max(values), quartiles, len(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile.

    >>> percentile([4, 1, 3, 2], 0.5), percentile([4, 1, 3, 2], 0.99)
    (2, 4)
    """
    ordered = sorted(values)
    rank = -int(-len(ordered) * share // 1)
    return ordered[min(len(ordered), max(1, rank)) - 1]


@dataclass(frozen=True)
class Ratio:
    """The ratio of two medians, b to a, with a 95 % confidence interval; None if a side has too few runs."""

    value: float
    interval: tuple[float, float] | None

    @property
    def verdict(self) -> str:
        """Whether the difference is beyond noise, in plain words."""
        if self.interval is None:
            return "too few runs to tell"
        low, high = self.interval
        if low > 1:
            return f"{self.value - 1:.0%} more"
        if high < 1:
            return f"{1 - self.value:.0%} less"
        return "no difference beyond noise"


def ratio(a: Sequence[float], b: Sequence[float]) -> Ratio | None:
    """How the median of `b` compares with that of `a`; None if that of `a` is 0.

    The interval is the percentile bootstrap's: both are resampled with replacement (Efron 1979). Fewer than
    four runs on a side say nothing of their spread.
    """
    below = statistics.median(a)
    if not below:
        return None
    value = statistics.median(b) / below
    if min(len(a), len(b)) < 4:
        return Ratio(value, None)
    draw = random.Random(_SEED)
    drawn = []
    for _ in range(_RESAMPLES):
        divisor = statistics.median(draw.choices(a, k=len(a)))
        if divisor:
            drawn.append(statistics.median(draw.choices(b, k=len(b))) / divisor)
    drawn.sort()
    return Ratio(value, (percentile(drawn, 0.025), percentile(drawn, 0.975)))
