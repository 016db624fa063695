"""The hostile fleet: hosts that do harm in every known way, among good ones that have to be `ok`.

    python tests/fuzz/hostile.py                        100 hostile hosts among 200 good ones, all operations
    python tests/fuzz/hostile.py --kinds rekeying --ops rcmd --engines threads

Each kind is a function that is called at one stage of a connection. A host's address says which kind it is.
"""

import argparse
import asyncio
import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import Violation, check_destination, check_reason, die_with_parent, remove
from peer import (
    AUTH_BANNER,
    DATA,
    DEBUG,
    EXT_INFO,
    GLOBAL_REQUEST,
    IGNORE,
    NOT_OPENED,
    REQUEST,
    STAGES,
    STDERR,
    Fields,
    Peer,
    address,
    listen,
    string,
)
from tar_streams import END, SYMBOLIC, binary, file, header, long_name

Harm = Callable[["HostilePeer"], Awaitable[None]]
#: By name: the stage at which it is done, and what.
KINDS: dict[str, tuple[str, Harm]] = {}
OPERATIONS = ("rcmd", "rpull", "rpush")
ENGINES = ("threads", "processes")
CONNECT, TIMEOUT = 6.0, 4.0
#: Bytes of memory at which a run is ended.
FAR_TOO_MUCH = 1000 * 2**20
#: Bytes that the product's processes may have together, and that a hostile host prints at most.
MEMORY, PRINTS = 300 * 2**20, 48 * 2**20
_PROGRAM = "from paramgmt_tasks.classic.executables import {0}; raise SystemExit({0}())"
#: Second number of addresses: hostile hosts, good ones.
_HOSTILE, _GOOD = 100, 1


def at(stage: str) -> Callable[[Harm], Harm]:
    def register(harm: Harm) -> Harm:
        KINDS[harm.__name__.strip("_").replace("_", "-")] = stage, harm
        return harm

    return register


async def _forever() -> None:
    await asyncio.sleep(3600)


# -- before the key exchange


@at("kexinit")
async def big_packet(peer: "HostilePeer") -> None:
    await peer.raw(struct.pack(">I", 4_000_000_004) + bytes(100))
    await _forever()


@at("kexinit")
async def big_packet_fed(peer: "HostilePeer") -> None:
    await peer.raw(struct.pack(">I", 1_500_000_004))
    while True:
        await peer.raw(bytes(65536))


@at("version")
async def endless_banner_lines(peer: "HostilePeer") -> None:
    while True:
        await peer.raw(b"welcome\r\n" * 1000)


@at("version")
async def endless_line(peer: "HostilePeer") -> None:
    while True:
        await peer.raw(b"x" * 1000)


@at("version")
async def dripping_banner(peer: "HostilePeer") -> None:
    while True:
        await peer.raw(b"x")
        await asyncio.sleep(0.05)


@at("kexinit")
async def ignore_before_keys(peer: "HostilePeer") -> None:
    await peer.flood(bytes((IGNORE,)) + string(b""))


@at("kexinit")
async def debug_before_keys(peer: "HostilePeer") -> None:
    await peer.flood(bytes((DEBUG, 0)) + string(b"key options: x\x1b[2J") + string(b""))


@at("kexinit")
async def tiny_segments(peer: "HostilePeer") -> None:
    for byte in peer.sealed(bytes((IGNORE,)) + string(bytes(250_000))):
        await peer.raw(bytes((byte,)))
        await asyncio.sleep(0)


# -- before and after login


@at("after-newkeys")
async def ext_info(peer: "HostilePeer") -> None:
    await peer.send(bytes((EXT_INFO,)) + b"\xff\xff\xff\xff")


@at("after-auth")
async def ext_info_after_login(peer: "HostilePeer") -> None:
    await peer.send(bytes((EXT_INFO,)) + b"\xff\xff\xff\xff")


@at("auth")
async def banner_flood(peer: "HostilePeer") -> None:
    await peer.flood(bytes((AUTH_BANNER,)) + string(b"welcome" * 1000) + string(b""))


@at("service")
async def ignore_before_login(peer: "HostilePeer") -> None:
    await peer.flood(bytes((IGNORE,)) + string(b""))


@at("after-auth")
async def ignore_after_login(peer: "HostilePeer") -> None:
    await peer.flood(bytes((IGNORE,)) + string(b""))


