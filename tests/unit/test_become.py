"""The talk before another user's command runs, with a channel that a host fills as it likes."""

import os
import re
import subprocess
from types import SimpleNamespace

import pytest

from paramgmt_tasks.ssh.become import Become
from paramgmt_tasks.steps import run_to_end


class Channel:
    """A channel on which standard error has come, and nothing else comes."""

    terminal, eof_sent, errors_after = None, False, b""
    transport = SimpleNamespace(distrust="")

    def __init__(self, errors: bytes) -> None:
        self.errors, self.closed = errors, False

    def recv_stderr_ready(self) -> bool:
        return bool(self.errors)

    def read_stderr(self) -> bytes:
        errors, self.errors = self.errors, b""
        return errors

    def has_come(self) -> bool:
        return False

    def at_eof(self) -> bool:
        return False

    def read(self) -> list[bytes]:
        return []

    def give_back(self, data: bytes) -> None:
        assert not data

    def wait_for(self, done, deadline):
        if not done():
            raise TimeoutError
        return
        yield

    def close(self) -> None:
        self.closed = True

    def flush(self) -> None:
        pass


def ready(become: Become) -> str:
    found = re.search(r"\[paramgmt [0-9a-f]+ ready", become.command)
    assert found
    return found[0]


@pytest.mark.parametrize(
    ("said", "group"), [("4711", 4711), ("", 0), ("0", 0), ("1", 0), ("9" * 5000, 0), ("99999999999", 0)]
)
def test_only_what_can_be_a_commands_process_group_is_taken_for_it(said: str, group: int) -> None:
    # `kill -TERM -1` would be for every process.
    become = Become("sudo", None, None, "true")
    run_to_end(become.negotiate(Channel(f"{ready(become)} {said}]".encode()), None))
    assert become.group == group


def test_what_has_not_led_to_the_command_in_time_loses_its_channel() -> None:
    channel = Channel(b"")
    with pytest.raises(TimeoutError):
        run_to_end(Become("sudo", None, None, "true").negotiate(channel, 0.0))
    assert channel.closed


def test_a_command_does_not_run_if_nobody_hears_that_it_does(tmp_path) -> None:
    inner = Become("", None, None, f"touch {tmp_path}/ran").command
    reads, writes = os.pipe()
    os.close(reads)
    subprocess.run(
        ["/bin/sh", "-c", f"trap '' PIPE; {inner}"], stderr=writes, stdout=subprocess.DEVNULL, check=False
    )
    os.close(writes)
    assert not (tmp_path / "ran").exists()
