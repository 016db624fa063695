"""What hosts wrote, as a terminal may be given it: control characters are shown there, not obeyed."""

import re
from collections.abc import Callable
from typing import TextIO

#: Controls but tab and line feed; and what turns the direction of text around, or breaks lines.
_OBEYED = re.compile(r"(\r)(?=\n)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

#: Makes a text one that may be shown.
Shown = Callable[[str], str]


def unchanged(text: str) -> str:
    """The text as it is, for files and pipes."""
    return text


def visible(text: str) -> str:
    r"""The text with control characters as Python writes them; a line's end is one also with a `\r`.

    >>> print(visible("50%\r60%\x1b[2J\r\nnext line"))
    50%\r60%\x1b[2J
    next line
    """
    return _OBEYED.sub(_escape, text)


def _escape(found: "re.Match[str]") -> str:
    return "" if found[1] else found[0].encode("unicode_escape").decode("ascii")


def shown_on(stream: TextIO) -> Shown:
    """How text of hosts is written to a stream."""
    return visible if stream.isatty() else unchanged
