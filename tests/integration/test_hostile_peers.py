"""Servers that say what no server says: each costs itself, and nobody else."""

import asyncio
import contextlib
import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paramgmt_tasks import Fleet, Outcome, Pull, Push, RemoteCommand, Settings
from paramgmt_tasks.ssh import allowance, become

pytest.importorskip("asyncssh")

from asyncssh.packet import Boolean, String, UInt32
from faulty import Say

DISCONNECT, IGNORE, DEBUG, EXT_INFO, GLOBAL_REQUEST, CHANNEL_OPEN, CHANNEL_DATA = 1, 2, 4, 7, 80, 90, 94


def packets(kind: int, *content: bytes, times: int = 1) -> Say:
    async def say(connection: Any) -> None:
        for number in range(times):
            connection.send_packet(kind, *content)
            if not number % 100:
                await asyncio.sleep(0)

    return say


def raw_bytes(data: bytes) -> Say:
    async def say(connection: Any) -> None:
        connection._transport.write(data)
        await asyncio.sleep(3600)

    return say


@contextlib.contextmanager
def memory(megabytes: float) -> Iterator[None]:
    """What is within takes no more memory at any time than so much."""

    def now(name: str) -> int:
        return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])

    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = now("VmRSS")
    yield
    assert (now("VmHWM") - before) / 1024 < megabytes


# -- bounds


def test_a_packet_longer_than_any_costs_no_memory_before_keys_are_exchanged(faulty) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n" + struct.pack(">I", 700_000_004) + bytes(100))
        await asyncio.sleep(3600)

    with memory(64):
        (result,) = faulty.ask(faulty.raw(handler))
    assert (result.outcome, "not a packet" in result.reason) == (Outcome.UNREACHABLE, True), result.reason


@pytest.mark.parametrize(
    ("cipher", "mac"),
    [
        ("aes128-gcm@openssh.com", "hmac-sha2-256"),
        ("chacha20-poly1305@openssh.com", "hmac-sha2-256"),
        ("aes128-ctr", "hmac-sha2-256-etm@openssh.com"),
        ("aes128-ctr", "hmac-sha2-256"),
    ],
)
@pytest.mark.parametrize("length", [700_000_000, 0])
def test_a_packet_of_a_length_that_none_has_costs_no_memory_and_no_time(
    faulty, cipher: str, mac: str, length: int
) -> None:
    port = faulty.saying(
        raw_bytes(struct.pack(">I", length) + bytes(100)),
        encryption_algs=[cipher],
        mac_algs=[mac],
        compression_algs=["none"],
    )
    with memory(64):
        (result,) = faulty.ask(port, timeout=5)
    assert result.outcome is Outcome.LOST, result.reason


def test_extensions_are_counted_no_further_than_the_message_goes(faulty) -> None:
    some = UInt32(1000) + String(b"a") + String(b"b")
    assert [result.ok for result in faulty.ask(faulty.saying(packets(EXT_INFO, some)))] == [True]
    (result,) = faulty.ask(faulty.saying(packets(EXT_INFO, UInt32(3_000_000))))
    assert result.outcome is Outcome.LOST


def test_more_data_than_the_window_before_the_command_is_confirmed_ends_the_connection(faulty) -> None:
    import asyncssh

    connections: list[Any] = []

    class Session(asyncssh.SSHServerSession[bytes]):
        def connection_made(self, channel: Any) -> None:
            self.channel = channel

        def exec_requested(self, command: str) -> bool:
            for _ in range(200):
                connections[-1].send_packet(
                    CHANNEL_DATA, UInt32(self.channel._send_chan), String(bytes(32_000))
                )
            return True

        def session_started(self) -> None:
            self.channel.exit(0)

    class Server(asyncssh.SSHServer):
        def connection_made(self, connection: Any) -> None:
            connections.append(connection)

        def session_requested(self) -> Any:
            return Session()

    (result,) = faulty.ask(faulty.ssh(server_factory=Server, process_factory=None))
    assert result.outcome is Outcome.LOST


def test_what_sudo_says_before_the_command_is_bounded(faulty) -> None:
    async def run(process: Any) -> None:
        with contextlib.suppress(OSError):
            while True:
                process.stderr.write(b"lecture " * 1000)
                await process.stderr.drain()

    with memory(64):
        (result,) = faulty.ask(faulty.ssh(run), sudo=True, password="secret")
    assert result.outcome is Outcome.DENIED
    assert len(result.reason) < 1000


def test_a_host_that_takes_no_input_does_not_hold_sudos_password_back_for_ever(faulty) -> None:
    async def run(process: Any) -> None:
        prompt = re.search(r"-p '([^']*)'", process.command) or re.search(r"-p (\S+)", process.command)
        process.stderr.write(prompt[1].encode())
        await asyncio.sleep(3600)

    good = faulty.ssh()
    results = faulty.ask(faulty.ssh(run, window=0), sudo=True, password="secret", timeout=1)
    results += faulty.ask(good)
    assert [result.outcome for result in results] == [Outcome.DENIED, Outcome.OK] or (
        results[0].outcome in (Outcome.TIMED_OUT, Outcome.UNREACHABLE)
    )


