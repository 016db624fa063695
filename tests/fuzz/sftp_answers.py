"""SFTP servers that say anything, in pushes and pulls of hosts without tar.

As ssh_messages, but what is made by chance is the answers; several pulls go into one destination. The first
case is the known way to do harm: through a link that an earlier pull has left.
"""

import asyncio
import contextlib
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ssh_messages
from harness import check_destination, same, snapshot
from peer import Fields, Peer, listen, string
from ssh_messages import CONNECT, TIMEOUT, hosts, perform

from paramgmt_tasks import Pull, Push, Settings
from paramgmt_tasks.model.operations import Copying, Operation

SECONDS = 45.0
_SIZES = (0, 1, 3, 1000, 40_000, 2**31, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_MODES = (0o100644, 0o100644, 0o40755, 0o120777, 0o20666, 0o10644, 0o140777, 0, 0o107777, 2**32 - 1)
_NAMES = (
    *(
        b"a",
        b"b",
        b"sub",
        b"keys",
        b".",
        b"..",
        b"../outside/victim",
        b"/etc/x",
        b"a/b",
        b"",
        b"a\0b",
        b"x" * 300,
    ),
    *(b"a\nb", b"\x1b[2J\x9b", b"\xff\xfe", b"victim", b".paramgmt-pull-x", b"-rf", b"link"),
)
_NUMBERS = (0, 1, 2, 100, 2**31 - 1, 2**31, 2**32 - 1)


class SftpPeer(Peer):
    """A host without tar whose answers its address decides."""

    def __init__(self, *streams: Any) -> None:
        super().__init__(*streams)
        rng = self.rng = random.Random(self.number)
        self.tools = b"without"
        self.often = 0.0 if self.number >> 16 == 1 else rng.choice((0.0, 0.05, 0.3))
        self.tree = {b".": [b"f", b"into"], b"f": [b"a"], b"f/a": b"x" * 1000, b"into": []}
        if self.often or self.number >> 16 != 1:
            names = rng.sample(_NAMES, rng.randint(0, 6))
            self.tree |= (
                {b"f": names, b".": names} if rng.random() < 0.6 else {b"f": b"x" * rng.randrange(70_000)}
            )
            self.tree |= {b"f/" + name: rng.choice((b"data", [b"deep"], [])) for name in names}
            if b"link" in names:
                self.tree |= {b"f/link": [b"victim"], b"f/link/victim": b"attacker"}
        if (
            0 <= self.number - (2 << 16) < ssh_messages.HOSTILE
        ):  # of the first case: it only goes through a link
            self.often = 0.0
            self.tree |= {b"f": [b"link"], b"f/link": [b"victim"], b"f/link/victim": b"attacker"}
        self._deep = self.often > 0 and rng.random() < 0.05

    async def sftp(self, request: bytes) -> bytes:
        rng = self.rng
        if rng.random() >= self.often:
            if self._deep and request[0] in (7, 8, 17):
                return b"i" + request[1:5] + self.attributes([])
            return await super().sftp(request)
        how = rng.randrange(10)
        if how == 0:
            await asyncio.sleep(rng.choice((0, 0, 30)))
        elif how == 1:
            self.writer.transport.abort()
        elif how < 5:
            return ssh_messages.changed(rng, await super().sftp(request) or b"e")
        number = rng.choice((request[1:5],) * 5 + (b"\0\0\0\0", b"\xff\xff\xff\xff", b""))
        return self._anything(number)

    async def sftp_answer(self, kind: int, number: bytes, fields: Fields) -> bytes:
        try:
            return await super().sftp_answer(kind, number, fields)
        except (IndexError, TypeError):
            return self.status(number, 4)

    def _anything(self, number: bytes) -> bytes:
        rng = self.rng
        kind = rng.choice((101, 102, 103, 104, 104, 105, 105, 2, 201, rng.randrange(256)))
        answer = bytes((kind,)) + number
        if kind == 101:
            return (
                answer + struct.pack(">I", rng.choice((*range(10), 2**32 - 1))) + self._text() + self._text()
            )
        if kind == 104:
            there = rng.randrange(4)
            count = there if rng.random() < 0.7 else rng.choice(_NUMBERS)
            entries = (self._text() + self._text() + self._attributes() for _ in range(there))
            return answer + struct.pack(">I", count) + b"".join(entries)
        return answer + (self._attributes() if kind == 105 else self._text())

    def _text(self) -> bytes:
        text = self.rng.choice(_NAMES)
        if self.rng.random() < 0.1:
            return struct.pack(">I", self.rng.choice(_NUMBERS)) + text
        return string(text)

    def _attributes(self) -> bytes:
        rng = self.rng
        flags = rng.choice((0, 1, 4, 5, 5, 13, 15, 0x8000000F, 2**32 - 1))
        found = struct.pack(">I", flags)
        found += struct.pack(">Q", rng.choice(_SIZES)) if flags & 1 else b""
        found += struct.pack(">II", rng.choice(_NUMBERS), 0) if flags & 2 else b""
        found += struct.pack(">I", rng.choice(_MODES)) if flags & 4 else b""
        found += struct.pack(">II", rng.choice(_NUMBERS), rng.choice(_NUMBERS)) if flags & 8 else b""
        found += struct.pack(">I", rng.choice(_NUMBERS)) if flags & 0x80000000 else b""
        return found


@contextlib.contextmanager
def setup() -> Iterator[None]:
    with ssh_messages.setup(__file__):
        yield


def case(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    outside, into = folder / "outside", folder / "work" / "into"
    for made in (outside, into):
        made.mkdir(parents=True)
    (outside / "victim").write_bytes(b"precious")
    (folder / "f" / "sub").mkdir(parents=True)
    (folder / "f" / "sub" / "b").write_bytes(bytes(rng.choice((0, 1000, 70_000))))
    among = hosts(seed)
    settings = Settings(connect_timeout=CONNECT, timeout=TIMEOUT, attempts=1)
    how = Copying(preserve=rng.random() < 0.3, overwrite=seed == 0 or rng.random() < 0.8)
    operation: Operation = Push((str(folder / "f"),), "into", how)
    if seed == 0 or rng.random() < 0.75:
        sources = ("f",) if seed == 0 else rng.choice((("f",), ("f",), ("*",), (".",), ("f/*",)))
        operation = Pull(sources, str(into / "?HOST"), how)
        for host in among:
            (into / host.entry).mkdir()
        if rng.random() < 0.3:  # into one place
            operation = Pull(sources, str(into / rng.choice(("", "new"))), how)
            among = [host for host in among if not host.entry.startswith("127.1.")]
    if isinstance(operation, Pull) and (
        seed == 0 or rng.random() < 0.5
    ):  # as an earlier pull over tar may have left them
        for place in (into, *(into / host.entry for host in among)):
            if place.is_dir():
                (place / "f").mkdir()
                (place / "f" / "link").symlink_to(outside)
    before = snapshot(folder, into)
    links = {path for path in into.rglob("*") if path.is_symlink()}
    for _ in range(2 if isinstance(operation, Pull) and how.overwrite else 1):
        perform(operation, among, settings)
        same(before, snapshot(folder, into), "changed outside of the destination")
        for link in links:
            if link.is_symlink():
                link.unlink()
        check_destination(into)


if __name__ == "__main__":
    asyncio.run(listen(SftpPeer, int(sys.argv[1])))
