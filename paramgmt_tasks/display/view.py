"""Views: each turns the results and output of a run into text, in pieces. The task layer prints them."""

from collections.abc import Iterator
from typing import Protocol

from ..model import HostResult, OutputEvent, Report

#: A text and where it goes: 1 is standard output, 2 is standard error.
Piece = tuple[int, str]
OUT, ERR = 1, 2


class View(Protocol):
    """Turns a run into text. Pieces may take long to come, and be more than fits in memory together."""

    def on_output(self, event: OutputEvent) -> Iterator[Piece]:
        """What to show when a host's command has written something."""

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """What to show when a host has its result."""

    def on_end(self, report: Report) -> Iterator[Piece]:
        """What to show when all hosts have their results."""


class Silent:
    """Shows nothing; what other views build on."""

    def on_output(self, event: OutputEvent) -> Iterator[Piece]:
        """Show nothing."""
        return iter(())

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """Show nothing."""
        return iter(())

    def on_end(self, report: Report) -> Iterator[Piece]:
        """Show nothing."""
        return iter(())


class InOrder(Silent):
    """Another view, which is given the results in the order of the host list, each after those before it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._waiting: dict[int, HostResult] = {}
        self._next = 0

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """Show the results whose turn it is."""
        self._waiting[result.index] = result
        while self._next in self._waiting:
            yield from self._view.on_result(self._waiting.pop(self._next))
            self._next += 1

    def on_end(self, report: Report) -> Iterator[Piece]:
        """Show what the other view shows at the end."""
        return self._view.on_end(report)
