"""Compressed streams: zstd where there is a module for it, gzip everywhere."""

import os
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

#: The names of the programs that hosts need, the better first.
NAMES = ("gzip",) if zstandard is None else ("zstd", "gzip")
_PIECE = 256 * 1024
_GZIP = 31  # zlib's number for the format of gzip
_BROKEN = (zlib.error, *(() if zstandard is None else (zstandard.ZstdError,)))


class Broken(Exception):
    """What came is not what the codec makes."""


def decoder(name: str) -> Callable[[bytes], bytes]:
    """A function that decodes a stream piece by piece.

    Raises: Broken, when called.
    """
    decode: Any
    if name == "zstd":
        decode = zstandard.ZstdDecompressor().decompressobj().decompress
    else:
        decode = zlib.decompressobj(_GZIP).decompress

    def step(data: bytes) -> bytes:
        try:
            return decode(data)  # type: ignore[no-any-return]
        except _BROKEN as error:
            raise Broken(f"not compressed with {name}: {error}") from None

    return step


class Encoded:
    """A stream compressed as the first host asks for it, and kept in an unnamed file for the others."""

    def __init__(self, stream: Iterable[bytes], name: str) -> None:
        self._pieces = iter(stream)
        self._encode: Any
        if name == "zstd":
            self._encode = zstandard.ZstdCompressor().compressobj()
        else:
            self._encode = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
        self._lock = threading.Lock()
        self._file = tempfile.TemporaryFile(prefix="paramgmt-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._all = False

    def __iter__(self) -> Iterator[bytes]:
        at = 0
        while data := self._read(at):
            at += len(data)
            yield data

    def _read(self, at: int) -> bytes:
        with self._lock:
            while at >= self._end and not self._all:
                piece = next(self._pieces, None)
                self._all = piece is None
                encoded = self._encode.flush() if piece is None else self._encode.compress(piece)
                self._file.seek(self._end)
                self._file.write(encoded)
                self._file.flush()
                self._end += len(encoded)
            return os.pread(self._file.fileno(), _PIECE, at)
