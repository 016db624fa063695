"""Streams of hosts that are not to be trusted: no file under its name too early, nothing elsewhere."""

import contextlib
import io
import itertools
import os
import random
import shutil
import socket
import tarfile
from pathlib import Path

import pytest

from paramgmt_tasks.transfer.errors import LocalError, Refused
from paramgmt_tasks.transfer.paths import local_destination
from paramgmt_tasks.transfer.tar_parser import TRAILER
from paramgmt_tasks.transfer.tar_reader import Unpacker


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
    unpacker.commit(unpacker.files)
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
    unpacker.feed(stream(entry("link", kind=tarfile.SYMTYPE, link="other"), entry("link/x", b"x")))
    unpacker.commit(unpacker.files)
    assert unpacker.problems == ["link: is a folder here"]
    assert (tmp_path / "link" / "x").read_text() == "x"


def test_links_that_lead_to_what_the_host_may_write_are_kept(tmp_path: Path, unpacker: Unpacker) -> None:
    links = {
        "a": ".",
        "b": "x/y",
        "c": "./x//y/",
        "x/d": "../c",
        "x/y/e": "../..",
        "x/y/f": "../../not/there",
        "x/g": "three...dots/..hidden",
    }
    unpacker.feed(stream(*(entry(name, kind=tarfile.SYMTYPE, link=link) for name, link in links.items())))
    unpacker.commit(unpacker.files)
    assert {name: os.readlink(tmp_path / name) for name in links} == links
    assert (unpacker.notes, unpacker.problems, unpacker.failures) == ([], [], [])


OUTSIDE = {
    "a": "/etc/passwd",
    "b": "..",
    "c": "../x",
    "x/d": "../../x",
    "x/e": "y/../../..",
    "x/f": "./../../x",
    # Where these lead depends on what else is a link, so none is believed.
    "x/g": "up/..",
    "x/y/h": "../up/../z",
    "i": "x/./../y",
}


@pytest.mark.parametrize("unsafe", [False, True])
def test_links_that_lead_elsewhere_are_left_out_unless_asked_for(tmp_path: Path, unsafe: bool) -> None:
    unpacker = Unpacker(str(tmp_path), lambda parts: parts, unsafe_links=unsafe)
    unpacker.feed(stream(*(entry(name, kind=tarfile.SYMTYPE, link=link) for name, link in OUTSIDE.items())))
    unpacker.commit(unpacker.files)
    unpacker.close()
    made = {name: os.readlink(tmp_path / name) for name in OUTSIDE if (tmp_path / name).is_symlink()}
    assert made == (OUTSIDE if unsafe else {})
    assert [note.partition(":")[0] for note in unpacker.notes] == ([] if unsafe else list(OUTSIDE))
    assert (unpacker.problems, unpacker.failures) == ([], [])


def test_a_chain_of_links_leads_no_further_than_each_of_them(tmp_path: Path) -> None:
    """All links of up to three parts in three folders, resolved by the kernel."""
    inside = tmp_path / "outside" / "inside"
    inside.mkdir(parents=True)
    steps = ["..", "a", "l", "m", "."]
    targets = ["/".join(parts) for count in (1, 2, 3) for parts in itertools.product(steps, repeat=count)]
    for first, second in random.Random(1).sample(list(itertools.product(targets, repeat=2)), 120):
        unpacker = Unpacker(str(inside), lambda parts: parts)
        unpacker.feed(
            stream(
                entry("a/a/file", b""),
                entry("a/a/l", kind=tarfile.SYMTYPE, link=first),
                entry("a/l", kind=tarfile.SYMTYPE, link=second),
                entry("l", kind=tarfile.SYMTYPE, link="a/a/l"),
                entry("m", kind=tarfile.SYMTYPE, link=first),
                entry("a/m", kind=tarfile.SYMTYPE, link=second),
            )
        )
        unpacker.commit(unpacker.files)
        unpacker.close()
        for parent, folders, files in os.walk(inside):
            for name in (*folders, *files):
                led = os.path.realpath(os.path.join(parent, name))
                assert led == str(inside) or led.startswith(f"{inside}/"), (first, second, parent, name)
        shutil.rmtree(inside)
        inside.mkdir()


