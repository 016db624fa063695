"""Push and Pull: one tar stream a host over a channel of its connection, whole or not at all.

A script for /bin/sh does the host's part: it is told what to do in its arguments, says that it is ready and
what it has, and takes or gives the stream. Where a host has no tar or no shell, SFTP takes its place.
"""

import posixpath
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..model import CommandStatus, Failure, Outcome, Output, Pull, Push, Settings
from ..ssh import START_TIMEOUT, Classified, ExecChannel, HostRun, NoAnswer, Sudo
from ..steps import MAY_BLOCK, Steps, WaitForIO
from . import compression, over_sftp, tar_writer
from .connection_state import ConnectionState
from .local_files import LocalFiles, remote_sources, status, status_of_error
from .remote_scripts import KNOWN, PULL, PUSH, READY
from .safe_writer import LocalError, Refused
from .tar_writer import Archive, Tree

#: Seconds without any progress after which a transfer is given up.
STALLED = 60.0
_NOISE = 64 * 1024
#: Bytes of messages that are kept of a transfer, and those beyond which a host is not listened to any more.
_MESSAGES = 64 * 1024
_FLOOD = 64 * 1024 * 1024
#: Bytes of the line that gives a file's sum, besides its name.
_SUM_LINE = 128
_MORE = "the host says more than it was asked for"
#: Seconds of a limited rate that may be made up for at once.
_BURST = 0.1
#: Bytes from which it takes long to hash them.
_BIG = 4_000_000
#: Bytes a second that a host hashes at least.
_HASHED = 20e6


class RateLimiter:
    """Says how long to pause so that no more than `rate` bytes a second move; None is without a limit."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_at = 0.0

    def free_at(self, count: int) -> float:
        """When the next bytes may move, in monotonic seconds, after `count` that have."""
        if self._rate:
            self._free_at = max(self._free_at, time.monotonic() - _BURST) + count / self._rate
        return self._free_at


class Shared:
    """What the transfers of a run share: local files are looked at and read for all hosts together."""

    def __init__(self, settings: Settings, hosts: int, files: LocalFiles) -> None:
        self.files = files
        #: Bytes that have moved, and the pace of all hosts together.
        self.moved = 0
        self.pace = RateLimiter(settings.limit_rate_all)
        self._hosts = hosts
        self._begun, self._bytes = 0, 0
        self._lock = threading.Lock()
        self._trees: dict[tuple[tuple[str, ...], bool], Tree] = {}
        self._archives: dict[object, Archive] = {}
        self._encoded: dict[tuple[int, str], compression.Encoded] = {}

    def begin(self, count: int) -> None:
        """A host is going to be sent so many bytes."""
        self._begun += 1
        self._bytes += count

    def expected(self) -> float:
        """Bytes that all hosts are going to be sent, if the others are like those that have begun."""
        return self._bytes * self._hosts / self._begun if self._begun else 0.0

    def tree(self, operation: Push) -> Tree:
        """What is under the sources of an operation."""
        key = (operation.sources, operation.how.follow)
        with self._lock:
            if key not in self._trees:
                self._trees[key] = self.files.tree(operation)
            return self._trees[key]

    def archive(self, operation: Push, names: frozenset[str] | None = None) -> Archive:
        """The archive of an operation's sources, or of those members that are named."""
        tree = self.tree(operation)
        key = (operation.sources, operation.how, names)
        with self._lock:
            if key not in self._archives:
                members = [m for m in tree.members.values() if names is None or m.name in names]
                self._archives[key] = Archive(members, operation.how.preserve)
            return self._archives[key]

    def encoded(self, stream: Archive, name: str) -> compression.Encoded:
        """A stream, compressed once for all hosts that take this codec."""
        with self._lock:
            key = (id(stream), name)
            if key not in self._encoded:
                self._encoded[key] = compression.Encoded(stream, name)
            return self._encoded[key]


