"""What hosts write cannot command a terminal; into files and pipes it goes as it is."""

import os
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from paramgmt_tasks import Outcome

BIN = Path(sys.executable).parent
#: Titles, cleared screens, a line that is written over, and the same with C1 controls.
EVIL = r"before\033]0;title\007\033[2J mid\r\tafter\v\f\b\177\302\2332J\r\n\342\200\256end\n"
SHOWN = r"before\x1b]0;title\x07\x1b[2J mid\r<TAB>after\x0b\x0c\x08\x7f\x9b2J"
RAW = "before\x1b]0;title\x07\x1b[2J mid\r\tafter\x0b\x0c\x08\x7f\x9b2J"
MODES = ["", "--gather", "--diff", "--live", "--live --gather", "--order finished"]


def on_terminals(folder: Path, words: list[str], out: bool = True, err: bool = True) -> tuple[str, str]:
    """What a program writes to its standard output and error, each of them a terminal or a pipe."""
    ours, theirs = zip(*(os.openpty() if terminal else os.pipe() for terminal in (out, err)), strict=True)
    for terminal, side in zip((out, err), theirs, strict=True):
        if terminal:
            state = termios.tcgetattr(side)
            state[1] &= ~termios.OPOST  # as it was written
            termios.tcsetattr(side, termios.TCSANOW, state)
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs[0], stderr=theirs[1]
    ) as process:
        for side in theirs:
            os.close(side)
        texts = [_all_of(side) for side in ours]
    assert process.returncode in (0, 255)
    return texts[0], texts[1]


def _all_of(side: int) -> str:
    data = b""
    try:
        while piece := os.read(side, 65536):
            data += piece
    except OSError:  # that is how a terminal ends
        pass
    os.close(side)
    return data.decode()


def commands_of(text: str) -> str:
    """The controls in what was shown, without our colours."""
    plain = re.sub(r"\x1b\[(0|3[1-4])m", "", text)
    return "".join(
        character for character in plain if not character.isprintable() and character not in "\n\t"
    )


@pytest.mark.parametrize("mode", MODES)
def test_control_characters_are_shown_on_a_terminal_in_each_mode(tmp_path: Path, mode: str) -> None:
    """Of two hosts that differ, so that there is a difference to show."""
    command = f"printf '{EVIL}'; printf '{EVIL}' >&2; echo ?HOST; exit 3"
    words = [str(BIN / "lcmd"), "-s", "-m", "a,b", *mode.split(), "--", command]
    out, err = on_terminals(tmp_path, words)
    shown = out + err if "--live" in mode else out
    assert shown.replace("\t", "<TAB>").count(SHOWN) >= 2
    assert "\\u202eend" in shown
    assert commands_of(out) == commands_of(err) == ""


@pytest.mark.parametrize("terminal", ["out", "err"])
def test_each_stream_is_judged_by_itself(tmp_path: Path, terminal: str) -> None:
    words = [str(BIN / "lcmd"), "-m", "a", "--live", "--", f"printf '{EVIL}'; printf '{EVIL}' >&2"]
    out, err = on_terminals(tmp_path, words, out=terminal == "out", err=terminal == "err")
    shown, raw = (out, err) if terminal == "out" else (err, out)
    assert commands_of(shown) == ""
    assert RAW in raw


def test_in_pipes_and_files_bytes_stay_as_they_are(tmp_path: Path) -> None:
    words = ["lcmd", "-m", "a", "--output-dir", "files", "--", f"printf '{EVIL}'"]
    done = subprocess.run([BIN / words[0], *words[1:]], cwd=tmp_path, capture_output=True, check=True)
    assert RAW.encode() in done.stdout
    assert RAW.encode() in (tmp_path / "files" / "a.out").read_bytes()


def test_a_command_with_controls_is_described_without_them(tmp_path: Path) -> None:
    out, _ = on_terminals(
        tmp_path, [str(BIN / "lcmd"), "-m", "a", "--", "true \x1b[2J; echo two\necho lines"]
    )
    assert "true \\x1b[2J; echo two\necho lines" in out
    out, _ = on_terminals(tmp_path, [str(BIN / "lcmd"), "-m", "a", "--dry-run", "--", "true \x1b[2J"])
    assert commands_of(out) == ""
    for words in (["runs"], ["runs.show"]):
        done = subprocess.run(
            [BIN / "paramgmt", *words], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert "true \\x1b[2J; echo two\\necho lines" in done.stdout


def test_what_stands_before_a_jump_cannot_forge_a_line_of_the_summary(sshd, tmp_path: Path) -> None:
    proxy = r"printf 'gone \033[2J\302\233K ok (500): all is well\r\n' >&2; exit 1"
    (tmp_path / "proxy").write_text(proxy)
    sshd.write_list(tmp_path / "hosts.txt", [f"127.1.0.1 ProxyCommand='sh {tmp_path}/proxy'"])
    done = subprocess.run(
        [BIN / "rcmd", "-f", "hosts.txt", "-a", "1", "--", "true"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    reason = rb"ProxyCommand: gone \x1b[2J\x9bK ok (500): all is well"
    assert done.stderr == f"{Outcome.UNREACHABLE} (1): 127.1.0.1 - ".encode() + reason + b"\n"
    assert reason in done.stdout
    shown = subprocess.run([BIN / "paramgmt", "runs.show"], capture_output=True, check=True, cwd=tmp_path)
    assert reason in shown.stdout
