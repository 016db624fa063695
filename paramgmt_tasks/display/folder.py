"""A folder of results: HOST.out and HOST.err with what a command wrote, results.jsonl with the rest."""

import errno
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import UsageError, words
from ..hosts import Host
from ..output import Output
from ..results import HostResult
from .jsonl import fields
from .view import Piece, Silent

log = logging.getLogger("paramgmt_tasks")


class Folder(Silent):
    """Writes the files of each host as soon as it is finished. `whole` is false where one could not be.

    Raises:
        UsageError: the folder cannot be made or written to.
    """

    def __init__(self, path: str, hosts: Sequence[Host]) -> None:
        self._path = Path(os.path.expanduser(path))
        self._mode = "w"  # of the index, until it is begun
        self._names = names([host.entry for host in hosts])
        self.whole = True
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            if not os.access(self._path, os.W_OK):
                raise PermissionError(errno.EACCES, "permission denied")
        except OSError as error:
            raise UsageError(f"--output-dir {path}: {words(error)}") from None

    def finished(self, result: HostResult) -> Iterator[Piece]:
        """Nothing to show."""
        name = self._names[result.index]
        try:
            _write(self._path / f"{name}.out", result.out)
            _write(self._path / f"{name}.err", result.err)
            record = {**fields(result), "stdout_file": f"{name}.out", "stderr_file": f"{name}.err"}
            with (self._path / "results.jsonl").open(self._mode, encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
            self._mode = "a"
        except OSError as error:
            if self.whole:
                log.warning("%s: %s: files of results are missing", self._path, words(error))
            self.whole = False
        return iter(())


def names(entries: Sequence[str]) -> list[str]:
    """A file name for each entry, none twice.

    >>> names(["web1", "nic@db:22", "web1", "../a"])
    ['web1', 'nic@db:22', 'web1.2', '.._a']
    """
    taken: set[str] = set()
    found = []
    for entry in entries:
        plain = name = entry.replace("/", "_")
        number = 1
        while name in taken:
            number += 1
            name = f"{plain}.{number}"
        taken.add(name)
        found.append(name)
    return found


def _write(path: Path, output: Output) -> None:
    with path.open("wb") as stream:
        for data in output.pieces():
            stream.write(data)
