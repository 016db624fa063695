"""The servers the benchmark runs against, on loopback: OpenSSH, light and lean ones, silent ones."""

import base64
import contextlib
import getpass
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: Addresses by their second number: those of hosts that work, that refuse, and that never say a word.
WORKING, REFUSING, HANGING = 1, 2, 3
_SFTP = "/usr/lib/openssh/sftp-server"


@dataclass
class Fleet:
    """Where the servers listen, and what is needed to get in."""

    folder: Path
    sshd: int
    light: int
    far: int
    lean: int
    refusing: int
    hanging: int
    user: str = field(default_factory=getpass.getuser)
    #: The processes of the servers, without their children.
    pids: set[int] = field(default_factory=set)

    @property
    def identity(self) -> Path:
        return self.folder / "id_ed25519"

    def port(self, address: str, server: str) -> int:
        kind = int(address.split(".")[1])
        if kind == REFUSING:
            return self.refusing
        return self.hanging if kind == HANGING else int(getattr(self, server))

    def known_hosts(self, server: str, addresses: list[str], hashed: int) -> Path:
        """A known_hosts with one pattern for all, or as many hashed entries, `addresses` among them."""
        key = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        port = getattr(self, server)
        path = self.folder / f"known_hosts_{server}_{hashed}"
        if not hashed:
            path.write_text(f"[127.*]:{port} {key}\n")
            return path
        every = max(1, hashed // len(addresses))
        lines = []
        for number in range(hashed):
            place, rest = divmod(number, every)
            if rest == 0 and place < len(addresses):
                lines.append(f"{_hashed(f'[{addresses[place]}]:{port}')} {key}")
            else:
                lines.append(f"{_hashed(f'[10.0.{number // 250}.{number % 250}]:22')} {_some_key()}")
        path.write_text("\n".join(lines) + "\n")
        return path


def _hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.digest(salt, name.encode(), hashlib.sha1)
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def _some_key() -> str:
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + os.urandom(32)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def addresses(working: int, refusing: int = 0, hanging: int = 0) -> list[str]:
    """Addresses of so many hosts, those that do not work spread evenly among the others."""
    kinds = [WORKING] * working
    for kind, count in ((REFUSING, refusing), (HANGING, hanging)):
        for number in range(count):
            kinds.insert((number + 1) * len(kinds) // (count + 1), kind)
    return [f"127.{kind}.{number // 250}.{number % 250 + 1}" for number, kind in enumerate(kinds)]


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[Fleet]:
    """Start the servers, and stop them."""
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if sshd is None:
        sys.exit("perf: needs sshd: install openssh-server")
    for name in ("host_key", "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with contextlib.ExitStack() as stack:
        refusing = stack.enter_context(socket.socket())
        refusing.bind(("0.0.0.0", 0))  # bound, not listening
        # The kernel accepts for it, and nobody ever answers.
        hanging = stack.enter_context(socket.create_server(("0.0.0.0", 0), backlog=4096))
        ports = _free_ports(4)
        fleet = Fleet(folder, *ports, refusing.getsockname()[1], hanging.getsockname()[1])
        key, user_key = fleet.folder / "host_key", f"{fleet.identity}.pub"

        def keep(process: "subprocess.Popen[bytes]") -> None:
            stack.callback(_stop, process)
            fleet.pids.add(process.pid)

        keep(_start_sshd(sshd, fleet))
        keep(_start_script(fleet, "light_server", fleet.light, key, user_key))
        keep(_start_script(fleet, "light_server", fleet.far, key, user_key, "--delay", "0.025"))
        keep(_start_script(fleet, "lean_server", fleet.lean, key))
        for port in ports:
            _wait_for(port)
        yield fleet


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("0.0.0.0", 0))
        return [sock.getsockname()[1] for sock in sockets]


def _start_sshd(program: str, fleet: Fleet) -> "subprocess.Popen[bytes]":
    # Each address has a home of its own, as hosts have; sshd alone would give them one.
    session = fleet.folder / "session"
    session.write_text(
        "#!/bin/sh\nset -- $SSH_CONNECTION\n"
        f'HOME=\'{fleet.folder}/homes/\'$3; export HOME; mkdir -p "$HOME"; cd "$HOME"\n'
        f'[ "$SSH_ORIGINAL_COMMAND" = "{_SFTP}" ] && exec {_SFTP}\n'
        'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    session.chmod(0o755)
    config = fleet.folder / "sshd_config"
    config.write_text(
        f"Port {fleet.sshd}\n"
        "ListenAddress 0.0.0.0\n"
        f"HostKey {fleet.folder / 'host_key'}\n"
        f"AuthorizedKeysFile {fleet.identity}.pub\n"
        "StrictModes no\nUsePAM no\nPidFile none\nMaxStartups 1000\n"
        f"Subsystem sftp {_SFTP}\n"
        f"ForceCommand {session}\n"
        f"SetEnv HOME={fleet.folder}\n"  # the login shell is not to read the user's own files
    )
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    return subprocess.Popen([program, "-D", "-f", config, "-E", fleet.folder / "sshd.log"])


def _start_script(fleet: Fleet, name: str, port: int, *arguments: str | Path) -> "subprocess.Popen[bytes]":
    script = Path(__file__).with_name(f"{name}.py")
    with (fleet.folder / f"{name}_{port}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, script, str(port), *arguments], stdout=log, stderr=log)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"perf: no server came up on port {port}")
