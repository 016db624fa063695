"""JSON Lines: an object for each result, written in pieces, since output may be more than fits in memory."""

import base64
import codecs
import json
from collections.abc import Iterator

from ..model import HostResult, Output
from .view import OUT, Piece, Silent


class JsonLines(Silent):
    """A line for each result, with its output as text, or in base64 if it is not UTF-8."""

    def on_result(self, result: HostResult) -> Iterator[Piece]:
        """The line of one result."""
        for text in line(result):
            yield OUT, text


def fields(result: HostResult) -> dict[str, object]:
    """A result without its output."""
    return {
        "host": result.host.entry,
        "index": result.index,
        **result.facts(),
        "description": result.description,
    }


def line(result: HostResult) -> Iterator[str]:
    """A result with its output as one line of JSON, in pieces: `stdout` or `stdout_base64`, as for stderr."""
    yield json.dumps(fields(result))[:-1]
    for name, output in (("stdout", result.out), ("stderr", result.err)):
        if _is_text(output):
            yield f', "{name}": "'
            yield from _text(output)
        else:
            yield f', "{name}_base64": "'
            yield from _base64(output)
        yield '"'
    yield "}\n"


def _is_text(output: Output) -> bool:
    decode = codecs.getincrementaldecoder("utf-8")().decode
    try:
        for data in output.pieces():
            decode(data)
        decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _text(output: Output) -> Iterator[str]:
    decode = codecs.getincrementaldecoder("utf-8")().decode
    for data in output.pieces():
        yield json.dumps(decode(data))[1:-1]


def _base64(output: Output) -> Iterator[str]:
    left = b""
    for data in output.pieces():
        data = left + data
        whole = len(data) - len(data) % 3
        yield base64.b64encode(data[:whole]).decode()
        left = data[whole:]
    yield base64.b64encode(left).decode()
