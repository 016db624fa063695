"""The operations against real sshd, through Fleet."""

import os
import pwd
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from helpers import until

from paramgmt_tasks import (
    Fleet,
    Host,
    LocalCommand,
    Outcome,
    Pool,
    Pull,
    Push,
    RemoteCommand,
    Report,
    Script,
    Settings,
)


def perform(hosts, operation, **settings) -> Report:
    with Fleet(hosts, Settings(**settings)) as fleet:
        return fleet.report(operation)


def test_fifty_hosts_answer_in_host_order(sshd) -> None:
    hosts = sshd.hosts(50)
    report = perform(hosts, RemoteCommand("echo ?HOST; echo err >&2"))
    assert report.ok
    assert [result.stdout.decode().strip() for result in report] == [host.entry for host in hosts]
    assert {(r.stderr, r.return_code, r.attempts) for r in report} == {(b"err\n", 0, 1)}


def test_three_hundred_hosts_of_an_sshd_as_it_is_installed(start_sshd) -> None:
    """Its MaxStartups sheds connections from ten at once on."""
    sshd = start_sshd()
    report = perform(sshd.hosts(300), RemoteCommand("true"))
    assert [result.reason for result in report.failed] == []
    assert len(report) == 300


def test_a_return_code_is_a_failure_with_that_code(sshd) -> None:
    (result,) = perform([sshd.host()], RemoteCommand("echo out; exit 7"))
    assert (result.outcome, result.return_code, result.stdout) == (Outcome.FAILED, 7, b"out\n")
    assert result.reason == "return code 7"


def test_a_command_ended_by_a_signal_is_signalled_with_its_name(sshd) -> None:
    (result,) = perform([sshd.host()], RemoteCommand("kill -9 $$"))
    assert (result.outcome, result.return_code) == (Outcome.SIGNALLED, None)
    assert "KILL" in result.reason


def test_a_timeout_keeps_what_was_printed(sshd) -> None:
    (result,) = perform([sshd.host()], RemoteCommand("echo part; exec sleep 60"), timeout=1)
    assert (result.outcome, result.stdout) == (Outcome.TIMED_OUT, b"part\n")


def test_a_timeout_ends_a_command_that_never_stops_printing(sshd) -> None:
    (result,) = perform([sshd.host()], RemoteCommand("yes"), timeout=0.5)
    assert result.outcome is Outcome.TIMED_OUT
    assert result.stdout.startswith(b"y\n")


def test_ten_megabytes_arrive_whole(sshd) -> None:
    (result,) = perform([sshd.host()], RemoteCommand("head -c 10000000 /dev/zero; echo e >&2"))
    assert result.stdout == bytes(10_000_000)


def test_bytes_that_are_not_text_arrive_as_they_are(sshd) -> None:
    (result,) = perform([sshd.host()], RemoteCommand(r"printf '\377\376\n'"))
    assert result.ok
    assert result.stdout == b"\xff\xfe\n"


def test_standard_input_is_empty_without_stdin(sshd) -> None:
    (result,) = perform([sshd.host()], RemoteCommand("cat; echo end"))
    assert result.stdout == b"end\n"


@pytest.mark.parametrize("size", [0, 5, 5_000_000])
def test_every_host_gets_the_same_bytes_on_stdin(sshd, size: int) -> None:
    data = os.urandom(size)
    for result in perform(sshd.hosts(3), RemoteCommand("cat"), stdin=data):
        assert result.stdout == data


def test_a_command_that_reads_no_stdin_does_not_hang(sshd) -> None:
    (result,) = perform([sshd.host()], RemoteCommand("true"), stdin=bytes(10_000_000), timeout=60)
    assert result.ok


def test_environment_values_are_quoted(sshd) -> None:
    value = """a 'b' "c" $d \\ ; `e`"""
    (result,) = perform([sshd.host()], RemoteCommand('printf %s "$K"'), env=(("K", value),))
    assert result.stdout.decode() == value


