"""Files: those of this side that hosts are sent, and where those that hosts send go.

Where hosts are worked on elsewhere, something else with these methods brings them there and back.
"""

import fnmatch
import os
import posixpath
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..model import CommandStatus, Copying, Host, Outcome, Output, Pull, Push, UsageError
from ..ssh import HostRun
from ..steps import Steps, WaitForIO
from . import compression, over_sftp, scripts, tar_writer
from .safe_writer import LocalError, Refused, destination
from .tar_reader import Unpacker
from .tar_writer import Tree

#: Seconds after which a host's files leave the thread to other hosts for a moment.
_TURN = 0.01
#: Files, folders and links, beyond which it takes long to keep or remove them.
_MANY = 100
#: Bytes that are read of what a host says of a transfer on standard error.
_SAID = 64 * 1024


class LocalFiles:
    """The files of this machine."""

    def check(self, operation: Push | Pull) -> None:
        """Look for what is wrong on this side before any host is bothered.

        Raises:
            UsageError: a source to push does not exist.
        """
        if isinstance(operation, Push):
            for source in operation.sources:
                if not os.path.exists(os.path.expanduser(source)):
                    raise UsageError(f"{source}: no such file or folder here")

    def tree(self, operation: Push) -> Tree:
        """What is under the sources of an operation for one host."""
        return tar_writer.scan(operation.sources, operation.how.follow)

    def script(self, path: str, host: Host) -> bytes:
        """A script's text for one host.

        Raises:
            UsageError: it cannot be read.
        """
        return scripts.fill(scripts.read(path), host)

    def sink(self, place: int, operation: Pull, coded: str) -> "PullSink":
        """Where goes what the host at this place in the list sends, compressed by what `coded` names.

        Raises:
            LocalError, compression.Broken: it cannot be written, or read.
        """
        return PullSink(operation, coded)

    def by_sftp(self, place: int, connection: HostRun, operation: Push | Pull, err: Output) -> CommandStatus:
        """Copy over SFTP what one host is to have or to give."""
        return over_sftp.run(connection, operation, err)


class PullSink:
    """Where goes what one host sends: unpacked as it comes, and kept at the end if it is whole.

    Raises:
        LocalError: it cannot be written.
        compression.Broken: the host compresses it in a way that is not known here.
    """

    def __init__(self, operation: Pull, coded: str) -> None:
        self._how = operation.how
        self._decode: Callable[[Any], Iterable[Any]] = (
            compression.decoder(coded) if coded else lambda data: (data,)
        )
        folder, asked = _asked(operation)
        self._unpacker = Unpacker(
            folder,
            asked.place,
            operation.how.preserve,
            own=asked.own,
            unsafe_links=operation.how.unsafe_links,
            kept=self._keep_name,
        )
        self._out = Output()

    @property
    def is_long(self) -> bool:
        """Whether `end` and `close` may take long."""
        return self._unpacker.count > _MANY

    def feed(self, pieces: list[Any]) -> Steps[None]:
        """What comes next. Lets others go on in between, where it is much: a little may decode to that.

        Raises:
            Refused, LocalError, compression.Broken: it is not to be written, or cannot be.
        """
        until = time.monotonic() + _TURN
        for piece in pieces:
            for data in self._decode(piece):
                for _ in self._unpacker.steps(data):
                    if time.monotonic() > until:
                        self._unpacker.flush()
                        yield WaitForIO(None, time.monotonic())
                        until = time.monotonic() + _TURN
        self._unpacker.flush()

    def feed_nowait(self, pieces: list[Any]) -> None:
        """As `take`, at once."""
        for _ in self.feed(pieces):
            pass

    def _keep_name(self, path: str) -> None:
        if self._how.verbose:
            self._out.write(f"{path}\n".encode("utf-8", "surrogateescape"))

    def end(self, code: int | None, out: Output, err: Output) -> CommandStatus:
        """All has come, and the host's part ended with a return code; None where it broke off.

        Raises:
            EOFError: it has not come whole.
            LocalError: it cannot be kept.
        """
        unpacker, self._out = self._unpacker, out
        *sums, end = (unpacker.trailer or bytearray()).split(b"\n")[:-1] or [bytearray()]
        if end.startswith(b"end "):
            _keep(unpacker, self._how, sums)
            code = code or int(end != b"end 0")
        elif code == 0:
            raise EOFError("the stream broke off")
        done = status(code, err, unpacker.failures.all(), unpacker.problems.all())
        notes = "".join(f"{note}\n" for note in unpacker.notes.all())
        if notes:
            err.write(notes.encode("utf-8", "surrogateescape"))
        return done

    def close(self) -> None:
        """Remove what was not kept."""
        self._unpacker.close()


