"""The stream that is sent: what tarfile reads from it, in any order of hosts."""

import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from paramgmt_tasks.transfer import tar_writer
from paramgmt_tasks.transfer.local_tree import Member, scan
from paramgmt_tasks.transfer.sums import read_sum_line, sum_line
from paramgmt_tasks.transfer.tar_writer import Archive


def entries(stream: Archive) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream)), encoding="utf-8") as file:
        return {info.name: info for info in file}


def content(stream: Archive, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream)), encoding="utf-8") as file:
        extracted = file.extractfile(name)
        assert extracted is not None
        return extracted.read()


def test_files_come_first_then_their_sums_and_the_script_last(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    stream = Archive(scan([str(tmp_path / "file")]).members.values())
    assert list(entries(stream)) == ["files/file", "sums", "finish"]
    digest = hashlib.sha256(b"text").hexdigest()
    assert content(stream, "sums").decode() == f"{digest}  ./file\n"


def test_hosts_at_their_own_pace_get_the_same_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_writer, "_KEPT", 1)
    for name in "abc":
        (tmp_path / name).write_bytes(os.urandom(tar_writer.CHUNK + 7))
    stream = Archive(scan([str(tmp_path)]).members.values())
    ahead, behind = iter(stream), iter(stream)
    first = b"".join(ahead)
    assert len(first) == stream.size
    assert b"".join(behind) == first
    assert stream.changed == []


def test_a_file_that_shrinks_is_padded_and_gets_a_sum_that_nothing_has(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    tree = scan([str(path)])
    path.write_bytes(b"x" * 10)
    stream = Archive(tree.members.values())
    assert len(content(stream, "files/file")) == 1000
    assert content(stream, "sums").decode() == f"{'0' * 64}  ./file\n"
    assert stream.changed == [str(path)]


def test_sizes_beyond_what_octal_digits_hold() -> None:
    info = os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, 20 * 2**30, 0, 0, 0))
    stream = Archive([Member("big", "/nonexistent", info, top="big")])
    header = next(iter(stream))[:512]
    assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").size == 20 * 2**30
    assert stream.size > 20 * 2**30


def test_links_are_kept_below_a_source_and_followed_where_asked(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("text")
    (tmp_path / "folder" / "link").symlink_to("file")
    (tmp_path / "folder" / "loop").symlink_to(".")
    kept = scan([str(tmp_path / "folder")])
    assert [kept.members[f"folder/{name}"].link for name in ("link", "loop")] == ["file", "."]
    followed = scan([str(tmp_path / "folder")], follow=True)
    assert followed.members["folder/link"].is_file
    assert "a loop of symbolic links" in followed.problems[0]


def test_what_cannot_be_sent_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    tree = scan([str(tmp_path / "pipe"), str(tmp_path / "none")])
    assert tree.members == {}
    assert tree.problems == [
        f"{tmp_path}/pipe: not a regular file",
        f"{tmp_path}/none: no such file or directory",
    ]


@pytest.mark.parametrize("name", ["plain", "a b", "new\nline", "back\\slash", "\\n", "grüße", "\udcff"])
def test_sum_lines_are_read_back(name: str) -> None:
    assert read_sum_line(sum_line(name, "f" * 64).rstrip(b"\n")) == (name, "f" * 64)


def test_sum_lines_are_what_sha256sum_prints(tmp_path: Path) -> None:
    if not shutil.which("sha256sum"):
        pytest.skip("needs sha256sum")
    for name in ("plain", "new\nline", "back\\slash"):
        (tmp_path / name).write_bytes(b"")
        printed = subprocess.run(
            ["sha256sum", f"./{name}"], cwd=tmp_path, capture_output=True, check=True
        ).stdout
        assert printed == sum_line(name, hashlib.sha256(b"").hexdigest())
