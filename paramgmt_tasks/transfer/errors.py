"""What goes wrong in a transfer: on the side of the host, and on this machine."""

from ..model import reason_of

#: Lines of one kind that are kept of what a host, or this machine, says of a pull.
_LINES = 1000


class Refused(Exception):
    """What the host sends is not to be written here; the text says what and why."""


class LocalError(Exception):
    """Something on this machine failed: the text names the file and the reason."""


class WithoutTar(Exception):
    """A host has no tar, or no shell that runs a script; the text is what it has said in place of that."""


class BoundedLines(list[str]):
    """Lines of text, of which only the first are kept, as a host may cause any number.

    >>> lines = BoundedLines()
    >>> for number in range(1002):
    ...     lines.append(str(number))
    >>> len(lines), lines.all()[-1]
    (1000, 'and 2 more')
    """

    more = 0

    def append(self, line: str) -> None:
        """Add one, or count it."""
        if len(self) < _LINES:
            super().append(line)
        else:
            self.more += 1

    def all(self) -> list[str]:
        """Those that are kept, and how many more there were."""
        return [*self, f"and {self.more} more"] if self.more else list(self)


def reason_here(error: Exception) -> str:
    """Why something cannot be done with a file of this machine: an OSError, or no name that it can have."""
    return reason_of(error) if isinstance(error, OSError) else f"not a name here: {error}"