@at("data")
async def ignore_while_running(peer: "HostilePeer") -> None:
    await peer.flood(bytes((IGNORE,)) + string(b""))


@at("data")
async def debug_flood(peer: "HostilePeer") -> None:
    await peer.flood(bytes((DEBUG, 1)) + string(b"x" * 500) + string(b""))


@at("data")
async def unknown_flood(peer: "HostilePeer") -> None:
    """Each wants an answer, that it is not known; none is read."""
    await peer.flood(bytes((192,)))


@at("data")
async def global_requests(peer: "HostilePeer") -> None:
    """Each wants an answer; none is read."""
    await peer.flood(bytes((GLOBAL_REQUEST,)) + string(b"x@example.org") + b"\1")


@at("after-auth")
async def global_requests_after_login(peer: "HostilePeer") -> None:
    await peer.flood(bytes((GLOBAL_REQUEST,)) + string(b"hostkeys-00@openssh.com") + b"\1")


@at("data")
async def rekeying(peer: "HostilePeer") -> None:
    while True:
        await peer.exchange_keys()


def _stall(stage: str) -> None:
    async def stall(peer: "HostilePeer") -> None:
        await _forever()

    KINDS[f"stall-{stage}"] = stage, stall


for _each in STAGES:
    _stall(_each)


@at("kex-reply")
async def within_a_message(peer: "HostilePeer") -> None:
    await peer.raw(peer.sealed(bytes((IGNORE,)) + string(bytes(5000)))[:3000])
    await _forever()


@at("data")
async def within_a_message_after_login(peer: "HostilePeer") -> None:
    await peer.raw(peer.sealed(bytes((IGNORE,)) + string(bytes(5000)))[:3000])
    await _forever()


# -- on the channel


def _data(peer: Peer, data: bytes, kind: int = DATA) -> bytes:
    assert peer.channel is not None
    code = struct.pack(">I", 1) if kind == STDERR else b""
    return struct.pack(">BI", kind, peer.channel.number) + code + string(data)


@at("exec")
async def data_before_exec(peer: "HostilePeer") -> None:
    await peer.flood(_data(peer, bytes(32768)), together=4)


@at("exec")
async def stderr_before_exec(peer: "HostilePeer") -> None:
    await peer.flood(_data(peer, bytes(32768), STDERR), together=4)


@at("data")
async def beyond_the_window(peer: "HostilePeer") -> None:
    await peer.flood(_data(peer, b"line\n" * 6000), together=4)


@at("data")
async def stderr_beyond_the_window(peer: "HostilePeer") -> None:
    await peer.flood(_data(peer, b"line\n" * 6000, STDERR), together=4)


@at("data")
async def empty_data(peer: "HostilePeer") -> None:
    await peer.flood(_data(peer, b""))


