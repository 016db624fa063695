"""ScriptSession: the conversation with a script that does the host's side of a transfer."""

import shlex
import time
from collections.abc import Callable, Iterable

from ..model import Failure, Outcome, Output, one_line
from ..ssh import PREAMBLE_LINES, START_TIMEOUT, Classified, ExecChannel, HostRun, NoAnswer, as_user, by_sh
from ..steps import Steps, WaitForIO
from .compression import Piece
from .errors import Refused, WithoutTar
from .remote_scripts import BEGIN, READY
from .shared import RateLimiter, SharedTransfers
from .timeouts import STALLED, OutOfTime

#: Bytes of a line that a script prints; of what was said in place of one, how many are kept.
_LINE = 64 * 1024
_SAID = 500
_BEGIN = f"{BEGIN}\n".encode()
#: Bytes of messages that are kept of a transfer, and of those that serve nothing, how many end it.
_MESSAGES = 64 * 1024
_FLOOD = 64 * 1024 * 1024
#: Bytes a second that a host hashes at least.
_HASHED = 20e6
TOO_MUCH = "the host says more than it was asked for"


class ScriptSession:
    """A script that runs on the host: sends to it and receives from it. Its standard error goes to `err`."""

    def __init__(
        self,
        channel: ExecChannel,
        connection: HostRun,
        shared: SharedTransfers,
        err: Output,
        has_input: bool,
    ) -> None:
        self.channel = channel
        #: What has come on standard output and was not asked for yet.
        self.data = b"".join(channel.read())
        self._shared = shared
        self._err, self._has_input = err, has_input
        #: Bytes that were sent or received.
        self._moved = 0
        #: Bytes of messages; and of all that serves nothing, which is counted to find a flood.
        self._messages = self._useless = 0
        #: The beginning of what the login shell has said before the script, or in place of it.
        self._said = b""
        self._limiter = RateLimiter(connection.settings.limit_rate)
        self._deadline = connection.ends_at

    def wait(self, done: Callable[[], bool]) -> Steps[None]:
        """Wait until `done`.

        Raises:
            NoAnswer: nothing has moved for STALLED seconds and the time that it takes to hash what has moved.
            OutOfTime: the operation's timeout has passed.
        """
        # Checked apart from the wait, which a host that always sends ends at once.
        if self._is_over() or not (yield from self.channel.until(done, self.limit())):
            self._give_up()

    def limit(self) -> float:
        """When waiting ends unless something moves, in monotonic seconds."""
        stalled = time.monotonic() + STALLED + self._moved / _HASHED
        return stalled if self._deadline is None else min(stalled, self._deadline)

    def _is_over(self) -> bool:
        """Whether the operation's timeout has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _give_up(self) -> None:
        self.channel.close()
        if self._is_over():
            raise OutOfTime
        raise NoAnswer("the transfer stalled")

    def _count(self, count: int) -> Steps[None]:
        self._moved += count
        self._shared.counts.moved += count
        free_at = max(self._limiter.free_at(count), self._shared.limiter.free_at(count))
        if free_at > time.monotonic():
            yield WaitForIO(None, free_at)

    def pieces(self) -> Steps[list[Piece]]:
        """What comes next on standard output, as it comes; none at the end."""
        channel = self.channel

        def has_come() -> bool:
            return channel.has_come() or channel.recv_stderr_ready() or channel.at_eof()

        while True:
            yield from self.wait(has_come)
            pieces = self._receive()
            if pieces:
                yield from self._count(sum(map(len, pieces)))
                return pieces
            if channel.at_eof():
                return []

    def _receive(self) -> list[Piece]:
        """What has come on standard output; what has come on standard error is kept."""
        while self.channel.recv_stderr_ready():
            self._keep_message(self.channel.read_stderr())
        return self.channel.read()

    def _keep_message(self, message: bytes) -> None:
        """Keep what comes on standard error, as far as there is room for it."""
        self._said += message[: max(0, _SAID - len(self._said))]
        kept = message[: max(0, _MESSAGES - self._messages)]
        self._messages += len(message)
        if kept:
            self._err.write(kept)
        self._count_useless(len(message))

    def _count_useless(self, count: int) -> None:
        """Count bytes that serve nothing.

        Raises:
            Classified: there are too many of them.
        """
        self._useless += count
        if self._useless > _FLOOD:
            self.channel.close()
            raise Classified(Failure(Outcome.FAILED, "the host sends messages without end"))

    def read(self) -> Steps[bytes]:
        """What comes next on standard output, empty at the end."""
        return b"".join((yield from self.pieces()))

    def exchange(self, question: bytes, most: int) -> Steps[bytes]:
        """Send `question` and the end; all that comes on standard output, which may come meanwhile.

        Raises:
            Refused: more than `most` bytes come.
        """
        channel = self.channel
        answer, rest = bytearray(self.data), memoryview(question)
        while rest and len(answer) <= most:
            yield from self.wait(lambda: channel.send_ready() or channel.has_come() or channel.at_eof())
            if channel.at_eof():
                break
            # A host that cannot send its answers does not read on.
            answer += b"".join(self._receive())
            rest = yield from self._send_some(rest)
        if not rest:
            channel.shutdown_write()
        self.data = bytes(answer)
        return (yield from self.read_all(most))

    def read_all(self, most: int) -> Steps[bytes]:
        """All that comes on standard output.

        Raises:
            Refused: more than `most` bytes come.
        """
        answer = bytearray(self.data)
        while len(answer) <= most and (more := (yield from self.read())):
            answer += more
        if len(answer) > most:
            self.channel.close()
            raise Refused(TOO_MUCH)
        return bytes(answer)

    def ready(self) -> Steps[str]:
        """Wait until the script begins, whatever the login shell prints before; the codec that it chooses.

        Raises:
            WithoutTar: the host has no tar, or the script never begins.
            Classified: the login shell prints without end.
            EOFError: the connection broke, which says nothing of the host.
        """
        began = yield from self._skip_to(READY)
        answer = (yield from self.line()).decode("ascii", "replace").split() if began else []
        if answer[:1] != ["with"]:
            lines = self._said.decode("utf-8", "replace").strip().splitlines()
            raise WithoutTar(one_line(lines[0]) if lines and not answer else "")
        if self._has_input:
            yield from self.channel.send_all(_BEGIN, self.limit())
        return "".join(answer[1:2])

    def _skip_to(self, mark: bytes) -> Steps[bool]:
        """Read until `mark` has come; whether it has. What comes after it stays in `data`."""
        text = bytearray(self.data)
        while (at := text.find(mark)) < 0:
            useless = max(0, len(text) - len(mark) + 1)  # the mark may have begun
            self._said += text[: min(useless, max(0, _SAID - len(self._said)))]
            self._count_useless(useless)
            del text[:useless]
            more = yield from self._more()
            if not more:
                self._said += text[: max(0, _SAID - len(self._said))]
                return False
            text += more
        self.data = bytes(text[at + len(mark) :])
        return True

    def line(self) -> Steps[bytes]:
        """The next line on standard output, empty if there is none."""
        text, looked = bytearray(self.data), 0
        while (end := text.find(b"\n", looked)) < 0:
            looked = len(text)  # no piece is looked at twice, however many there are
            if looked >= _LINE:
                self.channel.close()
                return b""
            more = yield from self._more()
            if not more:
                return b""
            text += more
        self.data = bytes(text[end + 1 :])
        return bytes(text[:end])

    def _more(self) -> Steps[bytes]:
        """As `read`.

        Raises:
            EOFError: the connection broke, which says nothing of the host.
        """
        more = yield from self.read()
        if not more and self._broken():
            raise EOFError("connection lost")
        return more

    def _broken(self) -> bool:
        """Whether the channel is closed because the connection broke."""
        return self.channel.closed and not self.channel.closed_by_peer

    def send(self, pieces: Iterable[bytes]) -> Steps[None]:
        """Send the script all pieces and the end, unless it ends before."""
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
        """Send as much as the window has room for; what is left."""
        channel = self.channel
        rest = data
        while rest and channel.send_ready():
            rest = rest[channel.send_now(rest) :]
        yield from self._count(len(data) - len(rest))
        if not (yield from channel.drained(self.limit())):
            self._give_up()
        return rest

    def end(self) -> Steps[int | None]:
        """Wait for the end; the return code, None if the connection broke."""
        channel = self.channel
        while pieces := (yield from self.pieces()):
            self._count_useless(sum(map(len, pieces)))
        yield from self.wait(channel.has_status)
        if self._messages > _MESSAGES:
            self._err.write(f"\n({self._messages - _MESSAGES} bytes more of messages)\n".encode())
        channel.close()
        channel.flush()
        return channel.exit_status if channel.exit_status >= 0 else None


def open_session(
    connection: HostRun,
    script: str,
    arguments: Iterable[str],
    shared: SharedTransfers,
    err: Output,
    has_input: bool,
) -> Steps[ScriptSession]:
    """Start a script on the host, as the user that the settings say.

    Raises: as HostRun.start and Become.negotiate.
    """
    settings = connection.settings
    text = f"set -- {shlex.join(arguments)}\n{script}"
    way = as_user(settings, text, terminal=settings.tty and bool(settings.way))
    command, limit = by_sh(way.command if way else text), connection.time_left(START_TIMEOUT)
    no_input, terminal = not has_input and way is None, way is not None and way.terminal
    channel = yield from connection.start(command, limit, no_input, terminal=terminal)
    if way:
        err.write((yield from way.negotiate(channel, time.monotonic() + connection.time_left(STALLED))))
        if not has_input:
            channel.shutdown_write()
    session = ScriptSession(channel, connection, shared, err, has_input)
    if has_input:
        yield from channel.send_all(PREAMBLE_LINES, session.limit())
    return session
