"""The script that receives a push, by every shell and with the tools of every make that are here."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from paramgmt_tasks.transfer.local_tree import scan
from paramgmt_tasks.transfer.remote_scripts import PUSH
from paramgmt_tasks.transfer.tar_writer import Archive

SHELLS = ["sh", "dash", "bash", "bash --posix", "ksh", "mksh", "zsh --emulate sh", "busybox ash"]
#: What the script may call.
TOOLS = ["cat", "chmod", "comm", "df", "find", "kill", "ls", "mkdir", "mv", "readlink", "rm", "sed"]
TOOLS += ["sha256sum", "sleep", "sort", "tar", "uname"]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words: list[str] = request.param.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"needs {words[0]}")
    return words


def receive(
    shell: list[str], source: Path, into: Path, name: str = "", path: str | None = None
) -> "subprocess.CompletedProcess[bytes]":
    stream = Archive(scan([str(source)]).members.values())
    into, name = (into, name) if name else (into.parent, into.name)
    # busybox's sha256sum does not read the names that others escape.
    verify = "0" if path and os.readlink(f"{path}/sha256sum").endswith("busybox") else "1"
    arguments = ["", str(into), name, "shown", "0", "1", verify, "-m", "0"]
    return subprocess.run(
        [str(shutil.which(shell[0])), *shell[1:], "-c", PUSH, "sh", *arguments],
        input=b"paramgmt\n" + b"".join(stream),
        capture_output=True,
        timeout=30,
        env={"PATH": path or os.environ["PATH"]},
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "sub" / "inner").mkdir(parents=True)
    for name in ("file", "-rf", "two words", "new\nline", "*", "sub/inner/deep", "sub/a -> b"):
        (source / name).write_text(f"text of {name}")
    (source / "link").symlink_to("no such")
    return source


def contents(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def check_all(shell: list[str], tree: Path, tmp_path: Path, path: str | None = None) -> None:
    into = tmp_path / "into"
    into.mkdir()
    done = receive(shell, tree, into, path=path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert contents(into / "source") == contents(tree)
    # Once more, with links where some files go.
    (into / "real").write_text("old")
    for name, target in (
        ("new\nline", "../real"),
        ("sub/a -> b", f"{into}/made -> new\nname"),
        ("link", "."),
    ):
        (into / "source" / name).unlink()
        (into / "source" / name).symlink_to(target)
    (into / "source" / "file").write_text("old")
    done = receive(shell, tree, into, path=path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (into / "source" / "file").read_text() == "text of file"
    assert (into / "real").read_text() == "text of new\nline"
    assert (into / "made -> new\nname").read_text() == "text of sub/a -> b"
    assert os.readlink(into / "source" / "link") == "no such"
    assert os.readlink(into / "source" / "sub" / "a -> b").startswith(str(into))
    # And where a file cannot go.
    (into / "source" / "file").write_text("old")
    (into / "source" / "sub" / "inner" / "deep").unlink()
    os.mkfifo(into / "source" / "sub" / "inner" / "deep")
    done = receive(shell, tree, into, path=path)
    assert done.returncode == 1
    assert done.stderr.decode() == (f"{into}/source/sub/inner/deep: is a named pipe, which is not replaced\n")
    assert (into / "source" / "file").read_text() == "old"
    assert stat.S_ISFIFO((into / "source" / "sub" / "inner" / "deep").lstat().st_mode)
    # One file as the destination itself.
    (into / "loop").symlink_to("loop")
    done = receive(shell, tree / "file", into, "loop", path=path)
    assert done.stderr.decode() == f"{into}/loop: a loop of symbolic links\n"
    os.mkfifo(into / "pipe")
    done = receive(shell, tree / "file", into, "pipe", path=path)
    assert done.stderr.decode() == "shown: is a named pipe, which is not replaced\n"
    assert [name for name in os.listdir(into) if ".paramgmt" in name] == []


def test_any_shell_puts_files_where_they_go_and_nowhere_else(
    shell: list[str], tree: Path, tmp_path: Path
) -> None:
    check_all(shell, tree, tmp_path)


def test_so_it_does_with_the_tools_of_busybox(tree: Path, tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs busybox")
    (tmp_path / "tools").mkdir()
    for name in (*TOOLS, "sh"):
        (tmp_path / "tools" / name).symlink_to(busybox)
    check_all(["busybox", "ash"], tree, tmp_path, str(tmp_path / "tools"))


def test_so_it_does_without_readlink_and_with_the_tar_of_bsd(tree: Path, tmp_path: Path) -> None:
    bsdtar = shutil.which("bsdtar")
    if bsdtar is None:
        pytest.skip("needs bsdtar")
    (tmp_path / "tools").mkdir()
    for name in TOOLS:
        found = bsdtar if name == "tar" else shutil.which(name)
        if found is not None and name != "readlink":
            (tmp_path / "tools" / name).symlink_to(found)
    check_all(["sh"], tree, tmp_path, str(tmp_path / "tools"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can get into, as they cannot into pytest's."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.parametrize("follows", [False, True])
def test_a_file_behind_a_link_is_written_in_place_where_its_folder_is_closed(
    tree: Path, open_folder: Path, follows: bool
) -> None:
    """As another user, who may write the file, or not even that."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv")
    into, closed = open_folder / "into", open_folder / "closed"
    for folder in (into, closed):
        folder.mkdir()
    into.chmod(0o777)
    (closed / "real").write_text("old")
    (closed / "real").chmod(0o666 if follows else 0o644)
    (into / "link").symlink_to("../closed/real")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh"]
    done = receive(user, tree / "file", into, "link")
    assert (into / "link").is_symlink()
    if follows:
        assert (done.returncode, done.stderr) == (0, b"")
        assert (closed / "real").read_text() == "text of file"
    else:
        assert done.stderr.decode() == f"{into}/link: what it points to may not be written\n"
        assert (closed / "real").read_text() == "old"


