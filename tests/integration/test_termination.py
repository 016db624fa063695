"""What is left on the hosts of commands that were timed out or interrupted: nothing, or it is said."""

import getpass
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import pytest
from helpers import running, until
from invoke.exceptions import CommandTimedOut, UnexpectedExit

from paramgmt_tasks import Fleet, Host, LocalCommand, Outcome, RemoteCommand, Report, Settings
from paramgmt_tasks.ssh import termination

BIN = Path(sys.executable).parent
ENDED = "ended on the host"


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that do not heed TERM are killed soon."""
    monkeypatch.setattr(termination, "GRACE", 0.3)


@pytest.fixture
def nap(tmp_path: Path) -> str:
    """A program that sleeps, under a name of its own, by which it is found on the server's side."""
    path = tmp_path / f"nap-{os.getpid()}-{time.monotonic_ns()}"
    path.symlink_to("/bin/sleep")
    return str(path)


#: Commands, and what they write before they are ended. NAP stands for the program.
COMMANDS = [
    "echo part; sh -c 'NAP 600 & NAP 600'",
    "echo part; NAP 600 >/dev/null 2>&1 & NAP 601",
    "trap '' TERM; echo part; (NAP 600; NAP 600) & NAP 600; NAP 600",
    "echo part; (trap '' TERM; NAP 600; NAP 600) >/dev/null 2>&1 & NAP 600",
    "echo part; exec NAP 600",
    "echo part; NAP 600 & exit 0",
    "echo part; sh -c 'NAP 600 & NAP 600 &'",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_timeout_ends_all_that_the_command_has_started(sshd, nap: str, command: str) -> None:
    with Fleet(sshd.hosts(2)) as fleet:
        report = fleet.run(command.replace("NAP", nap), timeout=1).report()
    assert running(nap) == []
    assert {(r.outcome, r.reason, r.stdout, r.return_code) for r in report} == {
        (Outcome.TIMED_OUT, f"timed out after 1 s; {ENDED}", b"part\n", None)
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_cancelled_run_ends_all_that_its_commands_have_started(sshd, nap: str, command: str) -> None:
    with Fleet(sshd.hosts(2)) as fleet:
        run = fleet.perform(RemoteCommand(command.replace("NAP", nap)), live=True)
        assert {event.index for event in islice(run.events(), 2)} == {0, 1}, "both have written"
        run.cancel()
        assert running(nap) == []
        assert {(r.outcome, r.reason, r.stdout) for r in run} == {
            (Outcome.LOST, f"interrupted; {ENDED}", b"part\n")
        }


def test_the_connection_is_good_for_the_next_command(sshd, nap: str) -> None:
    with Fleet([sshd.host()]) as fleet:
        (first,) = fleet.run("echo $SSH_CONNECTION").report()
        fleet.run(f"{nap} 600", timeout=0.5).report()
        (second,) = fleet.run("echo $SSH_CONNECTION").report()
    assert first.stdout == second.stdout


def test_what_an_earlier_command_left_running_on_purpose_goes_on(sshd, nap: str) -> None:
    with Fleet([sshd.host()]) as fleet:
        assert fleet.run(f"nohup {nap} 602 >/dev/null 2>&1 &").report().ok
        (kept,) = running(nap)
        fleet.run("sleep 600", timeout=0.5).report()
        assert running(nap) == [kept]
        os.kill(kept, signal.SIGKILL)


def test_a_command_of_fabrics_own_on_the_same_connection_goes_on(sshd, nap: str) -> None:
    with Fleet([sshd.host()]) as fleet:
        (connection,) = fleet.pool.threads.acquire(fleet.hosts, fleet.settings)
        promise = connection.run(f"{nap} 604", asynchronous=True)
        until(lambda: running(nap))
        time.sleep(1.2)  # as old as what is not told apart by its age
        with pytest.raises(CommandTimedOut):
            connection.run("sleep 600", hide=True, timeout=1)
        (kept,) = [pid for pid in running(nap) if Path(f"/proc/{pid}/comm").read_text().startswith("nap")]
        os.kill(kept, signal.SIGKILL)
        with pytest.raises(UnexpectedExit):
            promise.join()


def test_another_connection_to_the_same_host_is_left_alone(sshd, nap: str) -> None:
    with Fleet([sshd.host()]) as fleet:
        other = fleet.run(f"{nap} 603")
        until(lambda: running(nap))
        fleet.run("sleep 600", timeout=0.5).report()
        assert len(running(nap)) == 1
        other.cancel()
    assert running(nap) == []


def test_a_script_is_ended_and_leaves_no_file(sshd, nap: str, tmp_path: Path) -> None:
    script = tmp_path / "s.sh"
    script.write_text(f"#!/bin/sh\ndirname $0\n{nap} 600\n")
    with Fleet([sshd.host()]) as fleet:
        (result,) = fleet.script(script, timeout=1).report()
    assert result.reason == f"timed out after 1 s; {ENDED}"
    assert running(nap) == []
    until(lambda: not os.path.exists(result.stdout.decode().strip()))


def test_it_is_ended_through_a_jump_host(sshd, nap: str, tmp_path: Path) -> None:
    hop = sshd.host(9)
    config = "".join(f"  {key} {value}\n" for key, value in hop.options.items())
    (Path(os.environ["HOME"]) / ".ssh").mkdir()
    (Path(os.environ["HOME"]) / ".ssh" / "config").write_text(f"Host hop\n  HostName {hop.address}\n{config}")
    with Fleet(sshd.hosts(2), Settings(jump="hop")) as fleet:
        (first, second) = fleet.run(f"{nap} 600", timeout=1).report()
        assert first.reason == second.reason == f"timed out after 1 s; {ENDED}"
        run = fleet.run(f"{nap} 600")
        until(lambda: len(running(nap)) >= 2)
        run.cancel()
        assert {r.reason for r in run} == {f"interrupted; {ENDED}"}
    assert running(nap) == []


def test_a_host_with_one_session_a_connection_is_asked_by_signal(start_sshd, nap: str) -> None:
    """Root is refused that before OpenSSH 9.8: then it is said, and what it does not know is not claimed."""
    sshd = start_sshd("MaxSessions 1")
    with Fleet([sshd.host()]) as fleet:
        (result,) = fleet.run(f"{nap} 600", timeout=1).report()
    assert result.outcome is Outcome.TIMED_OUT
    left = running(nap)
    assert result.reason.endswith("it may still run" if left else ENDED)
    for pid in left:
        os.kill(pid, signal.SIGKILL)


def test_a_key_for_one_command_only_does_not_run_it_again(start_sshd, nap: str, tmp_path: Path) -> None:
    sshd = start_sshd()
    marker = tmp_path / "runs"
    keys = Path(f"{sshd.identity}.pub")
    keys.write_text(f'command="echo run >>{marker}; {nap} 600" {keys.read_text()}')
    with Fleet([sshd.host()]) as fleet:
        (result,) = fleet.run("anything", timeout=1).report()
    assert result.outcome is Outcome.TIMED_OUT
    assert marker.read_text() == "run\n"
    for pid in running(nap):
        os.kill(pid, signal.SIGKILL)


def test_other_servers_are_asked_by_signal(inv, tmp_path: Path, nap: str) -> None:
    pytest.importorskip("asyncssh")
    (tmp_path / "hostlists").mkdir()
    assert inv("sandbox.up", "--count", "2").returncode == 0
    try:
        command = f"trap '' TERM; {nap} 600 & {nap} 600; {nap} 600"
        done = inv("rcmd", "-f", "sandbox", "--timeout", "1", command)
    finally:
        inv("sandbox.down")
    assert done.stderr == f"timed-out (2): sandbox[1-2] - timed out after 1 s; {ENDED}\n"
    assert running(nap) == []


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.environ.get("CI"), reason="makes use of sudo: as root in CI only"
)
def test_what_runs_under_sudo_is_ended_under_sudo(sshd, nap: str) -> None:
    with Fleet([sshd.host()], Settings(sudo=True)) as fleet:
        (result,) = fleet.run(f"echo part; {nap} 600 & {nap} 600", timeout=1).report()
    assert (result.stdout, result.reason) == (b"part\n", f"timed out after 1 s; {ENDED}"), getpass.getuser()
    assert running(nap) == []


def test_local_commands_are_given_the_time_to_clean_up(tmp_path: Path, nap: str) -> None:
    command = f"trap 'echo cleaned; exit 1' TERM; echo part; {nap} 600 & wait"
    with Fleet([Host("a", "a")]) as fleet:
        (late,) = fleet.local(command, timeout=0.5).report()
        run = fleet.local(command)
        until(lambda: running(nap))
        threading.Thread(target=run.cancel).start()
        (interrupted,) = run.report()
    assert (late.outcome, late.reason) == (Outcome.TIMED_OUT, "timed out after 0.5 s; ended")
    assert interrupted.stdout == b"part\ncleaned\n"
    assert running(nap) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_executable_leaves_nothing_on_the_hosts(sshd, tmp_path, nap, number) -> None:
    sshd.write_list(tmp_path / "hosts", [host.entry for host in sshd.hosts(5)])
    words = ["-f", "hosts", "--", f"echo part; sh -c '{nap} 600 & {nap} 600'"]
    process = subprocess.Popen(
        [BIN / "rcmd", *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    started = lambda: len([pid for pid in running(nap) if pid != process.pid]) >= 15  # noqa: E731
    until(started)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert running(nap) == []
    assert process.returncode == 128 + number
    assert out.count("stdout:\npart\n") == 5
    assert "0 succeeded, 5 failed, 5 total" in out
    assert err == f"lost (5): 127.1.0.[1-5] - interrupted; {ENDED}\n"


def test_a_closed_standard_output_leaves_nothing_on_the_hosts(sshd, tmp_path: Path, nap: str) -> None:
    sshd.write_list(tmp_path / "hosts", [host.entry for host in sshd.hosts(3)])
    command = f"[ ?HOST = 127.1.0.1 ] || {nap} 600; seq 100000"
    line = f'{BIN}/rcmd -f hosts -- "{command}" | head -1'
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"rcmd [127.1.0.1]: {command.replace('?HOST', '127.1.0.1')}\n", "")
    assert running(nap) == []


def test_no_result_is_missing_whatever_is_interrupted(sshd, nap: str) -> None:
    with Fleet(sshd.hosts(40), Settings(fanout=20)) as fleet:
        for operation in (RemoteCommand(f"{nap} 600"), LocalCommand(f"{nap} 600")):
            run = fleet.perform(operation)
            until(lambda: len(running(nap)) >= 20)
            run.cancel()
            report = Report(run)
            assert [result.index for result in report] == list(range(40))
            assert {result.outcome for result in report} == {Outcome.LOST, Outcome.CANCELLED}
    assert running(nap) == []
