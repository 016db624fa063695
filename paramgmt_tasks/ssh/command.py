"""One command on one channel: its text as the host gets it, and the conversation until it ends."""

import contextlib
import locale
import secrets
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import paramiko
from fabric.runners import Result as FabricResult
from invoke.exceptions import CommandTimedOut, UnexpectedExit

from ..model import CommandStatus, Outcome, Output
from ..steps import Steps, run_to_end
from .failures import Denied
from .termination import end

#: Bytes of standard error that are taken at once: all there can be.
_READ = 4 * 1024 * 1024
#: Seconds that sudo may take to run the command, as for a second factor, and to say why it does not.
SUDO_TIMEOUT, _LAST_WORD = 60.0, 5.0
#: Bytes that sudo may write before the command runs.
_TALK = 64 * 1024
#: Bytes of that which may say why it does not.
_LAST_WORDS = 500
#: Bytes of data that fit one packet of a server with the usual limit.
WRITE = 32704
#: The variable that says which login shell has to run a command, so named that no other is.
_AGAIN = "paramgmt_login_shell"
_LOST = "connection lost; the command may have run"


def with_env(
    command: str, env: Iterable[tuple[str, str]], more: bool = False, login: bool = True
) -> tuple[str, bytes]:
    """`command` such that it first reads variables from its standard input, and what it is to be sent there.

    So their values stand on no command line, which all users of the host can read. `more` is whether input
    of the command's own follows; `login` whether any login shell runs it, not /bin/sh.

    >>> with_env("run", [("A", "two words")], login=False)[1]
    b"{ export A='two words'\\n}; : "
    >>> with_env("run", [])
    ('run', b'')
    """
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in env)
    if not exports:
        return command, b""
    # What is sent is no text for shells of csh's kind and fish: /bin/sh reads it and runs them again.
    again = f'[ -z "${{{_AGAIN}-}}" ] || exec "${_AGAIN}" -c {shlex.quote(command)}\n' if login else ""
    sent = f"{{ export {exports}\n{again}}}; : ".encode("utf-8", "surrogateescape")
    # Byte by byte where more follows: any larger read could take some of that with it. Of what has not come
    # whole nothing is done: without its last brace it is no command, and without its last word `false` is.
    read = f'eval "$(dd bs=1 count={len(sent)} 2>/dev/null)false"' if more else 'eval "$(cat)false"'
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
    return f"exec /bin/sh -c {shlex.quote(text)}"


class Sudo:
    """A command under sudo, and the talk with sudo before it starts.

    The password is sent only when sudo asks for it, so that it can never become the command's input,
    and nothing else is sent before the command itself has said that it runs.
    """

    def __init__(self, command: str, password: str | None) -> None:
        token = secrets.token_hex(8)
        self._prompt = f"[paramgmt {token} password]".encode()
        self._ready = f"[paramgmt {token} ready]".encode()
        self.password = password
        self.elevate = "sudo -n --" if password is None else "sudo -S -p '' --"
        inner = f"printf %s {shlex.quote(self._ready.decode())} >&2; exec /bin/sh -c {shlex.quote(command)}"
        how = "-n" if password is None else f"-S -p {shlex.quote(self._prompt.decode())}"
        self.command = f"sudo {how} -- /bin/sh -c {shlex.quote(inner)}"

    def negotiate(
        self, channel: paramiko.Channel, deadline: float | None, stop: Callable[[], bool] = lambda: False
    ) -> Steps[bytes]:
        """Talk with sudo until the command runs; what it has written to standard error by then.

        Raises:
            Denied: sudo did not run it.
            ConnectionAbortedError: `stop` says so.
            TimeoutError: the deadline (seconds on the monotonic clock) passed.
        """
        heard, asked = bytearray(), 0
        gives_up = time.monotonic() + SUDO_TIMEOUT
        transport: Any = channel.transport
        while True:
            heard_more = lambda: stop() or channel.recv_stderr_ready() or at_eof(channel)  # noqa: E731
            patient = gives_up if deadline is None else min(gives_up, deadline)
            try:
                yield from _await(channel, heard_more, patient)
            except _OutOfTime:
                if patient == deadline or channel.eof_sent:
                    raise
                channel.shutdown_write()  # it asks for something that is not known here: let it give up
                gives_up += _LAST_WORD
                continue
            if stop():
                raise ConnectionAbortedError
            data = channel.recv_stderr(_READ)
            known = max(0, len(heard) - len(self._ready))
            heard += data
            at = heard.find(self._ready, known)
            if at >= 0:
                return bytes(heard[at + len(self._ready) :])
            if not data or len(heard) > _TALK:
                raise Denied(self._refusal(bytes(heard[-_LAST_WORDS:])))
            if heard.count(self._prompt) > asked:
                asked += 1
                if asked == 1 and self.password is not None:
                    yield from transport.send(channel, f"{self.password}\n".encode(), deadline)
                else:
                    channel.shutdown_write()  # the password was wrong: it is not tried again

    def _refusal(self, heard: bytes) -> str:
        text = heard.replace(self._prompt, b"").decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else "sudo did not run the command"


