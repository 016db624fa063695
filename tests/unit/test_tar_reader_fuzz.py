"""Streams made at random: nothing is written elsewhere, and nothing goes wrong but what is documented."""

import contextlib
import os
import random
import tarfile
from pathlib import Path

import pytest

from paramgmt_tasks.transfer.errors import LocalError, Refused
from paramgmt_tasks.transfer.tar_parser import TRAILER
from paramgmt_tasks.transfer.tar_reader import Unpacker

CASES = 400
NAMES = [
    *("a", "b", "a/b", "a/b/c", "b/../a", "..", "../out", "/out", ".", "./", "", "a/", "a//b", "out", "link"),
    *("link/a", "a/link/out", "\0", "a\0b", "d" * 300, "/".join("d" * 300), ".paramgmt-pull-x", "ü\udcff"),
]
LINKS = [*NAMES, "../..", "a/../..", "link/..", "../out/file", "/", "b/link", "x" * 5000]
NUMBERS = [b"0", b"1", b"7", b"1000", b"-1", b"999999999999", b"\xff" * 12, b"\x80" + b"\xff" * 11, b"x", b""]
VALUES = ["0", "1", "600", "-1", "1e9", "nan", "inf", "1_0", "9" * 25, "", "x", "\0"]
KINDS = [
    b"0",
    b"0",
    b"0",
    b"5",
    b"2",
    b"2",
    b"1",
    b"3",
    b"6",
    b"7",
    b"L",
    b"K",
    b"x",
    b"g",
    b"S",
    b"V",
    b"\0",
]


def header(kind: bytes, name: str, link: str, size: bytes, mode: bytes, mtime: bytes) -> bytes:
    info = tarfile.TarInfo("f")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    fields = [(0, name, 100), (157, link, 100)]
    for at, text, length in fields:
        block[at : at + length] = text.encode("utf-8", "surrogateescape")[:length].ljust(length, b"\0")
    for at, number, length in ((100, mode, 8), (124, size, 12), (136, mtime, 12)):
        block[at : at + length] = number[:length].ljust(length, b"\0")
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def records(choose: random.Random) -> bytes:
    text = b""
    for _ in range(choose.randrange(4)):
        key = choose.choice(["path", "linkpath", "size", "mtime", "GNU.sparse.map", "comment"])
        value = choose.choice(NAMES if "path" in key else VALUES)
        record = f" {key}={value}\n".encode("utf-8", "surrogateescape")
        length = len(record) + 2 + (len(record) > 97)
        text += str(choose.choice([length, length, length, length, 0, 3, 10**9])).encode() + record
    return text


def stream(choose: random.Random) -> bytes:
    parts = []
    for _ in range(choose.randrange(1, 12)):
        kind, name, link = choose.choice(KINDS), choose.choice(NAMES), choose.choice(LINKS)
        data = choose.choice([b"", b"x", b"x" * 600, bytes(700)])
        if kind in (b"x", b"g"):
            data = records(choose)
        elif kind in (b"L", b"K"):
            data = choose.choice(LINKS).encode("utf-8", "surrogateescape") + b"\0"
        size = b"%o" % len(data) if choose.random() < 0.9 else choose.choice(NUMBERS)
        mode, mtime = (choose.choice([b"644", *NUMBERS]) if choose.random() < 0.2 else b"755" for _ in "mt")
        parts += [header(kind, name, link, size, mode, mtime), data, bytes(-len(data) % 512)]
    if choose.random() < 0.3:
        parts.append(TRAILER + choose.randbytes(choose.randrange(100)))
    data = bytearray(b"".join(parts))
    if choose.random() < 0.1:
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    return bytes(data)


def prepare(folder: Path) -> Path:
    """A destination, with what an attacker would like to have followed or replaced."""
    (folder / "out").mkdir()
    (folder / "out" / "file").write_text("secret")
    inside = folder / "in"
    inside.mkdir()
    (inside / "link").symlink_to("../out")
    (inside / "pipe").symlink_to("../out/file")
    return inside


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_written_elsewhere_and_all_errors_are_documented(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    inside = prepare(tmp_path)
    opened = len(os.listdir("/proc/self/fd"))
    for _ in range(CASES // 8):
        data, unsafe = stream(choose), choose.random() < 0.3
        unpacker = Unpacker(str(inside), lambda parts: parts, choose.random() < 0.5, unsafe_links=unsafe)
        with contextlib.closing(unpacker), contextlib.suppress(Refused, LocalError):
            at = 0
            while at < len(data):  # each byte is taken once: it ends
                step = choose.choice([1, 100, 512, 4096])
                unpacker.feed(data[at : at + step])
                unpacker.flush()
                at += step
            unpacker.commit(unpacker.files, overwrite=choose.random() < 0.8)
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]
    assert os.listdir(tmp_path / "out") == ["file"]
    assert (tmp_path / "out" / "file").read_text() == "secret"
    assert (inside / "pipe").is_symlink()
    assert not any(name.startswith(".paramgmt-") for name in os.listdir(inside))
    assert len(os.listdir("/proc/self/fd")) == opened
