"""ParaMgmt's own output: a block a host, the summary, and the reasons behind the failures."""

import codecs
from collections.abc import Callable, Iterator
from itertools import chain

from ..model import HostResult, Outcome, Output, Report, amount, fold
from .terminal import Shown, unchanged
from .view import OUT, Piece, Silent

_CODES = {"blue": 34, "green": 32, "yellow": 33, "red": 31}

#: Outcomes whose reason is part of the block's stderr, as ssh would print it.
_EXPLAINED = set(Outcome) - {Outcome.OK, Outcome.FAILED}

Painter = Callable[[str, str], str]


def uncoloured(text: str, name: str) -> str:
    """The text as it is."""
    return text


def painter(color: bool) -> Painter:
    """A function that puts text in a colour, or leaves it as it is."""
    if not color:
        return uncoloured
    return lambda text, name: f"\x1b[{_CODES[name]}m{text}\x1b[0m"


def block(result: HostResult, paint: Painter, show: Shown = unchanged) -> Iterator[str]:
    """A host's text: description, output, and return code and attempts if they are not as usual.

    It comes in pieces, since what a command wrote may be more than fits in memory. `show` makes text of hosts
    safe for the terminal or file that it is written to.
    """
    yield paint(show(result.description), "blue") + "\n"
    yield from body(result, paint, show)
    if result.exit_status != 0 or result.attempts > 1:
        name = "yellow" if result.ok else "red"
        yield paint(f"attempts:    {result.attempts}", name) + "\n"


def body(result: HostResult, paint: Painter, show: Shown = unchanged) -> Iterator[str]:
    """The lines of a block between description and attempts."""
    yield from _stream("stdout:", result.out, "", paint, "green", show)
    name = "yellow" if result.ok else "red"
    yield from _stream("stderr:", result.err, _explanation(result), paint, name, show)
    if result.dropped:
        yield paint("dropped:     output beyond --max-output", "yellow") + "\n"
    if result.exit_status != 0:
        yield paint(f"return code: {result.exit_status}", name) + "\n"


def _explanation(result: HostResult) -> str:
    if result.outcome not in _EXPLAINED or any(result.reason in text for text in _text(result.err)):
        return ""
    return f"{result.outcome}: {result.reason}"


def _stream(title: str, output: Output, more: str, paint: Painter, color: str, show: Shown) -> Iterator[str]:
    empty = True
    for text in chain(_text(output), [more] if more else []):
        if empty:
            yield paint(title, color) + "\n"
        elif text is more:
            yield "\n"
        empty = False
        yield paint(show(text), color)
    if not empty:
        yield "\n"


def _text(output: Output) -> Iterator[str]:
    """The output as text, in pieces, without the line ends at its end."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    held = ""
    for data in chain(output.pieces(), [b""]):
        text = held + decode(data, final=not data)
        shown = text.rstrip("\r\n")
        held = text[len(shown) :]
        if shown:
            yield shown


def summary(report: Report, paint: Painter) -> list[str]:
    """The counts, which add up to the hosts, and the failed hosts."""
    failed = report.failed
    lines = [counts(report), ""]
    if failed:
        lines.append(paint("Failed hosts:", "red"))
        lines += [paint(result.host.entry, "red") for result in failed]
    return lines


def counts(report: Report) -> str:
    """How many succeeded and failed."""
    failed = len(report.failed)
    return f"{len(report) - failed} succeeded, {failed} failed, {len(report)} total"


class Blocks(Silent):
    """A block for each result, and the summary."""

    def __init__(self, paint: Painter, show: Shown = unchanged) -> None:
        self._paint, self._show = paint, show

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """Show its block."""
        for text in block(result, self._paint, self._show):
            yield OUT, text

    def on_end(self, report: Report) -> Iterator[Piece]:
        """Show the summary."""
        for line in summary(report, self._paint):
            yield OUT, f"{line}\n"


def dropped(report: Report) -> list[str]:
    """A line about the output of hosts that was not kept because it was too much, or none."""
    cut = [result for result in report if result.dropped]
    if not cut:
        return []
    hosts = fold(result.host.entry for result in cut)
    size = amount(sum(result.dropped for result in cut))
    return [f"note: output beyond --max-output was dropped: {size} of {hosts}"]


def skew(report: Report) -> str:
    """How far apart the hosts started."""
    asked = [result.requested for result in report if result.requested is not None]
    took = (max(asked) - min(asked)) * 1000 if asked else 0.0
    spread, uncertainty = (1000 * seconds for seconds in report.skew())
    started = f"started within {spread:.1f} ms (± {uncertainty:.1f} ms)"
    return f"{len(asked)} hosts asked within {took:.1f} ms, {started}"


def reasons(report: Report) -> list[str]:
    """A line for each outcome and reason: `unreachable (12): web03 web[07-17] - connection refused`."""
    return [
        f"{outcome} ({len(results)}): {fold(result.host.entry for result in results)} - {reason}"
        for outcome, reason, results in report.reasons()
    ]
