"""SSH servers on loopback that misbehave, each in its own way."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncssh

from paramgmt_tasks import Fleet, Host, HostResult, Settings

#: What is said to a connection of asyncssh's once it is open.
Say = Callable[[Any], Awaitable[None]]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FaultyServers:
    """An event loop in a thread, with servers in it; each method starts one and returns its port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._user_key = asyncssh.generate_private_key("ssh-ed25519")
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.identity = folder / "user_key"
        self._user_key.write_private_key(str(self.identity))
        self.identity.chmod(0o600)  # or it is not used, as ssh has it
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.touch()
        #: How many connections each port had.
        self.connections: dict[int, int] = {}
        self._refusing: list[socket.socket] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._servers: list[Any] = []
        self._connections: list[Any] = []

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def close(self) -> None:
        async def end() -> None:
            for server in self._servers:
                server.close()
            for writer in self._writers:
                writer.close()
            for connection in self._connections:
                connection.abort()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.05)  # closed transports give their sockets back in a later turn

        self.call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        for sock in self._refusing:
            sock.close()

    def know(self, port: int, key: asyncssh.SSHKey | None = None) -> None:
        line = (key or self._host_key).export_public_key().decode().strip()
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{port} {line}\n")

    def host(self, port: int, **more: str) -> Host:
        """The host at a port, for whom all is set up but its options in `more`."""
        options = {
            "HostName": "127.0.0.1",
            "Port": str(port),
            "IdentityFile": str(self.identity),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "StrictHostKeyChecking": "yes",
            **more,
        }
        return Host(f"port{port}", f"port{port}", options=options)

    def ask(self, *ports: int, command: str = "echo hello", **settings: Any) -> list[HostResult]:
        """The results of a command as they come, within 20 seconds."""
        settings = {"connect_timeout": 5, "attempts": 1, **settings}
        with Fleet([self.host(port) for port in ports], Settings(**settings)) as fleet:
            run = fleet.run(command)
            came = run.wait(20)
            run.cancel(0)
            assert came, "the run ends by itself"
            return list(run)

    # -- without SSH

    def refuse(self) -> int:
        """Bound but not listening: connections are refused, and nobody else gets the port."""
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self._refusing.append(sock)
        return int(sock.getsockname()[1])

    def raw(self, handler: Handler) -> int:
        async def start() -> int:
            async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                self.connections[port] = self.connections.get(port, 0) + 1
                self._writers.append(writer)
                await handler(reader, writer)

            server = await asyncio.start_server(counted, "127.0.0.1", 0, backlog=512)
            self._servers.append(server)
            port = int(server.sockets[0].getsockname()[1])
            return port

        return int(self.call(start()))

    def closing(self) -> int:
        """Closes before the banner, as MaxStartups does."""

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        return self.raw(handler)

    def silent(self) -> int:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(3600)

        return self.raw(handler)

    def garbage(self) -> int:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-x\r\n" + b"\x55" * 4096)
            await asyncio.sleep(3600)

        return self.raw(handler)

    def third_time(self) -> int:
        """Closes the first two connections, and is an ordinary server from the third on."""
        behind = self.ssh()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.connections[port] < 3:
                writer.close()
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", behind)
            self._writers.append(far_writer)
            await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))

        port = self.raw(handler)
        self.know(port)
        return port

    def stalling(self) -> int:
        """Stops in the middle of its first message."""

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-x\r\n\x00\x00\x01")
            await asyncio.sleep(3600)

        return self.raw(handler)

    # -- with SSH

    def saying(self, say: Say, **options: Any) -> int:
        """A server whose commands say what `say` has them say to the connection, and print `said` then."""

        async def run(process: Any) -> None:
            connection = process.channel.get_connection()
            with contextlib.suppress(OSError):
                await say(connection)
            process.stdout.write(b"said\n")
            process.exit(0)

        return self.ssh(run, **options)

    def ssh(self, run: Callable[[Any], Awaitable[None]] | None = None, **options: Any) -> int:
        async def shell(process: Any) -> None:
            child = await asyncio.create_subprocess_shell(
                process.command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            out, err = await child.communicate()
            process.stdout.write(out)
            process.stderr.write(err)
            process.exit(child.returncode or 0)

        async def start() -> int:
            keys = asyncssh.import_authorized_keys(self._user_key.export_public_key().decode())
            settings = {
                "server_host_keys": [self._host_key],
                "authorized_client_keys": keys,
                "process_factory": run or shell,
                "encoding": None,
                "acceptor": self._connections.append,
                "backlog": 512,
                **options,
            }
            server = await asyncssh.listen("127.0.0.1", 0, **settings)
            self._servers.append(server)
            return int(server.get_port())

        port = int(self.call(start()))
        self.know(port)
        return port

    def denying(self) -> int:
        other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
        return self.ssh(authorized_client_keys=asyncssh.import_authorized_keys(other))

    def changed_key(self) -> int:
        return self.ssh(server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")])

    def dropping(self, marker: Path) -> int:
        """Notes that the command ran, says something, and drops the connection."""

        async def run(process: Any) -> None:
            with marker.open("a") as file:
                file.write("run\n")
            process.stdout.write(b"begun\n")
            await process.stdout.drain()
            await asyncio.sleep(0.1)
            process.channel.get_connection().abort()

        return self.ssh(run)

    def dropping_before_its_answer(self, marker: Path) -> int:
        """Drops the connection when the command is asked for, before it says that it starts it."""
        servers: list[Any] = []

        class Session(asyncssh.SSHServerSession[bytes]):
            def exec_requested(self, command: str) -> bool:
                with marker.open("a") as file:
                    file.write("run\n")
                servers[-1].abort()
                return True

        class Server(asyncssh.SSHServer):
            def connection_made(self, connection: Any) -> None:
                servers.append(connection)

            def session_requested(self) -> Any:
                return Session()

        return self.ssh(server_factory=Server, process_factory=None)

    def signalling(self) -> int:
        async def run(process: Any) -> None:
            process.exit_with_signal("SEGV")

        return self.ssh(run)

    def never_answering(self) -> int:
        async def run(process: Any) -> None:
            process.stdout.write(b"part\n")
            await asyncio.sleep(3600)

        return self.ssh(run)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
