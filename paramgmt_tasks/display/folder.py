"""A folder of results: HOST.out and HOST.err with what a command wrote, results.jsonl with the rest."""

import errno
import json
import logging
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ..model import Host, HostResult, UsageError, make_private, reason_of
from .jsonl import fields
from .view import Piece, Silent

log = logging.getLogger("paramgmt_tasks")


class OutputFolder(Silent):
    """Writes the files of each host as soon as it is finished. `whole` turns false when one cannot be.

    Only the user can read the files, and a folder that is made for them. They replace regular files and
    nothing else: whoever may write to the folder could have put a link there.

    Raises:
        UsageError: the folder cannot be made or written to.
    """

    def __init__(self, path: str, hosts: Sequence[Host]) -> None:
        self._path = Path(os.path.expanduser(path))
        self._index: int | None = None
        self._folder: int | None = None
        self._names = names([host.entry for host in hosts])
        self.whole = True
        try:
            make_private(self._path)
            if self._path.is_symlink() and not _is_own(self._path):
                raise PermissionError(errno.EPERM, "a link of another user")
            self._folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if not os.access(self._path, os.W_OK):
                raise PermissionError(errno.EACCES, "permission denied")
        except OSError as error:
            raise UsageError(f"--output-dir {path}: {reason_of(error)}") from None

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """Write its files; nothing is shown."""
        name = self._names[result.index]
        try:
            self._write(f"{name}.out", result.out.pieces())
            self._write(f"{name}.err", result.err.pieces())
            record = {**fields(result), "stdout_file": f"{name}.out", "stderr_file": f"{name}.err"}
            if self._index is None:
                self._index = self._write("results.jsonl", (), keep=True)
            size = os.fstat(self._index).st_size
            try:
                _write_all(self._index, json.dumps(record).encode() + b"\n")
            except OSError:
                os.ftruncate(self._index, size)  # no half of a line
                raise
        except OSError as error:
            if self.whole:
                log.warning("%s: %s: files of results are missing", self._path, reason_of(error))
            self.whole = False
        return iter(())

    def _write(self, name: str, pieces: Iterable[bytes], keep: bool = False) -> int:
        """Write a file in place of an older one; its descriptor, which is left open if it is to be kept."""
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(name, dir_fd=self._folder).st_mode):
                raise FileExistsError(errno.EEXIST, f"{name} is no regular file")
        # At random, as a process may have the number of one that was killed.
        temporary = f".paramgmt-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(temporary, flags, 0o600, dir_fd=self._folder)
        try:
            for data in pieces:
                _write_all(file, data)
            os.rename(temporary, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except BaseException:
            os.close(file)
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self._folder)
            raise
        if not keep:
            os.close(file)
        return file

    def __del__(self) -> None:
        for descriptor in (self._folder, self._index):
            if descriptor is not None:
                os.close(descriptor)


def _is_own(path: Path) -> bool:
    return os.lstat(path).st_uid in (0, os.geteuid())


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(file, view) :]


def names(entries: Sequence[str]) -> list[str]:
    """A file name for each entry, none twice.

    >>> names(["web1", "nic@db:22", "web1", "../a"])
    ['web1', 'nic@db:22', 'web1.2', '.._a']
    """
    taken: set[str] = set()
    found = []
    for entry in entries:
        base = name = entry.replace("/", "_")
        number = 1
        while name in taken:
            number += 1
            name = f"{base}.{number}"
        taken.add(name)
        found.append(name)
    return found
