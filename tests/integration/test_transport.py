"""Connections without threads of their own: many at once, several uses of one, new keys on the way."""

import contextlib
import gc
import os
import resource
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest
from helpers import running, until
from paramiko.packet import Packetizer

from paramgmt_tasks import Fleet, LocalCommand, Outcome, Pull, Push, RemoteCommand, Settings
from paramgmt_tasks.execution import scheduler
from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.model.output import Spool
from paramgmt_tasks.ssh.connection import HostConnection

ROOT = Path(__file__).parent.parent.parent

#: Ends only once so many hosts run it at the same time.
_ALL_TOGETHER = "touch {folder}/?HOST; until [ $(ls {folder} | wc -l) -ge {count} ]; do sleep 0.05; done"


@pytest.mark.parametrize("operation", [RemoteCommand, LocalCommand])
def test_as_many_commands_are_under_way_as_the_fanout_says(sshd, tmp_path: Path, operation) -> None:
    command = _ALL_TOGETHER.format(folder=tmp_path, count=24)
    with Fleet(sshd.hosts(24), Settings(fanout=24, timeout=60)) as fleet:
        assert fleet.report(operation(command)).ok
        for file in tmp_path.iterdir():
            file.unlink()
        assert fleet.report(operation(command)).ok, "over connections that are open already"


