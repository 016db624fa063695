"""Who sits at the terminal is asked for passwords beforehand, and for what servers want to know."""

import getpass
import os
import select
import sys
import termios
from collections.abc import Callable

from ..display import ASKING
from ..model import UsageError

#: Seconds between two looks whether an answer is still wanted.
_PAUSE = 0.2
#: Bytes of the longest answer.
_LONGEST = 4096


def secret(option: str, prompt: str) -> str:
    """Ask once, before anything is done; without a terminal, take a line of standard input.

    Raises:
        UsageError: there was no answer.
    """
    try:
        if not _has_terminal():
            return _line_of_input()
        return getpass.getpass(prompt)
    except (EOFError, KeyboardInterrupt):
        raise UsageError(f"--{option}: {_NOTHING.get(option, 'no password was given')}") from None


_NOTHING = {"ask-passphrase": "no passphrase was given"}


def check_terminal(option: str) -> None:
    """Make sure that there is somebody to ask.

    Raises:
        UsageError: there is no terminal.
    """
    if not _has_terminal():
        raise UsageError(f"--{option}: there is no terminal to ask on")


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _line_of_input() -> str:
    line = sys.stdin.readline() if sys.stdin else ""
    if not line:
        raise EOFError
    return line.removesuffix("\n")


def ask(text: str, echo: bool, gives_up: Callable[[], bool]) -> str | None:
    """Ask on the terminal, from any thread; None if nobody answers before it is given up.

    Raises:
        OSError: there is no terminal.
    """
    terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    try:
        before = termios.tcgetattr(terminal)
        ASKING.set()
        try:
            typed = termios.tcgetattr(terminal)
            typed[3] |= termios.ICANON | (termios.ECHO if echo else 0)
            typed[3] &= ~(0 if echo else termios.ECHO)
            termios.tcsetattr(terminal, termios.TCSAFLUSH, typed)
            os.write(terminal, b"\r\x1b[K" + text.encode("utf-8", "replace"))
            return _line(terminal, gives_up)
        finally:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
            os.write(terminal, b"" if echo else b"\n")
            ASKING.clear()
    except termios.error as error:
        raise OSError(*error.args) from None
    finally:
        os.close(terminal)


def _line(terminal: int, gives_up: Callable[[], bool]) -> str | None:
    data = b""
    while not gives_up():
        if not select.select([terminal], [], [], _PAUSE)[0]:
            continue
        piece = os.read(terminal, _LONGEST)
        data += piece
        if data.endswith(b"\n"):
            return data[:-1].decode("utf-8", "surrogateescape")
        if not piece or len(data) > _LONGEST:
            return None
    return None
