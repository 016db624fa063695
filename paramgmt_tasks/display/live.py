"""Lines as commands write them, each with its host, on standard output and standard error."""

import codecs
from collections.abc import Iterator

from ..model import HostResult, Outcome, Output, OutputEvent, Reader
from .blocks import Painter
from .terminal import Shown, unchanged
from .view import ERR, OUT, Piece, Silent

#: Characters after which a line without an end is shown as one.
_LONGEST = 65536


class LineReader:
    """Reads whole lines of an output that still grows, as many as there are in one text, for speed.

    >>> output = Output(b"one\\ntwo\\nth")
    >>> lines = LineReader(output)
    >>> list(lines.more())
    ['one\\ntwo']
    >>> output.write(b"ree")
    >>> list(lines.more()), list(lines.rest())
    ([], ['three'])
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        self._reader = Reader(output)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._begun = ""

    def more(self) -> Iterator[str]:
        """The lines that have ended since the last time."""
        for data in self._reader.more():
            lines, ended, begun = (self._begun + self._decode(data)).rpartition("\n")
            self._begun = begun
            if ended:
                yield lines.removesuffix("\r").replace("\r\n", "\n")
            if len(self._begun) > _LONGEST:
                yield self._begun
                self._begun = ""

    def rest(self) -> Iterator[str]:
        """What is left when all has come, also a line without an end."""
        yield from self.more()
        begun = self._begun + self._decode(b"", final=True)
        if begun:
            yield begun


class Live(Silent):
    """Shows `web1: some text` for each line, and how it ended for a host that failed."""

    def __init__(self, paint: Painter, show_out: Shown = unchanged, show_err: Shown = unchanged) -> None:
        self._paint = paint
        self._show = {OUT: show_out, ERR: show_err}
        self._hosts: dict[int, tuple[LineReader, LineReader]] = {}

    def _lines(self, event: OutputEvent | HostResult) -> tuple[LineReader, LineReader]:
        known = self._hosts.get(event.index)
        if known is None or known[0].output is not event.out:  # that of another attempt
            self._hosts[event.index] = LineReader(event.out), LineReader(event.err)
        return self._hosts[event.index]

    def on_output(self, event: OutputEvent) -> Iterator[Piece]:
        """Show the lines that have ended."""
        out, err = self._lines(event)
        yield from self._named(OUT, event.host.entry, out.more(), "green")
        yield from self._named(ERR, event.host.entry, err.more(), "yellow")

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """Show what is left, and how it ended if that is not ok."""
        out, err = self._lines(result)
        del self._hosts[result.index]
        yield from self._named(OUT, result.host.entry, out.rest(), "green")
        yield from self._named(ERR, result.host.entry, err.rest(), "yellow")
        if not result.ok:
            reason = (
                result.reason if result.outcome is Outcome.FAILED else f"{result.outcome}: {result.reason}"
            )
            yield from self._named(ERR, result.host.entry, iter([reason]), "red")

    def _named(self, stream: int, entry: str, lines: Iterator[str], color: str) -> Iterator[Piece]:
        name = self._paint(f"{entry}:", color) + " "
        show = self._show[stream]
        for text in lines:
            yield stream, name + show(text).replace("\n", f"\n{name}") + "\n"