def test_a_host_that_stands_twice_gives_two_results(sshd) -> None:
    report = perform([sshd.host(), sshd.host()], RemoteCommand("echo $SSH_CONNECTION"))
    assert report.ok
    first, second = (result.stdout for result in report)
    assert first != second


def test_sequential_runs_one_host_after_the_other(sshd) -> None:
    command = 'mkdir "$HOME/one" && sleep 0.05 && rmdir "$HOME/one"'
    assert perform(sshd.hosts(5), RemoteCommand(command), sequential=True).ok


def test_hosts_are_connected_once_for_several_operations(sshd) -> None:
    pool = Pool()
    hosts = sshd.hosts(3)
    seen = []
    for command in ("echo $SSH_CONNECTION", "echo $SSH_CONNECTION #"):
        with Fleet(hosts, Settings(), pool=pool) as fleet:
            seen.append([result.stdout for result in fleet.report(RemoteCommand(command))])
    pool.close()
    assert seen[0] == seen[1]


def test_connections_that_are_not_kept_are_closed_with_their_hosts(sshd) -> None:
    with Fleet(sshd.hosts(5)) as fleet:
        assert fleet.report(RemoteCommand("true")).ok
        assert fleet.pool.threads.connected() == 5
        assert fleet.report(RemoteCommand("true"), keep=False).ok
        assert fleet.pool.threads.connected() == 0


def test_a_kept_connection_that_died_is_made_anew(sshd) -> None:
    with Fleet([sshd.host()]) as fleet:
        (first,) = fleet.report(RemoteCommand("echo $PPID"))
        os.kill(int(first.stdout), signal.SIGKILL)
        (second,) = fleet.report(RemoteCommand("echo again"))
    assert second.stdout == b"again\n"


def test_a_command_whose_connection_dies_is_lost_and_not_repeated(sshd, tmp_path: Path) -> None:
    marker = tmp_path / "runs"
    command = f"echo run >> {marker}; kill -9 $PPID; sleep 60"
    (result,) = perform([sshd.host()], RemoteCommand(command), attempts=5)
    assert result.outcome is Outcome.LOST
    assert marker.read_text() == "run\n"


# -- local commands


def test_local_commands_run_here_for_each_host(tmp_path: Path) -> None:
    hosts = [Host("a", "a"), Host("b", "b", variables={"K": "v"})]
    report = perform(hosts, LocalCommand(f"mkdir {tmp_path}/res?HOST && echo ?K; cat"))
    assert [result.stdout for result in report] == [b"?K\n", b"v\n"]
    assert (tmp_path / "resa").is_dir()
    assert (tmp_path / "resb").is_dir()


