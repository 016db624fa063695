"""Fleet, Run and Report as Python sees them: what is asked is done or refused, and nothing is lost."""

import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

import paramgmt_tasks
from paramgmt_tasks import (
    Copying,
    Fleet,
    Host,
    HostResult,
    LocalCommand,
    Outcome,
    OutputEvent,
    Pool,
    Push,
    RemoteCommand,
    Report,
    Run,
    Script,
    Settings,
    UsageError,
)
from paramgmt_tasks.classic.api import Controller

COMMAND = "test ?HOST != h3"


@pytest.fixture
def fleet() -> Any:
    with Fleet(["h[1-5]"]) as fleet:
        yield fleet


def outcomes(report: Report) -> list[tuple[str, bool]]:
    return [(result.host.entry, result.ok) for result in report]


ALL = [("h1", True), ("h2", True), ("h3", False), ("h4", True), ("h5", True)]


# -- a report is of all hosts


def test_a_report_has_all_results_also_those_that_were_iterated_over(fleet: Fleet) -> None:
    run = fleet.local(COMMAND)
    assert len(list(run)) == 5
    assert outcomes(run.report()) == ALL
    assert not run.report().ok


def test_a_second_report_is_the_same(fleet: Fleet) -> None:
    run = fleet.local(COMMAND)
    assert outcomes(run.report()) == outcomes(run.report()) == ALL


def test_a_report_has_all_results_where_some_were_taken(fleet: Fleet) -> None:
    run = fleet.local(COMMAND)
    early = [next(run), next(run)]
    assert outcomes(run.report()) == ALL
    assert len({result.index for result in [*early, *run]}) == 5, "each is given once, also after a report"
    assert list(run) == []


def test_a_report_has_all_results_after_events_of_a_live_run(fleet: Fleet) -> None:
    run = fleet.perform(LocalCommand(f"echo said; {COMMAND}"), live=True)
    events = list(run.events())
    assert {type(event) for event in events} <= {OutputEvent, HostResult}
    assert sum(isinstance(event, HostResult) for event in events) == 5
    report = run.report()
    assert outcomes(report) == ALL
    assert {result.stdout for result in report} == {b"said\n"}


def test_a_report_of_a_live_run_needs_nobody_to_iterate(fleet: Fleet) -> None:
    run = fleet.perform(LocalCommand(f"echo said; {COMMAND}"), live=True)
    assert outcomes(run.report()) == ALL


