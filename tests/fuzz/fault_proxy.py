"""A real sshd behind a proxy that cuts, resets, stalls or flips, and host-runs through it.

The proxy is a process of its own. For each connection it decides by the address it was made to, and the
how many-eth to it this is, whether to harm it, how, in which direction and at which byte. All of 127.0.0.0/8
leads to one sshd, in which each address has a home of its own.

A case is one operation on HOSTS hosts, each with an address that is used once in a child.
"""

import asyncio
import contextlib
import getpass
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import Violation, check_destination, check_reason, die_with_parent, remove

from paramgmt_tasks import Fleet, Host, HostResult, Outcome, Pull, Push, RemoteCommand, Script, Settings
from paramgmt_tasks.model.operations import Copying

SECONDS = 200.0
HOSTS = 40
CONNECT, TIMEOUT, SPARE = 4.0, 4.0, 10.0
#: Seconds for sshd to notice that its connections are gone, and to end what it has started.
QUIET = 25.0
#: Seconds in which what has lost its connection clears up.
CLEARED = 5.0
#: Outcomes that say that nothing was started.
NEVER = {Outcome.UNREACHABLE, Outcome.DENIED, Outcome.UNTRUSTED, Outcome.CANCELLED, Outcome.ERROR}
_SFTP = "/usr/lib/openssh/sftp-server"

# -- the proxy


@dataclass(frozen=True)
class Fault:
    """What happens at a byte of a connection. `to_host` is the direction, `at` counts from 0."""

    kind: str
    to_host: bool
    at: int
    bit: int

    @staticmethod
    def of(address: str, count: int) -> "Fault | None":
        """That of the `count`-th connection to an address; None where it is left alone."""
        rng = random.Random(f"{address} {count}")
        if rng.random() < (0.25 if count == 0 else 0.5):
            return None
        # Handshake, login and the start of something lie in the first few kilobytes.
        at = rng.randrange(6000) if rng.random() < 0.6 else int(10 ** rng.uniform(0, 5.6))
        kind = rng.choice(("cut", "cut", "reset", "reset", "flip", "flip", "stall", "hold"))
        return Fault(kind, rng.random() < 0.5, at, rng.randrange(8))


class _Line:
    """One connection through the proxy."""

    def __init__(self, fault: Fault | None) -> None:
        self._fault = fault
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, near: tuple[asyncio.StreamReader, asyncio.StreamWriter], behind: int) -> None:
        self._writers.append(near[1])
        address = near[1].get_extra_info("sockname")[0]
        try:
            far = await asyncio.open_connection(address, behind)
            self._writers.append(far[1])
            pumps = [self._pump(near[0], far[1], True), self._pump(far[0], near[1], False)]
            tasks = [asyncio.ensure_future(pump) for pump in pumps]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        except OSError:
            pass
        finally:
            for writer in self._writers:
                writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_host: bool) -> None:
        fault = self._fault if self._fault is not None and self._fault.to_host == to_host else None
        moved = 0
        while data := await reader.read(65536):
            if fault is not None and moved <= fault.at < moved + len(data):
                harmed = fault.at - moved
                if fault.kind == "flip":
                    data = bytes((*data[:harmed], data[harmed] ^ 1 << fault.bit, *data[harmed + 1 :]))
                else:
                    writer.write(data[:harmed])
                    await writer.drain()
                    await self._harm(fault.kind, reader)
                    return
            moved += len(data)
            writer.write(data)
            await writer.drain()

    async def _harm(self, kind: str, reader: asyncio.StreamReader) -> None:
        if kind == "reset":
            for writer in self._writers:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        elif kind == "stall":  # what comes is taken, and leads nowhere
            while await reader.read(65536):
                pass
        elif kind == "hold":  # nothing is taken any more, until the client has gone
            gone = select.poll()
            gone.register(self._writers[0].get_extra_info("socket").fileno(), select.POLLRDHUP)
            # Its end does not come either where more is on its way than is taken.
            ends = time.monotonic() + CONNECT + TIMEOUT + SPARE
            while not gone.poll(0) and time.monotonic() < ends:
                await asyncio.sleep(0.1)