def test_commands_that_wait_need_no_thread_each(
    sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, start = [], scheduler._start_thread

    def few(work) -> None:
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        started.append(work)
        start(work)

    monkeypatch.setattr(scheduler, "_start_thread", few)
    command = _ALL_TOGETHER.format(folder=tmp_path, count=24)
    with Fleet(sshd.hosts(24), Settings(fanout=24, timeout=60)) as fleet:
        assert fleet.report(RemoteCommand(command)).ok


def test_all_are_under_way_where_a_transfer_left_a_reader_behind(sshd, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    folder = tmp_path / "folder"
    folder.mkdir()
    with Fleet(sshd.hosts(24), Settings(fanout=24, timeout=60)) as fleet:
        assert fleet.report(Push((str(tmp_path / "file"),), f"{tmp_path}/pushed-?HOST")).ok
        assert fleet.report(RemoteCommand(_ALL_TOGETHER.format(folder=folder, count=24))).ok


def test_waiting_costs_no_wake_up(sshd, tmp_path: Path) -> None:
    with Fleet(sshd.hosts(20)) as fleet:
        run = fleet.perform(RemoteCommand(f"touch {tmp_path}/?HOST; sleep 2"))
        until(lambda: len(list(tmp_path.iterdir())) == 20)
        woken = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        time.sleep(1)
        # Ten times a second, as a reader thread of paramiko's is, would be 200 for 20 hosts.
        assert resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - woken < 50
        assert all(result.ok for result in run)


def test_what_was_received_is_kept_where_a_run_is_cancelled(sshd, tmp_path: Path) -> None:
    with Fleet(sshd.hosts(5)) as fleet:
        run = fleet.perform(RemoteCommand(f"echo begun; touch {tmp_path}/?HOST; sleep 60"))
        until(lambda: len(list(tmp_path.iterdir())) == 5)
        run.cancel(patience=20)
        assert [(r.outcome, r.stdout) for r in run] == [(Outcome.LOST, b"begun\n")] * 5


def test_nothing_is_left_of_a_connection_that_is_discarded(sshd) -> None:
    connection = HostConnection(sshd.host())
    gc.disable()
    try:
        assert connection.run("echo text", hide=True).stdout == "text\n"
        transport = weakref.ref(connection.transport)
        connection.discard()
        assert transport() is None, "at once, and not when Python looks for cycles"
    finally:
        gc.enable()


def test_a_connection_that_waits_holds_no_more_than_what_came(sshd) -> None:
    with contextlib.closing(HostConnection(sshd.host())) as connection:
        connection.run("echo text", hide=True)
        assert len(connection.transport._stream._buffer) == connection.transport._stream.held()


def test_a_connection_serves_several_threads_at_once(sshd) -> None:
    with HostConnection(sshd.host()) as connection, ThreadPoolExecutor(3) as pool:
        connection.open()
        slow = pool.submit(connection.run, "sleep 1; echo slow", hide=True)
        quick = [pool.submit(connection.run, f"echo {n}", hide=True) for n in range(2)]
        assert [future.result(30).stdout for future in quick] == ["0\n", "1\n"]
        assert slow.result(30).stdout == "slow\n"


def test_commands_go_on_beside_what_waits_in_paramikos_ways(sshd) -> None:
    with HostConnection(sshd.host()) as connection:
        assert connection.run("echo before", hide=True).stdout == "before\n"
        assert connection.sftp().listdir("/") != []
        assert connection.run("tty", hide=True, pty=True).stdout.startswith("/dev/")
        assert connection.run("echo after", hide=True).stdout == "after\n"


def test_keys_are_exchanged_anew_on_the_way(sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packetizer, "REKEY_BYTES", 300_000)
    data = os.urandom(
        12_000_000
    )  # as much as is on its way when new keys are asked for goes under the old ones
    exchanges = []
    original = paramiko.Transport._parse_newkeys
    monkeypatch.setattr(
        paramiko.Transport, "_parse_newkeys", lambda self, m: (exchanges.append(1), original(self, m))
    )
    with Fleet([sshd.host()], Settings(stdin=data)) as fleet:
        (result,) = fleet.report(RemoteCommand("cat"))
    assert (result.outcome, result.stdout == data) == (Outcome.OK, True)
    assert len(exchanges) > 5


def test_commands_may_end_in_the_middle_of_a_key_exchange(sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packetizer, "REKEY_BYTES", 2000)
    with HostConnection(sshd.host()) as connection:
        connection.open()
        transport = connection.transport
        transport.clear_to_send_timeout = 1.0
        for n in range(60):
            assert connection.run(f"echo {n}", hide=True).stdout == f"{n}\n"
        assert connection.transport is transport


def test_the_server_may_ask_for_new_keys(start_sshd) -> None:
    sshd = start_sshd("RekeyLimit 256K")
    with Fleet([sshd.host()]) as fleet:
        (result,) = fleet.report(RemoteCommand("head -c 3000000 /dev/zero"))
        assert (result.outcome, result.stdout) == (Outcome.OK, bytes(3_000_000))
        (result,) = fleet.report(RemoteCommand("echo next"))
        assert result.stdout == b"next\n"


def test_output_beyond_memory_goes_to_a_file(sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spool.__init__, "__defaults__", (100_000,))
    with Fleet(sshd.hosts(4)) as fleet:
        report = fleet.report(RemoteCommand("seq 40000 | sed s/^/?HOST-/"))
    for result in report:
        lines = result.stdout.decode().splitlines()
        assert lines == [f"{result.host.entry}-{n}" for n in range(1, 40001)]


def test_where_few_files_may_be_open_fewer_hosts_are_worked_on_at_once(sshd, tmp_path: Path) -> None:
    hosts = sshd.write_list(tmp_path / "hosts", [f"127.1.2.{n}" for n in range(1, 101)])
    inv = f"{sys.executable} -m invoke --search-root {ROOT} rcmd --hosts {hosts} whoami"
    command = ["/bin/sh", "-c", f"ulimit -n 90; exec {inv}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "100 succeeded, 0 failed, 100 total" in done.stdout
    assert done.returncode == 0
    (warning,) = done.stderr.splitlines()
    assert "limited to 90" in warning
    assert "fan-out lowered from 100 to 8" in warning


def test_a_host_that_is_always_ready_leaves_the_others_their_turn(sshd) -> None:
    with HostConnection(sshd.host()) as connection:
        connection.open()
        calls = (list(connection.transport.until(lambda: True)) for _ in range(1_000_000))
        waits = next(filter(None, calls))
        assert [wait.descriptor for wait in waits] == [None], "a pause"


@pytest.mark.parametrize("cipher", ["aes256-gcm@openssh.com", "aes128-ctr"])
def test_large_files_pass_whatever_encrypts_them_and_through_new_keys(
    start_sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cipher: str
) -> None:
    monkeypatch.setattr(Packetizer, "REKEY_BYTES", 300_000)
    sshd = start_sshd(f"Ciphers {cipher}", "RekeyLimit 1M")
    data = os.urandom(1_500_000) + bytes(100_000) + os.urandom(1_500_000)
    (tmp_path / "file").write_bytes(data)
    with Fleet(sshd.hosts(2)) as fleet:
        for operation in (
            Push((f"{tmp_path}/file",), f"{tmp_path}/pushed-?HOST"),
            Pull((f"{tmp_path}/pushed-?HOST",), f"{tmp_path}/pulled-?HOST"),
        ):
            report = fleet.report(operation)
            assert report.ok, [result.reason for result in report]
    assert [path.read_bytes() == data for path in tmp_path.iterdir()] == [True] * 5


def test_a_compressed_connection(sshd) -> None:
    with HostConnection(sshd.host(), connect_kwargs={"compress": True}) as connection:
        result = connection.run("seq 100000", hide=True)
        assert result.stdout.split() == [str(number) for number in range(1, 100001)]
        assert connection.transport.local_compression != "none"


def test_hosts_start_together_once_all_are_connected_or_given_up(sshd, tmp_path: Path) -> None:
    hosts = [*sshd.hosts(8), sshd.host(port=1)]
    with Fleet(hosts, Settings(together=True, attempts=1)) as fleet:
        for _ in range(2):  # over fresh connections and kept ones
            report = fleet.report(RemoteCommand(f"date +%s%N > {tmp_path}/?HOST; cat {tmp_path}/?HOST"))
            assert [result.outcome for result in report] == [Outcome.OK] * 8 + [Outcome.UNREACHABLE]
            started = [result for result in report if result.ok]
            last_connected = max(result.requested for result in started)
            assert all(result.confirmed > last_connected for result in started), (
                "all were asked before any ran"
            )
            spread, uncertainty = report.skew()
            assert spread >= 0
            assert uncertainty > 0


def test_hosts_beyond_the_fanout_cannot_start_together(sshd) -> None:
    with (
        Fleet(sshd.hosts(3), Settings(together=True, fanout=2)) as fleet,
        pytest.raises(UsageError, match="3 hosts cannot start together: a fan-out of 2"),
    ):
        fleet.perform(RemoteCommand("true"))


def test_hosts_that_wait_for_each_other_are_cancelled(sshd) -> None:
    settings = Settings(together=True, connect_timeout=30, attempts=50)
    with Fleet([sshd.host(), sshd.host(port=1)], settings) as fleet:
        accepted = sshd.log.count("Accepted")
        run = fleet.perform(RemoteCommand("true"))
        until(lambda: sshd.log.count("Accepted") > accepted)
        run.cancel()
        assert {result.outcome for result in run} <= {Outcome.CANCELLED, Outcome.UNREACHABLE}


@pytest.mark.parametrize("end", ["timeout", "cancel", "killed"])
def test_a_command_that_is_held_ends_with_all_that_it_started(sshd, tmp_path: Path, end: str) -> None:
    nap = f"6{os.getpid()}"
    command = f"touch {tmp_path}/started; sh -c 'trap \"\" TERM; sleep {nap} & sleep {nap}' & sleep {nap}"
    program = (
        "import sys; from paramgmt_tasks import *; import paramgmt_tasks.model.hosts as h\n"
        f"Fleet([{sshd.host()!r}]).report(RemoteCommand({command!r}, held=True))"
    ).replace("Host(", "h.Host(")
    if end == "killed":
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        until((tmp_path / "started").exists)
        process.kill()
        process.wait()
    else:
        timeout = 1.0 if end == "timeout" else None
        with Fleet([sshd.host()], Settings(timeout=timeout)) as fleet:
            run = fleet.perform(RemoteCommand(command, held=True))
            until((tmp_path / "started").exists)
            if end == "cancel":
                run.cancel()
            (result,) = run
            assert result.outcome is (Outcome.TIMED_OUT if end == "timeout" else Outcome.LOST)
    until(lambda: not running(f"sleep {nap} "))


def test_a_command_that_is_held_gives_its_result(sshd) -> None:
    with Fleet([sshd.host()]) as fleet:
        (result,) = fleet.report(RemoteCommand("cat; echo out; echo err >&2; exit 3", held=True))
        assert (result.stdout, result.stderr, result.return_code) == (b"out\n", b"err\n", 3)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("Ciphers aes128-cbc", "Ciphers +aes128-cbc"),
        ("Ciphers aes128-cbc", "Ciphers aes128-cbc"),
        ("MACs hmac-md5-96\nCiphers aes128-ctr", "MACs ^hmac-md5-96"),
    ],
)
def test_weak_algorithms_are_spoken_only_where_ssh_config_asks_for_them(
    start_sshd, blank_home: Path, line: str, asked: str
) -> None:
    sshd = start_sshd(line)
    with Fleet([sshd.host()]) as fleet:
        (result,) = fleet.report(RemoteCommand("echo weak"))
    assert (result.outcome, "no common algorithm" in result.reason) == (Outcome.UNREACHABLE, True)
    (blank_home / ".ssh").mkdir(mode=0o700)
    (blank_home / ".ssh" / "config").write_text(f"{asked}\n")
    with Fleet([sshd.host()]) as fleet:
        (result,) = fleet.report(RemoteCommand("echo weak"))
    assert (result.outcome, result.stdout) == (Outcome.OK, b"weak\n")


def test_nothing_but_what_ssh_config_allows_is_offered(sshd, blank_home: Path) -> None:
    (blank_home / ".ssh").mkdir(mode=0o700)
    (blank_home / ".ssh" / "config").write_text("Ciphers -aes*,chacha*\n")
    with Fleet([sshd.host()]) as fleet:
        (result,) = fleet.report(RemoteCommand("echo hello"))
    assert (result.outcome, result.attempts) == (Outcome.ERROR, 1)
    assert result.reason == "Ciphers -aes*,chacha*: none of them can be used here"


def test_a_group_that_the_server_chooses_will_do(start_sshd) -> None:
    sshd = start_sshd("KexAlgorithms diffie-hellman-group-exchange-sha256")
    with Fleet([sshd.host()]) as fleet:
        (result,) = fleet.report(RemoteCommand("echo hello"))
    assert (result.outcome, result.stdout) == (Outcome.OK, b"hello\n")
