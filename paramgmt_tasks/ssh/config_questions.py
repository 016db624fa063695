"""What a lookup in ssh_config has to ask of a command or a name server: each question once."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..model import UsageError, reason_of
from ..steps import Steps, WaitForIO
from .name_lookup import Lookup

#: Seconds between two looks at whether an answer has come, at first and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.003, 0.1


@dataclass(frozen=True)
class Succeeds:
    """Whether a command of `Match exec` does; `where` is its file and line."""

    command: str
    where: str = field(compare=False)

    def __str__(self) -> str:
        return f"ssh_config {self.where}: Match exec"


@dataclass(frozen=True)
class CanonicalName:
    """The first of some names that a name server knows, and what it calls that (AI_CANONNAME)."""

    names: tuple[str, ...]
    family: int

    def __str__(self) -> str:
        return f"CanonicalizeHostname: {self.names[0]}"


@dataclass(frozen=True)
class Version:
    """Which ssh is installed here, such as `OpenSSH_9.2p1`: what `Match version` asks for."""

    where: str = field(compare=False)

    def __str__(self) -> str:
        return f"ssh_config {self.where}: Match version: ssh -V"


Question = Succeeds | CanonicalName | Version
#: Yes or no; a name and what it is an alias of, empty if there is none; a version.
Answer = bool | tuple[str, str] | str


class Unanswered(Exception):
    """A lookup needs the answer to a question first."""

    def __init__(self, question: Question) -> None:
        super().__init__(str(question))
        self.question = question


class Answers:
    """Answers to questions, each of which is asked once, however many hosts wait for it.

    Safe for many threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inquiries: dict[Question, _Inquiry] = {}

    def get(self, question: Question) -> Answer:
        """An answer that has come.

        Raises:
            Unanswered: it has not.
            UsageError: there is none.
        """
        inquiry = self._inquiries.get(question)
        answer = None if inquiry is None else inquiry.answer()
        if answer is None:
            raise Unanswered(question)
        if isinstance(answer, UsageError):
            raise UsageError(str(answer))
        return answer

    def wait(
        self, question: Question, seconds: float, check: Callable[[], object] = lambda: None
    ) -> Steps[None]:
        """Ask, unless that was done, and wait until the answer is there; `check` raises to end the wait.

        Raises:
            UsageError: it has not come `seconds` after it was asked for. Its command is killed once nobody
                waits for it any more.
        """
        with self._lock:
            inquiry = self._inquiries.get(question)
            if inquiry is None:
                inquiry = self._inquiries[question] = _Inquiry.of(question)
            inquiry.waiting += 1
        try:
            pause, ends_at = _FIRST_PAUSE, inquiry.asked_at + seconds
            while inquiry.answer() is None:
                now = time.monotonic()
                if now >= ends_at:
                    inquiry.is_overdue = True
                    raise UsageError(f"{question}: no answer within {seconds:g} s")
                yield WaitForIO(None, min(now + pause, ends_at))
                check()
                pause = min(pause * 1.5, _LONGEST_PAUSE)
        finally:
            with self._lock:
                inquiry.waiting -= 1
                if not inquiry.waiting and inquiry.answer() is None:
                    inquiry.end()
                    if not inquiry.is_overdue:  # those who waited were interrupted: others may ask again
                        self._inquiries.pop(question, None)

    def close(self) -> None:
        """Kill the commands that still run."""
        with self._lock:
            for inquiry in self._inquiries.values():
                inquiry.end()


class Guesses:
    """Answers of No, for what can be told of a host before there are real ones."""

    def get(self, question: Question) -> Answer:
        """No; no name, and no version."""
        return (
            ""
            if isinstance(question, Version)
            else ("", "")
            if isinstance(question, CanonicalName)
            else False
        )


class _Inquiry:
    """A question under way."""

    def __init__(self) -> None:
        self.asked_at = time.monotonic()
        self.waiting = 0
        self.is_overdue = False

    @staticmethod
    def of(question: Question) -> "_Inquiry":
        """Ask a question."""
        if isinstance(question, CanonicalName):
            return _NameInquiry(question)
        return _CommandInquiry(question)

    def answer(self) -> Answer | UsageError | None:
        """The answer, or why there is none; None while it has not come."""
        raise NotImplementedError

    def end(self) -> None:
        """Nobody waits for it any more."""


class _CommandInquiry(_Inquiry):
    """A command that runs in a process group of its own."""

    def __init__(self, question: Succeeds | Version) -> None:
        super().__init__()
        self._question = question
        self._answer: Answer | UsageError | None = None
        self._looking = threading.Lock()
        null = subprocess.DEVNULL
        try:
            # Standard error is ours, as ssh leaves it to the commands of Match exec.
            if isinstance(question, Succeeds):
                shell = os.environ.get("SHELL") or "/bin/sh"
                self._process = subprocess.Popen(
                    [shell, "-c", question.command], stdin=null, stdout=null, start_new_session=True
                )
            else:
                self._process = subprocess.Popen(
                    ["ssh", "-V"], stdin=null, stdout=null, stderr=subprocess.PIPE, start_new_session=True
                )
        except (OSError, ValueError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else str(error)
            self._answer = UsageError(f"{question}: {reason}")

    def answer(self) -> Answer | UsageError | None:
        """Whether it has succeeded, or its version."""
        with self._looking:
            if self._answer is None and self._process.poll() is not None:
                self._answer = self._ended()
            return self._answer

    def _ended(self) -> Answer | UsageError:
        code = self._process.returncode
        if code < 0:
            return UsageError(f"{self._question}: killed by signal {-code}")
        if isinstance(self._question, Succeeds):
            return code == 0
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            return stream.read(1000).decode("utf-8", "replace").partition(" ")[0].rstrip(",\n")

    def end(self) -> None:
        """Kill what runs: it was given time enough."""
        if self.answer() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with self._looking:
                self._process.wait()
                self._answer = UsageError(f"{self._question}: no answer")


class _NameInquiry(_Inquiry):
    """A look-up of names, beside the hosts: the system's has no time limit."""

    def __init__(self, question: CanonicalName) -> None:
        super().__init__()
        self._question = question
        self._lookup = Lookup.begin(self._look_up)

    def _look_up(self) -> tuple[str, str]:
        for name in self._question.names:
            with contextlib.suppress(OSError, UnicodeError):
                found = socket.getaddrinfo(
                    name, None, self._question.family, socket.SOCK_STREAM, flags=socket.AI_CANONNAME
                )
                return name, (found[0][3] if found else "").lower()
        return "", ""

    def answer(self) -> Answer | UsageError | None:
        """The name that is known, and its canonical name."""
        if not self._lookup.is_over():
            return None
        try:
            return self._lookup.result()
        except Exception as error:
            return UsageError(f"{self._question}: {error}")