def communicate(
    channel: paramiko.Channel,
    out: Output,
    err: Output,
    stdin: bytes | None = None,
    timeout: float | None = None,
    sudo: Sudo | None = None,
    held: bool = False,
    stop: Callable[[], bool] = lambda: False,
    spent: float = 0.0,
) -> Steps[CommandStatus]:
    """Send `stdin`, collect the output and wait for the end of a command just started on `channel`.

    What it writes goes to `out` and `err`. No `stdin` is for a command whose standard input has ended
    already, or is `held`: that does not end behind `stdin`. After `timeout` seconds, of which some are
    `spent`, and when `stop` says so, it is ended on the host and what was received is kept. A connection lost
    on the way is the outcome LOST.

    Raises:
        Denied, TimeoutError: sudo did not run the command; see Sudo.negotiate.
    """
    deadline = None if timeout is None else time.monotonic() + timeout - spent
    if sudo:
        err.write((yield from sudo.negotiate(channel, deadline, stop)))
    unsent = memoryview(stdin or b"")
    cut_short, kind = "", Outcome.LOST
    transport: Any = channel.transport
    _drain(channel, out, err)

    def news() -> bool:
        if unsent.nbytes and transport.takes_more(channel):
            return True
        return stop() or transport.has_come(channel) or channel.recv_stderr_ready() or at_eof(channel)

    try:
        if stdin is not None:
            unsent = _feed(channel, unsent, ends=not held)
        while not at_eof(channel) and not stop():
            yield from _await(channel, news, deadline)
            # Output is taken in turns with stdin: a command may not read on before it is rid of some.
            _drain(channel, out, err)
            unsent = _feed(channel, unsent, ends=not held) if unsent.nbytes else unsent
        yield from _await(channel, lambda: stop() or channel.status_event.is_set(), deadline)
        if stop() and not (at_eof(channel) and channel.status_event.is_set()):
            cut_short = "interrupted"
    except _OutOfTime:
        cut_short, kind = f"timed out after {timeout:g} s", Outcome.TIMED_OUT
    except (OSError, EOFError, paramiko.SSHException):
        pass  # the connection broke while something was sent: told below
    if cut_short:
        how = (sudo.elevate, sudo.password) if sudo else ("", None)
        gone = yield from end(channel, lambda: _drain(channel, out, err), *how, held=held)
        cut_short += "; ended on the host" if gone else "; it may still run"
    _drain(channel, out, err)
    outcome, code, reason = _ending(channel)
    if cut_short:
        outcome, code, reason = kind, None, cut_short
    with contextlib.suppress(EOFError):
        channel.close()
        transport.flush()
    return CommandStatus(outcome, code, reason)


class _OutOfTime(TimeoutError):
    pass


def _await(channel: Any, done: Callable[[], bool], deadline: float | None) -> Steps[None]:
    # Asked for apart from the wait, which a command that never stops printing always ends at once.
    late = deadline is not None and time.monotonic() >= deadline
    if late or not (yield from channel.transport.until(done, deadline)):
        raise _OutOfTime("no answer in time")


def at_eof(channel: Any) -> bool:
    """Whether nothing more can come on a channel."""
    return bool(channel.eof_received or channel.closed)


def _drain(channel: paramiko.Channel, out: Output, err: Output) -> None:
    transport: Any = channel.transport
    if pieces := transport.receive_data(channel):
        out.write(b"".join(pieces))
    while channel.recv_stderr_ready():
        err.write(channel.recv_stderr(_READ))


def _feed(channel: paramiko.Channel, unsent: memoryview, ends: bool) -> memoryview:
    """Send what the window takes without blocking, and the end of the input if it `ends`; what is left."""
    transport: Any = channel.transport
    while unsent.nbytes and transport.takes_more(channel):
        unsent = unsent[transport.send_data(channel, unsent[:WRITE]) :]
    if not unsent.nbytes and ends:
        channel.shutdown_write()
    return unsent


def _ending(channel: Any) -> tuple[Outcome, int | None, str]:
    code = channel.exit_status
    if channel.exit_signal:
        return Outcome.SIGNALLED, None, f"killed by signal {channel.exit_signal}"
    if not (channel.eof_received or channel.closed_by_peer):
        return Outcome.LOST, None, _LOST
    if code == 0:
        return Outcome.OK, 0, ""
    if code > 0:
        return Outcome.FAILED, code, f"return code {code}"
    if channel.closed_by_peer:
        return Outcome.FAILED, None, "the server gave no return code"
    return Outcome.LOST, None, _LOST


#: Options of Fabric's run() that need its own runner: a terminal, live streams, watchers and the like.
_NEED_RUNNER = (
    *("asynchronous", "disown", "dry", "echo", "err_stream", "in_stream", "out_stream"),
    *("pty", "replace_env", "watchers"),
)


def run_hidden(connection: Any, command: str, kwargs: Mapping[str, Any]) -> FabricResult | None:
    """Fabric's `run` for a command whose output is hidden; None where Fabric's own runner is needed.

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
