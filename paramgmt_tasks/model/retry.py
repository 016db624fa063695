"""RetryPolicy: whether another attempt is safe, and how long to wait before it."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from .results import Outcome


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended before anything was started on the host.

    `transient`: another attempt may succeed. `congested`: the server shed load (it closed the connection
    before its banner), so wait longer and open fewer connections at once.
    """

    outcome: Outcome
    reason: str
    transient: bool = False
    congested: bool = False


@dataclass(frozen=True)
class RetryPolicy:
    """How often a host is tried, and the pauses between: exponential back-off with full jitter.

    `attempts` counts the first one too. `budget` is how many seconds all attempts to reach a host may take
    together: a host that was silent for that long is not tried again. `base` and `cap` are seconds.

    Full jitter is the variant of M. Brooker, "Exponential Backoff And Jitter" (AWS, 2015): each pause is
    drawn evenly between nothing and the exponential bound, so that hosts do not come back in step.
    """

    attempts: int = 3
    budget: float = 10.0
    base: float = 0.25
    cap: float = 5.0
    uniform: Callable[[float, float], float] = random.uniform

    def delay(self, failure: Failure, attempt: int, spent: float) -> float | None:
        """Seconds to wait after attempt number `attempt` (1 is the first), or None if no other may follow.

        `spent` is how many seconds the host's attempts have taken so far.
        """
        if not failure.transient or attempt >= self.attempts or spent >= self.budget:
            return None
        base = self.base * 4 if failure.congested else self.base
        return self.uniform(0, min(self.cap, base * 2 ** (attempt - 1)))
