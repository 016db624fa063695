"""Compressed streams: zstd if there is a module for it, gzip everywhere."""

import os
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

#: A piece of a stream.
Piece = bytes | memoryview
#: The names of the programs that hosts need, the better one first.
NAMES = ("gzip",) if zstandard is None else ("zstd", "gzip")
_PIECE = 256 * 1024
_GZIP = 31  # zlib's number for the format of gzip
#: Bytes that a stream of zstd may refer back to: as many as its programs accept by default.
_WINDOW = 8 * 1024 * 1024
_BROKEN = (zlib.error, *(() if zstandard is None else (zstandard.ZstdError,)))


class _Encoder(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Broken(Exception):
    """What came is not what the codec makes, or there is no such codec here."""


def _check(name: str) -> None:
    if name not in NAMES:  # hosts may name any
        raise Broken(f"compressed with {name[:30]!r}, which is not known here")


def decoder(name: str) -> Callable[[Piece], Iterator[bytes]]:
    """A function that decodes a stream piece by piece: a piece gives pieces of at most _PIECE bytes.

    What follows the end of the stream is dropped.

    Raises:
        Broken: there is no such codec here; also as its pieces are gone through.
    """
    _check(name)
    decode: Callable[[Piece], Iterator[bytes]] = _Unzstd() if name == "zstd" else _gunzip()

    def step(data: Piece) -> Iterator[bytes]:
        try:
            yield from decode(data)
        except _BROKEN as error:
            raise Broken(f"not compressed with {name}: {error}") from None

    return step


def _gunzip() -> Callable[[Piece], Iterator[bytes]]:
    decoder = zlib.decompressobj(_GZIP)

    def decode(data: Piece) -> Iterator[bytes]:
        while not decoder.eof:
            piece = decoder.decompress(data, _PIECE)
            data = decoder.unconsumed_tail
            if piece:
                yield piece
            if not data and len(piece) < _PIECE:
                return

    return decode


class _Unzstd:
    """Decodes block by block, as zstandard knows no bound, and a block gives 128 KiB at most (RFC 8878)."""

    def __init__(self) -> None:
        self._decode = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj().decompress
        self._held = bytearray()
        self._flags: int | None = None
        self._over = False

    def __call__(self, data: Piece) -> Iterator[bytes]:
        self._held += b"" if self._over else data
        while not self._over and 0 < (size := self._next()) <= len(self._held):
            self._begin()
            piece = self._decode(bytes(self._held[:size]))
            del self._held[:size]
            yield piece  # also if it is empty: any number of blocks may be

    def _next(self) -> int:
        """Bytes of what is next, the stream's header or a block; 0 if it is not known yet."""
        held = self._held
        if self._flags is None:
            return _zstd_header(held[4]) if len(held) > 4 else 0
        if len(held) < 3:
            return 0
        block = int.from_bytes(held[:3], "little")
        last, repeated = block & 1, block >> 1 & 3 == 1
        return 3 + (1 if repeated else block >> 3) + (4 if last and self._flags & 4 else 0)

    def _begin(self) -> None:
        if self._flags is None:
            self._flags = self._held[4]
        else:
            self._over = bool(self._held[0] & 1)


def _zstd_header(flags: int) -> int:
    """Bytes of the magic number, the flags, and the fields that the flags announce."""
    single = flags >> 5 & 1
    return 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]


class Encoded:
    """A stream compressed as the first host asks for it, and kept in an unnamed file for the others.

    Raises:
        Broken: there is no such codec here.
    """

    def __init__(self, stream: Iterable[bytes], name: str) -> None:
        _check(name)
        self._pieces = iter(stream)
        self._encoder: _Encoder
        if name == "zstd":
            self._encoder = zstandard.ZstdCompressor().compressobj()
        else:
            self._encoder = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
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
                encoded = self._encoder.flush() if piece is None else self._encoder.compress(piece)
                self._file.seek(self._end)
                self._file.write(encoded)
                self._file.flush()
                self._end += len(encoded)
            return os.pread(self._file.fileno(), _PIECE, at)
