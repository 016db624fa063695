"""What is said on standard error beside the results: notes, warnings, and what was wrong with a call."""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from invoke import Exit

from ..model import Host, HostResult, Operation, Pull, Settings, UsageError, duplicates, escaped, ranked
from .streams import replace_closed


@contextmanager
def usage_errors(name: str) -> Iterator[None]:
    """Bad input is one line on standard error and exit status 2.

    Raises:
        Exit: there was a UsageError.
    """
    replace_closed()
    log_to_stderr()
    try:
        yield
    except UsageError as error:
        raise Exit(f"{name}: {escaped(str(error))}", code=2) from None


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return escaped(super().formatMessage(record))


def log_to_stderr() -> None:
    """Write warnings to standard error, a line each."""
    log = logging.getLogger("paramgmt_tasks")
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_OneLine("%(levelname)s: %(message)s"))
        log.addHandler(handler)
        log.propagate = False


def note(text: str) -> None:
    """Say something of interest that is no error."""
    print(f"note: {escaped(text)}", file=sys.stderr)


def note_duplicates(hosts: Sequence[Host]) -> None:
    """Say which hosts are in the list more than once."""
    for entry, count in duplicates(hosts).items():
        note(f"{entry} is in the host list {count} times")


def note_unsupported(results: Iterable[HostResult]) -> None:
    """Name the options of ssh_config that ask for something which is not done, each with how many hosts."""
    hosts: dict[str, list[str]] = {}
    for result in results:
        for option in result.unsupported:
            hosts.setdefault(option, []).append(result.host.entry)
    if hosts:
        named = (
            f"{option} ({f'{len(entries)} hosts, such as ' if len(entries) > 1 else ''}{entries[0]})"
            for option, entries in hosts.items()
        )
        print(escaped(f"ssh_config: not supported here: {', '.join(named)}"), file=sys.stderr)


def note_one_destination(operation: Operation, hosts: Sequence[Host], settings: Settings) -> None:
    """Say that the files of several hosts will replace each other, if all go to one folder."""
    if not isinstance(operation, Pull) or len(hosts) < 2:
        return
    if len({operation.on(host).destination for host in ranked(hosts, operation, settings)}) == 1:
        print(
            f"note: all hosts' files go to {operation.destination}, and of files with the same name the last "
            "one remains; ?HOST in the destination keeps them apart",
            file=sys.stderr,
        )
