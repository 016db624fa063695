"""Text of hosts as it may be written to a terminal: control characters are shown there, not obeyed."""

import re
from collections.abc import Callable
from typing import TextIO

#: Control characters except tab and line feed; and what reverses the direction of text, or breaks lines.
_OBEYED = re.compile(r"(\r)(?=\n)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

#: Makes text of hosts safe for where it is written to.
Shown = Callable[[str], str]


def unchanged(text: str) -> str:
    """The text as it is, for files and pipes."""
    return text


def visible(text: str) -> str:
    r"""The text with control characters as Python writes them; a line may also end in `\r\n`.

    >>> print(visible("50%\r60%\x1b[2J\r\nnext line"))
    50%\r60%\x1b[2J
    next line
    """
    return _OBEYED.sub(_escape, text)


def _escape(found: "re.Match[str]") -> str:
    return "" if found[1] else found[0].encode("unicode_escape").decode("ascii")


def shown_on(stream: TextIO) -> Shown:
    """What makes text of hosts safe for a stream."""
    return visible if stream.isatty() else unchanged
