"""One command on one channel: its text as the host gets it, and the conversation until it ends."""

import contextlib
import locale
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import fabric
import paramiko
from fabric.runners import Result as FabricResult
from invoke.exceptions import CommandTimedOut, UnexpectedExit

from ..model import CommandStatus, Outcome, Output
from ..steps import Steps, run_to_end
from .become import Become
from .login_shell import PREAMBLE, SKIP_PREAMBLE, by_sh
from .paramiko_internals import ExecChannel, OutOfTime
from .termination import terminate

#: Bytes of data that fit one packet of a server with the usual limit.
WRITE = 32704
#: The variable that says which login shell has to run a command, so named that no other is.
_AGAIN = "paramgmt_login_shell"
#: Seconds after which a terminal is told again that its input has ended, doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_LOST = "connection lost; the command may have run"


def with_env(
    command: str, env: Iterable[tuple[str, str]], more: bool = False, login: bool = True
) -> tuple[str, bytes]:
    """`command` such that it first reads variables from its standard input, and what it is to be sent there.

    So their values are on no command line, which all users of the host can read. `more` is whether input
    of the command's own follows; `login` whether any login shell may run it, or only /bin/sh.

    >>> with_env("run", [("A", "two words")], login=False)[1]
    b"{ export A='two words'\\n}; : "
    >>> with_env("run", [])
    ('run', b'')
    """
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in env)
    if not exports:
        return command, b""
    # Shells of csh's kind and fish do not understand what is sent: /bin/sh reads it and runs them again.
    again = f'[ -z "${{{_AGAIN}-}}" ] || exec "${_AGAIN}" -c {shlex.quote(command)}\n' if login else ""
    sent = f"{{ export {exports}\n{again}}}; : ".encode("utf-8", "surrogateescape")
    # Byte by byte if more follows: any larger read could take some of that with it. Of what has not come
    # whole nothing is done: without its last brace it is no command, and without its last word `false` is.
    read = f'eval "$(dd bs=1 count={len(sent)} 2>/dev/null)false"' if more else 'eval "$(cat)false"'
    if login:
        read, sent = SKIP_PREAMBLE + read, PREAMBLE + sent
    missing = "{ echo paramgmt: the values of --env did not come >&2; exit 125; }"
    head = f"eval {shlex.quote(f'{read} || {missing}')}"
    if login:
        other = f"exec /bin/sh -c {shlex.quote(f'{_AGAIN}=$SHELL; {read}; exit 125')}"
        head = f"expr \"$SHELL\" : '.*[ci]sh$' >/dev/null && {other}; {head}"
    return f"{head}; {command}", sent


def kill_on_disconnect(command: str) -> str:
    """`command` such that all of its process group is killed when its standard input ends.

    sshd starts each command in a group of its own, and ends its input when the connection is gone.
    """
    text = (
        "exec 3<&0 </dev/null; "
        "{ read -r _ <&3; trap '' TERM; kill -TERM 0; sleep 1; kill -KILL 0; } >/dev/null 2>&1 & watch=$!; "
        f"/bin/sh -c {shlex.quote(command)} 3<&-; code=$?; kill $watch 2>/dev/null; exit $code"
    )
    return by_sh(text)


def communicate(
    channel: ExecChannel,
    out: Output,
    err: Output,
    stdin: bytes | None = None,
    timeout: float | None = None,
    become: Become | None = None,
    held: bool = False,
    stop: Callable[[], bool] = lambda: False,
    spent: float = 0.0,
) -> Steps[CommandStatus]:
    """Send `stdin`, collect the output and wait for the end of a command just started on `channel`.

    What it writes goes to `out` and `err`. No `stdin` is for a command whose standard input has ended
    already, or is `held`: that does not end after `stdin`. After `timeout` seconds, of which some are
    `spent`, and when `stop` says so, it is ended on the host and what was received is kept. If the connection
    is lost on the way, the outcome is LOST.

    Raises:
        Denied, TimeoutError: what leads to another user did not run it; see Become.negotiate.
    """
    deadline = None if timeout is None else time.monotonic() + timeout - spent
    if become:
        err.write((yield from become.negotiate(channel, deadline, stop)))
    talk = _Conversation(channel, out, err, stdin or b"", stdin is not None and not held, stop)
    cut_short, outcome = "", Outcome.LOST
    try:
        yield from talk.until_end(deadline)
        if stop() and not (channel.at_eof() and channel.has_status()):
            cut_short = "interrupted"
    except OutOfTime:
        cut_short, outcome = f"timed out after {timeout:g} s", Outcome.TIMED_OUT
    except (OSError, EOFError, paramiko.SSHException):
        pass  # the connection broke while something was sent: _status_of says so
    if cut_short:
        gone = yield from terminate(channel, talk.drain, become, held)
        cut_short += "; ended on the host" if gone else "; it may still run"
    talk.drain()
    status = CommandStatus(outcome, None, cut_short) if cut_short else _status_of(channel)
    with contextlib.suppress(EOFError):
        channel.close()
        channel.flush()
    return status