def status_of_error(error: Exception, err: Output) -> CommandStatus:
    """What comes of a host whose files are not to be written here, or cannot be."""
    err.write(f"{error}\n".encode("utf-8", "surrogateescape"))
    return CommandStatus(Outcome.ERROR if isinstance(error, LocalError) else Outcome.FAILED, 1, str(error))


def status(
    code: int | None,
    err: Output,
    there: "list[str] | tuple[str, ...]" = (),
    here: "list[str] | tuple[str, ...]" = (),
) -> CommandStatus:
    """The outcome: what the host says failed, then what else did of what is there and here.

    Raises:
        EOFError: there is no return code.
    """
    if code is None:
        raise EOFError("connection lost")
    said = _beginning(err).decode("utf-8", "replace").splitlines() if code else []
    failures = [line.strip().removeprefix("tar: ") for line in said if line.strip()]
    if there or here:
        err.write("".join(f"{line}\n" for line in (*there, *here)).encode("utf-8", "surrogateescape"))
    failures += [" ".join(line.split()) for line in (*there, *here)]
    if not failures:
        return CommandStatus(
            Outcome.FAILED if code else Outcome.OK, code, f"return code {code}" if code else ""
        )
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return CommandStatus(Outcome.ERROR if here else Outcome.FAILED, code or 1, failures[0] + more)


def remote_sources(operation: Pull) -> list[str]:
    """The sources as the host is asked for them."""
    return [_plain(over_sftp.remote_path(source)) for source in operation.sources]


def _plain(source: str) -> str:
    source = source.rstrip("/") or "/"
    return f"./{source}" if source.startswith("-") else source


def _beginning(output: Output) -> bytes:
    found = bytearray()
    for piece in output.pieces():
        found += piece[: _SAID - len(found)]
        if len(found) == _SAID:
            break
    return bytes(found)


class _Asked:
    """What a host is asked for, and where it goes in the local folder: below `name`, unless that is None."""

    def __init__(self, sources: list[str], name: str | None, no_folder: LocalError) -> None:
        patterns = [posixpath.basename(source.rstrip("/")) or "." for source in sources]
        self._all = "." in patterns
        self._patterns = [pattern for pattern in patterns if pattern != "."]
        self._name = name
        self._no_folder = no_folder
        self._top: str | None = None

    def place(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """The local path for one of the archive.

        Raises:
            Refused: it was not asked for.
            LocalError: it is a second one for a name that is for one.
        """
        if self._all:
            return (self._name, *parts) if self._name else parts
        if not parts or not self._named(parts[0]):
            raise Refused(f"{'/'.join(parts)[:100]!r}: sent by the host, but not asked for")
        if not self._name:
            return parts
        self._top = parts[0] if self._top is None else self._top
        if parts[0] != self._top:
            raise self._no_folder
        return (self._name, *parts[1:])

    def own(self, parts: tuple[str, ...]) -> bool:
        """Whether a path of the archive is a source itself, not something in it."""
        return not parts or (len(parts) == 1 and self._named(parts[0]))

    def _named(self, part: str) -> bool:
        return any(part == pattern or fnmatch.fnmatchcase(part, pattern) for pattern in self._patterns)


def _asked(operation: Pull) -> tuple[str, _Asked]:
    """The local folder that is written to, and what may be written there.

    Raises:
        LocalError: several files for a destination that is no folder, or one that is no regular file.
    """
    sources = remote_sources(operation)
    no_folder = LocalError(f"{operation.destination}: no such folder here")
    folder, name = destination(operation.destination)
    if name is not None and (not name or len(sources) > 1):
        raise no_folder
    return folder, _Asked(sources, name, no_folder)


def _keep(unpacker: Unpacker, how: Copying, lines: list[Any]) -> None:
    """Keep the files whose sums are those that the host says, in lines of type bytearray."""
    if lines == [b"none"]:
        unpacker.keep(unpacker.files, how.overwrite)
        return
    sums = dict(tar_writer.read_sums(lines))
    good = []
    for name, file in unpacker.files.items():
        if sums.get(name) == file.digest.hex():
            good.append(name)
        else:
            unpacker.failures.append(f"{name}: the checksum differs, it may have changed meanwhile")
    unpacker.keep(good, how.overwrite)