async def _proxy(port: int, behind: int) -> None:
    counts: dict[str, int] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("sockname")[0]
        counts[address] = counts.get(address, -1) + 1
        fault = Fault.of(address, counts[address])
        with contextlib.suppress(OSError):
            await _Line(fault).serve((reader, writer), behind)

    server = await asyncio.start_server(serve, "0.0.0.0", port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


# -- sshd


@dataclass
class Servers:
    """An sshd in which each address has a home, and a proxy in front of it."""

    folder: Path
    sshd: "subprocess.Popen[bytes]"
    port: int

    def home(self, address: str) -> Path:
        return self.folder / "homes" / address

    def host(self, address: str) -> Host:
        options = {
            "Port": str(self.port),
            "User": getpass.getuser(),
            "IdentityFile": str(self.folder / "id_ed25519"),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "StrictHostKeyChecking": "yes",
        }
        return Host(address, address, options=options)

    def settle(self) -> None:
        """Wait until sshd serves nobody any more.

        Raises:
            Violation: it still does.
        """
        ends = time.monotonic() + QUIET
        children = Path(f"/proc/{self.sshd.pid}/task/{self.sshd.pid}/children")
        while time.monotonic() < ends:
            if not children.read_text().split():
                return
            time.sleep(0.02)
        raise Violation(f"after {QUIET:g} s the hosts still serve somebody: {_below(self.sshd.pid)}")


def _below(pid: int) -> list[str]:
    """What the processes below one are."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            found += [f"{child}: {line[:60]}", *_below(int(child))]
    return found


_servers: Servers


@contextlib.contextmanager
def setup() -> Iterator[None]:
    """The servers, for all cases of a process."""
    global _servers
    with servers() as _servers:
        yield


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise FileNotFoundError("needs sshd, from the package openssh-server")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-sshd-"))
    running: list[subprocess.Popen[bytes]] = []
    try:
        behind, port = free_ports(2)
        _configure(folder, behind)
        (folder / "known_hosts").write_text(f"[127.*]:{port} {(folder / 'host_key.pub').read_text()}")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        for words in (
            [program, "-D", "-f", str(folder / "config"), "-E", str(folder / "log")],
            [sys.executable, __file__, str(port), str(behind)],
        ):
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
            running.append(process)
        for each in (behind, port):
            _wait_for(each)
        yield Servers(folder, running[0], port)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(10)
        remove(folder)


def _configure(folder: Path, port: int) -> None:
    (folder / "homes").mkdir()
    for name in ("host_key", "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    without = folder / "without-tar"
    without.mkdir()
    for name in ("sh", "uname", "mkdir", "rm", "mv", "cat"):
        (without / name).symlink_to(str(shutil.which(name)))
    session = folder / "session"
    session.write_text(
        "#!/bin/sh\nset -- $SSH_CONNECTION\n"
        f"HOME='{folder}/homes/'$3; TMPDIR=$HOME/tmp; export HOME TMPDIR; cd \"$HOME\" || exit 1\n"
        f"[ ! -e .without-tar ] || PATH='{without}'\n"
        f'[ "$SSH_ORIGINAL_COMMAND" = "{_SFTP}" ] && exec {_SFTP}\n'
        'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    session.chmod(0o755)
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 0.0.0.0\nHostKey {folder / 'host_key'}\n"
        f"AuthorizedKeysFile {folder / 'id_ed25519.pub'}\nStrictModes no\nUsePAM no\nPidFile none\n"
        f"MaxStartups 1000\nSubsystem sftp {_SFTP}\nForceCommand {session}\nSetEnv HOME={folder}\n"
    )


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("0.0.0.0", 0))
        return [sock.getsockname()[1] for sock in sockets]


def _wait_for(port: int) -> None:
    # Not by a connection: the proxy would count it.
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        if f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text():
            return
        time.sleep(0.05)
    raise TimeoutError(f"no server came up on port {port}")


# -- host-runs


def case(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    numbers = (seed * HOSTS + place for place in range(HOSTS))
    addresses = [f"127.{16 + (n >> 16) % 200}.{n >> 8 & 255}.{n & 255}" for n in numbers]
    check = rng.choice((_command, _command, _script, _push, _push, _pull, _pull))
    without_tar = check in (_push, _pull) and rng.random() < 0.25
    for address in addresses:
        (_servers.home(address) / "tmp").mkdir(parents=True)
        if without_tar:
            (_servers.home(address) / ".without-tar").touch()
    settings = Settings(
        connect_timeout=CONNECT,
        timeout=TIMEOUT,
        attempts=rng.choice((1, 3, 3)),
        engine="processes" if rng.random() < 0.15 else "threads",
        workers=2,
    )
    try:
        check(rng, folder, addresses, settings, without_tar)
    finally:
        for address in addresses:
            remove(_servers.home(address))


def _perform(operation: object, addresses: list[str], settings: Settings) -> dict[str, HostResult]:
    """The results by address, once all is over on the hosts too."""
    began = time.monotonic()
    with Fleet([_servers.host(address) for address in addresses], settings) as fleet:
        results = list(fleet.perform(operation))  # type: ignore[arg-type]
        took = time.monotonic() - began
    if sorted(result.index for result in results) != list(range(len(addresses))):
        raise Violation(f"{len(results)} results of {len(addresses)} hosts")
    if took > CONNECT + TIMEOUT + SPARE:
        last = max(results, key=lambda result: result.seconds)
        what = type(operation).__name__
        raise Violation(f"{what}, {took:.1f} s: {last.host} {last.seconds} s, {last.outcome}: {last.reason}")
    for result in results:
        check_reason(result.reason)
        if bool(result.reason) == result.ok:
            raise Violation(f"{result.outcome} with the reason {result.reason!r}")
    _servers.settle()
    return {result.host.entry: result for result in results}


def _check_marks(address: str, result: HostResult, names: tuple[str, ...]) -> None:
    file = _servers.home(address) / "mark"
    marks = file.read_text().split() if file.exists() else []
    how = f"{address}: {result.outcome} ({result.reason})"
    if len(set(marks)) != len(marks):
        raise Violation(f"run more than once, {marks}: {how}")
    if marks and result.outcome in NEVER:
        raise Violation(f"run, {marks}, where it says never started: {how}")
    if result.ok and marks != list(names):
        raise Violation(f"not run, {marks}, where it says it was: {how}")
    if marks != list(names[: len(marks)]):
        raise Violation(f"run in the wrong order, {marks}: {how}")


def _check_home(address: str, result: HostResult, besides: set[str]) -> None:
    home = _servers.home(address)

    def left() -> list[str]:
        strange = set(os.listdir(home)) - {"mark", "tmp", ".without-tar", *besides}
        return sorted(strange) or os.listdir(home / "tmp")

    # What a connection that broke off leaves behind clears up after itself when sshd has gone already.
    ends = time.monotonic() + CLEARED
    while left() and time.monotonic() < ends:
        time.sleep(0.02)
    if left():
        raise Violation(f"{address}: {result.outcome}, left on the host: {left()}")


def _command(rng: random.Random, folder: Path, addresses: list[str], settings: Settings, _: bool) -> None:
    count = rng.choice((0, 10, 5000, 200_000))
    command = f"echo one >>~/mark; head -c {count} /dev/zero"
    held = rng.random() < 0.3
    for address, result in _perform(RemoteCommand(command, held), addresses, settings).items():
        _check_marks(address, result, ("one",))
        if result.ok and len(result.stdout) != count:
            raise Violation(f"{address}: ok, with {len(result.stdout)} bytes of {count}")
        _check_home(address, result, set())


def _script(rng: random.Random, folder: Path, addresses: list[str], settings: Settings, _: bool) -> None:
    names = ("first", "second")
    paths = [folder / name for name in names]
    for name, path in zip(names, paths, strict=True):
        path.write_text(f"#!/bin/sh\necho {name} >>~/mark\n#{'x' * rng.choice((1, 40_000))}\n")
    for address, result in _perform(Script(tuple(map(str, paths))), addresses, settings).items():
        _check_marks(address, result, names)
        _check_home(address, result, set())


def _files(rng: random.Random, folder: Path) -> dict[str, bytes]:
    """Some files below a folder that is made."""
    sizes = {
        "a": rng.choice((0, 1000, 300_000)),
        "sub/b": rng.choice((1, 5000)),
        "sub/c": 0,
        "sub/d/e": 70_000,
    }
    files = {name: rng.randbytes(size) for name, size in sizes.items()}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return files


def _check_files(
    folder: Path, new: dict[str, bytes], old: dict[str, bytes], complete: bool, how: str
) -> None:
    """Whether each file is a new or an old one, and whole; all are new where it is complete."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name, data in found.items():
        if data not in (new.get(name), old.get(name)):
            raise Violation(f"{name} is neither whole nor absent, {len(data)} bytes: {how}")
    missing = [name for name, data in new.items() if found.get(name) != data] if complete else []
    if missing:
        raise Violation(f"{missing} missing: {how}")


def _push(rng: random.Random, folder: Path, addresses: list[str], settings: Settings, without: bool) -> None:
    new = {f"tree/{name}": data for name, data in _files(rng, folder / "tree").items()}
    old = {"tree/a": b"old", "other": b"other"}
    for address in addresses:
        (_servers.home(address) / "in" / "tree").mkdir(parents=True)
        for name, data in old.items():
            (_servers.home(address) / "in" / name).write_bytes(data)
    how = Copying(verify=rng.random() < 0.8, compress=rng.random() < 0.3, changed=rng.random() < 0.2)
    results = _perform(Push((str(folder / "tree"),), "in", how), addresses, settings)
    for address, result in results.items():
        said = f"{address}: {result.outcome} ({result.reason})"
        into = _servers.home(address) / "in"
        temporary = [path.name for path in into.rglob(".paramgmt-*")]
        if temporary and without and not result.ok:  # the next transfer sweeps them away
            for path in into.rglob(".paramgmt-*"):
                path.unlink()
        elif temporary:
            raise Violation(f"left on the host: {temporary}: {said}")
        _check_files(into, new, old, result.ok, said)
        _check_home(address, result, {"in"})


def _pull(rng: random.Random, folder: Path, addresses: list[str], settings: Settings, _: bool) -> None:
    files = {address: _files(rng, _servers.home(address) / "out") for address in addresses}
    for address in addresses:
        (folder / "got" / address).mkdir(parents=True)
    how = Copying(verify=rng.random() < 0.8, compress=rng.random() < 0.3)
    results = _perform(Pull(("out",), str(folder / "got" / "?HOST"), how), addresses, settings)
    for address, result in results.items():
        new = {f"out/{name}": data for name, data in files[address].items()}
        check_destination(folder / "got" / address)
        said = f"{address}: {result.outcome} ({result.reason})"
        _check_files(folder / "got" / address, new, {}, result.ok, said)
        _check_home(address, result, {"out"})
    if os.listdir(folder) != ["got"] or set(os.listdir(folder / "got")) != set(addresses):
        raise Violation(f"written elsewhere: {os.listdir(folder)}, {os.listdir(folder / 'got')}")


if __name__ == "__main__":
    asyncio.run(_proxy(int(sys.argv[1]), int(sys.argv[2])))
