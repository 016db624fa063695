"""Scripts as the shell of a host gets them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from paramgmt_tasks import UsageError
from paramgmt_tasks.transfer import scripts

BODY = b"#!/bin/sh\ncat\nrm -r kept/old\n"


@pytest.mark.parametrize("stdin", [None, b"input"])
@pytest.mark.parametrize("cut", [1, 5, len(BODY)])
def test_a_part_of_a_script_is_not_run(tmp_path: Path, stdin: bytes | None, cut: int) -> None:
    (tmp_path / "kept" / "old").mkdir(parents=True)
    text, sent = scripts.command("clean", BODY, stdin)
    env = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    some = sent[: sent.index(BODY) + len(BODY) - cut]
    done = subprocess.run(
        ["/bin/sh", "-c", text], input=some, cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr == b"paramgmt: it did not come whole: the script is not run\n"
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


def test_a_script_is_run_where_startup_files_have_read_some_lines_and_without_mktemp(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("mkdir", "cat", "wc", "rm"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    text, sent = scripts.command("s", b"#!/bin/sh\necho ran\n", None)
    env = {"TMPDIR": f"{tmp_path}/missing", "HOME": str(tmp_path), "PATH": f"{tmp_path}/bin"}
    words = ["/bin/sh", "-c", f"read -r a; read -r b; {text}"]
    done = subprocess.run(words, input=sent, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ran\n", b"")


@pytest.mark.parametrize("body", [b"\x7fELF\x02\x01\x01\0\0", "\ufeffecho\n".encode("utf-16")])
def test_a_program_is_refused_and_a_text_with_one_at_its_end_is_not(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "p").write_bytes(body)
    with pytest.raises(UsageError, match="a program, not a text"):
        scripts.read(str(tmp_path / "p"))
    (tmp_path / "p").write_bytes(b"echo\n" + body)
    assert scripts.read(str(tmp_path / "p")) == b"echo\n" + body
