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
    _refuse_utf_16(data, source)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{source}: not a text file in UTF-8") from None


def check_for_ansible(data: bytes, source: str, marked: bool) -> None:
    """Make sure that Ansible can read a file; a byte order mark it can only if it may be `marked`.

    Raises:
        UsageError: it cannot; begins with `source`.
    """
    _refuse_utf_16(data, source)
    if data.startswith(codecs.BOM_UTF8) and not marked:
        raise UsageError(
            f"{source}: begins with a byte order mark, which Ansible cannot read: save it without"
        )


def _refuse_utf_16(data: bytes, source: str) -> None:
    if data.startswith(_UTF_16) or b"\0" in data[:2]:
        raise UsageError(f"{source}: not a text file in UTF-8 but in UTF-16, it seems: save it as UTF-8")


def lines_of_standard_input(source: str) -> Iterable[str]:
    """The lines of standard input.

    Raises:
        UsageError: it is no text in UTF-8; begins with `source`.
    """
    buffer = getattr(sys.stdin, "buffer", None)
    return sys.stdin if buffer is None else decoded(buffer.read(), source).split("\n")
