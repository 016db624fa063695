"""How a host is reached as ssh_config says, and that a host that stops answering costs a bounded time."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from helpers import free_port, until
from peer import Peer

from paramgmt_tasks import Fleet, Host, HostResult, Outcome, Pull, Push, RemoteCommand, Script, Settings
from paramgmt_tasks.ssh import connection, dialling, host_run, name_lookup, termination
from paramgmt_tasks.transfer import script_session, sftp_session


def run(host: Host, command: str = "echo hello", **settings) -> HostResult:
    settings = {"connect_timeout": 10, "attempts": 1, **settings}
    with Fleet([host], Settings(**settings)) as fleet:
        (result,) = fleet.report(RemoteCommand(command))
    return result


def with_config(home: Path, sshd, *lines: str) -> Host:
    """A host whose other options are in ssh_config."""
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh" / "config").write_text("\n".join(lines) + "\n")
    return sshd.host()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, int]]]:
    """Names of hosts, each with its addresses and ports."""
    known: dict[str, list[tuple[str, int]]] = {}
    system = socket.getaddrinfo

    def look_up(host, port, *args, **kwargs):
        if host not in known:
            return system(host, port, *args, **kwargs)
        return [entry for each in known[host] for entry in system(*each, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def full() -> socket.socket:
    """A socket that listens, and whose queue is full: a connection to it gets no answer."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    return sock


def test_a_silent_address_does_not_hold_up_the_next(sshd, names) -> None:
    with full() as silent, socket.socket() as first:
        first.connect(silent.getsockname())
        names["twofaced.example"] = [silent.getsockname(), ("127.1.0.1", sshd.port)]
        host = sshd.host(HostName="twofaced.example", StrictHostKeyChecking="no")
        result = run(host, connect_timeout=60)
    assert (result.outcome, result.stdout) == (Outcome.OK, b"hello\n"), result.reason


def test_addresses_are_tried_by_turns_of_their_families() -> None:
    six, four = [(socket.AF_INET6, 1, 6, "", (f"{n}",)) for n in range(3)], (socket.AF_INET, 1, 6, "", ("4",))
    assert dialling.interleaved([*six, four]) == [six[0], four, six[1], six[2]]


def test_a_lookup_that_hangs_ends_with_the_connect_timeout(sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    go = threading.Event()
    monkeypatch.setattr(name_lookup, "_addresses", lambda *_: go.wait(30) and [])
    try:
        result = run(sshd.host(HostName="slow.example"), connect_timeout=0.3)
    finally:
        go.set()
    assert (result.outcome, result.reason) == (Outcome.UNREACHABLE, "name lookup timed out")


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        (["BindAddress 127.3.3.3"], "127.3.3.3"),
        (["BindInterface lo"], "127.0.0.1"),
        (["AddressFamily inet", "IPQoS af21 cs1", "TCPKeepAlive no"], "127."),
    ],
)
def test_a_host_is_dialled_as_ssh_config_says(sshd, blank_home: Path, lines: list[str], seen: str) -> None:
    result = run(with_config(blank_home, sshd, *lines), "echo $SSH_CLIENT")
    assert result.ok, result.reason
    assert result.stdout.decode().startswith(seen)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("BindAddress 192.0.2.1", "BindAddress 192.0.2.1: cannot assign requested address"),
        ("BindInterface nothing0", "BindInterface nothing0: no such device"),
        ("BindAddress ::1", "BindAddress ::1: no IPv4 address of this machine"),
    ],
)
def test_what_cannot_be_bound_is_the_hosts_result(sshd, blank_home: Path, line: str, reason: str) -> None:
    result = run(with_config(blank_home, sshd, line))
    assert (result.outcome, result.reason) == (Outcome.ERROR, reason)


def test_a_family_without_an_address_is_an_unknown_name(sshd, blank_home: Path) -> None:
    assert run(with_config(blank_home, sshd, "AddressFamily inet6")).outcome is Outcome.UNREACHABLE


