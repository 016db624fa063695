"""Push and Pull: one tar stream a host over a channel of its connection, whole or not at all.

A script for /bin/sh does the host's side: its arguments say what to do, it answers that it is ready and what
it has, and reads or writes the stream. If a host has no tar or no shell, SFTP is used instead.
"""

import posixpath
import time
from collections.abc import Sequence

from ..model import CommandStatus, Output, Pull, Push
from ..ssh import HostRun, NotStarted
from ..steps import MAY_BLOCK, Steps
from . import compression, sums
from .compression import Piece
from .connection_state import ConnectionState
from .errors import LocalError, Refused, WithoutTar
from .local_files import PullSink, status, status_of_error
from .local_tree import Tree
from .paths import remote_path, remote_sources
from .remote_scripts import KNOWN, PULL, PUSH
from .script_session import TOO_MUCH, ScriptSession, open_session
from .shared import SharedTransfers
from .timeouts import OutOfTime, timed_out

#: Bytes of the line that gives a file's sum, besides its name.
_SUM_LINE = 128
#: Bytes from which it takes long to hash them.
_BIG = 4_000_000


def run(
    index: int,
    connection: HostRun,
    operation: Push | Pull,
    shared: SharedTransfers,
    out: Output,
    err: Output,
) -> Steps[CommandStatus]:
    """Copy what `operation` says for the host with this index in the list; what failed is named in `err`.

    Raises:
        OSError, EOFError, paramiko.SSHException: the host was not reached, or the connection broke.
    """
    yield from connection.opening()
    timeout = connection.settings.timeout
    if timeout is not None and connection.ends_at is None:
        connection.ends_at = time.monotonic() + timeout
    state = connection.attached(ConnectionState)
    try:
        if state.without_tar is None:
            try:
                if isinstance(operation, Push):
                    return (yield from _push(connection, operation, shared, out, err))
                return (yield from _pull(index, connection, operation, shared, out, err))
            except NotStarted as reason:
                if connection.settings.way:
                    raise  # which SFTP needs too
                state.without_tar = str(reason)
            except WithoutTar as reason:
                state.without_tar = str(reason)
        yield MAY_BLOCK
        return shared.files.by_sftp(index, connection, operation, err)
    except (OutOfTime, TimeoutError):
        if timeout is None or connection.time_left(1):
            raise
        return timed_out(timeout)


def _push(
    connection: HostRun, operation: Push, shared: SharedTransfers, out: Output, err: Output
) -> Steps[CommandStatus]:
    """Push.

    Raises:
        WithoutTar, NotStarted: the host has no tar or no shell.
    """
    how, tree = operation.how, shared.cache.tree(operation)
    if not tree.members:
        return status(0, err, here=tree.problems)
    arguments = _destination_arguments(operation, tree)
    names = None
    if how.changed:
        # What it says of the destination is said once more below.
        try:
            unchanged = yield from _unchanged(connection, tree, arguments, shared, Output())
        except Refused as error:
            return status_of_error(error, err)
        names = frozenset(tree.members.keys() - unchanged)
        files = sum(member.is_file for member in tree.members.values())
        out.write(f"{len(unchanged)} of {files} files unchanged\n".encode())
        if not names:
            return status(0, err, here=tree.problems)
    stream = shared.cache.archive(operation, names)
    large = stream.size > _BIG
    verify = "fast" if how.verify and stream.has_plain_names and large else str(int(how.verify))
    arguments += [str(int(how.overwrite)), verify, "" if how.preserve else "-m", str(int(large))]
    session = yield from open_session(connection, PUSH, arguments, shared, err, has_input=True)
    codec = yield from session.ready()
    if not codec:
        shared.counts.begin(stream.size)
    try:
        coded = shared.cache.encoded(stream, codec) if codec else stream
    except compression.Broken as error:
        session.channel.close()
        return status_of_error(error, err)
    yield from session.send(coded)
    code = yield from session.end()
    if how.verbose and code == 0:
        out.write(stream.listing)
    changed = [f"{path}: changed while it was read" for path in stream.changed]
    return status(code, err, here=[*tree.problems, *changed])


def _destination_arguments(operation: Push, tree: Tree) -> list[str]:
    """The arguments with which PUSH and KNOWN begin."""
    folder, name = posixpath.split(remote_path(operation.destination).rstrip("/") or "/")
    several = len(tree.tops) > 1 or operation.destination.endswith("/")
    codecs = " ".join(compression.NAMES) if operation.how.compress else ""
    return [codecs, folder or ".", name, operation.destination, str(int(several))]


def _unchanged(
    connection: HostRun, tree: Tree, arguments: Sequence[str], shared: SharedTransfers, err: Output
) -> Steps[set[str]]:
    """The files that are the same on the host.

    Raises:
        WithoutTar, NotStarted: it has no tar or no shell.
    """
    session = yield from open_session(connection, KNOWN, arguments, shared, err, has_input=True)
    yield from session.ready()
    kind = yield from session.line()
    files = [member for member in tree.members.values() if member.is_file]
    there = {member.name: member for member in files}
    if kind == b"name":
        there = {posixpath.basename(arguments[2]): member for member in files if member.name == member.top}
    names = "".join(f"./{name}\0" for name in there).encode("utf-8", "surrogateescape")
    # A name has two characters for one that is escaped.
    answer = yield from session.exchange(names, 2 * len(names) + _SUM_LINE * (len(there) + 1))
    yield from session.end()
    # Each line takes much more memory than it has bytes.
    if answer.count(b"\n") > len(there) + names.count(b"\n"):
        raise Refused(TOO_MUCH)
    if sum(member.info.st_size for member in there.values() if not member.digest) > _BIG:
        yield MAY_BLOCK  # to hash them, once for all hosts
    found = sums.read_sums(answer.split(b"\n")[:-1])
    return {there[name].name for name, digest in found if name in there and there[name].matches(digest)}


def _pull(
    index: int,
    connection: HostRun,
    operation: Pull,
    shared: SharedTransfers,
    out: Output,
    err: Output,
) -> Steps[CommandStatus]:
    """Pull.

    Raises:
        WithoutTar, NotStarted: the host has no tar or no shell.
    """
    how, sources = operation.how, remote_sources(operation)
    for source in sources:
        if posixpath.basename(source) == "..":
            return status(0, err, [f"{source}: has no name to be stored under: name the folder itself"])
    links = ["-h", "-L"] if how.follow else ["", ""]
    codecs = " ".join(compression.NAMES) if how.compress else ""
    arguments = [codecs, str(int(how.verify)), *links, *sources]
    session = yield from open_session(connection, PULL, arguments, shared, err, has_input=False)
    codec = yield from session.ready()
    try:
        sink = shared.files.sink(index, operation, codec)
    except (LocalError, compression.Broken) as error:
        session.channel.close()
        return status_of_error(error, err)
    return (yield from _receive(session, sink, out, err))


def _receive(session: ScriptSession, sink: PullSink, out: Output, err: Output) -> Steps[CommandStatus]:
    """Feed what the host sends to where it goes."""
    try:
        pieces: list[Piece] = [session.data]
        while pieces:
            yield from sink.feed(pieces)
            pieces = yield from session.pieces()
        code = yield from session.end()
        if sink.is_long:
            yield MAY_BLOCK
        return sink.end(code, out, err)
    except Exception as error:
        unwanted = isinstance(error, (LocalError, Refused, compression.Broken))
        if unwanted:
            session.channel.close()
        if sink.is_long:
            yield MAY_BLOCK
        if unwanted:
            return status_of_error(error, err)
        raise
    finally:
        sink.close()
