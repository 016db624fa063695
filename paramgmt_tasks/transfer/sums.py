"""SHA-256 sums of files, as sha256sum, shasum and openssl print and read them."""

import re
from collections.abc import Iterable

from .tar_parser import normalise


def sum_line(name: str, digest: str) -> bytes:
    """A line as sha256sum prints and reads it; nothing for a name that its versions read differently."""
    if "\r" in name:
        return b""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    mark = "\\" if escaped != name else ""
    return f"{mark}{digest}  ./{escaped}\n".encode("utf-8", "surrogateescape")


def read_sums(lines: Iterable[bytes | bytearray]) -> list[tuple[str, str]]:
    """The plain names and sums that sha256sum or openssl print, which does not escape the ends of lines."""
    whole: list[list[bytes | bytearray]] = []
    for line in lines:
        if whole and not re.match(rb"\\?[0-9a-f]{64} [ *]", line):
            whole[-1].append(line)
        else:
            whole.append([line])
    return [read_sum_line(b"\n".join(parts)) for parts in whole]


def read_sum_line(line: bytes) -> tuple[str, str]:
    """The plain name and the sum of a line of sha256sum."""
    escaped = line.startswith(b"\\")
    digest, _, name = line[escaped:].partition(b" ")
    text = name[1:].decode("utf-8", "surrogateescape")
    if escaped:
        text = re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), text)
    return normalise(text), digest.decode("ascii", "replace")