@at("data")
async def one_byte_at_a_time(peer: "HostilePeer") -> None:
    assert peer.channel is not None
    for _ in range(PRINTS // 100):
        await peer.write(peer.channel, b"x")


@at("data")
async def output_flood(peer: "HostilePeer") -> None:
    assert peer.channel is not None
    for _ in range(PRINTS // 30_000):
        await peer.write(peer.channel, b"line\n" * 6000)


@at("data")
async def stderr_flood(peer: "HostilePeer") -> None:
    assert peer.channel is not None
    for _ in range(PRINTS // 30_000):
        await peer.write(peer.channel, b"line\n" * 6000, STDERR)


@at("exit")
async def exit_signal(peer: "HostilePeer") -> None:
    assert peer.channel is not None
    text = "KILL\nok (500): everything is fine\n\x1b]0;owned\x07\x1b[2J\x9b2J" + "x" * 5000
    signal = string(b"exit-signal") + b"\0" + string(text.encode()) + b"\0" + string(b"") + string(b"")
    await peer.send(struct.pack(">BI", REQUEST, peer.channel.number) + signal)


@at("exit")
async def exit_twice_and_never_closed(peer: "HostilePeer") -> None:
    assert peer.channel is not None
    status = string(b"exit-status") + b"\0" + struct.pack(">I", 2**32 - 1)
    await peer.flood(struct.pack(">BI", REQUEST, peer.channel.number) + status)


@at("open")
async def refused_with_a_text(peer: "HostilePeer") -> None:
    text = "no\nok (500): everything is fine\x1b[2J" + "x" * 100_000
    await peer.send(struct.pack(">BII", NOT_OPENED, 0, 1) + string(text.encode()) + string(b""))
    await _forever()


# -- files


def _pulled(name: str, archive: Callable[[], bytes]) -> None:
    async def give(peer: "HostilePeer") -> None:
        peer.archive = archive()

    KINDS[name] = "exec", give


_pulled("tar-negative", lambda: header(b"f", size=binary(-512, 12)) + END)
_pulled("tar-negative-name", lambda: header(b"f", b"L", binary(-1, 12)) + END)
_pulled("tar-deep", lambda: long_name(b"f/" * 250_000) + file(b"x") + END)
_pulled("tar-many-folders", lambda: b"".join(header(b"f/%d" % n, b"5") for n in range(3000)) + b"x" * 512)
_pulled("tar-link", lambda: header(b"f", SYMBOLIC, link=b"/tmp") + END)
_pulled(
    "tar-trailer",
    lambda: file(b"f") + bytes(1024) + b"paramgmt-sums\n" + b"0123456789abcde\n" * (PRINTS // 16),
)
_pulled("tar-zeros", lambda: bytes(PRINTS))


@at("exec")
async def gzip_bomb(peer: "HostilePeer") -> None:
    peer.tools = b"with gzip"
    peer.archive = _bomb()


def _bomb(size: int = 2 * 2**30) -> bytes:
    """An archive of a file of zeros, compressed."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    head = packer.compress(header(b"f", size=binary(size, 12)))
    zeros = bytes(2**20)
    return head + b"".join(packer.compress(zeros) for _ in range(size // 2**20)) + packer.flush()


@at("exec")
async def noise_before_ready(peer: "HostilePeer") -> None:
    assert peer.channel is not None
    peer.tools = b"noise" * (PRINTS // 5)


@at("exec")
async def sftp_huge(peer: "HostilePeer") -> None:
    peer.tools, peer.sizes[b"f"] = b"without", 2**42
    peer.tree[b"f"] = b"x"


@at("exec")
async def sftp_endless(peer: "HostilePeer") -> None:
    peer.tools, peer.sizes[b"f"] = b"without", 2**42
    peer.endless = True
    peer.tree[b"f"] = b"x"


@at("exec")
async def sftp_listing_count(peer: "HostilePeer") -> None:
    peer.tools, peer.count = b"without", 2**32 - 1
    peer.tree[b"f"] = [b"a"]


@at("exec")
async def sftp_listing_endless(peer: "HostilePeer") -> None:
    peer.tools, peer.endless = b"without", True
    peer.tree[b"f"] = [b"a%d" % n for n in range(500)]


@at("exec")
async def sftp_names(peer: "HostilePeer") -> None:
    peer.tools = b"without"
    peer.tree[b"f"] = [b"../x", b"..", b"/tmp/x", b"a\nb\x1b[2J", b"", b"x" * 5000, b"a\0b"]


@at("exec")
async def sftp_deep(peer: "HostilePeer") -> None:
    peer.tools, peer.deep = b"without", True
    peer.tree[b"f"] = [b"f"]


class HostilePeer(Peer):
    """A host of the kind that its address stands for."""

    def __init__(self, kind: str, *streams: Any) -> None:
        super().__init__(*streams)
        self.kind = kind
        self._stage, self._harm = KINDS.get(kind, ("", None))
        self.sizes: dict[bytes, int] = {}
        self.endless = self.deep = False
        self.count = 0
        self.archive = _ARCHIVE

    async def stage(self, name: str) -> None:
        if name == self._stage and self._harm is not None:
            stage, self._stage = self._stage, ""
            await self._harm(self)
            if stage == "exec":  # what it has changed holds for all commands of this connection
                return

    async def sftp_answer(self, kind: int, number: bytes, fields: Fields) -> bytes:
        if self.deep and kind in (7, 17):
            return b"i" + number + self.attributes([])
        if self.deep and kind == 11:
            self.tree.setdefault(fields.string(), [b"f"])
            self._handles[b"d"] = b"f"
            self._handles[b"d listing"] = b"f"
            return b"f" + number + string(b"d")
        if kind in (7, 8, 17) and self.sizes:
            return b"i" + number + struct.pack(">IQI", 5, self.sizes[b"f"], 0o100644)
        if self.endless and kind == 5:
            return b"g" + number + string(bytes(32768))
        if self.endless and kind == 12:
            names = b"".join(string(name) * 2 + self.attributes(b"") for name in self.tree[b"f"])
            return b"h" + number + struct.pack(">I", len(self.tree[b"f"])) + names
        if self.count and kind == 12:
            return b"h" + number + struct.pack(">I", self.count) + string(b"a") * 2 + self.attributes(b"")
        return await super().sftp_answer(kind, number, fields)


def small_archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("f")
        info.size = 1000
        archive.addfile(info, io.BytesIO(bytes(1000)))
    return out.getvalue() + b"paramgmt-sums\nnone\nend 0\n"


_ARCHIVE = small_archive()


async def _serve(port: int, kinds: list[str]) -> None:
    def make(*streams: Any) -> Peer:
        peer = HostilePeer("", *streams)
        second, place = divmod(peer.number, 2**16)
        if second == _HOSTILE:
            return HostilePeer(kinds[place % len(kinds)], *streams)
        return peer

    os.nice(10)  # what is looked at is not who gets the processor
    await listen(make, port)


# -- the fleet


@dataclass
class Cost:
    """What a run came to."""

    operation: str
    engine: str
    #: Until the last good host had its result, and until all was over.
    seconds: float
    memory: int
    whole: float = 0.0
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        good = ", ".join(f"{count} {name}" for name, count in self.outcomes.get("good", {}).items())
        text = f"{self.operation:6} {self.engine:10} {self.seconds:5.1f} s {self.memory / 2**20:5.0f} MB"
        text += f"  good: {good} (all over after {self.whole:.1f} s)"
        return "\n".join((text, *(f"    WRONG {each}" for each in self.wrong)))


@contextlib.contextmanager
def fleet(kinds: list[str]) -> Iterator["Hosts"]:
    """Servers of good and of hostile hosts."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-hostile-"))
    servers: list[subprocess.Popen[bytes]] = []
    try:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "id"], check=True)
        ports = []
        for _ in range(2):
            words = [sys.executable, __file__, "--serve", ",".join(kinds)]
            with (folder / f"server-{len(ports)}.log").open("wb") as log:
                process = subprocess.Popen(
                    words, stdout=subprocess.PIPE, stderr=log, preexec_fn=die_with_parent
                )
                servers.append(process)
            out = servers[-1].stdout
            assert out is not None
            ports.append(int(out.readline()))
            out.readline()
        yield Hosts(folder, kinds, ports[0], ports[1])
    finally:
        for server in servers:
            server.terminate()
            server.wait(10)
            assert server.stdout is not None
            server.stdout.close()
        remove(folder)


