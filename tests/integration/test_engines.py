"""The same on every engine; and what holds where a worker process dies."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import programs
import pytest
from dask_cluster import DaskCluster
from helpers import children, command_line, running, until

from paramgmt_tasks import Fleet, Host, HostResult, Outcome, RemoteCommand, Run, Settings, UsageError
from paramgmt_tasks.engines.session import Pool
from paramgmt_tasks.model import parse_lines

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def settings(engine_settings: Settings) -> Settings:
    return engine_settings


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


#: What no host can be called, or none is: empty or long labels, what IDNA refuses, and its borders.
NAMES_OF_NOBODY = (
    "web1..invalid",
    ".invalid",
    f"{'a' * 64}.invalid",
    ".".join(["a" * 60] * 5),
    "bücher.invalid",
    "☃.invalid",
    "שלום.invalid",
    "\u0300a.invalid",
    "ß.invalid",
    "xn--.invalid",
    "_srv.invalid",
    "web1.invalid.",
)


@pytest.mark.parametrize(
    "way", ["{name}", "h HostName={name}", "h ProxyJump={name}", "h ProxyJump=u@{name}:22,j"]
)
def test_a_name_that_cannot_be_looked_up_is_that_hosts_unreachable(
    sshd, settings: Settings, way: str
) -> None:
    hosts = parse_lines([way.format(name=name) for name in NAMES_OF_NOBODY], "list")
    with Fleet([*hosts, *sshd.hosts(1)], replace(settings, attempts=1)) as fleet:
        *results, good = fleet.run("true").report()
    assert good.ok
    assert {result.outcome for result in results} == {Outcome.UNREACHABLE}
    assert all(result.reason.endswith(("unknown host name", "…")) for result in results)


@pytest.mark.parametrize("name", NAMES_OF_NOBODY[:5])
def test_such_a_name_for_all_hosts_is_each_ones_unreachable(sshd, settings: Settings, name: str) -> None:
    for options in ((("HostName", name),), (("ProxyJump", name),)):
        with Fleet(["a", "b"], replace(settings, attempts=1, ssh_options=options)) as fleet:
            assert [result.outcome for result in fleet.run("true").report()] == [Outcome.UNREACHABLE] * 2


BAD_OPTIONS = {
    "ConnectTimeout": ("abc", "bad time 'abc': seconds, or with units as in 1m30s"),
    "Port": ("abc", "bad port 'abc': a number from 1 to 65535"),
    "HostName": ("a$(x)", "host name 'a$(x)' contains invalid characters"),
    "User": ("a;b", "user name 'a;b' contains invalid characters"),
    "HostKeyAlias": ("*", "HostKeyAlias '*' contains invalid characters"),
    "StrictHostKeyChecking": ("maybe", "bad value 'maybe' of 'stricthostkeychecking'"),
    "ProxyJump": ("a,,b", "bad jump host '' in 'a,,b': [user@]host[:port]"),
    "ProxyCommand": ("nc %x", "proxycommand 'nc %x': unknown token %x"),
    "IdentityFile": ("${NO_SUCH}/key", "identityfile '${NO_SUCH}/key': the environment has no NO_SUCH"),
}

#: Elsewhere the ssh_config of the workers holds.
WITH_OUR_CONFIG = pytest.mark.parametrize("engine", ["threads", "processes"], indirect=True)


def test_what_is_wrong_with_one_hosts_options_is_its_result(sshd, settings: Settings) -> None:
    hosts = [sshd.host(0), *(sshd.host(n, **{k: v[0]}) for n, (k, v) in enumerate(BAD_OPTIONS.items(), 1))]
    hosts.append(sshd.host(len(hosts), ConnectTimeout="1m", Port=f"0{sshd.port}"))
    with Fleet(hosts, settings) as fleet:
        report = fleet.run("echo ?HOST").report()
        assert fleet.local("echo ?HOST").report().ok, "nothing of that matters here"
    assert len(report) == len(hosts)
    outcomes = [result.outcome for result in report]
    assert outcomes == [Outcome.OK, *[Outcome.ERROR] * len(BAD_OPTIONS), Outcome.OK]
    for result, (_, said) in zip(report.results[1:-1], BAD_OPTIONS.values(), strict=True):
        assert said in result.reason
        assert result.attempts == 1


@WITH_OUR_CONFIG
def test_a_match_exec_that_never_ends_is_an_error_of_its_hosts_alone(
    sshd, blank_home: Path, settings: Settings, tmp_path: Path
) -> None:
    (blank_home / ".ssh").mkdir()
    (blank_home / ".ssh" / "config").write_text(
        f'Match originalhost n* exec "echo %n >>{tmp_path}/asked; sleep 1000"\n  Port 1\n'
        f'Match originalhost 127.1.* exec "echo x >>{tmp_path}/same; sleep 0.2; exit 1"\n  Port 1\n'
        f'Match originalhost 127.1.* exec "echo %n >>{tmp_path}/each"\n  Compression no\n'
    )
    good = sshd.hosts(6)
    stuck = [replace(sshd.host(9, ConnectTimeout="1"), entry=name, address=name) for name in ("n1", "n2")]
    with Fleet([stuck[0], *good, stuck[1]], settings) as fleet:
        report = fleet.run("echo ?HOST", connect_timeout=None).report()
    assert [result.outcome for result in report] == [Outcome.ERROR, *[Outcome.OK] * 6, Outcome.ERROR]
    assert report[0].reason.endswith("config, line 1: Match exec: no answer within 1 s")
    assert not running(f"{tmp_path}/asked")
    workers = 1 if settings.engine == "threads" else settings.workers or os.cpu_count() or 1
    assert len((tmp_path / "same").read_text().split()) <= workers
    assert sorted((tmp_path / "each").read_text().split()) == sorted(host.address for host in good)


def test_options_of_ssh_that_are_not_supported_come_with_the_result(sshd, settings: Settings) -> None:
    hosts = [sshd.host(0), sshd.host(1, Tunnel="yes"), sshd.host(2, ForwardX11="no")]
    with Fleet(hosts, settings) as fleet:
        assert [result.unsupported for result in fleet.run("true").report()] == [(), ("Tunnel",), ()]
        more = fleet.run("true", ssh_options={"LocalForward": "8000 a:80", "Port": "1"}).report()
        assert [result.unsupported for result in more][:2] == [("LocalForward",), ("LocalForward", "Tunnel")]
        assert more.ok, "a host's own port comes first"
        assert fleet.local("true").report()[1].unsupported == ()


@WITH_OUR_CONFIG
def test_what_ssh_config_has_wrong_for_one_host_is_its_result(
    sshd, blank_home: Path, settings: Settings
) -> None:
    options = "".join(f"  {key} {value}\n" for key, value in sshd.options().items())
    wrong = {
        "127.1.0.2": ("IdentityFile %x/key", "identityfile '%x/key': unknown token %x"),
        "127.1.0.3": ("HostName a;b", "host name 'a;b' contains invalid characters"),
        "127.1.0.4": ("User a|b", "user name 'a|b' contains invalid characters"),
        "127.1.0.5": ("HostKeyAlias *", "HostKeyAlias '*' contains invalid characters"),
        "127.1.0.6": ("ProxyJump bad", "jump host bad: host name 'a;b' contains invalid characters"),
        "127.1.0.7": ("ProxyJump a;b", "host name 'a;b' contains invalid characters"),
    }
    (blank_home / ".ssh").mkdir()
    path = blank_home / ".ssh" / "config"
    path.write_text(
        "Match final all\n  GSSAPIAuthentication yes\nMatch Host nobody\n  User wrong\n"
        "Host 127.1.0.8\n  ForwardAgent true # on\n  ConnectTimeout 30s\nHost bad\n  HostName a;b\n"
        + "".join(f"Host {host}\n  {line}\n" for host, (line, _) in wrong.items())
        + f"Host *\n{options}"
    )
    path.chmod(0o600)
    hosts = [Host(f"127.1.0.{number}", f"127.1.0.{number}") for number in range(1, 9)]
    with Fleet(hosts, settings) as fleet:
        results = {result.host.entry: result for result in fleet.run("id -un").report()}
    assert list(results) == [host.entry for host in hosts]
    assert results["127.1.0.1"].ok
    assert results["127.1.0.8"].ok
    for host, (_, said) in wrong.items():
        outcome = Outcome.UNREACHABLE if said.startswith("jump host") else Outcome.ERROR
        assert (results[host].outcome, results[host].reason) == (outcome, said)


@WITH_OUR_CONFIG
def test_an_ssh_config_that_ssh_refuses_ends_the_run_before_it_begins(
    sshd, blank_home: Path, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    (blank_home / ".ssh").mkdir()
    (blank_home / ".ssh" / "config").write_text("Host other\n  BatchMode maybe\n")
    with Fleet(sshd.hosts(2), settings) as fleet, pytest.raises(UsageError) as refused:
        fleet.run("true")
    assert str(refused.value) == (
        f"ssh_config {blank_home}/.ssh/config, line 2: bad value 'maybe' of 'batchmode': one of yes, no"
    )
    assert capfd.readouterr().err == ""


def test_a_user_whom_ssh_would_refuse_ends_the_run_before_it_begins(sshd, settings: Settings) -> None:
    with Fleet(sshd.hosts(2), settings) as fleet, pytest.raises(UsageError) as refused:
        fleet.run("true", user="a$(x);b").report()
    assert str(refused.value) == "user name 'a$(x);b' contains invalid characters"


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
        with Fleet(fleet.hosts[5:], settings, fleet.pool) as some:
            third = [r.stdout for r in some.run("echo $SSH_CONNECTION").report()]
    assert first == second
    assert third == first[5:]


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


@pytest.mark.parametrize("how", [{"sequential": True}, {"fanout": 1}])
def test_no_more_hosts_at_once_than_asked_for(sshd, settings: Settings, tmp_path: Path, how: dict) -> None:
    alone = (
        f"mkdir {tmp_path}/alone || exit 1; echo ?HOST >>{tmp_path}/order; sleep 0.1; rmdir {tmp_path}/alone"
    )
    hosts = sshd.hosts(6)
    with Fleet(hosts, settings) as fleet:
        assert fleet.run("true").report().ok
        assert fleet.run(alone, **how).report().ok
    if "sequential" in how:
        assert (tmp_path / "order").read_text().split() == [host.entry for host in hosts]


@pytest.mark.parametrize("live", [False, True])
def test_much_output_is_whole_and_stays_when_the_fleet_is_gone(sshd, settings: Settings, live: bool) -> None:
    hosts = sshd.hosts(6)
    with Fleet(hosts, settings) as fleet:
        report = fleet.perform(RemoteCommand("yes ?HOST | head -c 6000000; echo end >&2"), live=live).report()
    for host, result in zip(hosts, report, strict=True):
        line = f"{host.entry}\n".encode()
        assert result.stdout == (line * (6_000_000 // len(line) + 1))[:6_000_000]
        assert result.stderr == b"end\n"


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


def test_whoever_starts_it_is_told_before_a_host_may_start(sshd, settings: Settings, tmp_path: Path) -> None:
    told: list[int] = []

    def tell(index: int) -> None:
        told.append(index)
        (tmp_path / f"told-127.1.0.{index + 1}").touch()

    with Fleet(sshd.hosts(5), settings) as fleet:
        report = fleet.perform(RemoteCommand(f"ls {tmp_path}/told-?HOST"), on_start=tell).report()
    assert report.ok
    assert sorted(told) == [0, 1, 2, 3, 4]


_DOOR = """
import os, socket, sys, threading, time
folder, address, port = sys.argv[1:]
open(f"{folder}/knocked", "w").close()
while not os.path.exists(f"{folder}/open"):
    time.sleep(0.02)