def test_a_link_leads_only_to_what_was_asked_for(tmp_path: Path) -> None:
    def wanted(parts: tuple[str, ...]) -> tuple[str, ...]:
        if parts[:1] not in (("conf",), ("data",)):
            raise Refused("not asked for")
        return parts

    unpacker = Unpacker(str(tmp_path), wanted, own=lambda parts: len(parts) < 2)
    links = {"conf/a": "../data/x", "conf/b": "../.ssh", "conf/c": "..", "conf/d": "../conf"}
    unpacker.feed(stream(*(entry(name, kind=tarfile.SYMTYPE, link=link) for name, link in links.items())))
    unpacker.commit(unpacker.files)
    unpacker.close()
    assert sorted(os.listdir(tmp_path / "conf")) == ["a", "d"]
    with pytest.raises(Refused, match=r"conf.*symbolic link"):
        Unpacker(str(tmp_path), wanted, own=lambda parts: len(parts) < 2, unsafe_links=True).feed(
            stream(entry("conf", kind=tarfile.SYMTYPE, link="data"))
        )


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_does_not_lead_through_one_that_was_there_before(tmp_path: Path, overwrite: bool) -> None:
    """Which the user may have made, to anywhere; but for those that the same pull makes, and replaces."""
    inside = tmp_path / "inside"
    (inside / "old").mkdir(parents=True)
    (inside / "old" / "out").symlink_to("../..")
    (inside / "lib").symlink_to("lib64")
    links = {"a": "old/out/x", "b": "old/out", "c/d": "../old/out", "e": "old", "f": "lib/g", "lib": "lib32"}
    links |= {"h": "new/i", "new": "lib32", "j": "new/i"}
    unpacker = Unpacker(str(inside), lambda parts: parts)
    unpacker.feed(stream(*(entry(name, kind=tarfile.SYMTYPE, link=link) for name, link in links.items())))
    unpacker.commit(unpacker.files, overwrite)
    unpacker.close()
    made = {name for name in links if (inside / name).is_symlink()}
    assert made == {"e", "h", "j", "lib", "new"} | ({"f"} if overwrite else set())
    assert [note.partition(":")[0] for note in unpacker.notes] == [
        "a",
        "b",
        "c/d",
        *([] if overwrite else "f"),
    ]
    assert os.readlink(inside / "lib") == ("lib32" if overwrite else "lib64")


# -- what is there already


def kinds(folder: Path) -> dict[str, Path]:
    """What is no regular file, by what it is."""
    made = {kind: folder / kind for kind in ("pipe", "socket", "folder", "link", "dangling")}
    (folder / "aim").write_text("aim")
    os.mkfifo(made["pipe"])
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(made["socket"]))
    made["folder"].mkdir()
    made["link"].symlink_to("aim")
    made["dangling"].symlink_to("nothing")
    return made


def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, unpacker: Unpacker) -> None:
    there = kinds(tmp_path)
    before = {kind: os.lstat(path).st_ino for kind, path in there.items()}
    unpacker.feed(stream(*(entry(kind, b"evil") for kind in there), entry("aim", b"new")))
    unpacker.commit(unpacker.files)
    unpacker.close()
    assert {kind: os.lstat(path).st_ino for kind, path in there.items()} == before
    assert [problem.partition(":")[0] for problem in unpacker.problems] == list(there)
    assert (tmp_path / "aim").read_text() == "new", "the others are kept"
    assert sorted(os.listdir(tmp_path)) == sorted([*there, "aim"])


