"""A light SSH server for many hosts: it answers the workloads' commands itself, without a process for each.

One listener on 0.0.0.0 is every 127.x.y.z. With a delay every packet arrives half a round trip late, in
both directions, as from a host that is far away.
"""

import argparse
import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import asyncssh


class _FarAway(asyncio.Protocol):
    """Hands on what a connection brings, later."""

    def __init__(self, near: asyncio.Protocol, delay: float) -> None:
        self._near, self._delay = near, delay
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        write, close = transport.write, transport.close
        late = _Late(transport)
        late.write = lambda data: self._loop.call_later(self._delay, write, bytes(data))
        late.writelines = lambda parts: late.write(b"".join(parts))
        late.close = lambda: self._loop.call_later(self._delay, close)
        self._near.connection_made(late)

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._delay, self._near.data_received, data)

    def eof_received(self) -> bool:
        self._loop.call_later(self._delay, self._near.eof_received)
        return True

    def connection_lost(self, error: Any) -> None:
        self._loop.call_later(self._delay, self._near.connection_lost, error)


class _Late:
    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Session(asyncssh.SSHServerSession[bytes]):
    def connection_made(self, channel: Any) -> None:
        self._channel = channel

    def exec_requested(self, command: str) -> bool:
        self._command = command.split()
        return True

    def eof_received(self) -> bool:
        return True  # it has no input, and goes on

    def session_started(self) -> None:
        name, *words = self._command
        if name == "sleep":
            asyncio.get_running_loop().call_later(float(words[0]), self._answer, b"slept\n")
            return
        self._answer(b"root\n" if name == "whoami" else b"?\n")

    def _answer(self, text: bytes) -> None:
        if not self._channel.is_closing():
            self._channel.write(text)
            self._channel.exit(0)


class _Server(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def session_requested(self) -> _Session:
        return _Session()


async def _serve(port: int, host_key: Path, user_key: Path, delay: float) -> None:
    loop = asyncio.get_running_loop()
    options = asyncssh.SSHServerConnectionOptions(
        server_factory=_Server,
        server_host_keys=[str(host_key)],
        authorized_client_keys=str(user_key),
        encoding=None,
        agent_forwarding=False,
        allow_pty=False,
        login_timeout=600,
    )
    listener = await asyncssh.listen("0.0.0.0", port, options=options, backlog=4096)
    if delay:
        listener.close()
        await listener.wait_closed()
        factory = _factory(options)
        sock = socket.create_server(("0.0.0.0", port), backlog=4096, reuse_port=False)
        await loop.create_server(lambda: _FarAway(factory(), delay), sock=sock)
    print("ready", flush=True)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


def _factory(options: Any) -> Any:
    from asyncssh.connection import SSHServerConnection

    loop = asyncio.get_running_loop()
    return lambda: SSHServerConnection(loop, options, wait=None)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("host_key", type=Path)
    parser.add_argument("user_key", type=Path)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds in one direction")
    given = parser.parse_args()
    asyncio.run(_serve(given.port, given.host_key, given.user_key, given.delay))


if __name__ == "__main__":
    main()
