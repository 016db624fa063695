"""Files: those of this side that hosts are sent, and where those that hosts send go.

Where hosts are worked on elsewhere, something else with these methods brings them there and back.
"""

import fnmatch
import os
import posixpath
from collections.abc import Callable
from typing import Any

from . import archive, codec, script, sftp
from .archive import Tree
from .command import Execution
from .connection import HostConnection
from .errors import UsageError
from .hosts import Host
from .operations import Copying, Pull, Push
from .output import Output
from .results import Outcome
from .unpack import LocalError, Refused, Unpacker, plain
from .waiting import Steps


class Files:
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
        return archive.scan(operation.sources, operation.how.follow)

    def script(self, path: str, host: Host) -> bytes:
        """A script's text for one host.

        Raises:
            UsageError: it cannot be read.
        """
        return script.fill(script.read(path), host)

    def landing(self, place: int, operation: Pull, coded: str) -> "Landing":
        """Where goes what the host at this place in the list sends, compressed by what `coded` names.

        Raises:
            LocalError: it cannot be written.
        """
        return Landing(operation, coded)

    def by_sftp(
        self, place: int, connection: HostConnection, operation: Push | Pull, err: Output
    ) -> Execution:
        """Copy over SFTP what one host is to have or to give."""
        return sftp.run(connection, operation, err)


class Landing:
    """Where goes what one host sends: unpacked as it comes, and kept at the end if it is whole.

    Raises:
        LocalError: it cannot be written.
    """

    def __init__(self, operation: Pull, coded: str) -> None:
        self._how = operation.how
        self._decode: Callable[[Any], Any] = codec.decoder(coded) if coded else memoryview
        self._unpacker = Unpacker(*_place(operation), operation.how.preserve)

    def take(self, pieces: list[Any]) -> Steps[None]:
        """What comes next.

        Raises:
            Refused, LocalError, codec.Broken: it is not to be written, or cannot be.
        """
        self.take_now(pieces)
        return
        yield

    def take_now(self, pieces: list[Any]) -> None:
        """As `take`, at once."""
        for piece in pieces:
            self._unpacker.feed(self._decode(piece))
        self._unpacker.flush()

    def end(self, code: int | None, out: Output, err: Output) -> Execution:
        """All has come, and the host's part ended with a return code; None where it broke off.

        Raises:
            EOFError: it has not come whole.
            LocalError: it cannot be kept.
        """
        unpacker = self._unpacker
        *sums, end = (unpacker.trailer or b"").split(b"\n")[:-1] or [b""]
        if end.startswith(b"end "):
            _keep(unpacker, self._how, sums)
            code = code or int(end != b"end 0")
        elif code == 0:
            raise EOFError("the stream broke off")
        if self._how.verbose:
            out.write("".join(f"{name}\n" for name in unpacker.kept).encode("utf-8", "surrogateescape"))
        return execution(code, err, unpacker.failures, unpacker.problems)

    def close(self) -> None:
        """Remove what was not kept."""
        self._unpacker.close()


def failed(error: Exception, err: Output) -> Execution:
    """What comes of a host whose files are not to be written here, or cannot be."""
    err.write(f"{error}\n".encode("utf-8", "surrogateescape"))
    return Execution(Outcome.ERROR if isinstance(error, LocalError) else Outcome.FAILED, 1, str(error))


def execution(
    code: int | None,
    err: Output,
    there: "list[str] | tuple[str, ...]" = (),
    here: "list[str] | tuple[str, ...]" = (),
) -> Execution:
    """The outcome: what the host says failed, then what else did of what is there and here.

    Raises:
        EOFError: there is no return code.
    """
    if code is None:
        raise EOFError("connection lost")
    said = bytes(err).decode("utf-8", "replace").splitlines()
    failures = [line.strip().removeprefix("tar: ") for line in said if line.strip()] if code else []
    err.write("".join(f"{line}\n" for line in (*there, *here)).encode("utf-8", "surrogateescape"))
    failures += [" ".join(line.split()) for line in (*there, *here)]
    if not failures:
        return Execution(Outcome.FAILED if code else Outcome.OK, code, f"return code {code}" if code else "")
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return Execution(Outcome.ERROR if here else Outcome.FAILED, code or 1, failures[0] + more)


def remote_sources(operation: Pull) -> list[str]:
    """The sources as the host is asked for them."""
    return [_plain(sftp.remote_path(source)) for source in operation.sources]


def _plain(source: str) -> str:
    source = source.rstrip("/") or "/"
    return f"./{source}" if source.startswith("-") else source


def _place(operation: Pull) -> tuple[str, Callable[[tuple[str, ...]], tuple[str, ...]]]:
    """The local folder that is written to, and where in it a path of the archive goes.

    Raises:
        LocalError: several files for a destination that is no folder.
    """
    sources = remote_sources(operation)
    destination = os.path.expanduser(operation.destination)
    no_folder = LocalError(f"{operation.destination}: no such folder here")
    patterns = [posixpath.basename(source.rstrip("/")) or "." for source in sources]
    if os.path.isdir(destination):
        folder, name = destination, None
    else:
        folder, name = os.path.split(destination)
        if not name or len(sources) > 1:
            raise no_folder
    tops: set[str] = set()

    def place(parts: tuple[str, ...]) -> tuple[str, ...]:
        if "." in patterns:
            return (name, *parts) if name else parts
        if not parts or not any(part == parts[0] or fnmatch.fnmatchcase(parts[0], part) for part in patterns):
            raise Refused(f"{'/'.join(parts)!r}: sent by the host, but not asked for")
        tops.add(parts[0])
        if name and len(tops) > 1:
            raise no_folder
        return (name, *parts[1:]) if name else parts

    return folder, place


def _keep(unpacker: Unpacker, how: Copying, lines: list[bytes]) -> None:
    """Keep the files whose sums are those that the host says."""
    if lines == [b"none"]:
        unpacker.keep(unpacker.files, how.overwrite)
        return
    sums = dict(archive.read_sums(lines))
    good = [name for name, file in unpacker.files.items() if sums.get(plain(name)) == file.digest]
    for name in unpacker.files.keys() - good:
        unpacker.failures.append(f"{name}: the checksum differs, it may have changed meanwhile")
    unpacker.keep(good, how.overwrite)
