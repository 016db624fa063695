"""A pseudo-terminal that bytes pass unchanged, in both directions (RFC 4254, sections 6.2 and 8)."""

import secrets
import shlex
import shutil
from collections.abc import Iterable

#: A line of the input, which a terminal limits, and what it costs at most to send a byte or the end.
_LINE, _MOST, _ENDS = 1000, 3, 64
#: How much may be on its way to OpenSSH's server, which answers what it has not yet written to a terminal
#: without echo by as much of SSH_MSG_IGNORE, against who counts keys: one packet has to be able to take it.
#: It reports what it has written every 96 KB.
_ON_ITS_WAY = 192 * 1024
_END, _QUOTE = b"\x04", b"\x16"
#: Modes by their opcodes: no echo, no signals, no translation either way, and input by lines, so that it can
#: end. Of the special characters there are the end and what takes the next one literally; 255 is none.
_CHARACTERS = {**dict.fromkeys(range(1, 19), 255), 5: _END[0], 14: _QUOTE[0]}
_FLAGS = {
    **dict.fromkeys((*range(30, 42), 50, *range(53, 63), *range(70, 76)), 0),
    51: 1,  # ICANON
    59: 1,  # IEXTEN, for the character that quotes
    91: 1,  # CS8
}
_SPEED = {128: 38400, 129: 38400}
MODES = b"".join(
    bytes([opcode]) + value.to_bytes(4, "big")
    for opcode, value in {**_CHARACTERS, **_FLAGS, **_SPEED}.items()
) + bytes(1)


def size() -> tuple[int, int]:
    """Columns and rows: those of the terminal here, 80 and 24 without one."""
    return tuple(shutil.get_terminal_size((80, 24)))  # type: ignore[return-value]


class TerminalInput:
    """Bytes as they are written to a terminal with MODES, so that who reads there gets the same.

    >>> given = TerminalInput()
    >>> given.encode(b"a\\n\\x04b"), given.end()[:3]
    (b'a\\n\\x16\\x04b', b'\\x04\\x04\\x04')

    `server` is its version, as it says it.
    """

    def __init__(self, server: str = "") -> None:
        self._length = 0
        #: The whole window, as far as it has been seen, if not all of it is to be used.
        self._window: int | None = 0 if "OpenSSH" in server else None

    def room(self, window: int) -> int:
        """How many bytes a window has room for, if the end has to fit behind them."""
        if self._window is not None:
            self._window = max(self._window, window)
            window = min(window, _ON_ITS_WAY - (self._window - window))
        return max(0, (window - _ENDS) // _MOST)

    def encode(self, data: bytes) -> bytes:
        """More bytes."""
        written = bytearray()
        for line in _lines(data):
            at = 0
            while at < len(line):
                if self._length >= _LINE:
                    written += _END  # within a line it ends what is read at once, not the input
                    self._length = 0
                piece = line[at : at + _LINE - self._length]
                at += len(piece)
                self._length = 0 if piece.endswith(b"\n") else self._length + len(piece)
                written += piece.replace(_QUOTE, _QUOTE * 2).replace(_END, _QUOTE + _END)
        return bytes(written)

    def end(self) -> bytes:
        """The end, for more than one who reads: a terminal's input ends for one reader at a time."""
        return _END * _ENDS


def _lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


#: `$1` is the command, `$2` what is written before standard error. Its streams are pipes, as without a
#: terminal: tar for one refuses terminals. Their names are gone as soon as both ends are open.
_APART = """
d=$(mktemp -d) && mkfifo "$d/in" "$d/out" && exec 2>"$d/errors" 4<"$d/errors" 5<&0 || exit 125
trap : HUP INT TERM
(trap '' HUP TERM; exec cat <"$d/out" 4<&- 5<&-) & out=$!
cat <&5 >"$d/in" 4<&- 5<&- & in=$!
{ rm -rf -- "$d"; /bin/sh -c "$1" 4<&- 5<&-; } <"$d/in" >"$d/out"
code=$?
wait $out || wait $out
kill $in 2>/dev/null
printf %s "$2"
cat <&4
exit $code
"""


class MergedOutput:
    """What comes from a `separated` command: standard output, the mark, and what is standard error.

    >>> merged = MergedOutput(b"[mark]")
    >>> merged.output([b"out[ma"]), merged.output([b"rk]err"]), merged.errors()
    (b'out', b'', b'err')
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        #: The end of what has come that may begin the mark, and what has come after it, None before.
        self._kept_back = b""
        self._errors: bytearray | None = None

    def output(self, pieces: Iterable[bytes | memoryview], is_all: bool = False) -> bytes:
        """What of these pieces is standard output; `is_all` is whether nothing comes after them."""
        if self._errors is not None:
            self._errors += b"".join(pieces)
            return b""
        data, self._kept_back = self._kept_back + b"".join(pieces), b""
        before, mark, after = data.partition(self._mark)
        if mark:
            self._errors = bytearray(after)
        elif not is_all:
            begins = data.rfind(self._mark[:1], max(0, len(data) - len(self._mark)))
            if begins >= 0 and self._mark.startswith(data[begins:]):
                before, self._kept_back = data[:begins], data[begins:]
        return before

    @property
    def has_errors(self) -> bool:
        """Whether something has come on standard error."""
        return bool(self._errors)

    def errors(self) -> bytes:
        """What has come on standard error since the last time."""
        errors = bytes(self._errors or b"")
        if errors:
            self._errors = bytearray()
        return errors


def separated(command: str) -> tuple[str, bytes]:
    """`command` with streams of its own on a terminal: input, output, and after that what is written to
    standard error; and the mark between the two. /bin/sh runs it.
    """
    mark = f"[paramgmt {secrets.token_hex(8)} errors]"
    return f"set -- {shlex.join((command, mark))}{_APART}", mark.encode()
