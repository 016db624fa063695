"""Transfers against real sshd: every kind of file, whole or not at all, whatever happens on the way."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trees import litter, lying_tar, tree_of

from paramgmt_tasks import Fleet, Host, Outcome, Settings
from paramgmt_tasks.model.operations import Copying, Pull, Push
from paramgmt_tasks.transfer import compression, local_tree

ROOT = Path(__file__).parent.parent.parent
NAMES = [
    "plain",
    "two words",
    " leading and trailing ",
    'quote\'s "double" `back`',
    "$HOME ; rm -rf . & | > <",
    "-rf",
    "--help",
    "new\nline",
    "back\\slash\\n",
    "carriage\rreturn\r",
    "tab\there",
    "grüße-日本-🙂",
    b"not utf-8 \xff\xfe".decode("utf-8", "surrogateescape"),
    "*?[a-z]",
    "~",
    ".hidden",
    "#comment",
    "%s%n",
    "x" * 250,
]


def perform(hosts: list[Host], operation: Push | Pull, **settings: object):
    with Fleet(hosts, Settings(**settings)) as fleet:
        return fleet.report(operation)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "closed").mkdir()
    (folder / "deep" / ("d" * 120) / ("e" * 120)).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(os.urandom(number * 500))
    (folder / "deep" / ("d" * 120) / ("e" * 120) / ("f" * 120)).write_text("deep")
    (folder / "sub" / "run").write_text("#!/bin/sh\n")
    (folder / "sub" / "run").chmod(0o755)
    (folder / "sub" / "secret").write_text("s")
    (folder / "sub" / "secret").chmod(0o600)
    (folder / "sub" / "link").symlink_to("run")
    (folder / "sub" / "dangling").symlink_to("no such\nfile")
    (folder / "sub" / "up").symlink_to("..")
    (folder / "closed" / "file").write_text("c")
    (folder / "closed").chmod(0o555)
    return folder


@pytest.fixture(scope="module", params=["tar", "sftp"])
def way(request: pytest.FixtureRequest, start_sshd):
    """An sshd without SFTP, and one without a shell: each leaves one way only."""
    if request.param == "tar":
        return start_sshd("Subsystem sftp /nonexistent")
    return start_sshd("ForceCommand internal-sftp")


def test_every_name_and_kind_of_file_goes_out_and_comes_back(start_sshd, tree: Path, tmp_path: Path) -> None:
    host = start_sshd("Subsystem sftp /nonexistent").host()
    remote = tmp_path / "remote"
    remote.mkdir()
    for destination, there in ((remote, remote / "tree"), (tmp_path / "named", tmp_path / "named")):
        assert perform([host], Push((str(tree),), str(destination))).ok
        assert tree_of(there) == tree_of(tree)
    back = tmp_path / "back"
    back.mkdir()
    assert perform([host], Pull((str(tree),), str(back))).ok
    assert tree_of(back / "tree") == tree_of(tree)
    assert perform([host], Pull((f"{tree}/",), str(tmp_path / "named back"))).ok
    assert tree_of(tmp_path / "named back") == tree_of(tree)
    assert litter(tmp_path) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_is_a_source_and_a_destination(sshd, tmp_path: Path, name: str) -> None:
    for folder in ("from", "remote", "back", "as"):
        (tmp_path / folder).mkdir()
    (tmp_path / "from" / name).write_bytes(b"text")
    assert perform([sshd.host()], Push((str(tmp_path / "from" / name),), str(tmp_path / "remote"))).ok
    assert perform([sshd.host()], Push((str(tmp_path / "from" / name),), str(tmp_path / "as" / name))).ok
    assert perform([sshd.host()], Pull((str(tmp_path / "remote" / name),), str(tmp_path / "back"))).ok
    assert tree_of(tmp_path / "back") == tree_of(tmp_path / "as") == tree_of(tmp_path / "from")


def test_a_folder_is_merged_into_one_that_is_there(sshd, tree: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    (remote / "tree" / "sub").mkdir(parents=True)
    (remote / "tree" / "plain").write_text("old")
    (remote / "tree" / "other").write_text("stays")
    (remote / "tree" / "sub" / "other").write_text("stays")
    assert perform([sshd.host()], Push((str(tree),), str(remote))).ok
    expected = tree_of(tree)
    found = tree_of(remote / "tree")
    assert {name for name in found if name not in expected} == {"other", "sub/other"}
    assert {name: found[name] for name in expected} == expected


def test_the_contents_of_a_folder(sshd, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    remote, back = tmp_path / "remote", tmp_path / "back"
    remote.mkdir()
    back.mkdir()
    assert perform([sshd.host()], Push((".",), str(remote))).ok
    assert tree_of(remote) == tree_of(tree)
    assert perform([sshd.host()], Push((".",), str(tmp_path / "new"))).ok
    assert tree_of(tmp_path / "new") == tree_of(tree)
    assert perform([sshd.host()], Pull((f"{tree}/.",), str(back))).ok
    assert tree_of(back) == tree_of(tree)


def test_links_are_followed_where_asked(sshd, tmp_path: Path) -> None:
    folder, remote, back = (tmp_path / name for name in ("folder", "remote", "back"))
    for each in (folder / "real", remote, back):
        each.mkdir(parents=True)
    (folder / "real" / "file").write_text("text")
    (folder / "link").symlink_to("real")
    follow = Copying(follow=True)
    assert perform([sshd.host()], Push((str(folder),), str(remote), follow)).ok
    assert (remote / "folder" / "link").is_dir()
    assert not (remote / "folder" / "link").is_symlink()
    assert perform([sshd.host()], Pull((str(folder),), str(back), follow)).ok
    assert tree_of(back) == tree_of(remote)


def test_a_source_that_is_a_link_is_what_it_points_to(sshd, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("text")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file link").symlink_to("real/file")
    for name in ("remote", "back"):
        (tmp_path / name).mkdir()
    sources = (str(tmp_path / "link"), str(tmp_path / "file link"))
    assert perform([sshd.host()], Push(sources, str(tmp_path / "remote"))).ok
    assert perform([sshd.host()], Pull(sources, str(tmp_path / "back"))).ok
    for name in ("remote", "back"):
        assert not (tmp_path / name / "link").is_symlink()
        assert (tmp_path / name / "link" / "file").read_text() == "text"
        assert (tmp_path / name / "file link").read_text() == "text"
        assert not (tmp_path / name / "file link").is_symlink()


@pytest.mark.parametrize("preserve", [True, False])
def test_times_are_kept_where_asked(way, tmp_path: Path, preserve: bool) -> None:
    (tmp_path / "file").write_text("text")
    os.utime(tmp_path / "file", (1e9, 1e9))
    how = Copying(preserve=preserve)
    assert perform([way.host()], Push((str(tmp_path / "file"),), str(tmp_path / "pushed"), how)).ok
    assert perform([way.host()], Pull((str(tmp_path / "file"),), str(tmp_path / "pulled"), how)).ok
    for name in ("pushed", "pulled"):
        assert ((tmp_path / name).stat().st_mtime == 1e9) is preserve


def test_what_exists_is_not_replaced_where_so_asked(way, tmp_path: Path) -> None:
    for name, text in (("file", "new"), ("there", "old"), ("other", "new")):
        (tmp_path / name).write_text(text)
    how = Copying(overwrite=False)
    (pushed,) = perform([way.host()], Push((str(tmp_path / "file"),), str(tmp_path / "there"), how))
    (pulled,) = perform([way.host()], Pull((str(tmp_path / "file"),), str(tmp_path / "there"), how))
    for result in (pushed, pulled):
        assert not result.ok
        assert "there: exists already" in result.reason
    assert (tmp_path / "there").read_text() == "old"
    assert perform([way.host()], Push((str(tmp_path / "file"),), str(tmp_path / "fresh"), how)).ok
    assert perform([way.host()], Pull((str(tmp_path / "file"),), str(tmp_path / "fresh too"), how)).ok
    assert litter(tmp_path) == []


def test_only_what_changed_is_sent_where_so_asked(sshd, tree: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    remote.mkdir()
    changed = Push((str(tree),), str(remote), Copying(changed=True))
    (result,) = perform([sshd.host()], changed)
    files = sum(path.is_file() and not path.is_symlink() for path in tree.rglob("*"))
    assert result.stdout.decode() == f"0 of {files} files unchanged\n"
    (tree / "plain").write_text("new")
    untouched = (remote / "tree" / "two words").stat().st_ino
    (result,) = perform([sshd.host()], changed)
    assert result.ok
    names_without_cr = files - 1  # a name with a carriage return is read differently by versions of sha256sum
    assert int(result.stdout.split()[0]) in (names_without_cr, names_without_cr - 1)
    assert tree_of(remote / "tree") == tree_of(tree)
    assert (remote / "tree" / "two words").stat().st_ino == untouched
    one = Push((str(tree / "plain"),), str(tmp_path / "one"), Copying(changed=True))
    results = [perform([sshd.host()], one).results[0] for _ in range(2)]
    assert [result.stdout for result in results] == [b"0 of 1 files unchanged\n", b"1 of 1 files unchanged\n"]
    assert all(result.ok for result in results)


def test_holes_and_sizes_that_are_no_round_numbers(sshd, tmp_path: Path) -> None:
    for name in ("from", "remote", "back"):
        (tmp_path / name).mkdir()
    for size in (0, 1, 511, 512, 513, 262_143, 262_144, 262_145, 3_000_001):
        (tmp_path / "from" / str(size)).write_bytes(os.urandom(size))
    with (tmp_path / "from" / "holes").open("wb") as file:
        file.seek(40_000_000)
        file.write(b"x")
        file.truncate(50_000_000)
    sources = tuple(str(path) for path in (tmp_path / "from").iterdir())
    hosts = sshd.hosts(3)
    assert perform([hosts[0]], Push(sources, str(tmp_path / "remote"))).ok
    assert perform([hosts[0]], Pull((f"{tmp_path}/remote/*",), str(tmp_path / "back"))).ok
    assert tree_of(tmp_path / "from") == tree_of(tmp_path / "remote") == tree_of(tmp_path / "back")
    assert (tmp_path / "back" / "holes").stat().st_blocks * 512 < 10_000_000


def test_all_hosts_write_into_one_folder(sshd, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(300_000))
    assert perform(sshd.hosts(20), Push((str(tmp_path / "file"),), f"{tmp_path}/file-?HOST")).ok
    copies = list(tmp_path.glob("file-127*"))
    assert len(copies) == 20
    assert {path.read_bytes() for path in copies} == {(tmp_path / "file").read_bytes()}
    assert perform(sshd.hosts(20), Push((str(tmp_path / "file"),), f"{tmp_path}/same")).ok
    assert (tmp_path / "same").read_bytes() == (tmp_path / "file").read_bytes()
    assert litter(tmp_path) == []


@pytest.mark.parametrize("with_zstd", [True, False])
def test_compressed_on_the_way(sshd, tree: Path, tmp_path: Path, monkeypatch, with_zstd: bool) -> None:
    if not with_zstd:
        monkeypatch.setattr(compression, "NAMES", ("gzip",))
    (tree / "compressible").write_bytes(b"text" * 500_000)
    how = Copying(compress=True)
    for folder in ("remote", "back"):
        (tmp_path / folder).mkdir()
    hosts = sshd.hosts(3)
    with Fleet(hosts) as fleet:
        run = fleet.perform(Push((str(tree),), f"{tmp_path}/remote/?HOST", how))
        assert all(result.ok for result in run)
        assert run.shared.moved < 3 * 1_000_000
        assert fleet.report(Pull((f"{tmp_path}/remote/?HOST",), str(tmp_path / "back"), how)).ok
    for host in hosts:
        assert tree_of(tmp_path / "back" / host.entry) == tree_of(tree)
    broken = Pull((f"{tmp_path}/remote/none",), str(tmp_path / "back"), how)
    assert perform(hosts[:1], broken).results[0].reason == f"{tmp_path}/remote/none: no such file"


def test_a_line_for_each_file_where_asked(sshd, tmp_path: Path) -> None:
    for folder in ("folder", "remote", "back"):
        (tmp_path / folder).mkdir()
    (tmp_path / "folder" / "file").write_text("text")
    how = Copying(verbose=True)
    (pushed,) = perform([sshd.host()], Push((str(tmp_path / "folder"),), str(tmp_path / "remote"), how))
    (pulled,) = perform([sshd.host()], Pull((str(tmp_path / "folder"),), str(tmp_path / "back"), how))
    assert pushed.stdout.decode().splitlines() == ["folder", "folder/file"]
    assert pulled.stdout.decode().splitlines() == ["folder/file"]


def test_files_arrive_whole_where_the_rate_is_limited(sshd, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(300_000))
    rates = {"limit_rate": 1e6, "limit_rate_all": 3e6}
    with Fleet(sshd.hosts(4), Settings(**rates)) as fleet:
        assert fleet.report(Push((str(tmp_path / "file"),), f"{tmp_path}/pushed-?HOST")).ok
        assert fleet.report(Pull((str(tmp_path / "file"),), f"{tmp_path}/pulled-?HOST")).ok
    copies = [*tmp_path.glob("pushed-*"), *tmp_path.glob("pulled-*")]
    assert len(copies) == 8
    assert {path.read_bytes() for path in copies} == {(tmp_path / "file").read_bytes()}


# -- hosts that lack something


def test_a_host_without_tar_is_served_by_sftp(start_sshd, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    sshd = start_sshd(f"SetEnv PATH={tools}")
    (tmp_path / "file").write_text("text")
    assert perform([sshd.host()], Push((str(tmp_path / "file"),), str(tmp_path / "pushed"))).ok
    assert perform([sshd.host()], Pull((str(tmp_path / "file"),), str(tmp_path / "pulled"))).ok
    assert (tmp_path / "pushed").read_text() == (tmp_path / "pulled").read_text() == "text"


def test_a_host_with_nothing_of_all_that_says_so(start_sshd, tmp_path: Path) -> None:
    sshd = start_sshd("ForceCommand echo This account is not available", "Subsystem sftp /nonexistent")
    (tmp_path / "file").write_text("text")
    (result,) = perform([sshd.host()], Push((str(tmp_path / "file"),), "/tmp/x"))
    assert (result.outcome, result.reason) == (
        Outcome.FAILED,
        "neither tar nor SFTP on this host: This account is not available",
    )


def test_a_shell_that_prints_before_it_obeys(start_sshd, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy"
    noisy.write_text('#!/bin/sh\necho "Welcome to $(uname -n)!"\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n')
    noisy.chmod(0o755)
    sshd = start_sshd(f"ForceCommand {noisy}")
    (tmp_path / "file").write_text("text")
    assert perform([sshd.host()], Push((str(tmp_path / "file"),), str(tmp_path / "pushed"))).ok
    assert perform([sshd.host()], Pull((str(tmp_path / "file"),), str(tmp_path / "pulled"))).ok
    assert (tmp_path / "pushed").read_text() == (tmp_path / "pulled").read_text() == "text"


# -- whole or not at all


def test_sftp_sweeps_away_what_a_process_that_is_gone_left(start_sshd, tmp_path: Path) -> None:
    sshd = start_sshd("ForceCommand internal-sftp")
    (tmp_path / "file").write_text("text")
    for folder, way in (("remote", "sftp"), ("here", "pull")):
        (tmp_path / folder).mkdir()
        for process in (2**22 + 1, os.getpid()):
            name = f".paramgmt-{way}-{os.uname().nodename}-{process}-7"
            (tmp_path / folder / name).write_text("half")
    assert perform([sshd.host()], Push((str(tmp_path / "file"),), str(tmp_path / "remote"))).ok
    assert perform([sshd.host()], Pull((str(tmp_path / "file"),), str(tmp_path / "here"))).ok
    for folder in ("remote", "here"):
        assert len(os.listdir(tmp_path / folder)) == 2, "the file, and that of a process that lives"


@pytest.fixture
def small_disk(tmp_path: Path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_on_the_host_is_told_and_leaves_the_old_file(
    way, small_disk: Path, tmp_path: Path
) -> None:
    (small_disk / "file").write_text("old")
    (tmp_path / "file").write_bytes(os.urandom(3_000_000))
    (result,) = perform([way.host()], Push((str(tmp_path / "file"),), str(small_disk)))
    assert result.outcome is Outcome.FAILED
    if "internal-sftp" not in (way.folder / "config").read_text().split("ForceCommand")[-1]:
        assert "No space left on device" in result.reason
    assert tree_of(small_disk) == {"file": (0o644, b"old")}


def test_a_full_disk_here_is_told_and_leaves_the_old_file(way, small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "file").write_text("old")
    (tmp_path / "file").write_bytes(os.urandom(3_000_000))
    (result,) = perform([way.host()], Pull((str(tmp_path / "file"),), str(small_disk)))
    assert (result.outcome, "no space left on device" in result.reason) == (Outcome.ERROR, True)
    assert tree_of(small_disk) == {"file": (0o644, b"old")}


_FOR_EVER = """
import sys
from paramgmt_tasks import Fleet, Host, Settings
from paramgmt_tasks.model import Pull, Push
options = dict(word.split("=", 1) for word in sys.argv[2:])
folder = sys.argv[1]
with Fleet([Host("127.1.0.2", "127.1.0.2", options=options)]) as fleet:
    print("ready", flush=True)
    while True:
        for version in "ab":
            fleet.report(Push((f"{folder}/{version}",), f"{folder}/remote/file"))
            fleet.report(Pull((f"{folder}/{version}",), f"{folder}/here/file"))