def run(
    place: int,
    connection: HostRun,
    operation: Push | Pull,
    shared: Shared,
    out: Output,
    err: Output,
) -> Steps[CommandStatus]:
    """Copy what `operation` says for the host at this place in the list; what failed is named in `err`.

    Raises:
        OSError, EOFError, paramiko.SSHException: the host was not reached, or the connection broke.
    """
    yield from connection.opening()
    timeout = connection.settings.timeout
    if timeout is not None and connection.ends_at is None:
        connection.ends_at = time.monotonic() + timeout
    state = connection.attached(ConnectionState)
    try:
        if not state.without_tar:
            if isinstance(operation, Push):
                done = yield from _push(connection, operation, shared, out, err)
            else:
                done = yield from _pull(place, connection, operation, shared, out, err)
            if done is not None:
                return done
            state.without_tar = True
        yield MAY_BLOCK
        return shared.files.by_sftp(place, connection, operation, err)
    except (_OutOfTime, TimeoutError):
        if timeout is None or connection.time_left(1):
            raise
        return CommandStatus(Outcome.TIMED_OUT, None, f"timed out after {timeout:g} s")


class _OutOfTime(Exception):
    pass


class ScriptSession:
    """What is said with a script on the host: it waits, and keeps what goes to standard error."""

    def __init__(self, channel: ExecChannel, connection: HostRun, shared: Shared, err: Output) -> None:
        self.channel = channel
        self.data = b"".join(channel.read())
        self.shared = shared
        self.err = err
        #: Bytes that were sent or received.
        self.moved = 0
        #: Bytes of messages, which are kept only so far; all that serves nothing is counted to find a flood.
        self._said = self._useless = 0
        self._pace = RateLimiter(connection.settings.limit_rate)
        self._deadline = connection.ends_at

    def wait(self, done: Callable[[], bool]) -> Steps[None]:
        """Until `done`.

        Raises:
            Silent: nothing has moved for STALLED seconds and the time that it takes to hash what has moved.
            _OutOfTime: the operation's timeout has passed.
        """
        # Asked for apart from the wait, which a host that always sends ends at once.
        if self._is_over() or not (yield from self.channel.until(done, self.limit())):
            self._late()

    def limit(self) -> float:
        """When waiting has an end, in monotonic seconds, unless something moves."""
        stalled = time.monotonic() + STALLED + self.moved / _HASHED
        return stalled if self._deadline is None else min(stalled, self._deadline)

    def _is_over(self) -> bool:
        """Whether the operation's timeout has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _late(self) -> None:
        self.channel.close()
        if self._is_over():
            raise _OutOfTime
        raise NoAnswer("the transfer stalled")

    def _count(self, count: int) -> Steps[None]:
        self.moved += count
        self.shared.moved += count
        free_at = max(self._pace.free_at(count), self.shared.pace.free_at(count))
        if free_at > time.monotonic():
            yield WaitForIO(None, free_at)

    def pieces(self) -> Steps[list[Any]]:
        """What comes next on standard output, as it came; none at the end."""
        channel = self.channel

        def come() -> bool:
            return channel.has_come() or channel.recv_stderr_ready() or channel.at_eof()

        while True:
            yield from self.wait(come)
            pieces = self._come()
            if pieces:
                yield from self._count(sum(map(len, pieces)))
                return pieces
            if channel.at_eof():
                return []

    def _come(self) -> list[Any]:
        """What has come on standard output; what has on standard error is kept."""
        while self.channel.recv_stderr_ready():
            self._keep(self.channel.read_stderr())
        return self.channel.read()

    def _keep(self, message: bytes) -> None:
        """Keep what goes to standard error, as far as there is room for it."""
        kept = message[: max(0, _MESSAGES - self._said)]
        self._said += len(message)
        if kept:
            self.err.write(kept)
        self._endure(len(message))

    def _endure(self, count: int) -> None:
        """So many bytes came that serve nothing.

        Raises:
            Known: that makes too many.
        """
        self._useless += count
        if self._useless > _FLOOD:
            self.channel.close()
            raise Classified(Failure(Outcome.FAILED, "the host sends messages without end"))

    def more(self) -> Steps[bytes]:
        """What comes next on standard output, empty at the end."""
        return b"".join((yield from self.pieces()))

    def ask(self, question: bytes, most: int) -> Steps[bytes]:
        """Send all of that and the end; all that comes on standard output, which may come meanwhile.

        Raises:
            Refused: more than so many bytes.
        """
        channel = self.channel
        said, rest = bytearray(self.data), memoryview(question)
        while rest and len(said) <= most:
            yield from self.wait(lambda: channel.send_ready() or channel.has_come() or channel.at_eof())
            if channel.at_eof():
                break
            # A host that is not rid of its answers does not read on.
            said += b"".join(self._come())
            rest = yield from self._send_some(rest)
        if not rest:
            channel.shutdown_write()
        self.data = bytes(said)
        return (yield from self.all(most))

    def all(self, most: int) -> Steps[bytes]:
        """All that comes on standard output.

        Raises:
            Refused: more than so many bytes.
        """
        said = bytearray(self.data)
        while len(said) <= most and (more := (yield from self.more())):
            said += more
        if len(said) > most:
            self.channel.close()
            raise Refused(_MORE)
        return bytes(said)

    def ready(self) -> Steps[list[str]]:
        """What the script has, after what the host's shell may print before; nothing where there is none.

        Raises:
            EOFError: the connection broke, which says nothing of the host.
        """
        answer = yield from self._line(READY)
        return [] if answer is None else answer.decode("ascii", "replace").split()

    def line(self) -> Steps[bytes]:
        """The next line on standard output, empty where there is none."""
        return (yield from self._line(b"")) or b""

    def _line(self, begin: bytes) -> Steps[bytes | None]:
        """What follows on the first line that has `begin`; what comes behind that stays in `data`."""
        said, at, looked = bytearray(self.data), -1, 0
        while True:
            if at < 0:
                at = said.find(begin, looked)
                looked = max(0, len(said) - len(begin) + 1) if at < 0 else at + len(begin)
            end = said.find(b"\n", looked) if at >= 0 else -1
            if end >= 0:
                self.data = bytes(said[end + 1 :])
                return bytes(said[at + len(begin) : end])
            if at >= 0:
                looked = len(said)  # no piece is looked at twice, however many there are
            if len(said) >= _NOISE:
                self.channel.close()
                return None
            more = yield from self.more()
            if not more and self._broken():
                raise EOFError("connection lost")
            if not more:
                return None
            said += more

    def _broken(self) -> bool:
        """Whether the channel is over because the connection is."""
        return self.channel.closed and not self.channel.closed_by_peer

    def send(self, pieces: Iterable[bytes]) -> Steps[None]:
        """Send all of them and the end, or until the script ends."""
        channel = self.channel
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                yield from self.wait(lambda: channel.send_ready() or channel.at_eof())
                if channel.at_eof():
                    return
                rest = yield from self._send_some(rest)
        channel.shutdown_write()

    def _send_some(self, data: memoryview) -> Steps[memoryview]:
        """Send what the window takes; what is left."""
        channel = self.channel
        rest = data
        while rest and channel.send_ready():
            rest = rest[channel.send_now(rest) :]
        yield from self._count(len(data) - len(rest))
        if not (yield from channel.drained(self.limit())):
            self._late()
        return rest

    def end(self) -> Steps[int | None]:
        """Wait for the end; the return code, None where the connection broke."""
        channel = self.channel
        while pieces := (yield from self.pieces()):
            self._endure(sum(map(len, pieces)))
        yield from self.wait(channel.has_status)
        if self._said > _MESSAGES:
            self.err.write(f"\n({self._said - _MESSAGES} bytes more of messages)\n".encode())
        channel.close()
        channel.flush()
        return channel.exit_status if channel.exit_status >= 0 else None


def _talk(
    connection: HostRun,
    script: str,
    arguments: Iterable[str],
    shared: Shared,
    err: Output,
    has_input: bool,
) -> Steps[ScriptSession]:
    settings = connection.settings
    words = " ".join(shlex.quote(word) for word in (script, "sh", *arguments))
    sudo = Sudo(f"exec /bin/sh -c {words}", settings.password) if settings.sudo else None
    command = sudo.command if sudo else f"exec /bin/sh -c {words}"
    limit = connection.time_left(START_TIMEOUT)
    channel = yield from connection.start(command, limit, no_input=not has_input and sudo is None)
    talk = ScriptSession(channel, connection, shared, err)
    if sudo:
        err.write((yield from sudo.negotiate(channel, talk.limit())))
        if not has_input:
            channel.shutdown_write()
    if has_input:  # which goes as far as the host takes it: ready() tells
        yield from channel.send_all(b"paramgmt\n", talk.limit())
    return talk


def _push(
    connection: HostRun, operation: Push, shared: Shared, out: Output, err: Output
) -> Steps[CommandStatus | None]:
    how, tree = operation.how, shared.tree(operation)
    if not tree.members:
        return status(0, err, here=tree.problems)
    destination = over_sftp.remote_path(operation.destination)
    folder, name = posixpath.split(destination.rstrip("/") or "/")
    several = len(tree.tops) > 1 or operation.destination.endswith("/")
    arguments = [
        " ".join(compression.NAMES) if how.compress else "",
        folder or ".",
        name,
        operation.destination,
        str(int(several)),
    ]
    names = None
    if how.changed:
        # What it says of the destination is said once more below.
        try:
            same = yield from _same(connection, tree, arguments, shared, Output())
        except Refused as error:
            return status_of_error(error, err)
        if same is None:
            return None
        names = frozenset(tree.members.keys() - same)
        files = sum(member.is_file for member in tree.members.values())
        out.write(f"{len(same)} of {files} files unchanged\n".encode())
        if not names:
            return status(0, err, here=tree.problems)
    stream = shared.archive(operation, names)
    large = stream.size > _BIG
    verify = "fast" if how.verify and stream.plain and large else str(int(how.verify))
    arguments += [str(int(how.overwrite)), verify, "" if how.preserve else "-m", str(int(large))]
    talk = yield from _talk(connection, PUSH, arguments, shared, err, has_input=True)
    answer = yield from talk.ready()
    if answer[:1] != ["with"]:
        return None
    if not answer[1:]:
        shared.begin(stream.size)
    try:
        coded = shared.encoded(stream, answer[1]) if answer[1:] else stream
    except compression.Broken as error:
        talk.channel.close()
        return status_of_error(error, err)
    yield from talk.send(coded)
    code = yield from talk.end()
    if how.verbose and code == 0:
        out.write(stream.listing)
    changed = [f"{path}: changed while it was read" for path in stream.changed]
    return status(code, err, here=[*tree.problems, *changed])


def _same(
    connection: HostRun, tree: Tree, arguments: Sequence[str], shared: Shared, err: Output
) -> Steps[set[str] | None]:
    """The files that are the same on the host; None where it has no tar or no shell."""
    talk = yield from _talk(connection, KNOWN, arguments, shared, err, has_input=True)
    if (yield from talk.ready())[:1] != ["with"]:
        return None
    kind = yield from talk.line()
    files = [member for member in tree.members.values() if member.is_file]
    there = {member.name: member for member in files}
    if kind == b"name":
        there = {posixpath.basename(arguments[2]): member for member in files if member.name == member.top}
    names = "".join(f"./{name}\0" for name in there).encode("utf-8", "surrogateescape")
    # A name has two characters where one is escaped.
    said = yield from talk.ask(names, 2 * len(names) + _SUM_LINE * (len(there) + 1))
    yield from talk.end()
    if said.count(b"\n") > len(there) + names.count(b"\n"):  # each takes much more memory than it has bytes
        raise Refused(_MORE)
    if sum(member.info.st_size for member in there.values() if not member.digest) > _BIG:
        yield MAY_BLOCK  # to hash them, once for all hosts
    sums = tar_writer.read_sums(said.split(b"\n")[:-1])
    return {there[name].name for name, digest in sums if name in there and there[name].same(digest)}


def _pull(
    place: int, connection: HostRun, operation: Pull, shared: Shared, out: Output, err: Output
) -> Steps[CommandStatus | None]:
    how, sources = operation.how, remote_sources(operation)
    for source in sources:
        if posixpath.basename(source) == "..":
            return status(0, err, [f"{source}: has no name to be stored under: name the folder itself"])
    links = ["-h", "-L"] if how.follow else ["", ""]
    codecs = " ".join(compression.NAMES) if how.compress else ""
    arguments = [codecs, str(int(how.verify)), *links, *sources]
    talk = yield from _talk(connection, PULL, arguments, shared, err, has_input=False)
    answer = yield from talk.ready()
    if answer[:1] != ["with"]:
        return None
    try:
        landing = shared.files.sink(place, operation, "".join(answer[1:2]))
    except (LocalError, compression.Broken) as error:
        talk.channel.close()
        return status_of_error(error, err)
    try:
        pieces: list[Any] = [talk.data]
        while pieces:
            yield from landing.feed(pieces)
            pieces = yield from talk.pieces()
        code = yield from talk.end()
        if landing.is_long:
            yield MAY_BLOCK
        return landing.end(code, out, err)
    except Exception as error:
        unwanted = isinstance(error, (LocalError, Refused, compression.Broken))
        if unwanted:
            talk.channel.close()
        if landing.is_long:
            yield MAY_BLOCK
        if unwanted:
            return status_of_error(error, err)
        raise
    finally:
        landing.close()
