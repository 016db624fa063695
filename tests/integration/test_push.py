"""What stands where a push is to go, over tar and over SFTP: only regular files are ever replaced."""

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from trees import litter, tree_of

from paramgmt_tasks import Fleet, Host, HostResult, Outcome, Settings
from paramgmt_tasks.model.operations import Copying, Push
from paramgmt_tasks.transfer import sftp_push

KINDS = {"named pipe": stat.S_ISFIFO, "socket": stat.S_ISSOCK, "device": stat.S_ISCHR, "folder": stat.S_ISDIR}


def push(host: Host, *sources: Path, to: Path | str, how: Copying = Copying()) -> HostResult:  # noqa: B008
    with Fleet([host], Settings(timeout=20)) as fleet:
        (result,) = fleet.report(Push(tuple(map(str, sources)), str(to), how))
    return result


@pytest.fixture(scope="module", params=["tar", "sftp"])
def host(request: pytest.FixtureRequest, start_sshd) -> Host:
    """A host with one way only: without SFTP, or without a shell."""
    line = "Subsystem sftp /nonexistent" if request.param == "tar" else "ForceCommand internal-sftp"
    return start_sshd(line).host()


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "from").mkdir()
    path = tmp_path / "from" / "file"
    path.write_text("new")
    return path


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    path = tmp_path / "remote"
    path.mkdir()
    return path


def make(kind: str, path: Path) -> None:
    if kind == "named pipe":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "file").mkdir(parents=True)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))
    else:
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("needs the right to make a device")


@pytest.mark.parametrize("by_link", [False, True])
@pytest.mark.parametrize("kind", ["named pipe", "socket", "device"])
def test_what_is_no_regular_file_is_not_replaced_and_named(
    host: Host, new: Path, remote: Path, kind: str, by_link: bool
) -> None:
    make(kind, remote / "there")
    to = remote / "there"
    if by_link:
        to = remote / "link"
        to.symlink_to("there")
    result = push(host, new, to=to)
    assert KINDS[kind]((remote / "there").lstat().st_mode), "it was replaced"
    assert to.is_symlink() is by_link
    assert result.reason == f"{to}: is a {kind}, which is not replaced"
    assert litter(remote) == []


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("kind", ["named pipe", "socket", "device", "folder"])
def test_nothing_of_a_folder_is_put_in_place_where_one_member_may_not_be(
    host: Host, new: Path, remote: Path, kind: str, changed: bool
) -> None:
    source = new.parent
    for name in ("a", "sub/z"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("new")
    (remote / "from").mkdir()
    (remote / "from" / "a").write_text("old")
    make(kind, remote / "from" / "file")
    result = push(host, source, to=remote, how=Copying(changed=changed))
    assert KINDS[kind]((remote / "from" / "file").lstat().st_mode), "it was replaced"
    assert result.reason.endswith(f"/from/file: is a {kind}, which is not replaced")
    assert (remote / "from" / "a").read_text() == "old"
    assert sorted(os.listdir(remote / "from")) == ["a", "file"]


def test_of_several_sources_none_is_put_in_place_where_one_may_not_be(
    host: Host, new: Path, remote: Path
) -> None:
    other = new.parent / "other"
    other.write_text("new")
    os.mkfifo(remote / "other")
    result = push(host, new, other, to=remote)
    assert "other: is a named pipe" in result.reason
    assert os.listdir(remote) == ["other"]
    assert stat.S_ISFIFO((remote / "other").lstat().st_mode)


@pytest.mark.parametrize("target", ["real", "sub/real", "{remote}/sub/real", "sub/../real", "again", "real "])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_file_is_written_to_where_a_link_points(
    host: Host, new: Path, remote: Path, target: str, dangling: bool
) -> None:
    (remote / "sub").mkdir()
    (remote / "again").symlink_to("sub/real")
    (remote / "link").symlink_to(target.format(remote=remote))
    real = (remote / "link").resolve()
    if not dangling:
        real.write_text("old")
    result = push(host, new, to=remote / "link")
    assert result.ok, result.reason
    assert (remote / "link").is_symlink()
    assert (remote / "again").is_symlink()
    assert (remote / "link").resolve() == real
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == stat.S_IMODE(new.stat().st_mode)
    assert litter(remote) == []


def test_within_a_folder_files_are_written_to_where_links_point(host: Host, new: Path, remote: Path) -> None:
    source = new.parent
    (source / "sub").mkdir()
    (source / "sub" / "two words").write_text("two")
    (source / "plain").write_text("plain")
    (remote / "from" / "sub").mkdir(parents=True)
    (remote / "real").write_text("old")
    (remote / "from" / "file").symlink_to("../real")
    (remote / "from" / "sub" / "two words").symlink_to("../../made")
    result = push(host, source, to=remote)
    assert result.ok, result.reason
    found = {name: what[1] if isinstance(what, tuple) else what for name, what in tree_of(remote).items()}
    assert found == {
        "from": None,
        "from/sub": None,
        "from/plain": b"plain",
        "from/file": "../real",
        "from/sub/two words": "../../made",
        "real": b"new",
        "made": b"two",
    }


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("link", "a loop of symbolic links"),
        ("none/real", "points into a folder that is not there: {remote}/none/real"),
        ("folder", "is a folder, which is not replaced"),
    ],
)
def test_a_link_that_leads_nowhere_is_not_replaced(
    host: Host, new: Path, remote: Path, target: str, reason: str
) -> None:
    (remote / "from" / "folder").mkdir(parents=True)
    (remote / "from" / "link").symlink_to(target)
    (new.parent / "link").write_text("new")
    result = push(host, new.parent, to=remote)
    assert not result.ok
    assert reason.format(remote=remote / "from") in result.stderr.decode()
    assert os.readlink(remote / "from" / "link") == target
    assert sorted(os.listdir(remote / "from")) == ["folder", "link"]


