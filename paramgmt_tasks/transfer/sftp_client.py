"""SFTP as a client that believes its server nothing: paramiko's, with bounds to what may be said."""

import errno
import struct
from collections import deque
from collections.abc import Generator
from contextlib import suppress

import paramiko
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_HANDLE,
    CMD_LSTAT,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_STAT,
    CMD_STATUS,
    SFTP_EOF,
    SFTP_FLAG_READ,
    SFTP_NO_SUCH_FILE,
    SFTP_OK,
    SFTP_PERMISSION_DENIED,
    int64,
)
from paramiko.sftp_attr import SFTPAttributes

from ..model import Failure, Outcome, one_line
from ..ssh import Answers, Classified, SFTPSession

#: Bytes of a packet, and of the names that are known at once; how many answers nobody waits for.
_PACKET, _NAMES, _UNASKED = 256 * 1024, 32 * 1024 * 1024, 64
#: Bytes of a file in one question, and how many are asked ahead.
_READ, _AHEAD = 32 * 1024, 64
#: What says nothing of a file, but that the connection is of no use any more.
BROKEN = (TimeoutError, EOFError, ConnectionError)
_ERRORS = {SFTP_NO_SUCH_FILE: errno.ENOENT, SFTP_PERMISSION_DENIED: errno.EACCES}
_REASON = 200
_TEXT = frozenset(b"\t\r\n\x1b" + bytes(range(32, 127)))


class Nonsense(Classified):
    """What a host's SFTP server sends is no answer to anything."""

    def __init__(self, what: str) -> None:
        super().__init__(Failure(Outcome.FAILED, f"the host's SFTP server sends {what}"))


class Client(SFTPSession):
    """paramiko's, with bounds to what the server may say: what it sends is not to be trusted.

    Raises:
        Nonsense: in every method, where it sends what it may not.
    """

    #: Answers that are due, and bytes that the names of the folders take that are being gone through.
    _due = 0
    held = 0

    def on_question(self) -> None:
        """One more answer is due."""
        self._due += 1

    def read_packet(self) -> tuple[int, bytes]:
        """The kind and the content of the next packet."""
        self._due -= 1
        if self._due < -_UNASKED:
            raise Nonsense("answers to nothing")
        head = self.read_exactly(4)
        (size,) = struct.unpack(">I", head)
        if not 0 < size <= _PACKET:
            raise Nonsense(self._text(head) or f"a packet of {size} bytes")
        data = self.read_exactly(size)
        return data[0], data[1:]

    def _text(self, head: bytes) -> str:
        """What has come in place of a packet, if that is text."""
        channel = self.get_channel()
        if not all(byte in _TEXT for byte in head) or channel is None:
            return ""
        more = channel.recv(_REASON) if channel.recv_ready() else b""
        said = (head + more).decode("utf-8", "replace").strip().splitlines()
        return "text, as startup files of a login shell print it" + (f": {one_line(said[0])}" if said else "")

    def check_status(self, message: paramiko.Message) -> None:
        """Raise what a status means.

        Raises:
            EOFError: there is no more.
            OSError: any other failure, with the server's text.
        """
        code = message.get_int()
        if code == SFTP_EOF:
            raise EOFError
        if code != SFTP_OK:
            text = message.get_binary()[:_REASON].decode("utf-8", "replace")
            raise OSError(_ERRORS[code], text) if code in _ERRORS else OSError(text)

    def _answer(self, expected: int, kind: int, *fields: object) -> paramiko.Message:
        answer, message = self.ask(kind, *fields)
        if answer != expected:
            raise Nonsense("an answer of another kind than the question")
        return message

    def stat(self, path: bytes | str) -> SFTPAttributes:
        """What is at a path, behind all links."""
        return _attributes(self._answer(CMD_ATTRS, CMD_STAT, _encoded(path)))

    def lstat(self, path: bytes | str) -> SFTPAttributes:
        """What is at a path, itself."""
        return _attributes(self._answer(CMD_ATTRS, CMD_LSTAT, _encoded(path)))

    def listdir(self, path: bytes | str = ".", most: int | None = None) -> list[str]:
        """The names in a folder; no more are asked for than `most`.

        Raises:
            OSError: it cannot be listed, or has too many.
        """
        handle = self._answer(CMD_HANDLE, CMD_OPENDIR, _encoded(path)).get_binary()
        names: list[str] = []
        held = self.held
        while most is None or len(names) < most:
            try:
                message = self._answer(CMD_NAME, CMD_READDIR, handle)
            except EOFError:
                break
            count = message.get_int()
            if not count:  # as the end, which other servers say so, or it would be asked for ever
                break
            for _ in range(count):
                names.append(_text(message))
                held += room_of(names[-1])
                _text(message)  # what `ls -l` prints
                _attributes(message)
            if held > _NAMES:
                self.ask(CMD_CLOSE, handle)
                raise OSError("more names than there is room for")
        self.ask(CMD_CLOSE, handle)
        return [name for name in names[:most] if name not in (".", "..")]

    def pieces(self, path: str, size: int) -> Generator[bytes, None, None]:
        """What is in a file, to its end; `size` is how much that is, as the server says.

        Asks for some ahead, though only as far as that, so that a size that is a lie costs nothing. To be
        closed where it was not gone through.

        Raises:
            OSError: it cannot be read.
        """
        message = self._answer(CMD_HANDLE, CMD_OPEN, _encoded(path), SFTP_FLAG_READ, SFTPAttributes())
        handle = message.get_binary()
        reading = _Reading()

        def ask(at: int, count: int) -> tuple[int, int, int]:
            reading.due += 1
            return self.ask_ahead(reading, CMD_READ, handle, int64(at), count), at, count

        asked: deque[tuple[int, int, int]] = deque()
        end, broken = 0, False
        try:
            while True:
                while len(asked) < _AHEAD and (end <= size or not asked):
                    count = min(_READ, size - end) if end < size else _READ
                    asked.append(ask(end, count))
                    end += count
                number, at, count = asked.popleft()
                data = self._data(reading, number)
                if data is None:
                    return
                if not 0 < len(data) <= count:
                    raise Nonsense("more or less of a file than was asked for")
                yield data
                if len(data) < count:
                    asked.appendleft(ask(at + len(data), count - len(data)))
        except (*BROKEN, paramiko.SSHException, Nonsense):
            broken = True
            raise
        finally:
            with suppress(OSError, EOFError, paramiko.SSHException):  # told by what follows
                while not broken and reading.due:
                    self.receive()
                if not broken:
                    self.ask(CMD_CLOSE, handle)

    def _data(self, reading: "_Reading", number: int) -> bytes | None:
        while number not in reading.found:
            self.receive()
        kind, message = reading.found.pop(number)
        if kind == CMD_STATUS:
            try:
                self.check_status(message)
            except EOFError:
                return None
        if kind != CMD_DATA:
            raise Nonsense("an answer of another kind than the question")
        return _bytes(message)


