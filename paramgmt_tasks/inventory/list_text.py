"""The text of lists and inventories, which is UTF-8 whatever the locale is."""

import codecs
import sys
from collections.abc import Iterable

from ..model import UsageError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decoded(data: bytes, source: str) -> str:
    """The text of what was read; a byte order mark at its start is left, as part of no name.

    >>> decoded("ü".encode(), "host list web")
    'ü'

    Raises:
        UsageError: it is no text in UTF-8; begins with `source`.
    """
    if data.startswith(_UTF_16) or b"\0" in data[:2]:
        raise UsageError(f"{source}: not a text file in UTF-8 but in UTF-16, it seems: save it as UTF-8")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{source}: not a text file in UTF-8") from None


def lines_of_standard_input(source: str) -> Iterable[str]:
    """The lines of standard input.

    Raises:
        UsageError: it is no text in UTF-8; begins with `source`.
    """
    buffer = getattr(sys.stdin, "buffer", None)
    return sys.stdin if buffer is None else decoded(buffer.read(), source).split("\n")
