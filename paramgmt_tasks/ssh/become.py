"""Becoming another user on a host: a command under sudo and the like, and the talk before it runs."""

import contextlib
import re
import secrets
import shlex
import time
from collections.abc import Callable

from ..model import WAYS, Settings, one_line
from ..steps import Steps
from .failures import Denied
from .login_shell import encoded
from .paramiko_internals import ExecChannel, OutOfTime
from .prompts import asks_for_password
from .terminal import MergedOutput, separated

#: Seconds that the way up may take to run the command, as for a second factor; how many of those after a
#: question that nobody answers; and how many it gets then to say why it does not.
BECOME_TIMEOUT, _UNANSWERED, _LAST_WORD = 25.0, 8.0, 5.0
#: Bytes that it may write before the command runs.
TALK = 64 * 1024
#: Process groups have smaller numbers, and those fewer digits.
_GROUPS, _DIGITS = 2**31, 12
#: Bytes of that which may say why it does not.
_LAST_WORDS = 500
_ASKS = (":", "：", "?", "？", ">")
#: What sudo adds behind its reason.
_NO_REASON = re.compile(r"error initializing audit plugin")
_NO_TTY = re.compile(r"\btty\b|terminal is required|from a terminal", re.I)


class Become:
    """A command of another user's, and the talk with what leads there before it starts.

    `way` is `sudo`, `su`, `doas` or a command, see Settings. Empty, the user stays, and the login shell runs
    the command. `user` is root without one. With `terminal` the
    command needs one, and has both outputs on it; if `separate`, they come apart all the same.
    The password is sent only when it is asked for, and once, so that it can never become the command's input,
    and nothing else is sent before the command itself has said that it runs.
    """

    def __init__(
        self,
        way: str,
        user: str | None,
        password: str | None,
        command: str,
        terminal: bool = False,
        separate: bool = True,
    ) -> None:
        token = secrets.token_hex(8)
        self._way, self._user, self.password, self._tty = way, user, password, terminal
        self._prompt = f"[paramgmt {token} password]"
        self._ready = f"[paramgmt {token} ready".encode()
        #: Whether it is run on a terminal: but for sudo, programs ask for passwords there only.
        self.terminal = terminal or (password is not None and way != "sudo")
        #: What stands before standard error on a terminal; empty if that comes apart, or not at all.
        self.errors_after = b""
        if self.terminal and separate:
            command, self.errors_after = separated(command)
        #: Whether only standard error has what is said on the way.
        self.is_plain = not self.terminal and way in WAYS
        #: The process group of the command on the host, 0 if it has not said so.
        self.group = 0
        # It does not run if nobody listens any more, who has given up by then.
        # By this group it can be ended, whatever leads there has made of groups and sessions.
        inner = (
            "g=; [ ! -r /proc/$$/stat ] || read -r _ _ _ _ g _ </proc/$$/stat; "
            '[ "$g" ] || g=$(ps -o pgid= -p $$ 2>/dev/null); '
            f"printf '%s %s]' {shlex.quote(self._ready.decode())} \"$g\" >&2 || exit 125; "
            f"exec {'/bin/sh' if way else '${SHELL:-/bin/sh}'} -c {shlex.quote(command)}"
        )
        #: What runs it, for /bin/sh.
        self.command = self._led_by(inner)
        self._name = way.split()[0] if way else "the shell"

    def another(self, command: str) -> "Become":
        """Another command of the same user's."""
        return Become(self._way, self._user, self.password, command, self._tty and bool(self._way))

    def _led_by(self, inner: str) -> str:
        user, run = shlex.quote(self._user or "root"), f"/bin/sh -c {shlex.quote(inner)}"
        if not self._way:
            return inner
        if self._way == "sudo":
            how = "-n" if self.password is None else f"-S -p {shlex.quote(self._prompt)}"
            return f"exec sudo {how} -u {user} -- {run}" if self._user else f"exec sudo {how} -- {run}"
        if self._way == "doas":
            return f"exec doas {'-n ' if self.password is None else ''}-u {user} {run}"
        if self._way == "su":  # whose shell may be any
            return f"exec su {user} -c {shlex.quote(f'exec {encoded(inner)}')}"
        line = self._way.replace("{user}", user)
        if "{command}" in line:
            return line.replace("{command}", shlex.quote(f"exec {encoded(inner)}"))
        return f"{line} {encoded(inner)}"

    def negotiate(
        self, channel: ExecChannel, deadline: float | None, stop: Callable[[], bool] = lambda: False
    ) -> Steps[bytes]:
        """Talk with what leads there until the command runs; what it has written to standard error by then.

        Raises:
            Denied: the command was not run.
            ConnectionAbortedError: `stop` says so.
            TimeoutError: the deadline (seconds on the monotonic clock) passed.
        """
        talk = _Talk(channel, self._ready, not self.is_plain)
        left, asked, problem = time.monotonic() + BECOME_TIMEOUT, 0, ""
        try:
            while not (yield from talk.goes_on(self._patience(talk, left), deadline, stop)):
                if talk.is_over or len(talk) > TALK:
                    raise Denied(self._refusal(talk, problem))
                prompt = self._asked(talk)
                if talk.is_late:
                    if channel.eof_sent:
                        raise Denied(self._refusal(talk, problem))
                    line = prompt or talk.line
                    problem = problem or (f"it asks for something else: {line}" if line else "")
                elif prompt and self.password is not None and (distrust := channel.transport.distrust):
                    problem = f"no password is sent: {distrust}"
                elif prompt and asked == 0 and self.password is not None:
                    asked += 1
                    until = left if deadline is None else min(left, deadline)
                    yield from channel.send_all(f"{self.password}\n".encode(), until)
                    talk.answered()
                    continue
                elif not prompt or channel.eof_sent:
                    continue
                elif self.password is None:
                    problem = "it asks for a password: give it with --ask-password"
                else:
                    problem = "the password was not accepted"
                channel.shutdown_write()  # nothing more is answered: let it give up, and say so
                talk.answered()
                left = time.monotonic() + _LAST_WORD
        except (Denied, ConnectionAbortedError, TimeoutError):
            # What leads there would wait on, and run the command later, on a connection that is kept.
            with contextlib.suppress(EOFError):
                channel.close()
                channel.flush()
            raise
        self.group = talk.group
        channel.merged = MergedOutput(self.errors_after) if self.errors_after else None
        return talk.rest()

    def _patience(self, talk: "_Talk", until: float) -> float:
        asks = talk.line.endswith(_ASKS) and not talk.channel.eof_sent
        return min(until, talk.since + _UNANSWERED) if asks else until

    def _asked(self, talk: "_Talk") -> str:
        """The line that asks for the password, empty without one."""
        line = talk.line
        if line.endswith(self._prompt):
            return "password"
        plain = line.endswith(_ASKS[:2]) and asks_for_password(line)
        return line if plain else ""

    def _refusal(self, talk: "_Talk", problem: str) -> str:
        lines = [line for line in map(one_line, talk.text(self._prompt).splitlines()) if line]
        lines = [line for line in lines if not _NO_REASON.search(line)] or lines
        said = lines[-1] if lines else ""
        if problem:
            return f"{self._name}: {problem}" + (f" ({said})" if said and self.password is not None else "")
        if _NO_TTY.search(said) and not self.terminal:
            return f"{said}: see --tty"
        return said or f"{self._name} did not run the command"


