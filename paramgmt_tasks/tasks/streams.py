"""The standard streams, also when they are closed, full or read by nobody: no result is lost unsaid."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from invoke import Exit

from ..display import ERR, OUT, Piece, shown_on
from ..model import UsageError, reason_of

log = logging.getLogger("paramgmt_tasks")


class Nowhere(io.TextIOBase):
    """Replaces a stream that is closed, or has failed: what is written to it is gone."""

    def __init__(self, failed: bool = False) -> None:
        self.failed = failed

    def write(self, text: str) -> int:
        """Drop the text, as if it had been written."""
        return len(text)


def replace_closed() -> None:
    """Replace each standard stream that is closed by /dev/null.

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


def is_output_lost() -> bool:
    """Whether some of what was written could not be."""
    return any(isinstance(stream, Nowhere) and stream.failed for stream in (sys.stdout, sys.stderr))


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output.

    Raises:
        UsageError: it is closed.
        Exit: not all could be written.
    """
    if output_is_closed():
        raise UsageError("standard output is closed")
    show = shown_on(sys.stdout)
    write((OUT, f"{show(line)}\n") for line in lines)
    if is_output_lost():
        raise Exit(code=1)


def write(pieces: Iterable[Piece]) -> None:
    """Write to standard output and error, whatever they can encode.

    If a write fails, as on a full disk, a warning says so, and what follows is not written: the run goes on,
    since what it does on hosts is not undone by that.

    Raises:
        Exit: the other end of a pipe is closed, and so nobody reads any more.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors != "replace":
        sys.stdout.reconfigure(errors="replace")
    for where, text in pieces:
        stream = sys.stderr if where == ERR else sys.stdout
        try:
            stream.write(text)
        except OSError as error:
            _give_up(stream, error)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            _give_up(stream, error)


def _give_up(stream: TextIO, error: OSError) -> None:
    """Write no more to a stream that failed.

    Raises:
        Exit: nobody reads it any more.
    """
    if isinstance(error, BrokenPipeError):
        # As in the Python manual's note on SIGPIPE: nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise Exit(code=141) from None
    is_output = stream is sys.stdout
    _drop_buffer(stream)
    if is_output:
        log.warning("standard output: %s: results that are not shown are lost", reason_of(error))


def _drop_buffer(stream: TextIO) -> None:
    """Let what is still in a stream's buffer go nowhere, and all that would follow."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    if stream is sys.stdout:
        sys.stdout = Nowhere(failed=True)
    elif stream is sys.stderr:
        sys.stderr = Nowhere(failed=True)
