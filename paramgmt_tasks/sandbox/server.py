"""The process behind a sandbox: one SSH server a host, each with its port, host key and home.

Run as `python -m paramgmt_tasks.sandbox.server FOLDER COUNT`; ends on SIGTERM.
"""

import asyncio
import contextlib
import fcntl
import getpass
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import asyncssh

ADDRESS = "127.0.0.1"
#: What it calls itself, by which it is known that signals reach all of a command's processes.
VERSION = "paramgmt_sandbox"
_KEPT = ("LANG", "LC_ALL", "PATH", "TMPDIR", "TZ")


class _Login(asyncssh.SSHServer):
    """Lets in whoever has the sandbox's key, under any user name."""

    def begin_auth(self, username: str) -> bool:
        return True


class _Home:
    """One host: its home folder, and what runs there."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        folder.mkdir(parents=True)

    async def run(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        """Run the command of one session as the current user, in this home."""
        shell = os.environ.get("SHELL") or "/bin/sh"
        child = await asyncio.create_subprocess_exec(
            *([shell, "-c", process.command] if process.command else [shell]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=self._environment(process, shell),
            start_new_session=True,
        )
        process.signal_received = lambda signal: _signal(child.pid, signal)  # type: ignore[method-assign]
        await process.redirect(stdin=child.stdin)
        output = asyncio.gather(_pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr))
        gone: asyncio.Future[Any] = asyncio.ensure_future(process.wait_closed())
        await asyncio.wait([output, gone], return_when=asyncio.FIRST_COMPLETED)
        if not output.done() or output.exception():
            _signal(child.pid, "TERM")
        code = await child.wait()
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name[3:])
        else:
            process.exit(code)

    def _environment(self, process: "asyncssh.SSHServerProcess[bytes]", shell: str) -> dict[str, str]:
        user = process.get_extra_info("username") or getpass.getuser()
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {**kept, "HOME": str(self.folder), "USER": user, "LOGNAME": user, "SHELL": shell}

    def files(self, channel: "asyncssh.SSHServerChannel[bytes]") -> asyncssh.SFTPServer:
        """SFTP for one session: relative paths are under this home."""
        return _Files(channel, self.folder)


def _signal(group: int, name: str) -> None:
    """Send a process group a signal named as in SSH, as OpenSSH does it."""
    number = getattr(signal, f"SIG{name}", None)
    if number is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)


async def _pump(source: asyncio.StreamReader | None, target: "asyncssh.SSHWriter[bytes]") -> None:
    # Not asyncssh's own redirection: that ends both streams when the first one ends.
    assert source is not None
    while data := await source.read(65536):
        target.write(data)
        await target.drain()


class _Files(asyncssh.SFTPServer):
    def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]", home: Path) -> None:
        self._home = os.fsencode(home)
        super().__init__(channel)

    def map_path(self, path: bytes) -> bytes:
        return os.path.join(self._home, path)


async def serve(folder: Path, count: int) -> None:
    """Start the servers, write known_hosts and the host list, and serve until SIGTERM."""
    user_key = asyncssh.generate_private_key("ssh-ed25519", comment="paramgmt sandbox")
    identity = folder / "id_ed25519"
    user_key.write_private_key(str(identity))
    identity.chmod(0o600)  # whatever the umask: ssh refuses a key that others can read
    user_key.write_public_key(f"{identity}.pub")
    known_hosts = folder / "known_hosts"
    lines = [
        "# A fleet of SSH servers on this machine, made by `inv sandbox.up`; `inv sandbox.down` removes it.",
        f"* IdentityFile='{identity}' IdentitiesOnly=yes UserKnownHostsFile='\"{known_hosts}\"'",
        "* StrictHostKeyChecking=yes HostName=" + ADDRESS,
    ]
    keys = []
    for number in range(1, count + 1):
        home = _Home(f"sandbox{number}", folder / "homes" / f"sandbox{number}")
        port, key = await _listen(home, user_key)
        keys.append(f"[{ADDRESS}]:{port} {key.export_public_key().decode().strip()}\n")
        lines.append(f"{home.name} Port={port}")
    known_hosts.write_text("".join(keys))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    unfinished = folder / "hosts.new"
    unfinished.write_text("\n".join(lines) + "\n")
    unfinished.rename(folder / "hosts.txt")
    await stop.wait()


async def _listen(home: _Home, user_key: asyncssh.SSHKey) -> tuple[int, asyncssh.SSHKey]:
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    listener = await asyncssh.listen(
        ADDRESS,
        0,
        server_factory=_Login,
        server_host_keys=[host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(user_key.export_public_key().decode()),
        process_factory=home.run,
        agent_forwarding=False,
        sftp_factory=home.files,
        encoding=None,
        line_editor=False,
        server_version=VERSION,
    )
    return listener.get_port(), host_key


def main() -> None:
    """Serve the fleet in the folder named on the command line."""
    logging.basicConfig(level=logging.WARNING)
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    with (folder / "lock").open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        asyncio.run(serve(folder, count))
    # The servers' children and threads do not outlive them.
    os._exit(0)


if __name__ == "__main__":
    main()