"""


#: How often: more find more.
KILLS = int(os.environ.get("PARAMGMT_TEST_KILLS", "15"))


def test_killed_at_any_moment_no_file_is_ever_wrong_and_the_next_run_leaves_no_litter(
    sshd, tmp_path: Path
) -> None:
    whole = set()
    for version in "ab":
        (tmp_path / version).write_bytes(os.urandom(3_000_000))
        whole.add((tmp_path / version).read_bytes())
    for side in ("remote", "here"):
        (tmp_path / side).mkdir()
        shutil.copy(tmp_path / "a", tmp_path / side / "file")
    options = [f"{key}={value}" for key, value in sshd.options().items()]
    moments = random.Random(1)
    for _ in range(KILLS):
        argv = [sys.executable, "-c", _FOR_EVER, str(tmp_path), *options]
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0, 0.25))
            process.send_signal(signal.SIGKILL)
        for side in ("remote", "here"):
            assert (tmp_path / side / "file").read_bytes() in whole
    deadline = time.monotonic() + 10
    while True:  # what the last kill has interrupted ends by itself
        assert perform([sshd.host()], Push((str(tmp_path / "a"),), f"{tmp_path}/remote/file")).ok
        assert perform([sshd.host()], Pull((str(tmp_path / "a"),), f"{tmp_path}/here/file")).ok
        if not litter(tmp_path) or time.monotonic() > deadline:
            break
    assert litter(tmp_path) == []


def test_a_file_that_changes_while_it_is_read_is_told(sshd, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_bytes(bytes(2_000_000))
    (tmp_path / "there").write_text("old")
    scan = local_tree.scan

    def late(*args: object) -> object:
        tree = scan(*args)  # type: ignore[arg-type]
        (tmp_path / "file").write_bytes(bytes(1_000_000))
        return tree

    monkeypatch.setattr(local_tree, "scan", late)
    (result,) = perform([sshd.host()], Push((str(tmp_path / "file"),), str(tmp_path / "there")))
    assert "changed while it was read" in result.stderr.decode()
    assert not result.ok
    assert (tmp_path / "there").read_text() == "old"


@pytest.mark.parametrize("operation", [Push, Pull])
def test_a_transfer_that_takes_too_long_is_timed_out_and_leaves_nothing(
    start_sshd, tmp_path: Path, operation
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "tar").write_text("#!/bin/sh\nexec sleep 20\n")
    (tools / "tar").chmod(0o755)
    for name, text in (("file", "new"), ("there", "old")):
        (tmp_path / name).write_text(text)
    sshd = start_sshd(f"SetEnv PATH={tools}:/usr/bin:/bin")
    (result,) = perform(
        [sshd.host()], operation((str(tmp_path / "file"),), str(tmp_path / "there")), timeout=0.5
    )
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "timed out after 0.5 s")
    assert (tmp_path / "there").read_text() == "old"


@pytest.mark.parametrize("size", [1000, 5_000_000])
def test_what_was_corrupted_on_the_way_is_named_and_not_kept(start_sshd, tmp_path: Path, size: int) -> None:
    real = shutil.which("tar")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "tar").write_text(
        "#!/bin/sh\ncase $* in\n"
        f'*-x*) {real} "$@" && printf x | dd of=$2/files/file bs=1 conv=notrunc 2>/dev/null ;;\n'
        f'*-c*) {real} "$@" | sed s/AAAA/BBBB/ ;;\nesac\n'
    )
    (tmp_path / "tools" / "tar").chmod(0o755)
    sshd = start_sshd(f"SetEnv PATH={tmp_path}/tools:/usr/bin:/bin")
    (tmp_path / "file").write_bytes(b"A" * size)
    for operation, said in (
        (Push, "file: the checksum differs"),
        (Pull, "file: the checksum differs, it may"),
    ):
        (tmp_path / "there").write_text("old")
        work = operation((str(tmp_path / "file"),), str(tmp_path / "there"))
        (result,) = perform([sshd.host()], work)
        assert result.outcome is Outcome.FAILED
        assert result.reason.startswith(said)
        assert (tmp_path / "there").read_text() == "old"
    how = Copying(verify=False)
    assert perform([sshd.host()], Push((str(tmp_path / "file"),), str(tmp_path / "there"), how)).ok


# -- hosts that lie


@pytest.mark.parametrize(
    "entry",
    ["../escaped", "/tmp/paramgmt-escaped", "wanted/../../escaped", "other"],
)
def test_a_host_that_sends_what_was_not_asked_for_writes_nothing(
    start_sshd, tmp_path: Path, entry: str
) -> None:
    (tmp_path / "wanted").write_text("text")
    (tmp_path / "back").mkdir()
    sshd = start_sshd(f"SetEnv PATH={lying_tar(tmp_path, entry)}:/usr/bin:/bin")
    (result,) = perform([sshd.host()], Pull((f"{tmp_path}/wanted",), str(tmp_path / "back")))
    assert result.outcome is Outcome.FAILED
    assert tree_of(tmp_path / "back") == {}
    assert not (tmp_path / "escaped").exists()
    assert not Path("/tmp/paramgmt-escaped").exists()


def test_a_host_cannot_write_through_a_link_it_has_sent(start_sshd, tmp_path: Path) -> None:
    for folder in ("wanted", "back", "outside"):
        (tmp_path / folder).mkdir()
    tools = lying_tar(tmp_path, f"link:{tmp_path}/outside", "wanted/link/escaped")
    sshd = start_sshd(f"SetEnv PATH={tools}:/usr/bin:/bin")
    for _ in range(2):  # the second time the link may be there
        perform([sshd.host()], Pull((f"{tmp_path}/wanted",), str(tmp_path / "back"), Copying(verify=False)))
        assert tree_of(tmp_path / "outside") == {}
