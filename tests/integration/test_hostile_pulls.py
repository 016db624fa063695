"""Pulls from hosts that lie, over tar and over SFTP: they write below the destination, and bounds hold."""

import gzip
import io
import os
import resource
import stat
import struct
import tarfile
import threading
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from trees import litter, tree_of

from paramgmt_tasks import Fleet, HostResult, Outcome, Settings
from paramgmt_tasks.model.operations import Copying, Pull, Push
from paramgmt_tasks.transfer.local_files import PullSink
from paramgmt_tasks.transfer.tar_reader import Unpacker

pytest.importorskip("asyncssh")

import asyncssh
from faulty import FaultyServers

SUMS = b"paramgmt-sums\nnone\nend 0\n"


@pytest.fixture
def back(tmp_path: Path) -> Path:
    (tmp_path / "back").mkdir()
    return tmp_path / "back"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (tmp_path / "victim").mkdir()
    return tmp_path / "victim"


def pull(
    faulty: FaultyServers,
    ports: int | list[int],
    source: str,
    to: Path | str,
    how: Copying = Copying(),  # noqa: B008
    **settings: Any,
) -> list[HostResult]:
    hosts = [faulty.host(port) for port in ([ports] if isinstance(ports, int) else ports)]
    with Fleet(hosts, Settings(connect_timeout=5, **settings)) as fleet:
        return fleet.report(Pull((source,), str(to), how)).results


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(data), 0o755
    return info, data


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as file:
        for info, data in members:
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, kind=tarfile.SYMTYPE, link=target)


def answering(*answers: bytes | None) -> Callable[[Any], Awaitable[None]]:
    """A host that answers one pull after the other, with these streams; None: it has no tar."""
    left = list(answers)

    async def run(process: Any) -> None:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer is None:
            process.stdout.write(b"paramgmt-ready without\n")
        else:
            process.stdout.write(b"paramgmt-ready with \n" + answer)
        process.exit(0)

    return run