def test_connection_attempts_are_made_within_one_try(sshd, blank_home: Path, monkeypatch) -> None:
    monkeypatch.setattr(dialling, "_BETWEEN_TRIES", 0.01)
    options: list[int] = []
    real = dialling.SocketOptions.open
    monkeypatch.setattr(dialling.SocketOptions, "open", lambda *args: options.append(1) or real(*args))
    host = with_config(blank_home, sshd, "ConnectionAttempts 3")
    result = run(Host("x", host.address, options={**host.options, "Port": str(free_port())}))
    assert (result.reason, result.attempts, len(options)) == ("connection refused", 1, 3)


# -- jump hosts


def test_a_jump_host_is_reached_as_its_own_stanza_says(sshd, blank_home: Path) -> None:
    options = "\n".join(f"  {key} {value}" for key, value in sshd.options(StrictHostKeyChecking="no").items())
    with_config(
        blank_home, sshd,
        *("Host web", "  HostName 127.1.0.9", "  ProxyJump inner"),
        *("Host inner", "  HostName 127.1.0.8", "  ProxyJump outer", "Host outer", "  HostName 127.1.0.7"),
        *("Host *", options),
    )  # fmt: skip
    before = sshd.log.count("Accepted publickey")
    with Fleet(["web"], Settings(connect_timeout=10, attempts=1)) as fleet:
        (result,) = fleet.report(RemoteCommand("true"))
    assert result.ok, result.reason
    assert sshd.log.count("Accepted publickey") - before == 3


@pytest.mark.parametrize("jumps", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b,c", "b": "a"}])
def test_a_loop_of_jump_hosts_is_refused(blank_home: Path, jumps: dict[str, str]) -> None:
    (blank_home / ".ssh").mkdir()
    lines = [f"Host {host}\n  ProxyJump {jump}\n" for host, jump in jumps.items()]
    (blank_home / ".ssh" / "config").write_text("".join(lines))
    with Fleet(["a"], Settings(connect_timeout=10, attempts=1)) as fleet:
        (result,) = fleet.report(RemoteCommand("true"))
    assert not result.ok
    assert result.reason.endswith("a loop of jump hosts"), result.reason


# -- ProxyCommand


def test_a_proxy_command_may_pass_a_connected_descriptor(sshd, tmp_path: Path) -> None:
    program = tmp_path / "pass"
    program.write_text(
        "import socket, sys\n"
        "there = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "back = socket.socket(fileno=1)\n"
        "socket.send_fds(back, [b'0'], [there.fileno()])\n"
    )
    host = sshd.host()
    (Path.home() / ".ssh").mkdir(exist_ok=True)
    command = f"ProxyCommand {sys.executable} {program} %h %p"
    (Path.home() / ".ssh" / "config").write_text(f"ProxyUseFdpass yes\n{command}\n")
    result = run(host)
    assert (result.outcome, result.stdout) == (Outcome.OK, b"hello\n"), result.reason


def test_a_proxy_command_that_passes_no_descriptor_fails_in_time(sshd, blank_home: Path) -> None:
    for command in ("true", "sleep 60"):
        host = with_config(blank_home, sshd, "ProxyUseFdpass yes", f"ProxyCommand {command}")
        assert run(host, connect_timeout=0.5).outcome is Outcome.UNREACHABLE


def test_a_proxy_command_is_run_by_the_users_shell(sshd, monkeypatch, tmp_path: Path) -> None:
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "my shell: $1 $2" >&2\nexit 1\n')
    shell.chmod(0o755)
    monkeypatch.setenv("SHELL", str(shell))
    assert run(sshd.host(ProxyCommand="x y")).reason == "ProxyCommand: my shell: -c exec x y"


# -- what depends on the answer to a question


def test_what_match_exec_says_of_the_session_holds_from_the_first_command_on(sshd, blank_home: Path) -> None:
    host = with_config(blank_home, sshd, 'Match exec "true"', "RemoteCommand id")
    result = run(host)
    assert (result.outcome, result.reason[:18]) == (Outcome.ERROR, "RemoteCommand 'id'")
    host = with_config(blank_home, sshd, 'Match exec "true"', "RequestTTY force")
    assert run(host, "test -t 1").ok


# -- hosts that stop


@pytest.fixture
def freezing(start_sshd, monkeypatch: pytest.MonkeyPatch):
    """An sshd whose connections can be stopped, and whose hosts are asked often for a sign of life."""
    monkeypatch.setattr(connection, "ALIVE_INTERVAL", 0.2)
    stopped: list[int] = []

    class Freezing:
        def __init__(self) -> None:
            self.sshd = start_sshd("MaxStartups 1000")

        def freeze(self) -> None:
            for pid in descendants(self.sshd.process.pid):
                if "sshd" in Path(f"/proc/{pid}/comm").read_text():
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)

    yield Freezing()
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


