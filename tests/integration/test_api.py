"""The Python API against real sshd: streaming, composed, from many threads, and closed behind itself."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers import until

from paramgmt_tasks import Fleet, Outcome, Pool, RemoteCommand, Settings, UsageError


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_operations_composed(sshd, tmp_path: Path) -> None:
    source, script = tmp_path / "source", tmp_path / "s.sh"
    source.write_text("text\n")
    script.write_text("cat $0 >/dev/null; echo script ?HOST\n")
    hosts = sshd.hosts(5)
    with Fleet(hosts, Settings(connect_timeout=20)) as fleet:
        assert fleet.push(source, f"{tmp_path}/there-?HOST").ok
        shown = {str(r.host): r.stdout for r in fleet.run(f"cat {tmp_path}/there-?HOST")}
        assert shown == {host.entry: b"text\n" for host in hosts}
        assert [r.stdout for r in fleet.script(script).report()] == [
            f"script {host.entry}\n".encode() for host in hosts
        ]
        assert fleet.local(f"mkdir {tmp_path}/?HOST").report().ok
        report = fleet.pull([f"{tmp_path}/there-?HOST"], tmp_path / "?HOST")
        assert report.ok
        (late,) = [r for r in fleet.run("[ ?HOST = 127.1.0.3 ] && sleep 60; true", timeout=1) if not r.ok]
        assert late.outcome is Outcome.TIMED_OUT
        assert fleet.settings.timeout is None
    assert (tmp_path / "127.1.0.2" / "there-127.1.0.2").read_text() == "text\n"


def test_results_come_while_others_are_awaited(sshd, tmp_path: Path) -> None:
    with Fleet(sshd.hosts(3)) as fleet:
        run = fleet.run(f"[ ?HOST = 127.1.0.1 ] || exit 0; until [ -e {tmp_path}/go ]; do sleep 0.05; done")
        early = [next(run), next(run)]
        (tmp_path / "go").touch()
        assert {result.index for result in early} == {1, 2}
        assert [result.index for result in run] == [0]


def test_a_fleet_is_used_from_many_threads_at_once(sshd) -> None:
    hosts = sshd.hosts(4)
    said: dict[int, list[bytes]] = {}
    with Fleet(hosts) as fleet:
        assert fleet.run("true").report().ok

        def work(number: int) -> None:
            said[number] = [r.stdout for r in fleet.run(f"sleep 0.2; echo {number} ?HOST").report()]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expected = {n: [f"{n} {host.entry}\n".encode() for host in hosts] for n in range(8)}
    assert said == expected


def test_one_run_cancelled_leaves_others_on_the_same_hosts_alone(sshd, tmp_path: Path) -> None:
    with Fleet(sshd.hosts(2)) as fleet:
        kept = fleet.run(f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; echo kept")
        cancelled = fleet.run("sleep 60")
        cancelled.cancel()
        (tmp_path / "go").touch()
        assert {result.ok for result in cancelled} == {False}
        assert [result.stdout for result in kept.report()] == [b"kept\n", b"kept\n"]


def test_connections_are_used_again_and_closed_in_the_end(sshd) -> None:
    before = open_files()
    with Fleet(sshd.hosts(5)) as fleet:
        seen = [[r.stdout for r in fleet.run("echo $SSH_CONNECTION").report()] for _ in range(3)]
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen[0])) == 5
    until(lambda: open_files() <= before)  # its thread may still be at its last steps


def test_a_pool_outlives_its_fleets(sshd) -> None:
    pool = Pool()
    seen = []
    try:
        for hosts in (sshd.hosts(3), sshd.hosts(2)):
            with Fleet(hosts, pool=pool) as fleet:
                seen.append([r.stdout for r in fleet.run("echo $SSH_CONNECTION").report()])
    finally:
        pool.close()
    assert seen[0][:2] == seen[1]


def test_a_block_waits_for_what_nobody_waits_for(sshd, tmp_path: Path) -> None:
    with Fleet([sshd.host()]) as fleet:
        fleet.run(f"sleep 0.5; touch {tmp_path}/done")
    assert (tmp_path / "done").exists()


def test_a_block_left_by_an_error_ends_what_runs(sshd, tmp_path: Path) -> None:
    runs = []

    def caller() -> None:
        with Fleet([sshd.host()]) as fleet:
            runs.append(fleet.perform(RemoteCommand("echo begun; sleep 60"), live=True))
            next(runs[0].events())
            raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        caller()
    assert [result.reason for result in runs[0]] == ["interrupted; ended on the host"]


def test_what_is_wrong_is_told_at_once(sshd) -> None:
    with Fleet([sshd.host()]) as fleet:
        with pytest.raises(UsageError, match="no such setting: tiemout; did you mean timeout"):
            fleet.run("true", tiemout=3)
        with pytest.raises(UsageError, match="x: must be a whole number of hosts"):
            fleet.run("true", batch="x")
        assert fleet.run("true").report().ok


def test_it_works_where_a_loop_runs_already(sshd) -> None:
    """As in a notebook, whose cells run inside of asyncio."""
    import asyncio

    async def cell() -> list[bytes]:
        with Fleet(sshd.hosts(2)) as fleet:
            return [result.stdout for result in fleet.run("echo hi").report()]

    assert asyncio.run(cell()) == [b"hi\n", b"hi\n"]


def test_a_script_that_ends_without_closing_ends(sshd, tmp_path: Path) -> None:
    sshd.write_list(tmp_path / "hosts", ["127.1.0.[1-3]"])
    program = (
        "from paramgmt_tasks import Fleet\n"
        "from paramgmt_tasks.model.hosts import parse_lines\n"
        "hosts = parse_lines(open('hosts'), 'hosts')\n"
        "print(Fleet(hosts).run('echo hi').report().ok)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
