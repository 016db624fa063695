"""SftpTransfer: one transfer over SFTP, its session with the host, and what failed."""

import posixpath
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import paramiko

from ..model import CommandStatus, Copying, Failure, Outcome, Output, reason_of
from ..ssh import START_TIMEOUT, Classified, HostRun, as_user, by_sh
from ..steps import run_to_end
from .connection_state import ConnectionState
from .errors import BoundedLines
from .sftp_client import BROKEN, Client, Nonsense
from .temporary_names import SFTP_HERE, left_behind
from .timeouts import STALLED, OutOfTime

#: Names of one folder that are looked at for what was left behind.
_NAMES = 10_000
_SERVERS = (
    "/usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server "
    "/usr/libexec/sftp-server /usr/lib/sftp-server"
)
_FIND_SERVER = (
    f'for s in {_SERVERS}; do if [ -x "$s" ]; then exec "$s"; fi; done; '
    'echo "no sftp-server found" >&2; exit 127'
)


class SftpTransfer:
    """The state of one transfer: its SFTP session, what failed, and when it is given up."""

    def __init__(self, connection: HostRun, how: Copying, err: Output) -> None:
        self.err = err
        self.how = how
        self.settings = connection.settings
        self._deadline = connection.ends_at
        #: Temporary files on the host that have not got their names.
        self.left_there = connection.attached(ConnectionState).left_there
        self.sftp = self._session(connection)
        self._swept: set[str] = set()
        self.failures = BoundedLines()
        self.local_failure = False
        self._limit = 0.0
        connection.transport.bound_writes(self._deadline)
        self.check_time()

    def _session(self, connection: HostRun) -> Client:
        way = as_user(self.settings, _FIND_SERVER, terminal=self.settings.tty and bool(self.settings.way))
        if way:
            if not way.is_plain:
                why = f"no tar on this host, and SFTP cannot be had by {self.settings.way.split()[0]}"
                raise Classified(Failure(Outcome.FAILED, f"{why}, which needs a terminal"))
            channel = run_to_end(connection.start(by_sh(way.command), connection.time_left(START_TIMEOUT)))
            run_to_end(way.negotiate(channel, time.monotonic() + connection.time_left(STALLED)))
            connection.transport.read_in_background()
            channel.settimeout(connection.time_left(STALLED))
            return Client(channel)
        state = connection.attached(ConnectionState)
        kept, state.sftp_session = state.sftp_session, None
        there = kept.get_channel() if kept is not None else None
        if kept is not None and there is not None and not there.closed:
            connection.begin()
            return kept
        channel = run_to_end(connection.session(connection.time_left(START_TIMEOUT)))
        try:
            channel.invoke_subsystem("sftp")
        except (paramiko.SSHException, EOFError):
            if connection.is_connected:
                raise _neither(state) from None
            raise
        connection.begin()
        connection.transport.read_in_background()
        channel.settimeout(connection.time_left(STALLED))
        try:
            return Client(channel)
        except (paramiko.SSHException, paramiko.SFTPError, EOFError, struct.error, Nonsense) as error:
            if connection.is_connected:
                raise _neither(state, str(error) if isinstance(error, Nonsense) else "") from None
            raise

    def check_time(self) -> None:
        """To be called as bytes move.

        Raises:
            OutOfTime: the operation's timeout has passed.
        """
        left = STALLED if self._deadline is None else self._deadline - time.monotonic()
        if left <= 0:
            self.sftp.close()
            raise OutOfTime
        if left != self._limit:
            self._limit = left
            self.sftp.get_channel().settimeout(min(STALLED, left))  # type: ignore[union-attr]

    @property
    def is_out_of_time(self) -> bool:
        """Whether the operation's timeout has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def attempt(self, name: str, action: Callable[..., object], *args: object) -> bool:
        """Do something on the host; whether it could be done, else that is a failure under this name."""
        try:
            action(*args)
        except BROKEN:
            raise
        except OSError as error:
            self.failures.append(f"{name}: {reason_of(error)}")
            return False
        return True

    def fail(self, name: str, reason: str) -> None:
        """Record that something failed on the host."""
        self.failures.append(f"{name}: {reason}")

    def fail_here(self, line: str) -> None:
        """Record that something failed on this machine, which the line names."""
        self.failures.append(line)
        self.local_failure = True

    def kind(self, path: str, look: Callable[[str], paramiko.SFTPAttributes] | None = None) -> int | None:
        """The mode of a remote path; None if there is none or it may not be seen, 0 if the host does not say.

        Links are followed, unless `look` does not.
        """
        try:
            return (look or self.sftp.stat)(path).st_mode or 0
        except BROKEN:
            raise
        except OSError:
            return None

    def link(self, path: str) -> str | None:
        """Where a symbolic link on the host points; None if the host does not say, or it is not text."""
        try:
            link: str | bytes | None = self.sftp.readlink(path)
        except BROKEN:
            raise
        except (OSError, paramiko.SFTPError):
            return None
        return link if isinstance(link, str) else None

    def touch(self, path: str) -> None:
        """Open a file on the host to append to it: it exists then, and may be written."""
        self.sftp.open(path, "a").close()

    def sweep(self, folder: str) -> None:
        """Remove what processes that are gone have left in a folder on the host, once in a transfer."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        with _unless_broken():
            for name in self.sftp.listdir(folder or ".", _NAMES):
                if left_behind(name, SFTP_HERE):
                    self.sftp.remove(posixpath.join(folder, name))

    def remove(self, path: str) -> None:
        """Remove a temporary file on the host, if there is one."""
        with _unless_broken():
            self.sftp.remove(path)
        self.left_there.discard(path)

    def status(self) -> CommandStatus:
        """The outcome of the whole."""
        if not self.failures:
            return CommandStatus(Outcome.OK, 0)
        others = len(self.failures) - 1 + self.failures.more
        more = f" (and {others} more)" if others else ""
        outcome = Outcome.ERROR if self.local_failure else Outcome.FAILED
        text = "".join(f"{failure}\n" for failure in self.failures.all())
        reason = " ".join(self.failures[0].split()) + more
        self.err.write(text.encode("utf-8", "surrogateescape"))
        return CommandStatus(outcome, 1, reason)


def _neither(state: ConnectionState, why: str = "") -> Classified:
    """Files can be copied in no way; `why` says more of SFTP."""
    more = state.without_tar or why
    reason = "neither tar nor SFTP on this host" + (f": {more}" if more else "")
    return Classified(Failure(Outcome.FAILED, reason))


@contextmanager
def _unless_broken() -> Iterator[None]:
    """Errors that the host reports for a file do not matter, but a connection that cannot be used does."""
    try:
        yield
    except BROKEN:
        raise
    except OSError:
        pass