# -- links


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The root of a host with SFTP, on which is `conf/d/keys`."""
    (tmp_path / "there" / "conf" / "d").mkdir(parents=True)
    (tmp_path / "there" / "conf" / "d" / "keys").write_text("evil")
    (tmp_path / "there" / "keys").write_text("evil")
    return tmp_path / "there"


def sftp_at(folder: Path) -> Callable[[Any], Any]:
    return lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder))


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("way", ["tar", "sftp"])
def test_a_link_that_one_pull_leaves_is_not_followed_by_the_next(
    faulty, back: Path, victim: Path, there: Path, way: str, unsafe: bool
) -> None:
    planted = tar(link("conf/d", str(victim)), link("conf/e", "../../victim")) + SUMS
    second = tar(member("conf/d/keys", b"evil"), member("conf/e/keys", b"evil")) + SUMS
    run = answering(planted, second if way == "tar" else None)
    port = faulty.ssh(run, sftp_factory=sftp_at(there))
    how = Copying(unsafe_links=unsafe)
    (first,) = pull(faulty, port, "conf", back, how)
    assert (first.outcome, (back / "conf" / "d").is_symlink()) == (Outcome.OK, unsafe)
    assert first.stderr.decode().splitlines() == (
        []
        if unsafe
        else [
            f"conf/d: left out: a symbolic link to '{victim}'; see --unsafe-links",
            "conf/e: left out: a symbolic link to '../../victim'; see --unsafe-links",
        ]
    )
    (result,) = pull(faulty, port, "conf", back, how)
    assert os.listdir(victim) == []
    if unsafe:
        assert result.outcome is Outcome.ERROR
        assert "conf/d: is a symbolic link here, which is neither followed nor replaced" in result.reason
    else:
        assert (result.outcome, (back / "conf" / "d" / "keys").read_text()) == (Outcome.OK, "evil")


@pytest.mark.parametrize("way", ["tar", "sftp"])
@pytest.mark.parametrize("unsafe", [False, True])
def test_a_link_does_not_take_the_place_of_what_was_asked_for(
    faulty, back: Path, victim: Path, there: Path, way: str, unsafe: bool
) -> None:
    planted = tar(link("keys", str(victim))) + SUMS
    run = answering(planted, tar(member("keys", b"evil")) + SUMS if way == "tar" else None)
    port = faulty.ssh(run, sftp_factory=sftp_at(there))
    (first,) = pull(faulty, port, "keys", f"{back}/?HOST", Copying(unsafe_links=unsafe))
    assert (first.outcome, first.reason) == (
        Outcome.FAILED,
        "'keys': sent as a symbolic link, and followed by nobody",
    )
    (second,) = pull(faulty, port, "keys", f"{back}/?HOST", Copying(unsafe_links=unsafe))
    assert second.ok
    assert os.listdir(victim) == []
    assert (back / f"port{port}").read_text() == "evil"


@pytest.mark.parametrize("order", [0, 1])
def test_a_link_of_one_host_is_not_followed_for_another(
    faulty, back: Path, victim: Path, there: Path, order: int
) -> None:
    planted = tar(link("conf/d", "../conf/e"), link("conf/x", "../../victim")) + SUMS
    planting = faulty.ssh(answering(planted))
    through = faulty.ssh(answering(tar(member("conf/d/keys", b"1"), member("conf/x/keys", b"2")) + SUMS))
    by_sftp = faulty.ssh(answering(None), sftp_factory=sftp_at(there))
    ports = [planting, through, by_sftp]
    for _ in range(2):
        pull(faulty, ports[order:] + ports[:order], "conf", back, sequential=True)
    assert os.listdir(victim) == []
    assert not (back / "conf" / "e").exists(), "a link within is not followed either"
    assert not (back / "conf" / "x").is_symlink()
    assert litter(back) == []


@pytest.mark.parametrize("source", ["neighbour", "*"])
def test_a_link_does_not_lead_to_a_neighbour_that_is_called_as_what_was_pulled(
    faulty, back: Path, source: str
) -> None:
    """What is pulled gets another name here, so that above it there is something else."""
    (back / "neighbour").mkdir()
    (back / "neighbour" / "keys").write_text("good")
    links = {
        "in": "../neighbour/keys",
        "deep/er": "../../neighbour/keys",
        "self": "keys",
        "deep/ok": "../keys",
    }
    stream = tar(*[link(f"neighbour/{name}", target) for name, target in links.items()]) + SUMS
    (result,) = pull(faulty, faulty.ssh(answering(stream)), source, f"{back}/new")
    assert result.ok
    assert sorted(str(path.relative_to(back / "new")) for path in (back / "new").rglob("*")) == [
        "deep",
        "deep/ok",
        "self",
    ]
    assert result.stderr.count(b"left out: a symbolic link to '../") == 2


def test_a_link_to_where_the_user_wants_it_is_followed(faulty, back: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "folder").mkdir()
    (back / "file").symlink_to("../real")
    (back / "folder").symlink_to("../folder")
    port = faulty.ssh(answering(tar(member("f", b"new")) + SUMS))
    assert pull(faulty, port, "f", back / "file")[0].ok
    assert pull(faulty, port, "f", back / "folder")[0].ok
    assert (back / "file").is_symlink()
    assert (tmp_path / "real").read_text() == (tmp_path / "folder" / "f").read_text() == "new"


@pytest.mark.parametrize("unsafe", [False, True])
def test_links_of_an_honest_host_are_kept_or_noted_on_every_engine(
    sshd, engine_settings: Settings, back: Path, tmp_path: Path, unsafe: bool
) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    for name, target in (("near", "sub/file"), ("sub/up", ".."), ("sub/far", "/etc/passwd"), ("out", "../x")):
        (tree / name).symlink_to(target)
    with Fleet(sshd.hosts(2), engine_settings) as fleet:
        report = fleet.pull(f"{tree}", f"{back}/?HOST", Copying(unsafe_links=unsafe))
    for result in report:
        assert (result.outcome, result.return_code, result.reason) == (Outcome.OK, 0, "")
        noted = sorted(line.partition(":")[0] for line in result.stderr.decode().splitlines())
        assert noted == ([] if unsafe else ["tree/out", "tree/sub/far"])
        kept = {"near", "sub/up", *(("sub/far", "out") if unsafe else ())}
        found = tree_of(back / result.host.entry)
        assert {name for name, what in found.items() if isinstance(what, str)} == kept


# -- what is no regular file


@pytest.mark.parametrize("way", ["tar", "sftp"])
def test_what_is_no_regular_file_stays(faulty, back: Path, there: Path, way: str) -> None:
    os.mkfifo(back / "keys")
    (back / "to pipe").symlink_to("keys")
    run = answering(tar(member("keys", b"evil")) + SUMS if way == "tar" else None)
    port = faulty.ssh(run, sftp_factory=sftp_at(there))
    # Not those of this machine: where this goes wrong, they are gone.
    for destination in (back, back / "keys", back / "to pipe"):
        (result,) = pull(faulty, port, "keys", destination)
        assert result.outcome is Outcome.ERROR
        assert result.reason.endswith(": not a regular file here, and never replaced")
    assert stat.S_ISFIFO(os.lstat(back / "keys").st_mode)
    assert sorted(os.listdir(back)) == ["keys", "to pipe"]


@pytest.mark.parametrize("way", ["tar", "sftp"])
def test_a_link_or_folder_here_is_not_replaced_by_a_file(faulty, back: Path, there: Path, way: str) -> None:
    (back / "conf" / "d" / "keys").mkdir(parents=True)
    (back / "aim").write_text("old")
    (back / "keys").symlink_to("aim")
    folders = tar(member("conf/d/keys", b"evil")) + SUMS
    files = tar(member("keys", b"evil")) + SUMS
    run = answering(*((folders, files) if way == "tar" else (None,)))
    port = faulty.ssh(run, sftp_factory=sftp_at(there))
    (result,) = pull(faulty, port, "conf", back)
    assert (result.outcome, result.reason) == (Outcome.ERROR, "conf/d/keys: is a folder here")
    (result,) = pull(faulty, port, "keys", back)
    assert result.outcome is Outcome.ERROR
    assert result.reason == "keys: is a symbolic link here, which is neither followed nor replaced"
    assert (back / "aim").read_text() == "old"
    assert litter(back) == []


# -- refused, and nothing left


@pytest.mark.parametrize("kind", ["L", "K", "x", "0", "5"])
def test_a_negative_size_is_refused_and_others_go_on(faulty, back: Path, kind: str) -> None:
    block = bytearray(tarfile.TarInfo("f").tobuf(tarfile.GNU_FORMAT))
    block[124:136], block[156:157], block[148:156] = b"\xff" * 12, kind.encode(), b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    bad = faulty.ssh(answering(tar(member("f/new/folder/x", b"x"))[:1024] + bytes(block) + bytes(2048)))
    good = faulty.ssh(answering(tar(member("f/good", b"text")) + SUMS))
    first, second = pull(faulty, [bad, good], "f", back, timeout=10)
    assert first.outcome is Outcome.FAILED
    assert first.reason.startswith("not a tar archive: ")
    assert second.ok
    assert tree_of(back) == {"f": (0o755, None), "f/good": (0o755, b"text")}


def test_a_name_too_deep_leaves_no_folder(faulty, back: Path) -> None:
    port = faulty.ssh(answering(tar(member("/".join(["f", *"d" * 1000]), b"x")) + SUMS))
    (result,) = pull(faulty, port, "f", back)
    assert (result.outcome, os.listdir(back)) == (Outcome.FAILED, [])
    assert result.reason.endswith("more than 250 folders deep")


def test_a_pull_of_all_leaves_the_mode_of_the_destination(faulty, back: Path, there: Path) -> None:
    back.chmod(0o750)
    (there / "conf").chmod(0o777)
    run = answering(tar(member(".", kind=tarfile.DIRTYPE), member("./x", b"")) + SUMS, None)
    port = faulty.ssh(run, sftp_factory=sftp_at(there))
    for _ in ("tar", "sftp"):
        assert pull(faulty, port, "conf/.", back)[0].ok
        assert stat.S_IMODE(back.stat().st_mode) == 0o750


@pytest.mark.parametrize("code", [0, 1])
def test_of_what_a_host_says_on_standard_error_the_beginning_is_kept(faulty, back: Path, code: int) -> None:
    async def run(process: Any) -> None:
        process.stdout.write(b"paramgmt-ready with \n" + tar(member("f", b"x")))
        for _ in range(50):
            process.stderr.write(b"tar: no\n" * 8192)
            await process.stderr.drain()
        process.stdout.write(SUMS[:-2] + b"%d\n" % code)
        process.exit(code)

    (result,) = pull(faulty, faulty.ssh(run), "f", back)
    assert result.ok is (code == 0)
    assert len(result.stderr) < 70_000
    assert (back / "f").read_bytes() == b"x"
    if code:
        assert result.reason.startswith("no (and 819")


def test_a_bomb_lets_others_go_on(faulty, back: Path) -> None:
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = bytearray(member("f")[0].tobuf(tarfile.GNU_FORMAT))
    head[124:136], head[148:156] = b"%011o\0" % 2**32, b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    bomb = packing.compress(bytes(head)) + packing.compress(bytes(100_000_000)) + packing.flush()

    async def run(process: Any) -> None:
        process.stdout.write(b"paramgmt-ready with gzip\n" + bomb)
        await process.stdout.drain()
        process.exit(0)

    port, good = faulty.ssh(run), faulty.ssh(answering(tar(member("f", b"x")) + SUMS))
    hosts = [faulty.host(port), *[faulty.host(good)] * 3]
    with Fleet(hosts, Settings(connect_timeout=20, attempts=1)) as fleet:
        run = fleet.perform(Pull(("f",), f"{back}/?HOST", Copying(compress=True)))
        ends = [result.outcome for result in run]
    assert ends == [Outcome.OK, Outcome.OK, Outcome.OK, Outcome.LOST], "the bomb is the last"
    assert sorted(os.listdir(back)) == [f"port{good}"]


def test_many_files_let_others_go_on_while_they_are_kept_or_removed(
    faulty, back: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for the host that comes last, so one thread alone would wait for ever."""
    done = threading.Event()
    waited: dict[str, bool] = {}
    keep, close = Unpacker.commit, Unpacker.close

    def slow_keep(unpacker: Unpacker, *args: Any) -> None:
        if len(unpacker.files) > 1:
            waited["keep"] = done.wait(10)
        keep(unpacker, *args)

    def slow_close(unpacker: Unpacker) -> None:
        if len(unpacker.files) > 1 and "keep" not in waited:
            waited["close"] = done.wait(10)
        close(unpacker)

    monkeypatch.setattr(Unpacker, "commit", slow_keep)
    monkeypatch.setattr(Unpacker, "close", slow_close)
    many = [member(f"d/{number}") for number in range(150)]

    async def last(process: Any) -> None:
        process.stdout.write(b"paramgmt-ready with \n" + tar(member("d/f", b"x")) + SUMS)
        process.exit(0)

    for answer, called in ((tar(*many) + SUMS, "keep"), (tar(*many) + b"x" * 512, "close")):
        done.clear()
        waited.clear()
        hosts = [faulty.host(faulty.ssh(run)) for run in (answering(answer), last)]
        with Fleet(hosts, Settings(connect_timeout=20, attempts=1)) as fleet:
            for result in fleet.perform(Pull(("d",), f"{back}/?HOST")):
                if result.host == hosts[1]:
                    done.set()
        assert waited == {called: True}


