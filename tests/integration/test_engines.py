"""The same on every engine; and what holds where a worker process dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from dask_cluster import children, commandline

from paramgmt_tasks import Fleet, Host, Outcome, RemoteCommand, Settings, UsageError

BIN = Path(sys.executable).parent


@pytest.fixture
def settings(engine: str, request: pytest.FixtureRequest) -> Settings:
    if engine == "dask":
        return request.getfixturevalue("cluster").settings(connect_timeout=20)
    return Settings(engine=engine, workers=3, connect_timeout=20)


def until(done, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_operation(sshd, settings: Settings, tmp_path: Path) -> None:
    hosts = sshd.hosts(7)
    source, script = tmp_path / "source", tmp_path / "s.sh"
    source.write_bytes(os.urandom(300_000))
    script.write_text("echo script ?HOST; cat\n")
    with Fleet(hosts, settings) as fleet:
        assert [r.stdout.decode() for r in fleet.run("echo ?HOST; cat", stdin=b"in").report()] == [
            f"{host.entry}\nin" for host in hosts
        ]
        assert {r.stdout for r in fleet.run("echo $K", env=(("K", "a b"),)).report()} == {b"a b\n"}
        assert fleet.push(source, f"{tmp_path}/there-?HOST").ok
        assert fleet.local(f"mkdir {tmp_path}/?HOST").report().ok
        assert fleet.pull([f"{tmp_path}/there-?HOST"], f"{tmp_path}/?HOST/back").ok
        assert {r.stdout.split()[0] for r in fleet.script(script).report()} == {b"script"}
        assert fleet.run("head -c 2000000 /dev/zero").report().results[3].stdout == bytes(2_000_000)
    for host in hosts:
        assert (tmp_path / host.entry / "back").read_bytes() == source.read_bytes()


def test_every_way_to_fail_in_the_order_of_the_hosts(sshd, settings: Settings, tmp_path: Path) -> None:
    hosts = [
        sshd.host(1),
        sshd.host(2, Port="1"),
        sshd.host(3),
        sshd.host(4, IdentityFile="/none"),
        sshd.host(5),
        sshd.host(6, UserKnownHostsFile="/dev/null"),
        sshd.host(7),
        sshd.host(7),
    ]
    command = (
        "case ?HOST in *.3) :;; *.4) echo out; exit 3;; *.6) kill -9 $$;; *.8) echo part; sleep 60;; "
        "*) kill -9 $PPID;; esac"
    )
    with Fleet(hosts, settings) as fleet:
        report = fleet.run(command, timeout=2).report()
    assert [result.host for result in report] == hosts
    assert [result.index for result in report] == list(range(8))
    assert [str(result.outcome) for result in report] == [
        *("lost", "unreachable", "failed", "denied", "signalled", "untrusted", "timed-out", "timed-out")
    ]
    assert (report.results[2].return_code, report.results[2].stdout) == (3, b"out\n")
    assert {result.stdout for result in report.results[-2:]} == {b"part\n"}


def test_connections_are_kept(sshd, settings: Settings) -> None:
    with Fleet(sshd.hosts(7), settings) as fleet:
        first, second = ([r.stdout for r in fleet.run("echo $SSH_CONNECTION").report()] for _ in range(2))
    assert first == second


def test_rolling_holds_over_all(sshd, settings: Settings) -> None:
    with Fleet(sshd.hosts(12), settings) as fleet:
        report = fleet.run("test ?HOST != 127.1.0.4", canary=2, batch=3, max_fail=0).report()
    outcomes = [result.outcome for result in report]
    assert outcomes[:2] == [Outcome.OK] * 2
    assert outcomes[3] is Outcome.FAILED
    assert outcomes[5:] == [Outcome.CANCELLED] * 7
    # Those of the same batch may have begun by then, or not.
    assert {outcomes[2], outcomes[4]} <= {Outcome.OK, Outcome.CANCELLED}
    assert report.results[-1].reason == "not started: 1 host failed, more than 0"


def test_what_is_written_is_heard_while_it_runs(sshd, settings: Settings, tmp_path: Path) -> None:
    with Fleet(sshd.hosts(3), settings) as fleet:
        run = fleet.perform(
            RemoteCommand(f"echo early; until [ -e {tmp_path}/go ]; do sleep 0.05; done"), live=True
        )
        events = run.events()
        early = [next(events) for _ in range(3)]
        assert {event.index for event in early} == {0, 1, 2}
        assert {bytes(event.out) for event in early} == {b"early\n"}
        (tmp_path / "go").touch()
        assert len(list(events)) == 3


def test_a_cancelled_run_ends_what_runs(sshd, settings: Settings) -> None:
    with Fleet(sshd.hosts(6), settings) as fleet:
        run = fleet.perform(RemoteCommand("echo part; sleep 600"), live=True)
        events = run.events()
        for _ in range(6):
            next(events)
        run.cancel()
        assert {(r.outcome, r.reason, r.stdout) for r in run} == {
            (Outcome.LOST, "interrupted; ended on the host", b"part\n")
        }


def test_no_hosts_are_no_results(settings: Settings) -> None:
    with Fleet([], settings) as fleet:
        assert len(fleet.run("true").report()) == 0


# -- processes


def test_hosts_are_spread_over_processes_that_share_the_fan_out(sshd) -> None:
    with Fleet(sshd.hosts(6), Settings(engine="processes", workers=2)) as fleet:
        report = fleet.run("echo $SSH_CLIENT").report()
        assert report.ok
        assert len(fleet.pool.engines["processes"].pids) == 2
        clients = [connections(pid) for pid in fleet.pool.engines["processes"].pids]
    assert clients == [3, 3]


def connections(pid: int) -> int:
    """How many sockets a process has besides that to its parent."""
    sockets = {
        os.readlink(entry)
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if os.path.islink(entry) and os.readlink(entry).startswith("socket:")
    }
    numbers = {name[8:-1] for name in sockets}
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[9] in numbers for line in lines)


def test_a_worker_killed_in_the_middle_loses_what_it_had_started_and_nothing_runs_twice(
    sshd, tmp_path: Path
) -> None:
    hosts = sshd.hosts(200)
    marks, go = tmp_path / "marks", tmp_path / "go"
    marks.mkdir()
    command = f"echo ran >>{marks}/?HOST; until [ -e {go} ]; do sleep 0.2; done"
    settings = Settings(engine="processes", workers=2, fanout=80, connect_timeout=60)
    with Fleet(hosts, settings) as fleet:
        run = fleet.run(command)
        until(lambda: len(list(marks.iterdir())) == 80)
        os.kill(fleet.pool.engines["processes"].pids[0], signal.SIGKILL)
        until(lambda: len(run.told) == 40)
        go.touch()
        report = run.report()
    counts = Counter(result.outcome for result in report)
    assert counts == {Outcome.OK: 160, Outcome.LOST: 40}
    assert {result.reason for result in report.failed} == {
        "its worker process died; the command may have run"
    }
    assert sorted(path.name for path in marks.iterdir()) == sorted(host.entry for host in hosts)
    assert {path.read_text() for path in marks.iterdir()} == {"ran\n"}


def test_where_all_workers_die_every_host_still_has_a_result(sshd) -> None:
    with Fleet(sshd.hosts(10), Settings(engine="processes", workers=2, fanout=4)) as fleet:
        run = fleet.perform(RemoteCommand("echo begun; sleep 60"), live=True)
        next(run.events())
        for pid in fleet.pool.engines["processes"].pids:
            os.kill(pid, signal.SIGKILL)
        report = run.report()
        assert len(report) == 10
        assert {result.outcome for result in report} <= {Outcome.LOST, Outcome.ERROR}
        assert fleet.run("true").report().ok, "new ones are started"


def test_a_push_whose_worker_dies_is_done_by_another(sshd, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    with Fleet(sshd.hosts(6), Settings(engine="processes", workers=2, limit_rate=2e6)) as fleet:
        assert fleet.run("true").report().ok
        pids = fleet.pool.engines["processes"].pids

        def kill() -> None:
            until(lambda: list(tmp_path.glob("*there*")))
            os.kill(pids[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        report = fleet.push(source, f"{tmp_path}/there-?HOST")
        killer.join()
    assert report.ok, [result.reason for result in report.failed]
    copies = [tmp_path / f"there-{host.entry}" for host in sshd.hosts(6)]
    assert {path.read_bytes() for path in copies} == {source.read_bytes()}


def test_no_worker_outlives_its_fleet_nor_a_process_that_is_killed(sshd, tmp_path: Path) -> None:
    with Fleet(sshd.hosts(2), Settings(engine="processes", workers=2)) as fleet:
        assert fleet.run("true").report().ok
        pids = fleet.pool.engines["processes"].pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    sshd.write_list(tmp_path / "hosts", [host.entry for host in sshd.hosts(4)])
    words = ["-f", "hosts", "--engine", "processes", "--workers", "2", "--", "sleep 600"]
    process = subprocess.Popen([BIN / "rcmd", *words], cwd=tmp_path)
    mark = "from paramgmt_tasks.worker import main"

    def workers() -> list[int]:
        own = children(process.pid)
        return [
            pid
            for pid in (*own, *(pid for each in own for pid in children(each)))
            if mark in commandline(pid)
        ]

    until(lambda: len(workers()) == 2)
    pids = workers()
    process.kill()
    process.wait()
    until(lambda: not any(mark in commandline(pid) for pid in pids))


def test_no_password_stands_where_others_can_read_it(sshd) -> None:
    with Fleet(sshd.hosts(2), Settings(engine="processes", workers=1, password="hush")) as fleet:
        assert fleet.run("true").report().ok
        (pid,) = fleet.pool.engines["processes"].pids
        for name in ("cmdline", "environ"):
            assert b"hush" not in Path(f"/proc/{pid}/{name}").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "dusk"], "rcmd: --engine dusk: must be one of auto, threads, processes, dask"),
        (
            ["--engine", "processes", "--together", "--fanout", "1"],
            "rcmd: 2 hosts cannot start together: a fan-out of 1 was asked for",
        ),
        (["--workers", "0"], "rcmd: --workers 0: must be a whole number, 1 or more"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    done = subprocess.run(
        [BIN / "rcmd", "-m", "a", "b", *words, "--", "true"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_settings_that_cannot_be_are_told_at_once() -> None:
    with Fleet([Host("a", "a")], Settings(engine="processes")) as fleet, pytest.raises(UsageError):
        fleet.run("true", batch="x")