sock = socket.create_connection((address, int(port)))
def give():
    while data := os.read(0, 65536):
        sock.sendall(data)
threading.Thread(target=give, daemon=True).start()
while data := sock.recv(65536):
    os.write(1, data)
"""


def test_hosts_start_together_once_all_are_connected_or_given_up(
    sshd, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "door.py").write_text(_DOOR)
    late = f"{sys.executable} {tmp_path}/door.py {tmp_path} %h %p"
    hosts = [*sshd.hosts(9), sshd.host(9, ProxyCommand=late), sshd.host(10, Port="1")]
    with Fleet(hosts[:9], settings, pool := Pool()) as fleet:
        assert fleet.run("true").report().ok
    with Fleet(hosts, settings, pool) as fleet:
        run = fleet.run(f"touch {tmp_path}/mark-?HOST", together=True, attempts=1)
        until((tmp_path / "knocked").exists)
        until(lambda: 10 in run.finished_hosts)
        (tmp_path / "open").touch()
        report = run.report()
    pool.close()
    assert [result.outcome for result in report] == [Outcome.OK] * 10 + [Outcome.UNREACHABLE]
    opened = (tmp_path / "open").stat().st_mtime_ns
    assert all((tmp_path / f"mark-{host.entry}").stat().st_mtime_ns >= opened for host in hosts[:10])
    spread, uncertainty = report.skew()
    assert spread >= 0
    assert uncertainty > 0


def test_what_is_unsure_of_the_clocks_of_others_stands_in_the_skew(sshd, cluster: DaskCluster) -> None:
    with Fleet(sshd.hosts(4), cluster.settings(together=True)) as fleet:
        before = fleet.run("true").report()
        (engine,) = fleet.pool.engines.values()
        for link in engine.links:
            assert 0 < link.uncertain < 5
            link.uncertain, link.ahead = link.uncertain + 5, link.ahead + 1000
        after = fleet.run("true").report()
    assert after.skew()[1] > 5 > before.skew()[1]
    assert all(late.requested < early.requested - 900 for early, late in zip(before, after, strict=True))


def test_a_report_has_all_results_whoever_took_some_before(sshd, settings: Settings) -> None:
    with Fleet(sshd.hosts(5), settings) as fleet:
        run: Run = fleet.run("test ?HOST != 127.1.0.2; echo said")
        assert isinstance(run, Run)
        assert len([next(run), next(run)]) == 2
        assert [result.index for result in run.report()] == [0, 1, 2, 3, 4]
        assert len(list(run)) == 3, "each is given once"
        assert {result.stdout for result in run.report()} == {b"said\n"}

        live = fleet.perform(RemoteCommand("echo said; test ?HOST != 127.1.0.2"), live=True)
        assert sum(isinstance(event, HostResult) for event in live.events()) == 5
        assert [result.ok for result in live.report()] == [True, False, True, True, True]

        cancelled = fleet.run("sleep 60")
        cancelled.cancel()
        assert len(list(cancelled)) == len(cancelled.report().failed) == 5


def test_no_hosts_are_refused(settings: Settings) -> None:
    with Fleet([], settings) as fleet, pytest.raises(UsageError, match="no hosts"):
        fleet.run("true")


# -- processes


def test_hosts_are_spread_over_processes_that_share_the_fan_out(sshd) -> None:
    with Fleet(sshd.hosts(6), Settings(engine="processes", workers=2)) as fleet:
        report = fleet.run("echo $SSH_CLIENT").report()
        assert report.ok
        assert len(fleet.pool.engines["processes"].pids) == 2
        clients = [len(sockets(pid)) for pid in fleet.pool.engines["processes"].pids]
    assert clients == [3, 3]


def sockets(pid: int) -> list[list[str]]:
    """What /proc says of the TCP sockets of a process: 1 is the local address, 3 the state."""
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    numbers = {link[8:-1] for link in links if link.startswith("socket:")}
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return [fields for fields in map(str.split, lines) if fields[9] in numbers]


def ports(pid: int, listening: bool = False) -> list[int]:
    """The ports of a process, or those at which it listens."""
    found = [fields for fields in sockets(pid) if not listening or fields[3] == "0A"]
    return [int(fields[1].rpartition(":")[2], 16) for fields in found]


# -- workers that die


class Two:
    """Two workers of an engine, and the processes that they are."""

    def __init__(self, engine: str, cluster: DaskCluster | None) -> None:
        self._engine, self._cluster = engine, cluster
        self.settle()

    def settings(self, **more) -> Settings:
        if self._cluster is None:
            return Settings(engine=self._engine, workers=2, **more)
        return self._cluster.settings(**more)

    def pids(self, fleet: Fleet) -> list[int]:
        return self._cluster.pids if self._cluster else fleet.pool.engines["processes"].pids

    def kill(self, *pids: int) -> list[str]:
        """Kill some; what may be said of them."""
        if self._cluster is None:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            return ["its worker process died"]
        said = [
            f"its Dask worker tls://127.0.0.1:{port} is gone"
            for pid in pids
            for port in ports(pid, listening=True)
        ]
        self._cluster.kill(*pids)
        return said

    def settle(self) -> None:
        """Wait for new ones in place of those that were killed."""
        if self._cluster is not None:
            self._cluster.settle()


@pytest.fixture(params=["processes", "dask"])
def two(request: pytest.FixtureRequest) -> Two:
    return Two(request.param, request.getfixturevalue("cluster") if request.param == "dask" else None)


def test_a_worker_killed_in_the_middle_loses_what_it_had_started_and_nothing_runs_twice(
    sshd, two: Two, tmp_path: Path
) -> None:
    hosts = sshd.hosts(200)
    marks, go = tmp_path / "marks", tmp_path / "go"
    marks.mkdir()
    command = f"echo ran >>{marks}/?HOST; until [ -e {go} ]; do sleep 0.2; done"
    with Fleet(hosts, two.settings(fanout=80, connect_timeout=60)) as fleet:
        run = fleet.run(command)
        until(lambda: len(list(marks.iterdir())) == 80)
        said = two.kill(two.pids(fleet)[0])
        until(lambda: len(run.finished_hosts) == 40)
        go.touch()
        report = run.report()
        assert Counter(result.outcome for result in report) == {Outcome.OK: 160, Outcome.LOST: 40}
        (reason,) = {result.reason for result in report.failed}
        assert reason in [f"{each}; the command may have run" for each in said]
        assert sorted(path.name for path in marks.iterdir()) == sorted(host.entry for host in hosts)
        assert {path.read_text() for path in marks.iterdir()} == {"ran\n"}
        two.settle()
        report = fleet.run("echo $SSH_CLIENT").report()
        assert report.ok
        clients = {int(result.stdout.split()[1]) for result in report}
        shares = [len(clients.intersection(ports(pid))) for pid in two.pids(fleet)]
        assert min(shares) > 10, "those of the one that died are dealt out to both"


def test_where_all_workers_die_every_host_still_has_a_result(sshd, two: Two) -> None:
    with Fleet(sshd.hosts(10), two.settings(fanout=4)) as fleet:
        run = fleet.perform(RemoteCommand("echo begun; sleep 60"), live=True)
        next(run.events())
        two.kill(*two.pids(fleet))
        report = run.report()
        assert [result.index for result in report] == list(range(10))
        assert {result.outcome for result in report} == {Outcome.LOST, Outcome.ERROR}
        two.settle()
        assert fleet.run("true").report().ok, "new ones are started"


def test_a_push_whose_worker_dies_is_done_by_another(sshd, two: Two, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    with Fleet(sshd.hosts(6), two.settings(limit_rate=2e6)) as fleet:
        assert fleet.run("true").report().ok
        pids = two.pids(fleet)

        def kill() -> None:
            until(lambda: list(tmp_path.glob("*there*")))
            two.kill(pids[0])

        killer = threading.Thread(target=kill)
        killer.start()
        report = fleet.push(source, f"{tmp_path}/there-?HOST")
        killer.join()
    assert report.ok, [result.reason for result in report.failed]
    copies = [tmp_path / f"there-{host.entry}" for host in sshd.hosts(6)]
    assert {path.read_bytes() for path in copies} == {source.read_bytes()}


_HELD = """
from paramgmt_tasks import *
from paramgmt_tasks.model import Host
with Fleet({hosts!r}, {settings!r}) as fleet:
    fleet.report(RemoteCommand({command!r}, held=True))
