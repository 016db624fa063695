"""IncomingFile: the content of a file as it comes, a piece at a time."""

import hashlib
import os

#: Bytes that are written at once, and in how many pieces at most.
_WRITE, _PIECES = 512 * 1024, 64


class IncomingFile:
    """A file that is being written under a temporary name: zeros become holes. Hashed if `hashed`."""

    def __init__(self, parts: tuple[str, ...], number: int, descriptor: int, hashed: bool) -> None:
        self.parts = parts
        #: What its temporary name is made of.
        self.number = number
        self._descriptor = descriptor
        self._digest = hashlib.sha256() if hashed else None
        self._at = self._unwritten = 0
        self._pieces: list[memoryview] = []
        self._ends_in_hole = False

    def add(self, piece: memoryview) -> bool:
        """The next piece, which is not empty; whether it is time to `write`."""
        if self._digest is not None:
            self._digest.update(piece)
        self._ends_in_hole = piece[0] == piece[-1] == 0 and not bytes(piece).strip(b"\0")
        if self._ends_in_hole:
            self.write()
            self._at += len(piece)
        else:
            self._pieces.append(piece)
            self._unwritten += len(piece)
        return self._unwritten >= _WRITE

    def write(self) -> None:
        """Write the pieces that have come."""
        pieces, self._pieces, self._unwritten = self._pieces, [], 0
        while pieces:
            count = os.pwritev(self._descriptor, pieces[:_PIECES], self._at)
            self._at += count
            while pieces and count >= len(pieces[0]):
                count -= len(pieces.pop(0))
            if count:
                pieces[0] = pieces[0][count:]

    def finish(self, mode: int, mtime: float | None) -> bytes:
        """Give it its size, its mode and, unless None, its time, and close it; its SHA-256 if hashed."""
        try:
            self.write()
            if self._ends_in_hole:
                os.ftruncate(self._descriptor, self._at)
            os.fchmod(self._descriptor, mode & 0o777)
            if mtime is not None:
                os.utime(self._descriptor, (mtime, mtime))
        finally:
            self.close()
        return self._digest.digest() if self._digest is not None else b""

    def close(self) -> None:
        """Close it, unless it is closed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
