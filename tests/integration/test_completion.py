"""Completion in real shells: what Tab makes of a line."""

import os
import pty
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SHELLS = {
    "bash": (
        ["bash", "--norc", "-i"],
        "source <(paramgmt --print-completion-script bash)",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -U compinit && compinit -u; source <(paramgmt --print-completion-script zsh)",
    ),
    "fish": (
        ["fish", "-i", "--no-config"],
        "paramgmt --print-completion-script fish | source",
    ),
}


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            state = str(folder / "state")
            env = {**os.environ, "PATH": path, "TERM": "dumb", "PS1": "$ ", "XDG_STATE_HOME": state}
            os.execvpe(words[0], words, env)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, pattern: str) -> bool:
        """Whether this is shown, within a time that no shell needs."""
        deadline = time.monotonic() + 30
        while not re.search(pattern, self.shown):
            if time.monotonic() > deadline:
                return False
            if select.select([self._terminal], [], [], 0.2)[0]:
                self.shown += os.read(self._terminal, 4096).decode(errors="replace")
        return True

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str, str], None]]:
    """Type a line and Tab in a shell, and wait for what has to be there then."""
    words, setup = SHELLS[request.param]
    if shutil.which(words[0]) is None:
        pytest.skip(f"there is no {words[0]}")
    (tmp_path / "hostlists").mkdir()
    (tmp_path / "hostlists" / "web.txt").write_text("[prod]\nweb1\n[lab]\ndb1\n")
    (tmp_path / "state" / "paramgmt" / "runs" / "20261127-120000-000").mkdir(parents=True)
    terminal = Terminal(words, tmp_path)
    try:
        terminal.type(f"{setup}; echo re''ady\n")
        assert terminal.wait_for("ready"), terminal.shown

        def complete(line: str, expected: str) -> None:
            terminal.shown = ""
            terminal.type(f"{line}\t")
            assert terminal.wait_for(re.escape(expected)), terminal.shown
            terminal.type("\x15")  # forgets the line

        yield complete
    finally:
        terminal.close()


def test_tab_completes_lists_runs_and_groups_in_a_shell(shell: Callable[[str, str], None]) -> None:
    shell("paramgmt rcmd --hosts w", "--hosts web ")
    shell("paramgmt rcmd --hosts=w", "--hosts=web ")
    shell("paramgmt rcmd --hosts @fai", "--hosts @failed ")
    shell("paramgmt rcmd --hosts @failed:", "--hosts @failed:20261127-120000-000 ")
    shell("paramgmt rcmd -f web -x db1,@unr", "-x db1,@unreachable ")
    shell("paramgmt rcmd -f web -l '@prod&!@la", "'@prod&!@lab'")
    shell("paramgmt rcmd --engine t", "--engine threads ")
