"""LocalFiles: the files of this machine that hosts are sent, and where those go that hosts send.

When hosts are worked on by another machine, something else with these methods brings them there and back.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence

from ..model import CommandStatus, Copying, Host, Outcome, Output, Pull, Push, UsageError
from ..ssh import HostRun
from ..steps import Steps, WaitForIO
from . import compression, local_tree, over_sftp, scripts, sums
from .compression import Piece
from .errors import LocalError
from .local_tree import Tree
from .paths import RequestedPaths
from .tar_reader import Unpacker

#: Seconds after which unpacking a host's files lets other hosts have the thread for a moment.
_TURN = 0.01
#: Files, folders and links, beyond which it takes long to rename or remove them.
_MANY = 100
#: Bytes that are read of what a host says of a transfer on standard error.
_MESSAGES = 64 * 1024


class LocalFiles:
    """The files of this machine."""

    def check(self, operation: Push | Pull) -> None:
        """Look for what is wrong here before any host is connected to.

        Raises:
            UsageError: a source to push does not exist.
        """
        if isinstance(operation, Push):
            for source in operation.sources:
                if not os.path.exists(os.path.expanduser(source)):
                    raise UsageError(f"{source}: no such file or folder here")

    def tree(self, operation: Push) -> Tree:
        """What is under the sources of an operation for one host."""
        return local_tree.scan(operation.sources, operation.how.follow)

    def script(self, path: str, host: Host) -> bytes:
        """A script's text for one host.

        Raises:
            UsageError: it cannot be read.
        """
        return scripts.fill(scripts.read(path), host)

    def sink(self, index: int, operation: Pull, coded: str) -> "PullSink":
        """What writes what the host with this index in the list sends, compressed by what `coded` names.

        Raises:
            LocalError, compression.Broken: it cannot be written, or read.
        """
        return PullSink(operation, coded)

    def by_sftp(self, index: int, connection: HostRun, operation: Push | Pull, err: Output) -> CommandStatus:
        """Copy over SFTP what one host is sent, or sends."""
        return over_sftp.run(connection, operation, err)


class PullSink:
    """Unpacks what one host sends as it comes, and at the end gives the files their names if it is whole.

    Raises:
        LocalError: it cannot be written.
        compression.Broken: the host compresses it in a way that is not known here.
    """

    def __init__(self, operation: Pull, coded: str) -> None:
        self._how = operation.how
        self._decode: Callable[[Piece], Iterable[Piece]] = (
            compression.decoder(coded) if coded else lambda data: (data,)
        )
        requested = RequestedPaths(operation)
        self._unpacker = Unpacker(
            requested.folder,
            requested.local,
            operation.how.preserve,
            own=requested.is_source,
            unsafe_links=operation.how.unsafe_links,
            on_commit=self._print_name,
        )
        self._out = Output()

    @property
    def is_long(self) -> bool:
        """Whether `end` and `close` may take long."""
        return self._unpacker.count > _MANY

    def feed(self, pieces: Iterable[Piece]) -> Steps[None]:
        """Unpack what comes next. Lets other hosts go on in between: a few bytes may decode to very many.

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

    def feed_nowait(self, pieces: Iterable[Piece]) -> None:
        """Unpack what comes next at once."""
        for _ in self.feed(pieces):
            pass

    def _print_name(self, path: str) -> None:
        if self._how.verbose:
            self._out.write(f"{path}\n".encode("utf-8", "surrogateescape"))

    def end(self, code: int | None, out: Output, err: Output) -> CommandStatus:
        """All has come, and the host's script ended with a return code; None if it broke off.

        Raises:
            EOFError: it has not come whole.
            LocalError: it cannot be kept.
        """
        unpacker, self._out = self._unpacker, out
        *lines, end = (unpacker.trailer or bytearray()).split(b"\n")[:-1] or [bytearray()]
        if end.startswith(b"end "):
            _commit(unpacker, self._how, lines)
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
    """The outcome for a host whose files are not to be written here, or cannot be."""
    err.write(f"{error}\n".encode("utf-8", "surrogateescape"))
    return CommandStatus(Outcome.ERROR if isinstance(error, LocalError) else Outcome.FAILED, 1, str(error))


def status(
    code: int | None, err: Output, there: Sequence[str] = (), here: Sequence[str] = ()
) -> CommandStatus:
    """The outcome: what the host says failed, then what else failed `there`, and `here`.

    Raises:
        EOFError: there is no return code.
    """
    if code is None:
        raise EOFError("connection lost")
    messages = _beginning(err).decode("utf-8", "replace").splitlines() if code else []
    failures = [line.strip().removeprefix("tar: ") for line in messages if line.strip()]
    if there or here:
        err.write("".join(f"{line}\n" for line in (*there, *here)).encode("utf-8", "surrogateescape"))
    failures += [" ".join(line.split()) for line in (*there, *here)]
    if not failures:
        return CommandStatus(
            Outcome.FAILED if code else Outcome.OK, code, f"return code {code}" if code else ""
        )
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return CommandStatus(Outcome.ERROR if here else Outcome.FAILED, code or 1, failures[0] + more)


def _beginning(output: Output) -> bytes:
    found = bytearray()
    for piece in output.pieces():
        found += piece[: _MESSAGES - len(found)]
        if len(found) == _MESSAGES:
            break
    return bytes(found)


def _commit(unpacker: Unpacker, how: Copying, lines: Sequence[bytes | bytearray]) -> None:
    """Give their names to the files whose sums are those that the host says in `lines`."""
    if list(lines) == [b"none"]:
        unpacker.commit(unpacker.files, how.overwrite)
        return
    found = dict(sums.read_sums(lines))
    good = []
    for name, file in unpacker.files.items():
        if found.get(name) == file.digest.hex():
            good.append(name)
        else:
            unpacker.failures.append(f"{name}: the checksum differs, it may have changed meanwhile")
    unpacker.commit(good, how.overwrite)