def is_gone(pid: int) -> bool:
    """A dead process counts as gone also where nobody has collected it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_local_commands_end_with_all_they_started_at_a_timeout(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = f"sleep 600 & echo $! > {pids}; echo part; wait"
    (result,) = perform([Host("a", "a")], LocalCommand(command), timeout=1)
    assert (result.outcome, result.stdout) == (Outcome.TIMED_OUT, b"part\n")
    until(lambda: is_gone(int(pids.read_text())))


def test_local_return_codes_and_signals() -> None:
    (failed,) = perform([Host("a", "a")], LocalCommand("exit 3"))
    (killed,) = perform([Host("a", "a")], LocalCommand("kill -TERM $$"))
    assert (failed.outcome, failed.return_code) == (Outcome.FAILED, 3)
    assert (killed.outcome, killed.reason) == (Outcome.SIGNALLED, "killed by signal TERM")


# -- scripts


def script(tmp_path: Path, name: str, text: str) -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_scripts_run_in_order_with_their_interpreter_and_the_host_in_their_text(sshd, tmp_path: Path) -> None:
    first = script(tmp_path, "a b.sh", '#!/bin/sh\necho "first ?HOST ${0##*/}"\n')
    second = script(tmp_path, "-s.py", "#!/usr/bin/env python3\nimport sys\nprint('second', sys.argv[1:])")
    third = script(tmp_path, "plain", "echo third")
    (result,) = perform([sshd.host(4)], Script((first, second, third)))
    assert result.stdout.decode() == "first 127.1.0.5 a b.sh\nsecond []\nthird\n"


def test_the_first_script_that_fails_ends_the_sequence(sshd, tmp_path: Path) -> None:
    first = script(tmp_path, "a.sh", "echo one; exit 4")
    second = script(tmp_path, "b.sh", "echo two")
    (result,) = perform([sshd.host()], Script((first, second)))
    assert (result.outcome, result.return_code, result.stdout) == (Outcome.FAILED, 4, b"one\n")
    assert "a.sh" in result.reason


@pytest.mark.parametrize(("stdin", "heard"), [(None, b""), (b"line\n\xff", b"line\n\xff")])
def test_a_script_that_reads_standard_input_does_not_eat_its_own_text(sshd, tmp_path, stdin, heard) -> None:
    path = script(tmp_path, "s.sh", "#!/bin/sh\ncat\necho end\n")
    (result,) = perform([sshd.host()], Script((path,)), stdin=stdin)
    assert result.stdout == heard + b"end\n"


def test_a_script_leaves_nothing_behind(sshd, tmp_path: Path) -> None:
    path = script(tmp_path, "s.sh", "dirname $0; exit 1")
    (result,) = perform([sshd.host()], Script((path,)))
    folder = result.stdout.decode().strip()
    assert "paramgmt" in folder
    assert not os.path.exists(folder)


def test_a_missing_script_is_an_error_on_our_side_and_connects_nowhere(tmp_path: Path) -> None:
    (result,) = perform([Host("h", "192.0.2.1")], Script((str(tmp_path / "none"),)))
    assert result.outcome is Outcome.ERROR
    assert "none" in result.reason


# -- transfers


def test_tilde_and_relative_paths_are_the_remote_home(sshd, tmp_path: Path) -> None:
    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)  # sftp-server does not ask $HOME
    names = [f"paramgmt-test-{os.getpid()}-{number}" for number in range(3)]
    source = tmp_path / names[0]
    source.write_text("text")
    try:
        for destination in ("~/", "~", "", names[1], f"~/{names[2]}"):
            assert perform([sshd.host()], Push((str(source),), destination)).ok
            assert (home / (os.path.basename(destination).strip("~") or names[0])).read_text() == "text"
        source.unlink()
        assert perform([sshd.host()], Pull((f"~/{names[0]}", names[1]), str(tmp_path))).ok
        assert sorted(os.listdir(tmp_path)) == names[:2]
    finally:
        for name in names:
            (home / name).unlink(missing_ok=True)


def test_a_pull_into_a_folder_for_each_host(sshd, tmp_path: Path) -> None:
    (tmp_path / "res.txt").write_text("r")
    hosts = sshd.hosts(3)
    report = perform(hosts, LocalCommand(f"mkdir {tmp_path}/?HOST"))
    assert report.ok
    assert perform(hosts, Pull((f"{tmp_path}/res.txt",), f"{tmp_path}/?HOST")).ok
    assert [(tmp_path / host.entry / "res.txt").read_text() for host in hosts] == ["r"] * 3


def test_remote_patterns(sshd, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "d1").mkdir(parents=True)
    for name in ("a.log", "b.log", "c.txt", ".hidden.log", "d1/e.log"):
        (logs / name).write_text(name)
    (tmp_path / "got").mkdir()
    assert perform([sshd.host()], Pull((f"{logs}/*.log", f"{logs}/d?/e.log"), f"{tmp_path}/got")).ok
    assert sorted(os.listdir(tmp_path / "got")) == ["a.log", "b.log", "e.log"]
    (result,) = perform([sshd.host()], Pull((f"{logs}/*.none",), f"{tmp_path}/got"))
    assert (result.outcome, result.return_code) == (Outcome.FAILED, 1)
    assert "*.none: no such file" in result.reason


def test_each_file_that_fails_is_named_and_the_others_arrive(sshd, tmp_path: Path) -> None:
    (tmp_path / "good").write_text("g")
    (tmp_path / "got").mkdir()
    wanted = (f"{tmp_path}/none1", f"{tmp_path}/good", f"{tmp_path}/none2")
    (result,) = perform([sshd.host()], Pull(wanted, str(tmp_path / "got")))
    assert result.outcome is Outcome.FAILED
    assert result.stderr.decode().splitlines() == [
        f"{tmp_path}/none1: no such file",
        f"{tmp_path}/none2: no such file",
    ]
    assert (tmp_path / "got" / "good").read_text() == "g"


def test_several_sources_need_a_folder(sshd, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    sources = (f"{tmp_path}/a", f"{tmp_path}/b")
    (pushed,) = perform([sshd.host()], Push(sources, f"{tmp_path}/none"))
    (pulled,) = perform([sshd.host()], Pull(sources, f"{tmp_path}/none"))
    assert (pushed.outcome, pulled.outcome) == (Outcome.FAILED, Outcome.ERROR)
    assert "no such folder" in pushed.reason
    assert "no such folder" in pulled.reason


def test_a_missing_source_connects_nowhere(tmp_path: Path) -> None:
    (result,) = perform([Host("h", "192.0.2.1")], Push((f"{tmp_path}/none",), "/tmp"))
    assert result.outcome is Outcome.ERROR
    assert f"{tmp_path}/none" in result.reason


# -- a run


def test_a_cancelled_run_names_every_host_once(sshd) -> None:
    with Fleet(sshd.hosts(6), Settings(fanout=3)) as fleet:
        run = fleet.perform(RemoteCommand('[ "?HOST" = 127.1.0.1 ] && exit; sleep 60'))
        first = next(run)
        threading.Timer(0.5, run.cancel).start()
        report = Report([first, *run])
    outcomes = [result.outcome for result in report]
    assert outcomes[0] is Outcome.OK
    assert sorted(result.index for result in report) == list(range(6))
    assert set(outcomes[1:]) == {Outcome.LOST, Outcome.CANCELLED}
    assert outcomes.count(Outcome.LOST) == 3


def test_results_come_as_hosts_finish(sshd) -> None:
    with Fleet(sshd.hosts(3)) as fleet:
        run = fleet.perform(RemoteCommand('[ "?HOST" = 127.1.0.1 ] && sleep 1; true'))
        assert [result.index for result in run][-1] == 0


# -- identities


@pytest.fixture
def agent(sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A real ssh-agent that holds the key."""
    socket = str(tmp_path / "agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", socket)
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        # Its socket is there before it listens.
        until(
            lambda: not subprocess.run(["ssh-add", "-q", sshd.identity], stderr=subprocess.DEVNULL).returncode
        )
        yield socket
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("only", ["no", "yes"])
def test_the_agents_key_lets_many_in_at_once(sshd, agent, tmp_path: Path, only: str) -> None:
    """With IdentitiesOnly it is the key whose public half is in the file."""
    (tmp_path / "id.pub").write_text(Path(f"{sshd.identity}.pub").read_text())
    hosts = [sshd.host(n, IdentityFile=str(tmp_path / "id"), IdentitiesOnly=only) for n in range(20)]
    report = perform(hosts, RemoteCommand("true"))
    assert [result.reason for result in report.failed] == []


def test_identities_only_offers_nothing_else_of_the_agent(sshd, agent) -> None:
    (result,) = perform([sshd.host(1, IdentityFile="/none")], RemoteCommand("true"))
    assert result.outcome is Outcome.DENIED


def test_all_scripts_have_the_timeout_together(sshd, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first", "second", "third")]
    for path in paths:
        path.write_text(f"#!/bin/sh\nsleep 0.8\necho {path.name}\n")
    with Fleet([sshd.host()], Settings(timeout=1.5)) as fleet:
        (result,) = fleet.script(*paths).report()
    assert (result.outcome, result.stdout) == (Outcome.TIMED_OUT, b"first\n")
    assert "second: timed out after 1.5 s" in result.reason
