"""Questions: what servers ask somebody for, each asked once for all hosts."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..model import escaped
from ..steps import Steps
from .paramiko_internals import Question

#: Seconds for which somebody is waited for: as long as sshd lets a login take (LoginGraceTime).
PATIENCE = 120.0
#: Seconds between two looks whether there is an answer.
_PAUSE = 0.1
#: Characters of a text of a server that are shown.
_SHOWN = 500

#: Asks somebody: the text of a question, which is safe to show; whether the answer may be seen; and whether
#: it is not waited for any more. None if there is no answer.
Ask = Callable[[str, bool, Callable[[], bool]], str | None]


@dataclass
class _Asked:
    """A question, and its answer once there is one."""

    text: str
    question: Question
    answered: bool = False
    #: How many hosts wait for the answer.
    waiting: int = 0
    answer: str | None = None


class Questions:
    """What servers ask somebody for: each different question is asked once, one after the other.

    Once one of them is not answered nobody is there, and no other is asked. Safe for many threads. Answers
    are kept in memory, as long as this object.
    """

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._asked: dict[Question, _Asked] = {}
        self._waiting: deque[_Asked] = deque()
        self._thread: threading.Thread | None = None
        self._nobody = ask is None

    @property
    def can_ask(self) -> bool:
        """Whether there is somebody to ask."""
        return not self._nobody

    def answer(
        self, host: str, question: Question, pause: Callable[[float], Steps[None]]
    ) -> Steps[str | None]:
        """Steps that wait for an answer to what a host asks; None if nobody answers.

        `pause` lets some seconds pass, and raises if the host is gone.
        """
        asked = self._pose(host, question)
        try:
            while not asked.answered:
                yield from pause(_PAUSE)
        finally:
            with self._lock:
                asked.waiting -= 1
        return asked.answer

    def _pose(self, host: str, question: Question) -> _Asked:
        with self._lock:
            asked = self._asked.get(question)
            if asked is None:
                asked = self._asked[question] = _Asked(_text(host, question), question)
                asked.answered = self._nobody
                if not asked.answered:
                    self._waiting.append(asked)
                    if self._thread is None:
                        self._thread = threading.Thread(target=self._run, name="questions", daemon=True)
                        self._thread.start()
            asked.waiting += 1
            return asked

    def _run(self) -> None:
        """Ask what waits."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                asked = self._waiting.popleft()
            if not self._nobody and self._ask is not None and asked.waiting:
                with contextlib.suppress(OSError):
                    asked.answer = self._ask(asked.text, asked.question.echo, self._gives_up(asked))
            with self._lock:
                if asked.answer is None and not asked.waiting:
                    self._asked.pop(asked.question, None)  # whoever asks it later has it asked again
                else:
                    self._nobody = self._nobody or asked.answer is None
                asked.answered = True

    def _gives_up(self, asked: _Asked) -> Callable[[], bool]:
        ends = time.monotonic() + PATIENCE
        return lambda: self._nobody or not asked.waiting or time.monotonic() >= ends

    def close(self) -> None:
        """Ask nobody any more; a question that is being asked is not waited for."""
        with self._lock:
            self._nobody = True
            thread = self._thread
        if thread is not None:
            thread.join(1.0)


def _text(host: str, question: Question) -> str:
    """What is shown of a question, whatever the server made of it."""
    lines = [part for part in (question.title, *question.instruction.splitlines()) if part.strip()]
    shown = [escaped(line.strip()[:_SHOWN]) for line in lines[:10]]
    prompt = escaped(question.prompt.strip("\r\n\t")[:_SHOWN])
    return "\n".join([*(f"{host}: {line}" for line in shown), f"{host}: {prompt}"])
