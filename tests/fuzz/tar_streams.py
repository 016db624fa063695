"""Tar streams of hosts that are not to be trusted, as several pulls into one destination bring them.

Each case is one to three pulls of several hosts: streams that are put together by chance from members of
every kind, with numbers and names that no archive should have, in pieces of any size, some compressed, some
cut off or changed. The first seeds are the known ways to do harm.
"""

import gzip
import hashlib
import os
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from harness import Violation, check_destination, same, snapshot

from paramgmt_tasks.model.operations import Copying, Pull
from paramgmt_tasks.model.output import Output
from paramgmt_tasks.transfer import compression
from paramgmt_tasks.transfer.errors import LocalError, Refused
from paramgmt_tasks.transfer.local_files import LocalFiles

NAME = "tar"
SECONDS = 10.0
#: Seconds that one case may take where it ends: streams are of some megabytes at most.
SLOW = 5.0
TRAILER = b"paramgmt-sums\n"
BLOCK = 512
REGULAR, HARD, SYMBOLIC, FOLDER = b"0", b"1", b"2", b"5"
KINDS = (
    *(REGULAR,) * 6,
    *(SYMBOLIC,) * 3,
    *(FOLDER,) * 3,
    HARD,
    b"\0",
    b"3",
    b"4",
    b"6",
    b"7",
    b"S",
    b"V",
    b"\xff",
)


# -- archives


def octal(number: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, number % 8 ** (width - 1))


def binary(number: int, width: int) -> bytes:
    """A number as GNU tar writes those that octal digits do not hold, negative ones too."""
    return bytes((0xFF if number < 0 else 0x80,)) + (number % 256 ** (width - 1)).to_bytes(width - 1, "big")


def header(
    name: bytes,
    kind: bytes = REGULAR,
    size: bytes | int = 0,
    link: bytes = b"",
    mode: bytes | int = 0o644,
    mtime: bytes | int = 1_000_000,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    right: bool = True,
) -> bytes:
    fields = [name[:100].ljust(100, b"\0")]
    fields.append(octal(mode, 8) if isinstance(mode, int) else mode[:8].ljust(8, b"\0"))
    fields += [octal(0, 8), octal(0, 8)]
    fields += [
        octal(each, 12) if isinstance(each, int) else each[:12].ljust(12, b"\0") for each in (size, mtime)
    ]
    fields += [b" " * 8, kind[:1], link[:100].ljust(100, b"\0"), magic.ljust(8, b"\0"), bytes(64 + 16)]
    fields.append(prefix[:155].ljust(155, b"\0"))
    block = b"".join(fields).ljust(BLOCK, b"\0")
    total = sum(block) + (0 if right else 7)
    return block[:148] + b"%06o\0 " % total + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    return header(b"././@LongLink", kind, len(name) + 1) + padded(name + b"\0")


def pax(records: dict[bytes, bytes], kind: bytes = b"x") -> bytes:
    text = b""
    for key, value in records.items():
        line = b" %s=%s\n" % (key, value)
        size = len(line)
        while size != len(line) + len(str(size)):
            size = len(line) + len(str(size))
        text += b"%d%s" % (size, line)
    return header(b"pax", kind, len(text)) + padded(text)


def file(name: bytes, data: bytes = b"x", **more: object) -> bytes:
    return header(name, REGULAR, len(data), **more) + padded(data)  # type: ignore[arg-type]


END = bytes(2 * BLOCK) + TRAILER + b"none\nend 0\n"

# -- the known ways to do harm: what is pulled, where to, and the streams of the hosts, one after the other

_BIG = 2**62


