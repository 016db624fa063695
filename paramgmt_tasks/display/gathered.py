"""Identical output shown once, under the hosts that have it; and how the others differ."""

import hashlib
from collections.abc import Iterator

from ..model import HostResult, Report, fold
from .blocks import Painter, body, uncoloured
from .terminal import Shown, unchanged
from .view import OUT, Piece, Silent

#: Characters up to which texts are compared line by line: longer ones may take minutes.
_COMPARED = 200_000


class Gathered(Silent):
    """A block for each different output, that of most hosts first; with `diff` how others differ from it."""

    def __init__(self, paint: Painter, diff: bool = False, show: Shown = unchanged) -> None:
        self._paint, self._show = paint, show
        self._diff = diff
        self._groups: dict[bytes, list[HostResult]] = {}

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """Show nothing yet."""
        self._groups.setdefault(_digest(result), []).append(result)
        return iter(())

    def on_end(self, report: Report) -> Iterator[Piece]:
        """Show all blocks."""
        groups = [sorted(group, key=lambda result: result.index) for group in self._groups.values()]
        groups.sort(key=lambda group: (-len(group), group[0].index))
        for number, group in enumerate(groups):
            hosts = fold(result.host.entry for result in group)
            count = f"{len(group)} host{'s' * (len(group) != 1)}"
            yield OUT, self._paint(f"{hosts} ({count}):", "blue") + "\n"
            if self._diff and number:
                yield from self._difference(groups[0], group)
            else:
                for text in body(group[0], self._paint, self._show):
                    yield OUT, text

    def _difference(self, most: list[HostResult], group: list[HostResult]) -> Iterator[Piece]:
        names = [fold(result.host.entry for result in results) for results in (most, group)]
        texts = [_start(results[0]) for results in (most, group)]
        if max(map(len, texts)) > _COMPARED:
            yield OUT, f"differs from {names[0]}: too long to be compared line by line\n"
            return
        import difflib

        ours, theirs = (text.splitlines() for text in texts)
        for line in difflib.unified_diff(ours, theirs, names[0], names[1], lineterm=""):
            color = {"+": "green", "-": "red"}.get(line[:1], "")
            line = self._show(line)
            yield OUT, (self._paint(line, color) if color else line) + "\n"


def _digest(result: HostResult) -> bytes:
    digest = hashlib.sha256()
    for text in body(result, uncoloured):
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.digest()


def _start(result: HostResult) -> str:
    """A result's text, or its beginning if it is too long to be compared."""
    text = ""
    for piece in body(result, uncoloured):
        text += piece
        if len(text) > _COMPARED:
            break
    return text