def test_a_pushed_link_takes_the_place_of_a_link_only(start_sshd, new: Path, remote: Path) -> None:
    host = start_sshd("Subsystem sftp /nonexistent").host()
    source = new.parent
    for name in ("link", "zlink"):
        (source / name).symlink_to("file")
    (remote / "from" / "folder").mkdir(parents=True)
    (remote / "from" / "link").symlink_to("folder")
    assert push(host, source, to=remote).ok
    assert os.readlink(remote / "from" / "link") == "file"
    assert os.listdir(remote / "from" / "folder") == []
    (remote / "from" / "zlink").unlink()
    (remote / "from" / "zlink").mkdir()
    (source / "file").write_text("newer")
    result = push(host, source, to=remote)
    assert result.reason.endswith("/from/zlink: is a folder, which is not replaced")
    assert (remote / "from" / "file").read_text() == "new"


def test_a_folder_does_not_take_the_place_of_a_file_or_a_link(host: Host, new: Path, remote: Path) -> None:
    source = new.parent
    (source / "sub").mkdir()
    (source / "sub" / "within").write_text("new")
    for there in (remote / "from", remote / "from" / "sub"):
        there.write_text("old")
        assert push(host, source, to=remote).reason == f"{there}: not a folder"
        there.unlink()
        there.symlink_to("none")
        assert push(host, source, to=remote).reason == f"{there}: not a folder"
        there.unlink()
        there.mkdir()
    assert push(host, source, to=remote).ok
    assert (remote / "from" / "sub" / "within").read_text() == "new"


def test_changed_files_are_found_without_reading_what_never_ends(host: Host, new: Path, remote: Path) -> None:
    (new.parent / "same").write_text("same")
    (remote / "from").mkdir()
    (remote / "from" / "same").write_text("same")
    (remote / "from" / "file").symlink_to("pipe")
    os.mkfifo(remote / "from" / "pipe")
    result = push(host, new.parent, to=remote, how=Copying(changed=True))
    assert "from/file: is a named pipe, which is not replaced" in result.reason
    assert "timed out" not in result.reason


def test_changed_files_are_found_among_more_names_than_go_at_once(start_sshd, tmp_path: Path) -> None:
    host = start_sshd("Subsystem sftp /nonexistent").host()
    deep = Path(*["d" * 200] * 14)
    for folder in ("from", "remote"):
        os.makedirs(tmp_path / folder / deep)
        for number in range(2500):
            (tmp_path / folder / deep / f"{number}").write_bytes(b"")
    result = push(
        host, Path(f"{tmp_path}/from/{deep.parts[0]}"), to=tmp_path / "remote", how=Copying(changed=True)
    )
    assert (result.reason, result.stdout) == ("", b"2500 of 2500 files unchanged\n")


def test_a_temporary_file_over_sftp_is_new_and_closed_to_others(
    start_sshd, new: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import paramiko

    host = start_sshd("ForceCommand internal-sftp").host()
    opened: list[tuple[str, str, int]] = []
    open_file = paramiko.SFTPClient.open

    def noted(
        client: paramiko.SFTPClient, name: str, mode: str = "r", bufsize: int = -1
    ) -> paramiko.SFTPFile:
        file = open_file(client, name, mode, bufsize)
        write = file.write

        def noting(data: bytes) -> None:
            opened.append((name, mode, stat.S_IMODE(Path(name).stat().st_mode)))
            write(data)

        file.write = noting  # type: ignore[method-assign]
        return file

    monkeypatch.setattr(paramiko.SFTPClient, "open", noted)
    monkeypatch.setattr(paramiko.SFTPClient, "file", noted)
    for _ in range(2):
        assert push(host, new, to=remote / "there").ok
    assert [(mode, rights) for _, mode, rights in opened] == [("wx", 0o600)] * 2
    numbers = [name.rpartition("-")[2] for name, _, _ in opened]
    assert numbers[0] != numbers[1]
    assert all(len(number) == 16 for number in numbers)


def test_a_try_that_broke_off_over_sftp_leaves_nothing_once_the_next_has_arrived(
    start_sshd, new: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = start_sshd("ForceCommand internal-sftp").host()
    tries: list[str] = []
    write = sftp_push._write

    def broken_off(copy: Any, file: Any, path: str, mode: str) -> None:
        tries.append(path)
        write(copy, file, path, mode)
        if len(tries) == 1:
            copy.sftp.get_channel().get_transport().close()
            raise EOFError

    monkeypatch.setattr(sftp_push, "_write", broken_off)
    result = push(host, new, to=remote / "there")
    assert (result.outcome, result.attempts, len(tries)) == (Outcome.OK, 2, 2)
    assert [path.name for path in remote.iterdir() if path.name.startswith(".paramgmt")] == []
