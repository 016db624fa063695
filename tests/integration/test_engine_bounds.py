"""What is sent in the name of nobody, waited for without end, or kept without being needed."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import paramiko
import pytest

from paramgmt_tasks import Fleet, Outcome, Settings
from paramgmt_tasks.ssh.connection import HostConnection
from paramgmt_tasks.ssh.failures import Classified
from paramgmt_tasks.ssh.host_run import HostRun
from paramgmt_tasks.ssh.paramiko_internals import channel as channels
from paramgmt_tasks.ssh.permit import Permit
from paramgmt_tasks.steps import WaitForPermission, run_to_end

pytest.importorskip("asyncssh")

from asyncssh.packet import String, UInt32


def test_what_was_not_let_start_does_not_start_with_what_follows(sshd, tmp_path: Path) -> None:
    connection = HostConnection(sshd.hosts(1)[0])
    objections = [""]
    run = HostRun(connection, Permit(waits=True, objection=lambda: objections[0]))
    steps = run.start(f"touch {tmp_path}/ran", no_input=True)
    while not isinstance(wait := next(steps), WaitForPermission):
        wait.block()
    objections[0] = "too many failed"
    with pytest.raises(Classified):
        next(steps)
    assert not run.started
    assert connection.run("echo other", hide=True).ok
    connection.close()
    assert not (tmp_path / "ran").exists()


def test_a_jump_host_that_takes_nothing_is_bounded_by_the_connect_timeout(faulty) -> None:
    import asyncssh

    class Server(asyncssh.SSHServer):
        def connection_made(self, connection: Any) -> None:
            self.connection = connection

        def connection_requested(self, *where: Any) -> Any:
            class Session(asyncssh.SSHTCPSession[bytes]):
                pass

            return self.connection.create_tcp_channel(window=0), Session()

    port = faulty.ssh(server_factory=Server, process_factory=None)
    target = faulty.host(faulty.ssh(), ProxyJump=f"127.0.0.1:{port}")
    settings = Settings(connect_timeout=2, attempts=1, host_keys="ignore", identity=str(faulty.identity))
    with Fleet([target], settings) as fleet:
        run = fleet.run("echo hello")
        came = run.wait(10)
        run.cancel(0)
    assert came, "the run ends by itself"
    (result,) = run
    assert (result.outcome, result.reason) == (Outcome.UNREACHABLE, "connect timeout")


def test_sending_much_is_no_flood_of_the_host(faulty) -> None:
    """A server that has a small window opens it again and again, and has nothing else to say."""

    async def run(process: Any) -> None:
        while await process.stdin.read(65536):
            pass
        process.exit(0)

    connection = HostConnection(faulty.host(faulty.ssh(run, window=8192)))
    connection.open()
    channel = connection.transport.open_session()
    channel.exec_command("take")
    channel.sendall(bytes(8_000_000))
    channel.shutdown_write()
    assert channel.recv_exit_status() == 0
    connection.close()


def test_many_short_commands_over_paramikos_own_channels_are_no_flood(sshd) -> None:
    connection = HostConnection(sshd.hosts(1)[0])
    connection.open()
    transport = connection.transport
    transport.read_in_background()
    for _ in range(250):
        channel = transport.open_session()
        channel.exec_command("true")
        assert channel.recv_exit_status() == 0
        channel.close()
        assert transport.allowance._useless < 100
    connection.close()


def test_who_gives_leave_does_not_wait_for_a_host_in_a_key_exchange(sshd) -> None:
    connection = HostConnection(sshd.hosts(1)[0])
    run = HostRun(connection, Permit(waits=True))
    connection.open()
    transport = connection.transport
    transport.read_in_background()
    steps = run.start("echo hello", no_input=True)
    while not isinstance(wait := next(steps), WaitForPermission):
        wait.block()
    transport.clear_to_send.clear()
    given = threading.Thread(target=wait.on_permit)
    given.start()
    given.join(2)
    waited = given.is_alive()
    transport.clear_to_send.set()
    given.join()
    assert not waited
    assert run.started
    channel = run_to_end(steps)
    assert channel.recv(10) == b"hello\n"
    connection.close()


def test_a_host_is_watched_also_where_it_is_connected_with_options_of_paramikos(sshd) -> None:
    connection = HostConnection(sshd.hosts(1)[0], connect_kwargs={"compress": True})
    stalls: list[int] = []
    run_to_end(connection.opening(lambda: stalls.append(1)))
    connection.transport.on_stall()
    assert stalls == [1]
    connection.close()


def test_a_host_that_does_not_answer_for_as_long_as_it_may_is_not_asked_again(faulty) -> None:
    import asyncssh

    class Server(asyncssh.SSHServer):
        def session_requested(self) -> Any:
            return asyncio.sleep(3600)

    port = faulty.ssh(server_factory=Server, process_factory=None)
    (result,) = faulty.ask(port, connect_timeout=1, timeout=1.5, attempts=3)
    assert (result.outcome, result.attempts) == (Outcome.UNREACHABLE, 1), result.reason


def test_a_host_that_answers_by_half_a_message_is_not_asked_again(
    faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncssh

    monkeypatch.setattr(channels, "_REST_OF_MESSAGE", 0.2)

    class Server(asyncssh.SSHServer):
        def connection_made(self, connection: Any) -> None:
            half = (1008).to_bytes(4, "big")
            handlers = {**connection._packet_handlers, 90: lambda *message: connection._transport.write(half)}
            connection._packet_handlers = handlers

    (result,) = faulty.ask(faulty.ssh(server_factory=Server), connect_timeout=1, timeout=1.5, attempts=3)
    assert (result.outcome, result.attempts) == (Outcome.UNREACHABLE, 1), result.reason


def test_data_behind_the_end_of_a_channel_is_bounded(faulty) -> None:
    async def say(connection: Any) -> None:
        (channel,) = connection._channels.values()
        number, data = UInt32(channel._send_chan), String(bytes(30_000))
        await asyncio.sleep(1.2)
        for _ in range(1000):
            connection.send_packet(94, number, data)
            await asyncio.sleep(0)

    port = faulty.saying(say)
    connection = HostConnection(faulty.host(port))
    channel = run_to_end(connection.start("say"))
    channel.close()
    with pytest.raises((paramiko.SSHException, EOFError), match="closed"):
        connection.transport.pump(lambda: False, time.monotonic() + 10)
    connection.close()