def descendants(pid: int) -> list[int]:
    children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [each for child in children for each in (child, *descendants(child))]


@pytest.mark.parametrize("what", ["command", "push", "pull"])
def test_a_host_that_freezes_is_lost_and_not_tried_again(freezing, tmp_path: Path, what: str) -> None:
    marker, big = tmp_path / "started", tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(200_000_000)
    operation = {
        "command": RemoteCommand(f"touch {marker}; sleep 60"),
        "push": Push([str(big)], str(tmp_path / "there")),
        "pull": Pull([str(big)], str(tmp_path / "here")),
    }[what]
    (tmp_path / "there").mkdir()
    limit = 1_000_000 if what != "command" else None
    with Fleet([freezing.sshd.host()], Settings(connect_timeout=5, limit_rate=limit)) as fleet:
        started = fleet.perform(operation)
        until(lambda: marker.exists() or bool(started.shared.counts.moved) if limit else marker.exists())
        freezing.freeze()
        assert started.wait(30), "the run ends"
        (result,) = started.report()
    assert (result.outcome, result.attempts) == (Outcome.LOST, 1), result.reason


def test_a_host_that_is_only_busy_is_not(freezing) -> None:
    assert run(freezing.sshd.host(), "sleep 1.5; echo hello").stdout == b"hello\n"


def test_an_interval_of_zero_asks_for_no_sign_of_life(sshd, blank_home: Path, monkeypatch) -> None:
    from paramgmt_tasks.ssh.paramiko_internals import LeanTransport

    asked: list[float] = []
    monkeypatch.setattr(LeanTransport, "watch_over", lambda self, *how: asked.append(how))
    assert run(with_config(blank_home, sshd, "ServerAliveInterval 0")).ok
    assert run(with_config(blank_home, sshd, "ServerAliveInterval 7", "ServerAliveCountMax 2")).ok
    assert run(with_config(blank_home, sshd, "")).ok
    assert asked == [(7.0, 2), (30.0, 3)]


def test_descriptors_are_not_left(sshd, names) -> None:
    with full() as silent, socket.socket() as first:
        first.connect(silent.getsockname())
        names["silent.example"] = [silent.getsockname()] * 3
        host = sshd.host(HostName="silent.example")
        before = len(os.listdir("/proc/self/fd"))
        with Fleet([host], Settings(connect_timeout=0.8, attempts=1)) as fleet:
            (result,) = fleet.report(RemoteCommand("true"))
        assert result.outcome is Outcome.UNREACHABLE
        # Servers of other tests, in this process, may have one more for a moment.
        until(lambda: len(os.listdir("/proc/self/fd")) <= before, 5)


def stalling_at(faulty, stage: str, tools: bytes = b"with ") -> int:
    """The port of a host that says nothing more from a stage of an operation on."""

    class Stalling(Peer):
        async def stage(self, name: str) -> None:
            if name == "exec":
                self.tools = tools
            if name == stage:
                await asyncio.sleep(3600)

    return faulty.raw(lambda reader, writer: Stalling(reader, writer).serve())