def test_sudo_that_asks_for_something_else_is_given_up(faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(become, "BECOME_TIMEOUT", 0.5)

    async def run(process: Any) -> None:
        process.stderr.write(b"Verification code: ")
        await process.stdin.read()
        process.stderr.write(b"\nsudo: no code was given\n")
        process.exit(1)

    (result,) = faulty.ask(faulty.ssh(run), sudo=True, password="secret")
    said = "sudo: it asks for something else: Verification code: (sudo: no code was given)"
    assert (result.outcome, result.reason) == (Outcome.DENIED, said)


def test_a_proxy_command_may_say_much_on_its_standard_error(faulty) -> None:
    talk = "import sys; sys.stderr.write('x' * 1000000); sys.stderr.flush()"
    there = f"exec 3<>/dev/tcp/127.0.0.1/{faulty.ssh()}"
    proxy = f'''bash -c "python3 -c \\"{talk}\\"; {there}; cat <&3 & cat >&3"'''
    (target,) = [faulty.host(int(there.rpartition("/")[2]), ProxyCommand=proxy)]
    with Fleet([target], Settings(connect_timeout=10, attempts=1)) as fleet:
        (result,) = fleet.run("echo hello").report()
    assert (result.outcome, result.stdout) == (Outcome.OK, b"hello\n"), result.reason


@pytest.mark.parametrize("name", ["KILL\nok (500): fine", "\x1b]0;owned\x07", "x" * 33, "é"])
def test_a_signal_has_a_name_or_none(faulty, name: str) -> None:
    async def run(process: Any) -> None:
        process.exit_with_signal(name)

    (result,) = faulty.ask(faulty.ssh(run))
    assert (result.outcome, result.reason) == (Outcome.SIGNALLED, "killed by signal of a name that is none")


@pytest.mark.parametrize("kind", [*range(1, 8), 20, 21, 31, *range(50, 64), *range(80, 83), *range(90, 101)])
def test_a_message_that_makes_no_sense_is_the_end_of_its_connection_at_most(faulty, kind: int) -> None:
    (result,) = faulty.ask(faulty.saying(packets(kind, b"\xff" * 40)), timeout=3)
    assert result.outcome in (Outcome.OK, Outcome.LOST, Outcome.TIMED_OUT), result.reason
    assert "Error" not in result.reason


# -- floods, and hosts that hold up others


@pytest.mark.parametrize(
    "flood",
    [
        (IGNORE, String(b"")),
        (DEBUG, Boolean(False), String(b"d"), String(b"")),
        (GLOBAL_REQUEST, String(b"x"), Boolean(False)),
        (GLOBAL_REQUEST, String(b"x"), Boolean(True)),
        (200,),
        (98, UInt32(0), String(b"x"), Boolean(True)),
        (93, UInt32(0), UInt32(1)),
        (94, UInt32(0), String(b"")),
        (95, UInt32(0), UInt32(7), String(b"x")),
        (90, String(b"x11"), UInt32(1), UInt32(1), UInt32(1)),
    ],
    ids=lambda flood: str(flood[0]),
)
def test_a_flood_of_messages_that_serve_nothing_ends_its_connection(faulty, flood: tuple[Any, ...]) -> None:
    (result,) = faulty.ask(faulty.saying(packets(*flood, times=5000)))
    assert result.outcome is Outcome.LOST


def test_messages_that_hide_the_length_of_data_are_no_flood(faulty) -> None:
    async def run(process: Any) -> None:  # this server sends one with each of data
        for _ in range(3000):
            process.stdout.write(b"x" * 100)
            await asyncio.sleep(0)
        process.exit(0)

    (result,) = faulty.ask(faulty.ssh(run))
    assert (result.outcome, len(result.stdout)) == (Outcome.OK, 300_000)


@pytest.mark.parametrize(("between", "size"), [(0, 0), (100, 1), (10, 10_000)])
def test_new_keys_over_and_over_are_a_flood(
    faulty, monkeypatch: pytest.MonkeyPatch, between: int, size: int
) -> None:
    if size > 1:
        monkeypatch.setattr(allowance, "_SLOW", "")  # so is each

    async def say(connection: Any) -> None:
        (channel,) = connection._channels.values()
        for _ in range(20):
            for _ in range(between):
                connection.send_packet(CHANNEL_DATA, UInt32(channel._send_chan), String(bytes(size)))
            connection._send_kexinit()
            connection._kexinit_sent = True
            while connection._kexinit_sent or not connection._kex_complete:
                await asyncio.sleep(0.001)

    (result,) = faulty.ask(faulty.saying(say))
    assert result.outcome is Outcome.LOST


@pytest.mark.parametrize("what", ["ignored messages", "a message in bytes"])
def test_a_host_that_sends_without_end_lets_others_have_the_thread(
    faulty, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(allowance, "USELESS", 2**40)
    floods, enough = threading.Event(), threading.Event()

    async def ignored(connection: Any) -> None:
        while not enough.is_set():
            for _ in range(200):
                connection.send_packet(IGNORE, String(bytes(50)))
            floods.set()
            await asyncio.sleep(0)

    async def in_bytes(connection: Any) -> None:
        connection._transport.write(struct.pack(">I", 200_000))
        while not enough.is_set():
            connection._transport.write(b"x")
            floods.set()
            await asyncio.sleep(0.02)

    port = faulty.saying(ignored if what == "ignored messages" else in_bytes)
    with Fleet([faulty.host(port), faulty.host(faulty.ssh())], Settings(connect_timeout=5)) as fleet:
        flooded = Fleet(fleet.hosts[:1], fleet.settings, fleet.pool).run("true")
        assert floods.wait(10)
        run = fleet.perform(RemoteCommand("echo hello"))
        try:
            good = next((result for result in run if result.ok), None)
        finally:
            enough.set()
        flooded.cancel(0)
        run.cancel(0)
    assert good is not None


def test_a_host_that_takes_nothing_is_bounded_by_the_timeout(faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "USELESS", 2**40)

    async def say(connection: Any) -> None:
        connection._transport.pause_reading()
        with contextlib.suppress(OSError):
            while True:
                connection.send_packet(GLOBAL_REQUEST, String(b"x"), Boolean(True))
                await asyncio.sleep(0)

    (result,) = faulty.ask(faulty.saying(say), timeout=1)
    assert result.outcome is Outcome.TIMED_OUT, result.reason


def test_an_sftp_server_that_takes_nothing_is_bounded_by_the_timeout(faulty, tmp_path: Path) -> None:
    import asyncssh

    (tmp_path / "file").write_bytes(bytes(30_000_000))

    opened: list[Any] = []

    async def no_shell(process: Any) -> None:
        process.exit(127)

    class Server(asyncssh.SFTPServer):
        async def open(self, *given: Any) -> Any:
            connection: Any = self.connection
            connection._loop.call_later(0.05, connection._transport.pause_reading)
            opened.append(super().open(*given))
            return opened[-1]

    port = faulty.ssh(no_shell, sftp_factory=Server, window=2**30)
    settings = Settings(connect_timeout=5, timeout=2, attempts=1)
    with Fleet([faulty.host(port)], settings) as fleet:
        run = fleet.perform(Push((str(tmp_path / "file"),), f"{tmp_path}/there"))
        came = run.wait(20)
        run.cancel(0)
    (result,) = run
    for file in opened:
        file.close()
    assert came
    assert result.outcome is Outcome.TIMED_OUT, (result.reason, result.stderr)


def test_a_host_has_the_timeout_once_for_letting_a_command_start_and_for_the_command(faulty) -> None:
    import asyncssh

    class Session(asyncssh.SSHServerSession[bytes]):
        def connection_made(self, channel: Any) -> None:
            self.channel = channel

        def exec_requested(self, command: str) -> bool:
            asyncio.get_running_loop().call_later(1, self.channel.exit, 0)
            return True

    async def late() -> Any:
        await asyncio.sleep(1.5)
        return Session()

    class Server(asyncssh.SSHServer):
        def session_requested(self) -> Any:
            return late()

    port = faulty.ssh(server_factory=Server, process_factory=None)
    (result,) = faulty.ask(port, timeout=2)
    assert result.outcome is Outcome.TIMED_OUT, "half a second was left for a command of one"


@pytest.mark.parametrize("operation", [Push((__file__,), "/none"), Pull(("/none",), "none")])
def test_a_transfer_to_a_host_that_opens_no_channel_is_bounded_by_the_timeout(faulty, operation) -> None:
    import asyncssh

    class Server(asyncssh.SSHServer):
        def connection_made(self, connection: Any) -> None:
            handlers = dict(connection._packet_handlers)
            handlers[CHANNEL_OPEN] = lambda *message: None
            connection._packet_handlers = handlers

    with Fleet([faulty.host(faulty.ssh(server_factory=Server))], Settings(timeout=1)) as fleet:
        run = fleet.perform(operation)
        came = run.wait(20)
        run.cancel(0)
    (result,) = run
    assert came
    assert result.outcome is Outcome.TIMED_OUT, result.reason


def test_a_host_that_always_sends_does_not_outlast_the_timeout(faulty, tmp_path: Path) -> None:
    async def run(process: Any) -> None:
        with contextlib.suppress(OSError):
            process.stdout.write(b"paramgmt-ready with \n")
            while True:
                process.stderr.write(b"x")
                process.stdout.write(bytes(512))
                await process.stdout.drain()
                await asyncio.sleep(0)

    with Fleet([faulty.host(faulty.ssh(run))], Settings(timeout=1)) as fleet:
        running = fleet.perform(Pull(("/none",), str(tmp_path)))
        came = running.wait(20)
        running.cancel(0)
    (result,) = running
    assert came
    assert result.outcome is Outcome.TIMED_OUT, result.reason


def test_a_disconnection_says_nothing_but_that(faulty) -> None:
    say = packets(DISCONNECT, UInt32(2), String(b"ok (500): fine\n\x1b[2J"), String(b""))
    (result,) = faulty.ask(faulty.saying(say))
    assert result.outcome is Outcome.LOST
    assert "fine" not in result.reason