def classics(outside: bytes) -> list[tuple[tuple[str, ...], str, list[bytes]]]:
    """They, where a folder outside of the destination has that path."""
    return [
        # a link in the place of the destination, then a file through it
        (
            ("keys",),
            "made",
            [header(b"keys", SYMBOLIC, link=b"../outside") + END, file(b"keys", b"attacker") + END],
        ),
        (
            ("keys",),
            "made",
            [header(b"keys", SYMBOLIC, link=outside) + END, file(b"keys", b"attacker") + END],
        ),
        (
            (".",),
            "there",
            [header(b"a", SYMBOLIC, link=b"../outside") + END, file(b"a/victim", b"attacker") + END],
        ),
        (
            (".",),
            "there",
            [header(b"a", SYMBOLIC, link=b".") + header(b"b", SYMBOLIC, link=b"a/../../outside") + END],
        ),
        # sizes below zero and beyond everything
        *(
            ((".",), "there", [header(b"a", kind, binary(size, 12)) + END])
            for kind in (b"0", b"L", b"K", b"x", b"g", b"5")
            for size in (-1, -512, -(2**80), _BIG)
        ),
        *(
            ((".",), "there", [pax({b"size": size}) + file(b"a", b"x" * 700) + END])
            for size in (
                b"-1",
                b"-512",
                b"1e3",
                b"9" * 5000,
                b"0x10",
                b" 7",
                b"7\n",
                b"1_0",
                "٣".encode(),
                b"",
                b"nan",
            )
        ),
        *(
            ((".",), "there", [pax({b"mtime": mtime}) + file(b"a") + END])
            for mtime in (b"nan", b"inf", b"-1e400", b"x", b"1e18", b"9" * 400, b"")
        ),
        # the destination's own mode, and numbers in the other fields
        ((".",), "there", [header(b"./", FOLDER, mode=0o777) + END]),
        ((".",), "there", [header(b"./", FOLDER, mode=0) + END]),
        ((".",), "there", [header(b"a", mode=binary(_BIG, 8)) + END]),
        ((".",), "there", [header(b"a", mtime=binary(2**80, 12)) + END]),
        ((".",), "there", [header(b"a", mtime=binary(-(2**80), 12)) + END]),
        # names
        ((".",), "there", [long_name(b"a/" * 100_000) + file(b"x") + END]),
        (
            (".",),
            "there",
            [long_name(b"d/" * 400 + b"f") + file(b"x") + header(b"z", size=binary(-1, 12)) + END],
        ),
        ((".",), "there", [file(b"new/folder/a") + file(b"../x") + END]),
        (
            (".",),
            "there",
            [
                header(b"a", SYMBOLIC, link=b"x\0y")
                + pax({b"linkpath": b"p\0q"})
                + header(b"b", SYMBOLIC)
                + END
            ],
        ),
        ((".",), "there", [header(b".", SYMBOLIC, link=b"x") + END]),
        ((".",), "there", [header(b".", HARD, link=b"a") + END]),
        ((".",), "there", [file(b"a") + header(b".", HARD, link=b"a") + END]),
        ((".",), "there", [file(b"a") * 3 + header(b"a/b", FOLDER) + END]),
        # what is said without an end
        ((".",), "there", [END + b"x\n" * 8_000_000]),
        ((".",), "there", [file(b"a") + bytes(BLOCK * 2) + TRAILER + b"0" * 64 + b"  ./a\nend 0\n"]),
    ]


# -- a case