@pytest.mark.parametrize("timeout", [0.6, None])
@pytest.mark.parametrize("what", ["command", "script", "push", "pull"])
@pytest.mark.parametrize("stage", ["open", "exec", "data"])
def test_a_host_that_stalls_after_login_costs_its_time_once(
    faulty, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, stage: str, timeout: float | None
) -> None:
    if what in ("command", "script") and stage == "data" and timeout is None:
        pytest.skip("a command may take as long as it likes")
    monkeypatch.setattr(host_run, "START_TIMEOUT", 0.6)
    monkeypatch.setattr(script_session, "START_TIMEOUT", 0.6)
    monkeypatch.setattr(script_session, "STALLED", 0.6)
    monkeypatch.setattr(termination, "PATIENCE", 0.2)
    (tmp_path / "script").write_text("echo hello\n")
    operation = {
        "command": RemoteCommand("echo hello"),
        "script": Script([str(tmp_path / "script")]),
        "push": Push([str(tmp_path / "script")], "/srv"),
        "pull": Pull(["/srv/a"], str(tmp_path / "here")),
    }[what]
    port = stalling_at(faulty, stage)
    host = faulty.host(port, StrictHostKeyChecking="no", UserKnownHostsFile="/dev/null")
    # The connect timeout is long, so that it is not what keeps from a second try.
    with Fleet([host], Settings(connect_timeout=60, attempts=3, timeout=timeout)) as fleet:
        started = fleet.perform(operation)
        assert started.wait(10), "the run ends"
        (result,) = started.report()
    assert (result.attempts, faulty.connections[port]) == (1, 1)
    late = Outcome.TIMED_OUT if timeout else Outcome.LOST
    expected = Outcome.UNREACHABLE if stage == "open" else late
    if stage == "open" and timeout and what in ("push", "pull"):
        expected = Outcome.TIMED_OUT
    assert result.outcome is expected, result.reason


@pytest.mark.parametrize("what", ["push", "pull"])
def test_the_same_over_sftp(faulty, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    (tmp_path / "file").write_text("hello\n")

    class Stalling(Peer):
        async def handle(self, message: bytes) -> None:
            self.tools = b"without"
            if self.channel is not None and self.channel.sftp:
                await asyncio.sleep(3600)
            await super().handle(message)

    port = faulty.raw(lambda reader, writer: Stalling(reader, writer).serve())
    host = faulty.host(port, StrictHostKeyChecking="no", UserKnownHostsFile="/dev/null")
    monkeypatch.setattr(sftp_session, "STALLED", 0.6)
    push, pull = Push([str(tmp_path / "file")], "/srv"), Pull(["/srv/a"], str(tmp_path / "here"))
    for timeout in (0.6, None):
        before = faulty.connections.get(port, 0)
        with Fleet([host], Settings(connect_timeout=60, attempts=3, timeout=timeout)) as fleet:
            started = fleet.perform(push if what == "push" else pull)
            assert started.wait(10), "the run ends"
            (result,) = started.report()
        assert (result.attempts, faulty.connections[port] - before) == (1, 1)
        assert result.outcome is (Outcome.TIMED_OUT if timeout else Outcome.LOST), result.reason


@pytest.mark.parametrize("what", ["command", "push"])
def test_a_jump_host_that_freezes_holds_nobody_longer_than_their_own_timeout(
    freezing, sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    monkeypatch.setattr(connection, "ALIVE_INTERVAL", 30)
    (tmp_path / "there").mkdir()
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(2_000_000_000)
    jump = f"{sshd.options()['User']}@127.0.0.1:{freezing.sshd.port}"
    known = {"UserKnownHostsFile": str(sshd.folder / "known_hosts")}
    host = sshd.host(**known, IdentityFile=sshd.identity)
    settings = Settings(
        jump=jump, identity=freezing.sshd.identity, host_keys="ignore", connect_timeout=10, timeout=2
    )
    marker = tmp_path / "started"
    command = RemoteCommand(f"touch {marker}; sleep 60")
    operation = command if what == "command" else Push([str(big)], str(tmp_path / "there"))
    with Fleet([host], settings) as fleet:
        started = fleet.perform(operation)
        until(lambda: marker.exists() if what == "command" else bool(started.shared.counts.moved))
        freezing.freeze()
        assert started.wait(20), "the run ends"
        (result,) = started.report()
    assert result.outcome is Outcome.TIMED_OUT, result.reason