class _Reading(Answers):
    """Answers to what was asked for of a file, in any order."""

    def __init__(self) -> None:
        super().__init__()
        #: How many have not come yet.
        self.due = 0

    def on_answer(self, kind: int, message: paramiko.Message, number: int) -> None:
        """An answer has come."""
        super().on_answer(kind, message, number)
        self.due -= 1


def _encoded(path: bytes | str) -> bytes:
    return path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")


def _take(message: paramiko.Message, count: int) -> bytes:
    data = message.packet.read(count)
    if len(data) != count:
        raise Nonsense("a message that breaks off")
    return data


def _number(message: paramiko.Message) -> int:
    return int.from_bytes(_take(message, 4), "big")


def _bytes(message: paramiko.Message) -> bytes:
    return _take(message, _number(message))


def _text(message: paramiko.Message) -> str:
    return _bytes(message).decode("utf-8", "surrogateescape")


def _attributes(message: paramiko.Message) -> SFTPAttributes:
    """A file's attributes, without those that only some servers have."""
    found, flags = SFTPAttributes(), _number(message)
    if flags & found.FLAG_SIZE:
        found.st_size = int.from_bytes(_take(message, 8), "big")
    if flags & found.FLAG_UIDGID:
        found.st_uid, found.st_gid = _number(message), _number(message)
    if flags & found.FLAG_PERMISSIONS:
        found.st_mode = _number(message)
    if flags & found.FLAG_AMTIME:
        found.st_atime, found.st_mtime = _number(message), _number(message)
    if flags & found.FLAG_EXTENDED:
        for _ in range(2 * _number(message)):
            _bytes(message)
    return found


def room_of(name: str) -> int:
    """Bytes that a name takes in memory, about."""
    return len(name) + 64