def test_hashing_what_is_large_here_lets_others_go_on(
    faulty, back: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the host that comes last, so one thread alone would wait for ever."""
    monkeypatch.setattr("paramgmt_tasks.transfer.over_tar._BIG", 0)
    done = threading.Event()
    waited: list[bool] = []

    def digest(path: str) -> str:
        waited.append(done.wait(10))
        return "0" * 64

    monkeypatch.setattr("paramgmt_tasks.transfer.local_tree._digest", digest)
    (back / "f").write_text("x")
    known = b"paramgmt-ready with \nfolder\n" + b"0" * 64 + b"  ./f\n"

    async def run(process: Any) -> None:
        process.stdout.write(known)
        await process.stdin.read()
        process.exit(0)

    hosts = [faulty.host(faulty.ssh(answer)) for answer in (run, run, answering(None))]
    with Fleet(hosts, Settings(connect_timeout=20, attempts=1)) as fleet:
        results = {}
        for result in fleet.perform(Push((f"{back}/f",), "d", Copying(changed=True))):
            results[result.host] = result.outcome
            if result.host == hosts[2]:
                done.set()
    assert waited == [True], "once for all hosts"
    assert results == dict(zip(hosts, (Outcome.OK, Outcome.OK, Outcome.FAILED), strict=True))


@pytest.mark.parametrize("lines", [1, 2, 100])
def test_a_host_has_no_more_lines_of_sums_than_names(faulty, back: Path, lines: int) -> None:
    """A name has a line and those in it, as openssl prints it."""
    (back / "new\nline").write_text("x")
    known = b"paramgmt-ready with \nfolder\n" + b"\n" * lines

    async def run(process: Any) -> None:
        process.stdout.write(known)
        await process.stdin.read()
        process.exit(0)

    with Fleet([faulty.host(faulty.ssh(run))], Settings(connect_timeout=5)) as fleet:
        (result,) = fleet.report(Push((f"{back}/new\nline",), "d", Copying(changed=True))).results
    more = "the host says more than it was asked for"
    assert (result.reason == more) is (lines == 100)


def test_headers_let_others_go_on(faulty, back: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a few bytes decode to is many headers, each of which makes a file."""
    monkeypatch.setattr("paramgmt_tasks.transfer.local_files._TURN", 0.0)
    turns: list[int] = []
    feed = PullSink.feed

    def counted(landing: PullSink, pieces: list[Any]) -> Any:
        for wait in feed(landing, pieces):
            turns.append(landing._unpacker.count)
            yield wait

    monkeypatch.setattr(PullSink, "feed", counted)
    packed = gzip.compress(tar(*[member(f"d/{number}") for number in range(200)]) + SUMS)

    async def run(process: Any) -> None:
        process.stdout.write(b"paramgmt-ready with gzip\n" + packed)
        process.exit(0)

    (result,) = pull(faulty, faulty.ssh(run), "d", back, Copying(compress=True))
    assert result.ok
    assert set(turns) >= set(range(1, 201))


@pytest.mark.parametrize("way", ["pull", "push"])
def test_a_codec_that_nobody_asked_for_is_the_hosts_failure(faulty, back: Path, way: str) -> None:
    async def run(process: Any) -> None:
        process.stdout.write(b"paramgmt-ready with lz4\n")
        process.exit(0)

    (back / "f").write_text("x")
    operation = Pull(("f",), f"{back}/") if way == "pull" else Push((f"{back}/f",), "f")
    with Fleet([faulty.host(faulty.ssh(run))], Settings(connect_timeout=5)) as fleet:
        (result,) = fleet.report(operation).results
    assert (result.outcome, result.reason) == (
        Outcome.FAILED,
        "compressed with 'lz4', which is not known here",
    )


# -- SFTP that lies


class Sftp:
    """A server without tar, and with SFTP in bytes: `answer` gets the kind and the rest of each request."""

    def __init__(self, faulty: FaultyServers, answer: Callable[[int, bytes], bytes]) -> None:
        self.requests = 0

        class Session(asyncssh.SSHServerSession[bytes]):
            def connection_made(session, channel: Any) -> None:
                session.channel, session.come, session.by_sftp = channel, b"", False

            def exec_requested(session, command: str) -> bool:
                return True

            def subsystem_requested(session, subsystem: str) -> bool:
                session.by_sftp = True
                return True

            def session_started(session) -> None:
                if not session.by_sftp:
                    session.channel.write(b"paramgmt-ready without\n")
                    session.channel.exit(0)

            def data_received(session, data: bytes, kind: object) -> None:
                session.come += data
                while len(session.come) >= 4 and len(session.come) >= (
                    end := 4 + int.from_bytes(session.come[:4], "big")
                ):
                    request, session.come = session.come[4:end], session.come[end:]
                    if request[0] == 1:
                        session.channel.write(packet(2, struct.pack(">I", 3)))
                    else:
                        self.requests += 1
                        session.channel.write(answer(request[0], request[1:]))

        class Server(asyncssh.SSHServer):
            def session_requested(self) -> Any:
                return Session()

        self.port = faulty.ssh(server_factory=Server, process_factory=None)


OPEN, CLOSE, READ, OPENDIR, READDIR, FSTAT = 3, 4, 5, 11, 12, 8
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
FOLDER, REGULAR = 0o40755, 0o100644


def packet(kind: int, data: bytes) -> bytes:
    return struct.pack(">IB", len(data) + 1, kind) + data


def text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def attributes(size: int = 0, mode: int = REGULAR) -> bytes:
    return struct.pack(">IQI", 5, size, mode)


def lying(
    mode: int = REGULAR,
    size: int = 0,
    data: Callable[[bytes], bytes] | None = None,
    names: Callable[[], bytes] | None = None,
    attrs: bytes = b"",
) -> Callable[[int, bytes], bytes]:
    """An answer to each request: as of one file, or of a folder, with what is given instead."""

    def answer(kind: int, body: bytes) -> bytes:
        number = body[:4]
        if kind in (OPEN, OPENDIR):
            return packet(HANDLE, number + text(b"h"))
        if kind == READ and data is not None:
            return data(body)
        if kind == READDIR and names is not None:
            return packet(NAME, number + names())
        if kind in (READ, READDIR):
            return packet(STATUS, number + struct.pack(">I", 1) + text(b"end") + text(b""))
        if kind == CLOSE:
            return packet(STATUS, number + struct.pack(">I", 0) + text(b"") + text(b""))
        return packet(ATTRS, number + (attrs or attributes(size, mode)))

    return answer


NONSENSE = {
    "a packet of 16 MB": lambda kind, body: struct.pack(">IB", 0xFFFFFF, ATTRS) + body[:4],
    "a packet of nothing": lambda kind, body: struct.pack(">I", 0),
    "attributes without number": lying(attrs=struct.pack(">II", 0x80000000, 2**32 - 1)),
    "names without number": lying(FOLDER, names=lambda: struct.pack(">I", 2**32 - 1)),
    "a name that breaks off": lying(FOLDER, names=lambda: struct.pack(">II", 1, 2**20 - 1) + b"x"),
    "another answer": lambda kind, body: packet(HANDLE, body[:4] + text(b"h")),
    "a name for data": lying(size=5, data=lambda body: packet(NAME, body[:4] + struct.pack(">I", 0))),
    "data of nothing": lying(size=5, data=lambda body: packet(DATA, body[:4] + text(b""))),
    "more than was asked for": lying(size=5, data=lambda body: packet(DATA, body[:4] + text(b"x" * 90_000))),
    "answers to nothing": lambda kind, body: packet(ATTRS, b"\xff" * 4 + attributes()) * 100,
}


@pytest.mark.parametrize("what", NONSENSE)
def test_an_sftp_server_that_sends_nonsense_is_told_and_given_up(faulty, back: Path, what: str) -> None:
    server = Sftp(faulty, NONSENSE[what])
    port = server.port
    (result,) = pull(faulty, port, "f", back, attempts=1)
    assert result.outcome is Outcome.FAILED
    assert result.reason.startswith("the host's SFTP server sends ")
    assert server.requests < 100
    assert os.listdir(back) == []


def test_a_size_that_is_a_lie_takes_no_memory(faulty, back: Path) -> None:
    server = Sftp(faulty, lying(size=2**42))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (result,) = pull(faulty, server.port, "f", back)
    assert result.ok, "it ends where it ends"
    assert (back / "f").read_bytes() == b""
    assert server.requests < 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_list_of_no_names_is_the_end_of_a_folder(faulty, back: Path) -> None:
    server = Sftp(faulty, lying(FOLDER, names=lambda: struct.pack(">I", 0)))
    (result,) = pull(faulty, server.port, "f", back)
    assert (result.outcome, os.listdir(back / "f")) == (Outcome.OK, [])
    assert server.requests < 20


def test_an_endless_folder_is_given_up(faulty, back: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramgmt_tasks.transfer.sftp_client._NAMES", 1_000_000)
    entry = text(b"n" * 200) + text(b"") + attributes()
    server = Sftp(faulty, lying(FOLDER, names=lambda: struct.pack(">I", 100) + entry * 100))
    (result,) = pull(faulty, server.port, "f", back)
    assert (result.outcome, result.reason) == (Outcome.FAILED, "f: more names than there is room for")
    assert server.requests < 60


def test_pieces_that_come_short_make_a_whole_file(faulty, back: Path) -> None:
    content = os.urandom(100_000)

    def data(body: bytes) -> bytes:
        at, count = struct.unpack(">QI", body[9:21])
        piece = content[at : at + min(count, 1 + at % 5000)]
        if not piece:
            return packet(STATUS, body[:4] + struct.pack(">I", 1) + text(b"end") + text(b""))
        return packet(DATA, body[:4] + text(piece))

    for size in (0, 50_000, 100_000, 200_000):
        (result,) = pull(faulty, Sftp(faulty, lying(size=size, data=data)).port, "f", back / str(size))
        assert result.ok
        assert (back / str(size)).read_bytes() == content


def test_sftp_that_stalls_is_timed_out(faulty, back: Path) -> None:
    answers = {OPEN: lying(size=9), 17: lying(size=9)}
    server = Sftp(faulty, lambda kind, body: answers[kind](kind, body) if kind in answers else b"")
    (result,) = pull(faulty, server.port, "f", back, timeout=1)
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "timed out after 1 s")
    assert os.listdir(back) == []


def test_nothing_more_is_asked_of_a_server_that_stalls_before_a_file_is_pushed(faulty, back: Path) -> None:
    """When it is asked what others have left in the folder."""
    asked: list[int] = []

    def answer(kind: int, body: bytes) -> bytes:
        asked.append(kind)
        if kind == OPENDIR:
            return b""
        return packet(STATUS, body[:4] + struct.pack(">I", 2) + text(b"") * 2)

    (back / "f").write_text("x")
    with Fleet([faulty.host(Sftp(faulty, answer).port)], Settings(connect_timeout=5, timeout=1)) as fleet:
        (result,) = fleet.report(Push((f"{back}/f",), "f")).results
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "timed out after 1 s")
    assert asked[-1] == OPENDIR


@pytest.mark.parametrize("name", [b"..", b"../x", b"/x", b"a/b", b"a\0b", b".paramgmt-pull-x", b"n" * 300])
def test_names_over_sftp_stay_in_their_folder(faulty, back: Path, name: bytes) -> None:
    given = []

    def answer(kind: int, body: bytes) -> bytes:
        if kind == READDIR and not given:
            given.append(name)
            return packet(NAME, body[:4] + struct.pack(">I", 1) + text(name) + text(b"") + attributes())
        mode = FOLDER if body[4:].endswith(b"f") else REGULAR
        return lying(mode)(kind, body)

    (result,) = pull(faulty, Sftp(faulty, answer).port, "f", back)
    assert (result.ok, [path for path in back.rglob("*") if path.name != "f"]) == (name == b"..", [])