@dataclass
class Hosts:
    """Where they are, and operations on them."""

    folder: Path
    kinds: list[str]
    good: int
    hostile: int

    def kind(self, entry: str) -> str:
        """The kind of host that an entry of the list is."""
        _, second, *rest = map(int, entry.split(":")[0].split("."))
        return "good" if second == _GOOD else self.kinds[int.from_bytes(bytes(rest), "big") % len(self.kinds)]

    def perform(self, operation: str, engine: str, good: int, hostile: int, seconds: float) -> Cost:
        """Do it on so many hosts, in a process of its own; what of it is wrong is in the Cost.

        Raises:
            Violation: it has not ended after that many seconds.
        """
        work = Path(tempfile.mkdtemp(dir=self.folder))
        (work / "got").mkdir()
        (work / "f").write_bytes(bytes(1000))
        entries = [f"{address((_GOOD << 16) + n)}:{self.good}" for n in range(good)]
        for n in range(hostile):
            entry = f"{address((_HOSTILE << 16) + n)}:{self.hostile}"
            entries.insert((n + 1) * len(entries) // (hostile + 1), entry)
        options = f"IdentityFile={self.folder / 'id'} IdentitiesOnly=yes User=nobody"
        (work / "list").write_text("\n".join((f"* {options}", *entries, "")))
        words = {
            "rcmd": ["--", "whoami"],
            "rpull": ["-d", "got/?HOST/", "--", "f"],
            "rpush": ["-d", "into", "--", "f"],
        }[operation]
        if operation == "rpull":
            for entry in entries:
                (work / "got" / entry).mkdir()
        command = [
            *(sys.executable, "-c", _PROGRAM.format(operation)),
            *("-f", "list", "--json", "--order", "finished", "--host-keys", "ignore"),
            *("--engine", engine, "--workers", "2"),
            *("--connect-timeout", f"{CONNECT:g}", "--timeout", f"{TIMEOUT:g}", *words),
        ]  # fmt: skip
        cost = self._watch(command, work, Cost(operation, engine, 0.0, 0), entries, seconds)
        if operation == "rpull":
            for entry in entries:
                try:
                    check_destination(work / "got" / entry)
                except Violation as violation:
                    cost.wrong.append(f"{self.kind(entry)}: {violation}")
        remove(work)
        return cost

    def _watch(self, command: list[str], work: Path, cost: Cost, entries: list[str], seconds: float) -> Cost:
        env = {**os.environ, "HOME": str(work), "XDG_STATE_HOME": str(work / "state"), "TMPDIR": str(work)}
        began = time.monotonic()
        lines: list[dict[str, Any]] = []
        with (work / "err").open("wb") as err:
            process = subprocess.Popen(
                command,
                cwd=work,
                env=env,
                stdout=subprocess.PIPE,
                stderr=err,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
            assert process.stdout is not None

            def read() -> None:
                assert process.stdout is not None
                for line in process.stdout:
                    said = json.loads(line)
                    if self.kind(said["host"]) == "good":
                        cost.seconds = time.monotonic() - began
                    lines.append({name: said[name] for name in ("host", "outcome", "reason")})

            reader = threading.Thread(target=read)
            reader.start()
            while process.poll() is None and time.monotonic() < began + seconds:
                cost.memory = max(cost.memory, _memory(process.pid))
                if cost.memory > FAR_TOO_MUCH:
                    break
                time.sleep(0.1)
            cost.whole = time.monotonic() - began
            if process.poll() is None:
                why = f"it did not end in {cost.whole:.0f} s"
                left = Counter(map(self.kind, entries)) - Counter(self.kind(line["host"]) for line in lines)
                cost.wrong.append(f"{why}: no results of {dict(left)}")
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
            reader.join()
            process.stdout.close()
        if cost.memory > MEMORY:
            cost.wrong.append(f"{cost.memory / 2**20:.0f} MB of memory")
        self._judge(cost, lines, entries)
        said = (work / "err").read_text("utf-8", "replace")
        if "Traceback" in said:
            cost.wrong.append(f"a traceback: {said[said.index('Traceback') :][-600:]!r}")
        return cost

    def _judge(self, cost: Cost, lines: list[dict[str, Any]], entries: list[str]) -> None:
        for line in lines:
            kind = self.kind(line["host"])
            cost.outcomes.setdefault(kind, Counter())[line["outcome"]] += 1
            if kind == "good" and line["outcome"] != "ok":
                cost.wrong.append(f"a good host is {line['outcome']}: {line['reason']:.200}")
            try:
                check_reason(line["reason"])
            except Violation as violation:
                cost.wrong.append(f"{kind}: {violation}")
        if sorted(line["host"] for line in lines) != sorted(entries):
            cost.wrong.append(f"{len(lines)} results of {len(entries)} hosts")
        cost.wrong = [f"{text} ({count} times)" for text, count in Counter(cost.wrong).items()]


def _memory(root: int) -> int:
    """Bytes that a process and those below it have to themselves, what they share counted once."""
    total, left = 0, [root]
    while left:
        pid = left.pop()
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                left += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += next((int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:")), 0)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__
    )
    parser.add_argument("--good", type=int, default=200)
    parser.add_argument("--hostile", type=int, default=100)
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--ops", default=",".join(OPERATIONS))
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--limit", type=float, default=180, help="seconds until a run is ended (180)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        from fault_proxy import free_ports

        (port,) = free_ports(1)
        print(port, flush=True)
        asyncio.run(_serve(port, given.serve.split(",")))
    wrong = False
    with fleet(given.kinds.split(",")) as hosts:
        for operation in given.ops.split(","):
            for engine in given.engines.split(","):
                alone = hosts.perform(operation, engine, given.good, 0, given.limit)
                cost = hosts.perform(operation, engine, given.good, given.hostile, given.limit)
                if cost.seconds > alone.seconds + 10:
                    cost.wrong.append(
                        f"{cost.seconds:.1f} s, where the good hosts alone take {alone.seconds:.1f} s"
                    )
                print(f"{alone}\n{cost}", flush=True)
                for kind in sorted(cost.outcomes):
                    print(f"        {kind}: {dict(cost.outcomes[kind])}")
                wrong = wrong or bool(alone.wrong or cost.wrong)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
