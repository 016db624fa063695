"""Views: each turns what becomes known of a run into text, a piece at a time. The task layer prints it."""

from collections.abc import Iterator
from typing import Protocol

from ..model import HostResult, OutputEvent, Report

#: A text and where it goes: 1 is standard output, 2 is standard error.
Piece = tuple[int, str]
OUT, ERR = 1, 2


class View(Protocol):
    """What is shown of a run; pieces may be long in coming, and are together more than fits in memory."""

    def on_output(self, heard: OutputEvent) -> Iterator[Piece]:
        """A host's command has written something."""

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """A host has its result."""

    def on_end(self, report: Report) -> Iterator[Piece]:
        """All hosts have theirs."""


class Silent:
    """Shows nothing; what other views build on."""

    def on_output(self, heard: OutputEvent) -> Iterator[Piece]:
        """Nothing."""
        return iter(())

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """Nothing."""
        return iter(())

    def on_end(self, report: Report) -> Iterator[Piece]:
        """Nothing."""
        return iter(())


class InOrder(Silent):
    """Another view, given the results in the order of the host list: each once those before it are there."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._waiting: dict[int, HostResult] = {}
        self._next = 0

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """Those that have their turn."""
        self._waiting[result.index] = result
        while self._next in self._waiting:
            yield from self._view.on_result(self._waiting.pop(self._next))
            self._next += 1

    def on_end(self, report: Report) -> Iterator[Piece]:
        """As the other view."""
        return self._view.on_end(report)