def test_a_report_has_all_results_where_several_threads_iterate(fleet: Fleet) -> None:
    run = fleet.local(COMMAND)
    taken: list[HostResult] = []
    reports: list[Report] = []
    threads = [threading.Thread(target=lambda: taken.extend(run)) for _ in range(3)]
    threads += [threading.Thread(target=lambda: reports.append(run.report())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.index for result in taken) == [0, 1, 2, 3, 4]
    assert [outcomes(report) for report in reports] == [ALL] * 3


def test_a_report_of_a_cancelled_run_has_all_results(tmp_path: Path) -> None:
    with Fleet(["h[1-5]"], Settings(fanout=1)) as fleet:
        run = fleet.local(f"case ?HOST in h1) true;; *) touch {tmp_path}/begun; exec sleep 60;; esac")
        assert next(run).ok
        while not (tmp_path / "begun").exists():
            pass
        run.cancel()
        found = [result.outcome for result in run.report()]
    assert found == [Outcome.OK, Outcome.LOST, *[Outcome.CANCELLED] * 3]


def test_what_was_handed_over_is_not_kept(fleet: Fleet) -> None:
    """As workers do, for the process whose run it is."""
    run = fleet.local(COMMAND)
    taken: list[HostResult | OutputEvent] = []
    while events := run.drain():
        taken += events
    assert len(taken) == 5
    assert len(run.report()) == 0


def test_a_report_is_a_sequence() -> None:
    with Fleet(["h[1-5]"]) as fleet:
        report = fleet.report(LocalCommand(COMMAND))
    assert report[0].host.entry == "h1"
    assert report[-1] is report.results[4]
    assert [result.index for result in report[1:3]] == [1, 2]
    assert len(report) == 5
    assert report[2] in report
    with pytest.raises(IndexError):
        report[5]


# -- what is given


@pytest.mark.parametrize("hosts", ["db1", Host("db1", "db1")])
def test_a_host_that_stands_where_a_list_belongs_is_refused_with_the_remedy(hosts: Any) -> None:
    with pytest.raises(UsageError, match=r"^hosts 'db1': must be a list, such as Fleet\(\['db1'\]\)$"):
        Fleet(hosts)


@pytest.mark.parametrize("hosts", [b"db1", 5, None])
def test_hosts_that_are_no_list_are_refused(hosts: Any) -> None:
    with pytest.raises(UsageError, match=r"^hosts .*: must be a list of hosts$"):
        Fleet(hosts)


def test_a_host_that_is_neither_text_nor_a_host_is_refused() -> None:
    with pytest.raises(UsageError, match="host 5: must be an entry of a host list, or a Host"):
        Fleet(["a", 5])  # type: ignore[list-item]


def test_ranges_are_expanded_as_in_host_lists() -> None:
    given = ["web[08-10]", "nic@db[1,3]:22", Host("x[1-2]", "x"), "a,b", "::1"]
    entries = [host.entry for host in Fleet(given).hosts]
    assert entries == ["web08", "web09", "web10", "nic@db1:22", "nic@db3:22", "x[1-2]", "a", "b", "::1"]
    with pytest.raises(UsageError, match="malformed range"):
        Fleet(["web[1-"])


def test_an_operation_on_no_hosts_is_refused() -> None:
    with Fleet([]) as fleet:
        for ask in (fleet.run, fleet.local, fleet.script, fleet.push, fleet.pull):
            with pytest.raises(UsageError, match=r"^no hosts: this fleet has none"):
                ask("true")  # type: ignore[operator]


def test_a_classic_controller_of_no_hosts_does_nothing() -> None:
    assert Controller([], quiet=True).local_command(["true"]) == []


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda f: f.run(["ls", "-l a"]), "must be one text, such as \"ls '-l a'\"$"),
        (lambda f: f.run(""), "no command"),
        (lambda f: f.run(" \n"), "no command"),
        (lambda f: f.run(None), "command None: must be text"),
        (lambda f: f.run(b"ls"), "command b'ls': must be text"),
        (lambda f: f.local(""), "no command"),
        (lambda f: f.push([]), "no files to push"),
        (lambda f: f.push(""), "no files to push"),
        (lambda f: f.push(["a", ""]), "no files to push"),
        (lambda f: f.push(5), "files 5: must be names of files"),
        (lambda f: f.push([5]), r"files \[5\]: must be names of files"),
        (lambda f: f.push("a", "/tmp", True), "`how` a Copying"),
        (lambda f: f.push("a", 5), "the destination must be text"),
        (lambda f: f.pull([]), "no files to pull"),
        (lambda f: f.script(), "no scripts"),
        (lambda f: f.script(["a"]), "must be names of files"),
        (lambda f: f.perform("uptime"), "'uptime': must be an operation"),
        (lambda f: f.perform(RemoteCommand("")), "no command"),
        (lambda f: f.perform(Script(())), "no scripts"),
        (lambda f: f.report(Push("a", "b", Copying())), "must be a tuple of names"),
        (lambda f: f.run("true", tiemout=3), r"^no such setting: tiemout; did you mean timeout\?$"),
        (lambda f: f.run("true", colour=3), "^no such setting: colour$"),
        (lambda f: f.run("true", fanout=0), "^fanout 0: must be"),
        (lambda f: f.run("true", jump="a:x"), "bad port 'x'"),
        (lambda f: f.run("true", identity="/no/key"), "/no/key"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(fleet: Fleet, ask: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        ask(fleet)
    assert "\n" not in str(raised.value)


# -- its end


@pytest.mark.parametrize("seconds", [1e7, 1e300])
def test_a_command_here_may_take_as_long_as_one_likes(fleet: Fleet, seconds: float) -> None:
    assert outcomes(fleet.local(COMMAND, timeout=seconds, connect_timeout=seconds).report()) == ALL


def test_a_closed_fleet_refuses_more() -> None:
    with Fleet(["a"]) as fleet:
        assert fleet.local("true").report().ok
    with pytest.raises(UsageError, match="this fleet is closed"):
        fleet.local("true")


def test_a_closed_fleet_of_a_pool_refuses_more_and_another_one_goes_on() -> None:
    pool = Pool()
    first = Fleet(["a"], pool=pool)
    first.close()
    first.close()
    with pytest.raises(UsageError, match="this fleet is closed"):
        first.run("true")
    with Fleet(["a"], pool=pool) as second:
        assert second.local("true").report().ok
    pool.close()


# -- types and texts


def test_every_run_is_a_run(fleet: Fleet) -> None:
    run: Run = fleet.local("true")
    assert isinstance(run, Run)
    assert run.report().ok
    from paramgmt_tasks.engines.coordinator import DistributedRun

    assert issubclass(DistributedRun, Run)


def test_texts_for_people_are_short(fleet: Fleet, tmp_path: Path) -> None:
    assert repr(fleet) == "<Fleet of 5 hosts: h1, h2, h3, …>"
    assert repr(Fleet([])) == "<Fleet of 0 hosts>"
    closed = Fleet(["web1"])
    closed.close()
    assert repr(closed) == "<closed Fleet of 1 host: web1>"
    run = fleet.local(f"until test -e {tmp_path}/go; do :; done; test ?HOST != h3")
    assert repr(run).startswith("<Run of LocalCommand(command='until test")
    assert repr(run).endswith("… on 5 hosts: 5 not finished>")
    (tmp_path / "go").touch()
    report = run.report()
    assert repr(run).endswith("… on 5 hosts: 4 ok, 1 failed>")
    assert repr(report) == "<Report of 5 hosts: 4 ok, 1 failed>"
    assert repr(Report([])) == "<Report of 0 hosts>"


def test_tab_finds_the_public_names() -> None:
    assert set(paramgmt_tasks.__all__) <= set(dir(paramgmt_tasks))


def test_settings_go_to_other_processes_as_they_are() -> None:
    settings = Settings(env={"A": "1"}, batch="10%")
    assert pickle.loads(pickle.dumps(settings)) == settings