def test_a_link_replaces_a_link_and_nothing_else_that_is_no_file(tmp_path: Path, unpacker: Unpacker) -> None:
    there = kinds(tmp_path)
    unpacker.feed(stream(*(entry(kind, kind=tarfile.SYMTYPE, link="new") for kind in there)))
    unpacker.commit(unpacker.files)
    replaced = [kind for kind, path in there.items() if path.is_symlink() and os.readlink(path) == "new"]
    assert replaced == ["link", "dangling"]


def test_a_destination_is_a_folder_or_a_regular_file_or_nothing_yet(tmp_path: Path) -> None:
    there = kinds(tmp_path)
    assert local_destination(str(there["folder"])) == (str(there["folder"]), None)
    assert local_destination(str(there["link"])) == (str(tmp_path), "aim"), "the user's own link is followed"
    assert local_destination(str(there["dangling"])) == (str(tmp_path), "nothing")
    assert local_destination(str(tmp_path / "new")) == (str(tmp_path), "new")
    assert local_destination("new") == ("", "new")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to pipe").symlink_to("pipe")
    for refused in (there["pipe"], there["socket"], "/dev/null", "/dev/stdout", tmp_path / "to pipe"):
        with pytest.raises(LocalError, match="not a regular file"):
            local_destination(str(refused))
    with pytest.raises(LocalError, match="loop"):
        local_destination(str(tmp_path / "loop"))


def test_the_destination_keeps_its_mode(tmp_path: Path, unpacker: Unpacker) -> None:
    tmp_path.chmod(0o750)
    entries = [entry(".", kind=tarfile.DIRTYPE, mode=0o777), entry("./a", kind=tarfile.DIRTYPE, mode=0o711)]
    unpacker.feed(stream(*entries))
    unpacker.commit(unpacker.files)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path, tmp_path / "a")] == [0o750, 0o711]


def test_what_a_refused_pull_made_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "there" / "empty").mkdir(parents=True)
    (tmp_path / "there" / "file").write_text("old")
    unpacker = Unpacker(str(tmp_path), lambda parts: parts)
    with pytest.raises(Refused):
        unpacker.feed(
            stream(
                entry("there/new/a/b", b"x"),
                entry("there/empty", kind=tarfile.DIRTYPE),
                entry("new/a", kind=tarfile.DIRTYPE),
                entry("there/file", b"new"),
                entry("../x", b"x"),
            )
        )
    unpacker.close()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "there",
        "there/empty",
        "there/file",
    ]
    assert (tmp_path / "there" / "file").read_text() == "old"


def test_a_refused_pull_does_not_take_a_folder_from_another_one(tmp_path: Path) -> None:
    bad, good = (Unpacker(str(tmp_path), lambda parts: parts) for _ in range(2))
    bad.feed(stream(entry("a/b", kind=tarfile.DIRTYPE)))
    good.feed(stream(entry("a/b", kind=tarfile.DIRTYPE)))
    bad.close()
    assert os.listdir(tmp_path) == []
    good.feed(stream(entry("a/b/file", b"x")))
    good.commit(good.files)
    good.close()
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


def test_of_two_files_with_one_name_the_last_stays(tmp_path: Path, unpacker: Unpacker) -> None:
    unpacker.feed(stream(entry("a", b"first"), entry("./a", b"second")))
    unpacker.commit(unpacker.files)
    unpacker.close()
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "second"


# -- what no archive says


