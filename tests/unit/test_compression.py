"""Compressed streams of hosts that are not to be trusted: a little may decode to very much."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from paramgmt_tasks.transfer import compression
from paramgmt_tasks.transfer.compression import NAMES, Broken, Encoded, decoder

PIECE = 256 * 1024
DATA = {
    "nothing": b"",
    "little": b"x",
    "random": os.urandom(1_000_000),
    "text": b"text" * 300_000,
    "blocks": os.urandom(1000) * 2000,
}


def packed(name: str, data: bytes, *options: str) -> bytes:
    try:
        return subprocess.run([name, *options, "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    except FileNotFoundError:
        pytest.skip(f"needs {name}")


def decoded(name: str, data: bytes, step: int = 1000) -> Iterator[bytes]:
    decode = decoder(name)
    for start in range(0, len(data), step):
        yield from decode(data[start : start + step])


@pytest.mark.parametrize("step", [1, 1000, 10_000_000])
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("options", [(), ("-1",), ("-9",)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_what_was_compressed_comes_back_in_pieces_of_any_size(
    name: str, options: tuple[str, ...], data: bytes, step: int
) -> None:
    if len(data) > 10_000 and step == 1:
        data = data[:10_000]
    assert b"".join(decoded(name, packed(name, data, *options), step)) == data


@pytest.mark.parametrize("name", NAMES)
def test_a_bomb_goes_off_in_small_pieces(name: str) -> None:
    bomb = packed(name, bytes(100_000_000))
    assert len(bomb) < 100_000
    sizes = [len(piece) for piece in decoded(name, bomb, len(bomb))]
    assert sum(sizes) == 100_000_000
    assert max(sizes) <= PIECE


@pytest.mark.parametrize("name", NAMES)
def test_what_follows_the_end_is_dropped(name: str) -> None:
    assert b"".join(decoded(name, packed(name, b"text") + b"more" * 1000)) == b"text"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [b"Welcome to the host", bytes(1000), b"\xff" * 1000])
def test_what_is_not_compressed_is_told(name: str, data: bytes) -> None:
    with pytest.raises(Broken, match=f"not compressed with {name}"):
        list(decoded(name, data))


def test_zstd_refers_back_only_as_far_as_there_is_memory_for() -> None:
    if "zstd" not in NAMES:
        pytest.skip("needs zstandard")
    assert b"".join(decoded("zstd", packed("zstd", DATA["random"], "-19"))) == DATA["random"]
    far = packed("zstd", DATA["random"] * 9, "--long=27")
    with pytest.raises(Broken, match="zstd"):
        list(decoded("zstd", far))


def test_a_codec_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "zstandard", None)
    monkeypatch.setattr(compression, "NAMES", ("gzip",))
    for name in ("zstd", "lz4"):
        with pytest.raises(Broken, match=f"compressed with '{name}', which is not known here"):
            decoder(name)
        with pytest.raises(Broken, match=f"compressed with '{name}', which is not known here"):
            Encoded([b"text"], name)