def case(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    outside, work = folder / "outside", folder / "work"
    for made in (outside / "sub", work / "there" / "mine"):
        made.mkdir(parents=True)
    (outside / "victim").write_bytes(b"precious")
    (work / "there" / "mine" / "f").write_bytes(b"mine")
    (work / "there" / "to-mine").symlink_to("mine")
    (work / "beside").write_bytes(b"precious")
    how = Copying()
    known = classics(bytes(outside))
    if seed < len(known):
        sources, name, streams = known[seed]
        pulls = [(sources, stream) for stream in streams]
    else:
        how = Copying(
            preserve=rng.random() < 0.5,
            overwrite=rng.random() < 0.8,
            compress=rng.random() < 0.2,
            verbose=True,
        )
        name = rng.choice(("there", "there", "made"))
        sources = rng.choice(((".",), ("*",), ("keys",), ("a", "b"), ("a*",), ("mine",)))
        pulls = [(sources, _stream(rng, bytes(outside))) for _ in range(rng.randint(1, 3))]
    began = time.monotonic()
    for sources, stream in pulls:
        _pull(rng, folder, work / name, Pull(sources, str(work / name), how), stream)
    if time.monotonic() - began > SLOW:
        raise Violation(f"slow: more than {SLOW:g} s")


def _pull(rng: random.Random, folder: Path, destination: Path, operation: Pull, stream: bytes) -> None:
    coded = ""
    if operation.how.compress:
        coded, stream = "gzip", gzip.compress(stream, 1)
        if rng.random() < 0.2:
            stream = _damaged(rng, stream)
    before = snapshot(folder, destination)
    own = destination.lstat().st_mode if os.path.lexists(destination) else None
    was = snapshot(destination) if destination.is_dir() else {}
    ended = False
    err = Output()
    try:
        landing = LocalFiles().sink(0, operation, coded)
        try:
            for pieces in _pieces(rng, stream):
                _exhaust(landing.feed(pieces))
            ended = True
            landing.end(rng.choice((0, 0, 0, 1, None)), Output(), err)
        finally:
            landing.close()
    except (Refused, compression.Broken, EOFError):
        same(was, snapshot(destination) if destination.is_dir() else {}, "a refused pull left something")
    except LocalError:
        if not ended:
            same(
                was,
                snapshot(destination) if destination.is_dir() else {},
                "a pull that failed left something",
            )
    same(before, snapshot(folder, destination), "changed outside of the destination")
    if own is not None and destination.lstat().st_mode != own:
        raise Violation(f"the destination's own mode: {own:o} -> {destination.lstat().st_mode:o}")
    check_destination(destination)
    if destination.is_symlink() and own is None:
        raise Violation(f"a link in the destination's own place: {os.readlink(destination)!r:.80}")


def _exhaust(steps: object) -> None:
    if steps is not None:
        for _ in steps:  # type: ignore[attr-defined]
            pass  # others have their turn


def _pieces(rng: random.Random, stream: bytes) -> Iterator[list[object]]:
    size = rng.choice((1, 17, 512, 513, 5000, 70_000, 70_000, 2**20)) if len(stream) < 100_000 else 2**20
    at = 0
    while at < len(stream):
        pieces: list[object] = []
        for _ in range(rng.randint(1, 3)):
            count = rng.randint(1, size)
            pieces.append(rng.choice((bytes, memoryview))(stream[at : at + count]))
            at += count
        if rng.random() < 0.01:
            pieces.append(b"")
        yield pieces


# -- streams by chance

_NAMES = (
    *(b"a", b"b", b"keys", b"a/b", b"b/a", b"mine", b"mine/f", b"there", b"to-mine/x", b"made"),
    *(b".", b"./", b"..", b"../outside/victim", b"/etc/x", b"a/../b", b"a//b", b"./a/./b", b"", b"/", b"a/"),
    *(b"keys/victim", b"a/victim", b"a/sub/x", b"b/victim", b"a\nb", b"a\x1b[2J", b"\xff\xfe", b"-rf"),
    *(b".paramgmt-pull-x", b"a/.paramgmt-pull-h-1-1", b"victim", b"a\\b", "ü".encode(), b"x" * 300),
)
_LINKS = (
    *(
        b"../outside",
        b"../outside",
        b"..",
        b".",
        b"a",
        b"b",
        b"mine",
        b"mine/..",
        b"a/..",
        b"a/../..",
        b"/",
        b"",
    ),
    *(
        b"../outside/victim",
        b"./b/../..",
        b"to-mine/../..",
        b"x" * 5000,
        b"\xff",
        b"a\nb",
        b"b/../../outside",
    ),
)
_SIZES = (0, 1, 511, 512, 513, 700, 5000, 70_000)
_NUMBERS = (-1, -511, -512, -513, -(2**31), -(2**63), 2**31, 2**33, 2**62, 2**64, 2**90, 0, 1)


def _stream(rng: random.Random, outside: bytes) -> bytes:
    out, sums = b"", b""
    for _ in range(rng.randint(1, 8)):
        name, data = _name(rng), rng.randbytes(1) * rng.choice(_SIZES)
        out += _member(rng, name, data, outside)
        sums += hashlib.sha256(data).hexdigest().encode() + b"  ./" + name + b"\n"
        if rng.random() < 0.1:
            out += bytes(BLOCK * rng.randint(1, 20))
    end = rng.choice((b"end 0\n",) * 6 + (b"end 1\n", b"end", b"", b"end 0\nend 1\n", b"x" * 5000))
    said = rng.choice(
        (b"none\n", b"none\n", b"none\n", sums, sums, b"", b"\\" + sums, b"\n" * 3000, rng.randbytes(90))
    )
    out += bytes(rng.choice((2, 2, 2, 1, 0)) * BLOCK) + TRAILER + said + end
    if rng.random() < 0.15:
        out = _damaged(rng, out)
    return out


def _name(rng: random.Random) -> bytes:
    if rng.random() < 0.04:
        return b"/".join([rng.choice((b"d", b"x" * 200))] * rng.choice((15, 249, 251, 300, 2000)))
    name = rng.choice(_NAMES)
    return name if rng.random() < 0.8 else name + b"/" + rng.choice(_NAMES)


def _member(rng: random.Random, name: bytes, data: bytes, outside: bytes) -> bytes:
    kind, link = rng.choice(KINDS), rng.choice((*_LINKS, outside))
    size: bytes | int = len(data) if kind in (REGULAR, b"\0", b"7") or rng.random() < 0.1 else 0
    before = b""
    fields: dict[str, object] = {"mode": rng.choice((0o644, 0o755, 0, 0o777, 0o7777, 0o500))}
    if rng.random() < 0.12:
        which = rng.choice(("size", "mtime", "mode", "magic", "right", "prefix"))
        width = 8 if which == "mode" else 12
        wrong = rng.choice((binary(rng.choice(_NUMBERS), width), b"-1", b"9" * width, b"x", b" " * width))
        fields[which] = {
            "magic": rng.choice((b"", b"ustar  ", b"xxxxx")),
            "right": False,
            "prefix": b"p" * 155,
        }.get(which, wrong)
    if len(name) > 100 or rng.random() < 0.1:
        before += rng.choice((long_name(name), pax({b"path": name})))
    if len(link) > 100 or rng.random() < 0.1:
        before += rng.choice((long_name(link, b"K"), pax({b"linkpath": link})))
    if rng.random() < 0.12:
        before += pax(dict(_record(rng) for _ in range(rng.randint(1, 3))), rng.choice((b"x", b"x", b"g")))
    if rng.random() < 0.04:
        size = binary(rng.choice(_NUMBERS), 12)
        before += header(b"long", rng.choice((b"L", b"K", b"x", b"g", b"S")), size) + padded(b"y" * 40)
    given = {"size": size, **fields}
    return before + header(name, kind, link=link, **given) + padded(data)  # type: ignore[arg-type]


def _record(rng: random.Random) -> tuple[bytes, bytes]:
    key = rng.choice(
        (b"size", b"mtime", b"path", b"linkpath", b"GNU.sparse.major", b"GNU.sparse.size", b"uid", b"", b"x")
    )
    numbers = (
        str(rng.choice(_NUMBERS)).encode(),
        b"1.5",
        b"nan",
        b"inf",
        b"-0",
        b"1e9",
        b"x",
        b"",
        b"9" * 4500,
    )
    return key, rng.choice((*numbers, rng.choice(_NAMES), rng.choice(_LINKS)))


def _damaged(rng: random.Random, data: bytes) -> bytes:
    whole = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at, kind = rng.randrange(len(whole) or 1), rng.randrange(4)
        block = at - at % BLOCK
        if kind == 0:
            del whole[at:]
        elif kind == 1 and whole:
            whole[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            whole[block:block] = whole[block : block + BLOCK * rng.randint(1, 3)]
        else:
            whole[at : at + 4] = struct.pack(">I", rng.choice((0, 2**31, 2**32 - 1)))
    return bytes(whole)