#: Runs the script as a user other than whose files they are.
_OTHER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh"]


@pytest.fixture
def two(open_folder: Path) -> Path:
    """A folder to push, and `into` with one as it was before, in which everybody may write."""
    for place, text in (("two", "new"), ("into/two", "old")):
        for name in ("a", "b"):
            (open_folder / place / name).mkdir(parents=True)
            (open_folder / place / name / "file").write_text(text)
    os.chown(open_folder / "into", 65534, 65534)
    for path in (open_folder / "into" / "two").rglob("*"):
        os.chown(path, 65534, 65534)
    os.chown(open_folder / "into" / "two", 65534, 65534)
    return open_folder / "two"


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
@pytest.mark.parametrize("what", ["file", "link", "folder"])
def test_nothing_is_put_in_place_where_one_folder_may_not_be_written_to(
    two: Path, open_folder: Path, what: str
) -> None:
    into = open_folder / "into"
    os.chown(into / "two" / "b", 0, 0)
    if what != "file":
        (two / "b" / "file").unlink()
    if what == "link":
        (two / "b" / "link").symlink_to("x")
    elif what == "folder":
        (two / "b" / "new" / "er").mkdir(parents=True)
    done = receive(_OTHER, two, into, "")
    assert done.returncode == 1
    assert done.stderr.decode() == f"{into}/two/b: permission denied\n"
    assert contents(into) == {"two/a/file": "old", "two/b/file": "old"}
    assert os.listdir(into) == ["two"]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
def test_a_file_behind_a_link_needs_nothing_of_the_folder_of_the_link(two: Path, open_folder: Path) -> None:
    into = open_folder / "into"
    (into / "two" / "b" / "file").rename(into / "real")
    (into / "two" / "b" / "file").symlink_to("../../real")
    os.chown(into / "two" / "b", 0, 0)
    receive(_OTHER, two, into, "")
    assert (into / "real").read_text() == "new"


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
@pytest.mark.parametrize("which", ["two", "two/a", "two/b"])
def test_a_folder_that_cannot_be_given_its_mode_is_a_failure(
    two: Path, open_folder: Path, which: str
) -> None:
    into = open_folder / "into"
    os.chown(into / which, 0, 0)
    (into / which).chmod(0o777)
    done = receive(_OTHER, two, into, "")
    assert b"chmod: " in done.stderr
    assert done.returncode == 1
    assert contents(into) == {"two/a/file": "new", "two/b/file": "new"}