class _Talk:
    """What is said on a channel before the command runs; `ready` is what the command says first."""

    def __init__(self, channel: ExecChannel, ready: bytes, both: bool) -> None:
        self.channel, self._both = channel, both
        #: When something was last said.
        self.since = time.monotonic()
        #: Whether nothing more comes, and whether nothing has come in time.
        self.is_over = self.is_late = False
        #: The process group of the command.
        self.group = 0
        self._found = re.compile(re.escape(ready) + rb" *([0-9]*) *\]")
        self._errors, self._answered = bytearray(), (0, 0)
        self._out = bytearray(b"".join(channel.read())) if both else bytearray()
        self._rest = b""

    def __len__(self) -> int:
        return len(self._errors) + len(self._out)

    def goes_on(self, until: float, deadline: float | None, stop: Callable[[], bool]) -> Steps[bool]:
        """Wait for more; whether the command runs.

        Raises: as Become.negotiate.
        """
        channel = self.channel

        def news() -> bool:
            come = channel.recv_stderr_ready() or (self._both and channel.has_come())
            return come or stop() or channel.at_eof()

        self.is_late = False
        try:
            yield from channel.wait_for(news, until if deadline is None else min(until, deadline))
        except OutOfTime:
            if deadline is not None and deadline <= until:
                raise
            self.is_late = True
            return False
        if stop():
            raise ConnectionAbortedError
        before = len(self)
        self._errors += channel.read_stderr()
        # What a command writes to its output may come before what it has said first.
        if self._both:
            self._out += b"".join(channel.read())
        self.is_over = channel.at_eof() and len(self) == before
        self.since = time.monotonic()
        return self._is_ready()

    def _is_ready(self) -> bool:
        for written in (self._errors, self._out):
            found = self._found.search(written)
            if found:
                self.group = _group(found[1])
                rest = bytes(written[found.end() :])
                if written is self._errors:
                    self._rest = rest
                    self.channel.give_back(bytes(self._out))
                else:
                    self._rest = bytes(self._errors)
                    self.channel.give_back(rest)
                return True
        return False

    def rest(self) -> bytes:
        """What has come on standard error since the command runs."""
        return self._rest

    def answered(self) -> None:
        """What was asked by now has got its answer."""
        self._answered = len(self._out), len(self._errors)

    @property
    def line(self) -> str:
        """The line that has been begun and was not answered, without the space at its end."""
        out, errors = self._answered
        return _text(_last(self._errors[errors:]) or _last(self._out[out:])).strip()

    def text(self, without: str) -> str:
        """The end of what was said since the last question that got an answer."""
        out, errors = self._out[self._answered[0] :], self._errors[self._answered[1] :]
        return _text(bytes(out[-_LAST_WORDS:] + b"\n" + errors[-_LAST_WORDS:])).replace(without, "")


def _group(said: bytes) -> int:
    """A process group that a host has named; 0 for what none can be, as 1, which `kill` takes for all."""
    group = int(said or b"0") if len(said) < _DIGITS else 0
    return group if 1 < group < _GROUPS else 0


def _last(written: bytearray) -> bytes:
    return bytes(written[-_LAST_WORDS:]).replace(b"\r", b"\n").rpartition(b"\n")[2]


def _text(written: bytes) -> str:
    try:
        return written.decode()
    except UnicodeDecodeError:
        return written.decode("latin-1")


def as_user(
    settings: Settings, command: str, terminal: bool = False, separate: bool = True, has_input: bool = False
) -> Become | None:
    """The command as the user that the settings say, or one that has to say when it can be sent input.

    sshd loses what is sent to a terminal before the command has it. None if neither is needed.
    """
    way = settings.way
    if not way and not (terminal and has_input):
        return None
    password = settings.password if way else None
    return Become(way, settings.run_as, password, command, terminal, separate)
