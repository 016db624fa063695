"""Rollout: how many hosts may begin by now if not all may at once, and when no more may."""

from dataclasses import dataclass

from .errors import UsageError
from .settings import Settings, share


@dataclass(frozen=True)
class Rollout:
    """`canary` hosts begin first, then `batch` hosts at a time, each batch when the one before is finished.

    0 is none. Once a canary has failed, or more than `max_fail` hosts, no more begin.
    """

    hosts: int
    batch: int = 0
    canary: int = 0
    max_fail: int | None = None

    @classmethod
    def of(cls, settings: Settings, hosts: int) -> "Rollout":
        """The rollout that the settings ask for, of a number of hosts."""
        batch = 0 if settings.batch is None else max(1, share(settings.batch, hosts, least=1))
        max_fail = None if settings.max_fail is None else share(settings.max_fail, hosts)
        return cls(hosts, batch, settings.canary, max_fail)

    def admitted(self, finished: int) -> int:
        """How many hosts, from the first of the list on, may have begun once `finished` have finished.

        >>> rollout = Rollout(10, batch=3, canary=1)
        >>> [rollout.admitted(finished) for finished in range(10)]
        [1, 4, 4, 4, 7, 7, 7, 10, 10, 10]
        """
        size = self.batch or self.hosts or 1
        first = self.canary or size
        more = 0 if finished < first else ((finished - first) // size + 1) * size
        return min(self.hosts, first + more)

    def objection(self, finished: int, failed: int) -> str:
        """Why no more hosts may begin; empty if they may.

        >>> Rollout(10, canary=2).objection(finished=1, failed=1)
        'not started: a canary failed'
        >>> Rollout(10, canary=2, max_fail=1).objection(finished=7, failed=2)
        'not started: 2 hosts failed, more than 1'
        """
        if failed and finished <= self.canary:
            return "not started: a canary failed"
        if self.max_fail is not None and failed > self.max_fail:
            return f"not started: {failed} host{'s' * (failed > 1)} failed, more than {self.max_fail}"
        return ""


def check_together(settings: Settings, fanout: int, hosts: int) -> None:
    """Make sure that all hosts can start together.

    Raises:
        UsageError: they cannot.
    """
    asked = ""
    if settings.sequential:
        asked = "one after the other"
    elif settings.batch is not None or settings.canary or settings.max_fail is not None:
        asked = "some before the others"
    elif fanout < hosts:
        asked = f"a fan-out of {fanout}"
    if asked:
        raise UsageError(f"{hosts} hosts cannot start together: {asked} was asked for")