"""


def test_what_is_held_does_not_outlive_a_client_that_is_killed(
    sshd, settings: Settings, tmp_path: Path
) -> None:
    nap = f"6{os.getpid()}"
    text = _HELD.format(
        hosts=sshd.hosts(4), settings=settings, command=f"touch {tmp_path}/?HOST; sleep {nap}"
    )
    with subprocess.Popen([sys.executable, "-c", text], cwd=ROOT) as process:
        until(lambda: len(list(tmp_path.iterdir())) == 4)
        process.kill()
    until(lambda: not running(f"sleep {nap}"))


def test_no_worker_outlives_its_fleet_nor_a_process_that_is_killed(sshd, tmp_path: Path) -> None:
    with Fleet(sshd.hosts(2), Settings(engine="processes", workers=2)) as fleet:
        assert fleet.run("true").report().ok
        pids = fleet.pool.engines["processes"].pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    sshd.write_list(tmp_path / "hosts", [host.entry for host in sshd.hosts(4)])
    words = ["-f", "hosts", "--engine", "processes", "--workers", "2", "--", "sleep 600"]
    process = subprocess.Popen([BIN / "rcmd", *words], cwd=tmp_path)
    mark = "from paramgmt_tasks.engines.worker import main"

    def workers() -> list[int]:
        own = children(process.pid)
        return [
            pid
            for pid in (*own, *(pid for each in own for pid in children(each)))
            if mark in command_line(pid)
        ]

    until(lambda: len(workers()) == 2)
    pids = workers()
    process.kill()
    process.wait()
    until(lambda: not any(mark in command_line(pid) for pid in pids))


def test_no_password_stands_where_others_can_read_it(sshd) -> None:
    with Fleet(sshd.hosts(2), Settings(engine="processes", workers=1, password="hush")) as fleet:
        assert fleet.run("true").report().ok
        (pid,) = fleet.pool.engines["processes"].pids
        for name in ("cmdline", "environ"):
            assert b"hush" not in Path(f"/proc/{pid}/{name}").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "dusk"], "rcmd: --engine 'dusk': must be one of auto, threads, processes, dask"),
        (
            ["--engine", "processes", "--together", "--fanout", "1"],
            "rcmd: 2 hosts cannot start together: a fan-out of 1 was asked for",
        ),
        (["--workers", "0"], "rcmd: --workers 0: must be a whole number, 1 or more"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    done = programs.run("rcmd", "-m", "a", "b", *words, "--", "true", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_settings_that_cannot_be_are_told_at_once() -> None:
    with Fleet([Host("a", "a")], Settings(engine="processes")) as fleet, pytest.raises(UsageError):
        fleet.run("true", batch="x")
