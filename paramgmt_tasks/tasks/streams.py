"""The standard streams where they are closed or full: results are lost only where that is said."""

import contextlib
import io
import os
import sys
from typing import TextIO


class Nowhere(io.TextIOBase):
    """Stands where a stream is closed, or has failed: what is written to it is gone."""

    def __init__(self, failed: bool = False) -> None:
        self.failed = failed

    def write(self, text: str) -> int:
        """As if it had been."""
        return len(text)


def stand_in() -> None:
    """Have /dev/null stand where a standard stream is closed.

    Otherwise a connection would get its number, and what is printed would go to a host.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
    if sys.stdout is None:
        sys.stdout = Nowhere()
    if sys.stderr is None:
        sys.stderr = Nowhere()


def output_is_closed() -> bool:
    """Whether nobody can read what is written to standard output."""
    return isinstance(sys.stdout, Nowhere)


def lost() -> bool:
    """Whether some of what was written is."""
    return any(isinstance(stream, Nowhere) and stream.failed for stream in (sys.stdout, sys.stderr))


def give_up(stream: TextIO) -> None:
    """Write no more to a stream that failed, also not what is still in its buffer."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    if stream is sys.stdout:
        sys.stdout = Nowhere(failed=True)
    elif stream is sys.stderr:
        sys.stderr = Nowhere(failed=True)
