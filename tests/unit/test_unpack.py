"""Streams of hosts that are not to be trusted: no file under its name too early, nothing elsewhere."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from paramgmt_tasks.unpack import TRAILER, LocalError, Refused, Unpacker


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(data)
    return info, data


def stream(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as file:
        for info, data in entries:
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def unpacker(tmp_path: Path):
    made = Unpacker(str(tmp_path), lambda parts: parts)
    yield made
    made.close()


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 100_000])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_pieces_of_any_size(tmp_path: Path, unpacker: Unpacker, size: int, form: int) -> None:
    long = "/".join(["f" * 90] * 2) if form == tarfile.USTAR_FORMAT else "f" * 200 + "/grüße" * 30
    data = stream(entry("folder/a", b"a" * 1500), entry(long, b"long"), form=form) + TRAILER + b"text"
    for start in range(0, len(data), size):
        unpacker.feed(data[start : start + size])
    assert unpacker.trailer == b"text"
    assert not (tmp_path / "folder" / "a").exists()
    unpacker.keep(unpacker.files)
    assert (tmp_path / "folder" / "a").read_bytes() == b"a" * 1500
    assert (tmp_path / long).read_bytes() == b"long"


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/../../x", "a/..", ".paramgmt-pull-x", "a/.paramgmt-pull-x/b"]
)
def test_names_that_would_leave_the_destination_are_refused(unpacker: Unpacker, name: str) -> None:
    with pytest.raises(Refused):
        unpacker.feed(stream(entry(name, b"x")))


def test_no_link_is_followed_not_even_one_that_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    unpacker = Unpacker(str(tmp_path / "inside"), lambda parts: parts)
    with pytest.raises(LocalError, match="link"):
        unpacker.feed(stream(entry("link/x", b"x")))
    unpacker.close()
    assert os.listdir(tmp_path / "outside") == []


def test_links_come_last(tmp_path: Path, unpacker: Unpacker) -> None:
    unpacker.feed(stream(entry("link", kind=tarfile.SYMTYPE, link="/etc"), entry("link/x", b"x")))
    unpacker.keep(unpacker.files)
    assert unpacker.problems == ["link: is a directory"]
    assert (tmp_path / "link" / "x").read_text() == "x"


def test_a_link_to_a_file_of_the_stream_is_that_file_and_to_another_none(
    tmp_path: Path, unpacker: Unpacker
) -> None:
    unpacker.feed(
        stream(
            entry("a", b"text"),
            entry("b", kind=tarfile.LNKTYPE, link="a"),
            entry("c", kind=tarfile.LNKTYPE, link="/etc/passwd"),
        )
    )
    unpacker.keep(unpacker.files)
    assert (tmp_path / "b").read_text() == "text"
    assert unpacker.failures == ["c: a link to a file that was not sent"]
    assert not (tmp_path / "c").exists()


def test_devices_and_pipes_are_not_made(tmp_path: Path, unpacker: Unpacker) -> None:
    unpacker.feed(stream(entry("pipe", kind=tarfile.FIFOTYPE), entry("device", kind=tarfile.CHRTYPE)))
    unpacker.keep(unpacker.files)
    assert unpacker.failures == ["pipe: not a regular file", "device: not a regular file"]
    assert os.listdir(tmp_path) == []


def test_setuid_is_dropped(tmp_path: Path, unpacker: Unpacker) -> None:
    unpacker.feed(stream(entry("file", b"x", mode=0o6755)))
    unpacker.keep(unpacker.files)
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("data", [b"x" * 512, b"Welcome to the host\n" * 50, os.urandom(2048)])
def test_what_is_no_archive_is_refused(unpacker: Unpacker, data: bytes) -> None:
    with pytest.raises(Refused, match="not a tar archive"):
        unpacker.feed(data)


def test_nothing_is_left_of_a_stream_that_breaks_off(tmp_path: Path) -> None:
    unpacker = Unpacker(str(tmp_path), lambda parts: parts)
    unpacker.feed(stream(entry("a", b"a" * 5000), entry("b", b"b" * 5000))[:8000])
    assert len(os.listdir(tmp_path)) == 2
    unpacker.close()
    assert os.listdir(tmp_path) == []


def test_what_a_process_that_is_gone_left_is_swept_away(tmp_path: Path, unpacker: Unpacker) -> None:
    node = os.uname().nodename
    gone, alive = (f".paramgmt-pull-{node}-{pid}-1-0" for pid in (2**22 + 1, os.getpid()))
    for name in (gone, alive, f".paramgmt-pull-elsewhere-{2**22 + 1}-1-0"):
        (tmp_path / name).write_text("")
    unpacker.feed(stream(entry("a", b"a")))
    assert gone not in os.listdir(tmp_path)
    assert {alive, f".paramgmt-pull-elsewhere-{2**22 + 1}-1-0"} < set(os.listdir(tmp_path))
