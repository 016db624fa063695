"""SSH servers that say anything: messages of every number, with fields of every kind, at every stage.

Each case is one operation on some hostile hosts and some good ones. A hostile host's address is the seed of
all it does: it inserts messages, changes its own, sends bytes that are none, stalls or goes away.
"""

import asyncio
import contextlib
import gc
import getpass
import random
import re
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fault_proxy import free_ports
from harness import Violation, check_reason, die_with_parent
from hostile import small_archive
from peer import AUTH_FAILURE, AUTH_SUCCESS, STAGES, Fields, Peer, address, listen, string

from paramgmt_tasks import Fleet, Host, HostResult, Pull, Push, RemoteCommand, Settings
from paramgmt_tasks.model.operations import Operation

HOSTILE, GOOD = 6, 2
CONNECT, TIMEOUT, SPARE = 2.0, 2.0, 10.0
SECONDS = CONNECT + TIMEOUT + SPARE + 15
#: Second numbers of addresses: of good hosts, and of the first hostile one.
_GOOD, _HOSTILE = 1, 2

# -- messages

#: By number, the kinds of fields that a message has: byte, number of 4 or 8 bytes, text, list of names, key.
_MESSAGES: dict[int, tuple[str, ...]] = {
    1: ("4", "s", "s"),
    2: ("s",),
    3: ("4",),
    4: ("b", "s", "s"),
    5: ("s",),
    6: ("s",),
    7: ("4", "s", "s", "s", "s"),
    20: ("r", *("l",) * 10, "b", "4"),
    21: (),
    30: ("k",),
    31: ("k", "k", "k"),
    32: ("k", "k"),
    33: ("k",),
    34: ("4", "4", "4"),
    50: ("s", "s", "s", "b"),
    51: ("l", "b"),
    52: (),
    53: ("s", "s"),
    60: ("s", "s", "s", "4", "s", "b", "s", "b"),
    61: ("4", "s", "s"),
    80: ("s", "b", "s"),
    81: ("4",),
    82: (),
    90: ("s", "4", "4", "4", "s", "4", "s", "4"),
    91: ("c", "c", "4", "4"),
    92: ("c", "4", "s", "s"),
    93: ("c", "4"),
    94: ("c", "s"),
    95: ("c", "4", "s"),
    96: ("c",),
    97: ("c",),
    98: ("c", "q", "b", "4", "s"),
    99: ("c",),
    100: ("c",),
}
_NUMBERS = (0, 1, 2, 3, 5, 100, 32768, 2**21, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_TEXTS = (
    *(
        b"",
        b"x",
        b"ssh-userauth",
        b"ssh-connection",
        b"session",
        b"none",
        b"publickey",
        b"keyboard-interactive",
    ),
    *(b"hostkeys-00@openssh.com", b"keepalive@openssh.com", b"server-sig-algs", b"x11"),
    b"forwarded-tcpip",
    *(
        b"auth-agent@openssh.com",
        b"a\nb\r\x1b[2J\x07\x9b",
        b"\xff\xfe\x00",
        b"key options: command x",
        "ü".encode(),
    ),
    *(b"x" * 5000, b"x" * 100_000, b"\n" * 3000, b"%s%n{0}", b"ssh-ed25519", b"rsa-sha2-512"),
)
_LISTS = (
    *(
        b"",
        b",",
        b",,,",
        b"none",
        b"publickey",
        b"password,keyboard-interactive",
        b"ssh-ed25519",
        b"aes128-cbc",
    ),
    *(
        b"curve25519-sha256@libssh.org",
        b"diffie-hellman-group-exchange-sha256",
        b"diffie-hellman-group14-sha256",
    ),
    *(b"aes128-gcm@openssh.com", b"aes128-ctr", b"hmac-sha2-256", b"zlib@openssh.com", b"zlib", b"x," * 5000),
    *(b"kex-strict-s-v00@openssh.com", b"ecdh-sha2-nistp256,curve25519-sha256", b"rsa-sha2-256", b"\xff\n"),
)
_REQUESTS = (
    b"exit-status",
    b"exit-signal",
    b"exec",
    b"keepalive@openssh.com",
    b"eow@openssh.com",
    b"\xff",
    b"x11-req",
)


def _field(rng: random.Random, kind: str) -> bytes:
    if kind == "b":
        return bytes((rng.choice((0, 1, 2, 255)),))
    if kind == "4":
        return struct.pack(">I", rng.choice(_NUMBERS))
    if kind == "c":
        return struct.pack(">I", rng.choice((0, 0, 0, 0, 1, 2, 2**32 - 1)))
    if kind == "r":
        return rng.randbytes(16)
    if kind == "k":
        size = rng.choice((0, 1, 31, 32, 33, 64, 65, 256, 4096))
        data = rng.choice(
            (rng.randbytes(size), bytes(size), b"\xff" * size, string(b"ssh-ed25519") + string(b"x" * 32))
        )
    else:
        data = rng.choice({"l": _LISTS, "q": _REQUESTS}.get(kind, _TEXTS))
    if rng.random() < 0.05:  # a length that is not its own
        return struct.pack(">I", rng.choice((*_NUMBERS, len(data) + 1))) + data
    return string(data)


def message(rng: random.Random) -> bytes:
    number = rng.choice((*_MESSAGES, *_MESSAGES, *_MESSAGES, rng.randrange(256)))
    kinds = _MESSAGES.get(number, ("s",))
    payload = bytes((number,)) + b"".join(_field(rng, kind) for kind in kinds)
    if rng.random() < 0.15:
        payload = changed(rng, payload)
    return payload


def changed(rng: random.Random, payload: bytes) -> bytes:
    """A message with something else in it."""
    data, at = bytearray(payload), rng.randrange(len(payload) or 1)
    how = rng.randrange(6)
    if how == 0:
        del data[at:]
    elif how == 1:
        data += rng.randbytes(rng.choice((1, 4, 100)))
    elif how == 2:
        data[at : at + 4] = struct.pack(">I", rng.choice(_NUMBERS))
    elif how == 3:
        data[0:1] = bytes((rng.randrange(256),))
    elif how == 4:
        data[at:at] = rng.choice(_TEXTS)
    else:
        data[at : at + 1] = rng.randbytes(1)
    return bytes(data)


# -- the server


class FuzzPeer(Peer):
    """A host that makes all its choices by its address."""

    def __init__(self, *streams: Any) -> None:
        super().__init__(*streams)
        self.archive = small_archive()
        rng = self.rng = random.Random(self.number)
        self.good = self.number >> 16 == _GOOD
        self._wrong: dict[str, str] = {}
        if not self.good:
            kinds = ("insert", "insert", "insert", "change", "change", "bytes", "packet", "stall", "close")
            stages = rng.sample(STAGES, rng.choice((1, 1, 2, 4)))
            self._wrong = {stage: rng.choice(kinds) for stage in stages}
        self._change = False
        self.often = 0.0 if self.good or rng.random() < 0.8 else 0.05
        self._methods = rng.choice(
            (b"publickey", b"password", b"keyboard-interactive", b"", b"publickey,password")
        )

    async def stage(self, name: str) -> None:
        how, rng = self._wrong.get(name), self.rng
        if how == "insert":
            again = rng.choice((1, 1, 1, 3, 200))
            await self.send(*[message(rng) for _ in range(rng.choice((1, 1, 2, 5)))] * again)
        elif how == "change":
            self._change = True
        elif how == "bytes":
            await self.raw(
                rng.choice((rng.randbytes(rng.choice((1, 5, 100, 5000))), bytes(40), b"SSH-2.0-x\r\n" * 3))
            )
        elif how == "packet":
            size = rng.choice(
                (0, 1, 4, 5, 11, 12, 16, 35000, 2**18 + 4, 2**28 + 4, 2**31 + 4, 2**32 - 4, 2**32 - 1)
            )
            await self.raw(
                struct.pack(">IB", size, rng.randrange(256)) + rng.randbytes(rng.choice((0, 20, 5000)))
            )
        elif how == "stall":
            await asyncio.sleep(60)
        elif how == "close":
            self.writer.transport.abort() if rng.random() < 0.5 else self.writer.close()

    async def send(self, *payloads: bytes) -> None:
        if self._change or (self.often and self.rng.random() < self.often):
            self._change = False
            payloads = tuple(changed(self.rng, payload) for payload in payloads)
        await super().send(*payloads)

    async def authenticate(self, method: bytes, fields: Fields) -> None:
        if self.good:
            await self.send(bytes((AUTH_SUCCESS,)))
        elif method == b"keyboard-interactive" and self.rng.random() < 0.8:
            prompts = self.rng.choice((0, 1, 3, 1000, 2**32 - 1))
            asked = (string(self.rng.choice(_TEXTS)) + b"\0") * min(prompts, 3)
            await self.send(b"\x3c" + string(b"") * 3 + struct.pack(">I", prompts) + asked)
        elif self.rng.random() < 0.3:
            await self.send(bytes((AUTH_FAILURE,)) + string(self._methods) + bytes((self.rng.randrange(2),)))
        elif method == b"publickey":
            await super().authenticate(method, fields)
        else:
            await self.send(bytes((AUTH_SUCCESS,)))


# -- cases

_port = 0
_identity = ""
_strange: list[str] = []


@contextlib.contextmanager
def setup(program: str = __file__) -> Iterator[None]:
    """The server, for all cases of a process."""
    global _port, _identity
    (_port,) = free_ports(1)
    _identity = str(Path.home() / "id_fuzz")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", _identity], check=True)
    threading.excepthook = lambda args: _strange.append(f"a thread ended with {args.exc_value!r}")
    sys.unraisablehook = lambda args: _strange.append(f"unraisable: {args.exc_value!r}")
    words = [sys.executable, program, str(_port)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
    assert server.stdout is not None
    server.stdout.readline()
    try:
        yield
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()


def hosts(seed: int) -> list[Host]:
    """Hostile hosts, of which that seed knows all, and good ones among them."""
    numbers = [(_HOSTILE << 16) + (seed * HOSTILE + place) % (250 << 16) for place in range(HOSTILE)]
    for place in range(GOOD):
        numbers.insert(place * 3, (_GOOD << 16) + place)
    options = {
        "Port": str(_port),
        "User": getpass.getuser(),
        "IdentityFile": _identity,
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
    }
    return [Host(address(number), address(number), options=options) for number in numbers]


def case(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    operation: Operation = RemoteCommand("true", held=rng.random() < 0.2)
    how = rng.random()
    if how < 0.25:
        for host in hosts(seed):
            (folder / host.entry).mkdir()
        operation = Pull(("f",), str(folder / "?HOST"))
    elif how < 0.5:
        (folder / "f").write_bytes(bytes(rng.choice((0, 1000, 100_000))))
        operation = Push((str(folder / "f"),), "into")
    password = "secret" if rng.random() < 0.4 else None
    sudo = password is not None and rng.random() < 0.3
    settings = Settings(
        connect_timeout=CONNECT,
        timeout=TIMEOUT,
        attempts=rng.choice((1, 1, 2)),
        password=password,
        sudo=sudo,
        stdin=rng.choice((None, None, b"x" * 100_000)) if isinstance(operation, RemoteCommand) else None,
    )
    perform(operation, hosts(seed), settings)


def perform(
    operation: RemoteCommand | Pull | Push, among: list[Host], settings: Settings
) -> list[HostResult]:
    """Do it, and look at what has to hold of every run.

    Raises:
        Violation: it does not.
    """
    _strange.clear()
    began = time.monotonic()
    with Fleet(among, settings) as fleet:
        results = list(fleet.perform(operation))
        took = time.monotonic() - began
    if sorted(result.index for result in results) != list(range(len(among))):
        raise Violation(f"{len(results)} results of {len(among)} hosts")
    for result in results:
        who = f"{result.host} in {type(operation).__name__}, {result.outcome}"
        try:
            check_reason(result.reason)
        except Violation as violation:
            raise Violation(f"{violation}: {who}") from None
        if re.match(r"[A-Za-z_.]*(Error|Exception|error): ", result.reason):
            raise Violation(f"not a reason: {result.reason}: {who}")
        if result.host.entry.startswith(f"127.{_GOOD}.") and not result.ok:
            raise Violation(f"a good host: {result.reason}: {who}")
        if bool(result.reason) == result.ok:
            raise Violation(f"{result.outcome} with the reason {result.reason!r}: {who}")
    if took > settings_limit(settings):
        last = max(results, key=lambda result: result.seconds)
        raise Violation(
            f"late, {took:.1f} s: {last.host} in {type(operation).__name__}, {last.outcome} ({last.reason})"
        )
    fleet = None  # type: ignore[assignment]
    gc.collect()
    ends = time.monotonic() + 3
    while (left := threading.enumerate()[1:]) and time.monotonic() < ends:
        time.sleep(0.01)
    if left:
        raise Violation(f"threads left: {', '.join(thread.name for thread in left)}")
    if _strange:
        raise Violation(_strange[0])
    return results


def settings_limit(settings: Settings) -> float:
    return (settings.connect_timeout or 0) + (settings.timeout or 0) + SPARE


if __name__ == "__main__":
    asyncio.run(listen(FuzzPeer, int(sys.argv[1])))