def header(name: bytes = b"f", kind: bytes = b"0", **fields: bytes) -> bytes:
    """A header whose fields are what they are given as, with a good checksum."""
    block = bytearray(entry(name.decode())[0].tobuf(tarfile.USTAR_FORMAT))
    block[156:157] = kind
    places = {"mode": 100, "size": 124, "mtime": 136}
    for field, value in fields.items():
        block[places[field] : places[field] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(**records: str) -> bytes:
    lines = b""
    for key, value in records.items():
        record = f" {key}={value}\n".encode()
        lines += str(len(record) + len(str(len(record) + 2))).encode() + record
    return header(b"x", b"x", size=b"%011o\0" % len(lines)) + lines + bytes(-len(lines) % 512)


MINUS_ONE, HUGE = b"\xff" * 12, b"\x80" + b"\xff" * 11


@pytest.mark.parametrize("kind", [b"0", b"1", b"2", b"5", b"L", b"K", b"x", b"g", b"7", b"S"])
@pytest.mark.parametrize("size", [MINUS_ONE, HUGE, b"\xff" + bytes(11)])
def test_sizes_that_no_file_has_are_refused(unpacker: Unpacker, kind: bytes, size: bytes) -> None:
    with pytest.raises(Refused):
        unpacker.feed(header(kind=kind, size=size) + bytes(2048))


@pytest.mark.parametrize(
    "size", ["-1", "-512", "1_0", "1e3", "+5", " 5", "٣", "", "nan", "9" * 21, "9" * 5000]
)
def test_sizes_of_pax_are_digits(unpacker: Unpacker, size: str) -> None:
    with pytest.raises(Refused):
        unpacker.feed(pax(size=size) + header() + bytes(2048))


@pytest.mark.parametrize("mtime", ["nan", "inf", "-inf", "1e400", "1_0", "", "9" * 30, "0x1", "1.2.3"])
def test_times_of_pax_are_numbers(tmp_path: Path, mtime: str) -> None:
    unpacker = Unpacker(str(tmp_path), lambda parts: parts, preserve=True)
    with pytest.raises(Refused):
        unpacker.feed(pax(mtime=mtime) + header() + bytes(2048))
    unpacker.close()


@pytest.mark.parametrize("mtime", ["0", "-1.5", "1700000000.123456789", "4102444800"])
def test_times_that_files_have_are_kept(tmp_path: Path, mtime: str) -> None:
    unpacker = Unpacker(str(tmp_path), lambda parts: parts, preserve=True)
    unpacker.feed(pax(mtime=mtime) + header())
    unpacker.commit(unpacker.files)
    unpacker.close()
    assert (tmp_path / "f").stat().st_mtime == pytest.approx(float(mtime))


@pytest.mark.parametrize("mode", [b"\xff" * 8, b"\x80" + b"\xff" * 7])
def test_of_a_mode_only_the_permissions_count(tmp_path: Path, unpacker: Unpacker, mode: bytes) -> None:
    unpacker.feed(header(mode=mode) + header(b"d", b"5", mode=mode))
    unpacker.commit(unpacker.files)
    assert [(tmp_path / name).stat().st_mode & 0o7777 for name in "fd"] == [0o777, 0o777]


@pytest.mark.parametrize(
    "what",
    [
        pax(path="a\0b") + header(),
        pax(linkpath="a\0b") + header(kind=b"2"),
        pax(linkpath="a\0b") + header(kind=b"1"),
        pax(path="/".join("d" * 251)) + header(),
        pax(path="a/" + "b" * 256) + header(),
        pax(path="/".join(["d" * 200] * 21)) + header(),
        pax(linkpath="/".join(["d" * 200] * 21)) + header(kind=b"2"),
        header(kind=b"L", size=b"%011o\0" % 9000),
        header(kind=b"x", size=b"%011o\0" % 2_000_000),
        header(b"x", b"x", size=b"%011o\0" % 5005) + b"5 a=\n" * 1001,
        header(b"x", b"x", size=b"%011o\0" % 512) + b"9" * 512,
        pax(path=".") + header(),
        pax(path="..") + header(kind=b"2"),
        pax(path=".") + header(kind=b"2"),
        header(kind=b"S"),
    ],
    ids=range(15),
)
def test_what_no_archive_says_is_refused(tmp_path: Path, unpacker: Unpacker, what: bytes) -> None:
    with pytest.raises(Refused):
        unpacker.feed(what + bytes(10_000))
    unpacker.close()
    assert os.listdir(tmp_path) == []


def test_as_many_folders_deep_as_allowed(tmp_path: Path, unpacker: Unpacker) -> None:
    name = "/".join("d" * 250)
    unpacker.feed(pax(path=name) + header())
    unpacker.commit(unpacker.files)
    assert (tmp_path / name).is_file()


def test_a_trailer_without_end_is_refused(unpacker: Unpacker) -> None:
    unpacker.feed(stream(entry("a", b"a")) + TRAILER)
    taken = 0
    with contextlib.suppress(Refused):
        while taken < 10_000_000:
            unpacker.feed(bytes(10_000))
            taken += 10_000
    assert taken < 300_000


def test_a_trailer_has_no_more_lines_than_names_could_have(tmp_path: Path, unpacker: Unpacker) -> None:
    names = ["a" * 200 + str(number) for number in range(100)] + ["\n" * 200]
    unpacker.feed(stream(*[entry(name) for name in names]) + TRAILER)
    unpacker.feed(b"\n" * 300)  # as many as the names have, and more
    with pytest.raises(Refused, match="more checksums"):
        unpacker.feed(b"\n" * 10_000)


def test_records_of_pax_take_no_memory_however_many_headers_follow_one_another(unpacker: Unpacker) -> None:
    for number in range(100):
        unpacker.feed(pax(**{f"GNU.sparse.{number}": "x" * 100_000}))
    held = sum(len(key) + len(value) for key, value in unpacker._parser._attributes.items())
    assert held < 1000
    with pytest.raises(Refused, match="sparse"):
        unpacker.feed(header())


def test_long_names_have_a_bound_together(unpacker: Unpacker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramgmt_tasks.transfer.tar_parser._LONG_PATHS", 100_000)
    links = [pax(linkpath="/".join(["x" * 200] * 20)) + header(b"%d" % number, b"2") for number in range(100)]
    with pytest.raises(Refused, match="long names"):
        unpacker.feed(b"".join(links))


def test_of_many_complaints_the_first_are_kept(unpacker: Unpacker) -> None:
    for number in range(1500):
        unpacker.feed(header(b"%d" % number, b"6"))
    assert len(unpacker.failures) == 1000
    assert unpacker.failures.all()[-1] == "and 500 more"


def test_no_descriptor_is_left_open_whatever_came(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    ends = [
        b"",
        header(size=MINUS_ONE),
        header(size=b"%011o\0" % 5000) + b"x" * 100,
        header(b"a" * 90, size=b"%011o\0" % 5000) + b"x" * 4000,
        b"x" * 512,
        header(b"f/g", size=b"%011o\0" % 5),
        TRAILER,
    ]
    for number, end in enumerate(ends * 5):
        unpacker = Unpacker(str(tmp_path), lambda parts: parts)
        with contextlib.suppress(Refused, LocalError):
            unpacker.feed(stream(entry(f"{number}/a", b"a" * 600), entry("b", b""))[:3072] + end)
            if number % 2:
                unpacker.commit(unpacker.files)
        unpacker.close()
        unpacker.close()
    assert os.listdir("/proc/self/fd") == before


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
    unpacker.commit(unpacker.files)
    assert (tmp_path / "b").read_text() == "text"
    assert unpacker.failures == ["c: a link to a file that was not sent"]
    assert not (tmp_path / "c").exists()


def test_devices_and_pipes_are_not_made(tmp_path: Path, unpacker: Unpacker) -> None:
    unpacker.feed(stream(entry("pipe", kind=tarfile.FIFOTYPE), entry("device", kind=tarfile.CHRTYPE)))
    unpacker.commit(unpacker.files)
    assert unpacker.failures == ["pipe: not a regular file", "device: not a regular file"]
    assert os.listdir(tmp_path) == []


def test_setuid_is_dropped(tmp_path: Path, unpacker: Unpacker) -> None:
    unpacker.feed(stream(entry("file", b"x", mode=0o6755)))
    unpacker.commit(unpacker.files)
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
