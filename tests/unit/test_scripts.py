"""Scripts as the shell of a host gets them."""

import subprocess
from pathlib import Path

import pytest

from paramgmt_tasks.transfer import scripts

BODY = b"#!/bin/sh\ncat\nrm -r kept/old\n"


@pytest.mark.parametrize("stdin", [None, b"input"])
@pytest.mark.parametrize("cut", [1, 5, len(BODY)])
def test_a_part_of_a_script_is_not_run(tmp_path: Path, stdin: bytes | None, cut: int) -> None:
    (tmp_path / "kept" / "old").mkdir(parents=True)
    text, sent = scripts.command("clean", BODY, stdin)
    env = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    some = sent[: len(BODY) - cut]
    done = subprocess.run(
        ["/bin/sh", "-c", text], input=some, cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (125, b"")
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "old"]


@pytest.mark.parametrize("stdin", [None, b"input"])
def test_a_script_that_has_come_is_run_and_removed(tmp_path: Path, stdin: bytes | None) -> None:
    (tmp_path / "kept" / "old").mkdir(parents=True)
    text, sent = scripts.command("clean", BODY, stdin)
    env = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["/bin/sh", "-c", text], input=sent, cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, stdin or b"", b"")
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]