class _Conversation:
    """What goes to a command and comes from it while it runs; with `ends` its input ends after `stdin`."""

    def __init__(
        self,
        channel: ExecChannel,
        out: Output,
        err: Output,
        stdin: bytes,
        ends: bool,
        stop: Callable[[], bool],
    ) -> None:
        self._channel, self._out, self._err = channel, out, err
        self._unsent, self._ends, self._stop = memoryview(stdin), ends, stop
        self._pause = _FIRST_PAUSE

    def until_end(self, deadline: float | None) -> Steps[None]:
        """Send and receive until the command ends, or `stop` says so.

        Raises:
            OutOfTime: the deadline passed.
            OSError, EOFError, paramiko.SSHException: the connection broke.
        """
        channel, stop = self._channel, self._stop
        self.drain()
        self._feed()
        while not channel.at_eof() and not stop():
            yield from self._wait(deadline)
            # Output is read in turns with stdin: a command may not read on before it is rid of some.
            self.drain()
            if self._unsent.nbytes:
                self._feed()
        yield from channel.wait_for(lambda: stop() or channel.has_status(), deadline)

    def _wait(self, deadline: float | None) -> Steps[None]:
        """Wait for news. A terminal is told now and then that its input has ended: that is soon forgotten."""
        channel = self._channel
        again_at = time.monotonic() + self._pause
        if not (channel.terminal and channel.eof_sent) or (deadline is not None and deadline <= again_at):
            yield from channel.wait_for(self._has_news, deadline)
            return
        try:
            yield from channel.wait_for(self._has_news, again_at)
        except OutOfTime:
            channel.end_again()
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def drain(self) -> None:
        """Keep what has come."""
        channel = self._channel
        if pieces := channel.read():
            self._out.write(b"".join(pieces))
        while channel.recv_stderr_ready():
            self._err.write(channel.read_stderr())

    def _feed(self) -> None:
        """Send what the window holds without blocking, and after all of it the end, if it `ends`."""
        channel = self._channel
        while self._unsent.nbytes and channel.takes_more():
            self._unsent = self._unsent[channel.send_now(self._unsent[:WRITE]) :]
        if not self._unsent.nbytes and self._ends:
            channel.shutdown_write()

    def _has_news(self) -> bool:
        channel = self._channel
        if self._unsent.nbytes and channel.takes_more():
            return True
        return self._stop() or channel.has_come() or channel.recv_stderr_ready() or channel.at_eof()


def _status_of(channel: ExecChannel) -> CommandStatus:
    code = channel.exit_status
    if channel.exit_signal:
        return CommandStatus(Outcome.SIGNALLED, None, f"killed by signal {channel.exit_signal}")
    if not (channel.eof_received or channel.closed_by_peer):
        return CommandStatus(Outcome.LOST, None, _LOST)
    if code == 0:
        return CommandStatus(Outcome.OK, 0)
    if code > 0:
        return CommandStatus(Outcome.FAILED, code, f"return code {code}")
    if channel.closed_by_peer:
        return CommandStatus(Outcome.FAILED, None, "the server gave no return code")
    return CommandStatus(Outcome.LOST, None, _LOST)


#: Options of Fabric's run() that need its own runner: a terminal, live streams, watchers and the like.
_NEED_RUNNER = (
    *("asynchronous", "disown", "dry", "echo", "err_stream", "in_stream", "out_stream"),
    *("pty", "replace_env", "watchers"),
)


class Starter(Protocol):
    """A connection on which commands are started."""

    config: fabric.Config

    def start(
        self, command: str, timeout: float | None = None, no_input: bool = False, first: bytes = b""
    ) -> Steps[ExecChannel]:
        """Ask the host to start a command."""


def run_hidden(connection: Starter, command: str, kwargs: Mapping[str, Any]) -> FabricResult | None:
    """Fabric's `run` for a command whose output is hidden; None if Fabric's own runner is needed.

    Raises:
        invoke.exceptions.UnexpectedExit, CommandTimedOut: as Fabric's run.
    """
    options = {**connection.config.run, **kwargs}
    if options["hide"] not in (True, "both") or any(options.get(name) for name in _NEED_RUNNER):
        return None
    env = dict(options.get("env") or {})
    encoding = options.get("encoding") or locale.getpreferredencoding(False)
    timeout = options.get("timeout") or connection.config.timeouts.command
    text, values = with_env(command, sorted(env.items()))
    channel = run_to_end(connection.start(text, timeout, no_input=True, first=values))
    out, err = Output(), Output()
    done = run_to_end(communicate(channel, out, err, channel.unsent or None, timeout))
    result = FabricResult(
        connection=connection,
        command=command,
        shell=options.get("shell", ""),
        env=env,
        stdout=bytes(out).decode(encoding, "replace"),
        stderr=bytes(err).decode(encoding, "replace"),
        exited=-1 if done.return_code is None else done.return_code,
        pty=False,
        hide=("stdout", "stderr"),
        encoding=encoding,
    )
    if done.outcome is Outcome.TIMED_OUT:
        raise CommandTimedOut(result, timeout=timeout)
    if not result.ok and not options.get("warn"):
        raise UnexpectedExit(result)
    return result
