"""UsageError, which is raised for bad input; and text of errors and of hosts as one printable line."""

import re

#: Characters that a reason may have; the rest of it is cut off.
LONGEST = 200
_SPACE = re.compile(r"[ \t\r\n\v\f]+")


class UsageError(ValueError):
    """Input that cannot be used. Its text is one line for the user; the tasks exit with status 2."""


def reason_of(error: OSError) -> str:
    """What the system says of an error, as part of a line of text.

    >>> reason_of(FileNotFoundError(2, "No such file or directory"))
    'no such file or directory'
    """
    return (error.strerror or str(error) or type(error).__name__).lower()


def escaped(text: str) -> str:
    """`text` with what cannot be printed as Python writes it: control characters, line ends, bytes.

    >>> escaped("a\\x1b[2Jb\\u202ec\\udcff\\n")
    'a\\\\x1b[2Jb\\\\u202ec\\\\xff\\\\n'
    """
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no UTF-8
        character = chr(ord(character) - 0xDC00)
    return character.encode("unicode_escape").decode("ascii")


def one_line(text: str) -> str:
    """`text`, which a hostile host may have sent, as a reason: one line, printable, and not long.

    >>> one_line("killed by KILL\\nok (500): all is well\\x1b[2J")
    'killed by KILL ok (500): all is well\\\\x1b[2J'
    >>> len(one_line("x" * 1000)), one_line("x" * 1000)[-2:]
    (200, 'x…')
    """
    if text.isprintable() and len(text) <= LONGEST and "  " not in text:
        return text.strip(" ")
    line = escaped(_SPACE.sub(" ", text).strip(" ")[: LONGEST + 1])
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
