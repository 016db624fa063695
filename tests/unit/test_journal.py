"""The record of runs, and host lists from it."""

import json
import os
from pathlib import Path

import pytest

from paramgmt_tasks import Host, HostResult, Outcome, RemoteCommand, Settings, UsageError, journal
from paramgmt_tasks.journal import Journal


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "paramgmt" / "runs"


HOSTS = [
    Host("web1", "web1", options={"Port": "22"}),
    Host("nic@web2:7", "web2", "nic", 7, variables={"PEER": "x"}, options={"Port": "22"}),
    Host("web3", "web3"),
    Host("web1", "web1"),
]


def recorded(*outcomes: Outcome | None, ends: bool = True, **settings) -> Journal:
    """A run whose hosts ended so; None is for one that was started and no more is known of."""
    record = Journal(RemoteCommand("c ?PEER"), HOSTS[: len(outcomes)], Settings(**settings))
    marker = record.marker or (lambda index: None)
    for index, outcome in enumerate(outcomes):
        if outcome is not Outcome.CANCELLED:
            marker(index)
        if outcome is not None:
            record.finished(HostResult(HOSTS[index], index, "", outcome, reason=f"why {index}"))
    if ends:
        record.end(interrupted=False)
    return record


def test_hosts_of_the_last_run_are_a_list_with_all_that_was_on_their_lines() -> None:
    recorded(Outcome.FAILED, Outcome.FAILED)
    recorded(Outcome.OK, Outcome.LOST, Outcome.UNREACHABLE, Outcome.CANCELLED)
    assert journal.select("@failed") == [HOSTS[1], HOSTS[2], HOSTS[3]]
    assert journal.select("@lost") == [HOSTS[1]]
    assert journal.select("@unreachable") == [HOSTS[2]]
    assert journal.select("@unstarted") == [HOSTS[3]]
    assert journal.select("@timed-out") == []
    (first, _) = journal.identifiers()
    assert journal.select(f"@failed:{first}") == [HOSTS[0], HOSTS[1]]


def test_of_a_run_that_was_killed_what_had_begun_is_lost_and_the_rest_is_unstarted(state: Path) -> None:
    record = recorded(Outcome.OK, None, ends=False)
    record.close()
    (folder,) = state.iterdir()
    with (folder / "run.jsonl").open("a") as stream:
        stream.write('{"finished":1,"outc')  # the disk was full
    past = journal.read()
    assert past.state == "killed"
    assert (past.of("ok"), past.of("lost"), past.of("unstarted")) == ([HOSTS[0]], [HOSTS[1]], [])
    assert past.reason(1) == "the run was killed; it may have run"


def test_a_host_is_noted_before_anything_is_started_on_it(state: Path) -> None:
    record = recorded(Outcome.OK, ends=False)
    record.marker(1)
    (path,) = state.glob("*/run.jsonl")
    assert json.loads(path.read_text().splitlines()[-1])["started"] == 1
    with pytest.raises(UsageError, match="still under way"):
        journal.select("@unstarted")
    record.close()


def test_no_secret_is_written_and_nobody_else_reads_it(state: Path) -> None:
    recorded(Outcome.OK, Outcome.OK, password="hush1", env=(("K", "hush2"),), stdin=b"hush3", user="nic")
    (path,) = state.glob("*/run.jsonl")
    assert "hush" not in path.read_text()
    assert json.loads(path.read_text().splitlines()[0])["settings"] == {"user": "nic"}
    assert [p.stat().st_mode & 0o77 for p in (path, path.parent, state)] == [0, 0, 0]


def test_old_runs_are_removed_but_none_that_is_under_way(state: Path) -> None:
    first = Journal(RemoteCommand("first"), HOSTS, Settings())
    for _ in range(4):
        Journal(RemoteCommand("later"), HOSTS, Settings(), kept=2).close()
    (state / "something else").mkdir()
    assert [journal.read(name).state for name in journal.identifiers()] == ["running", "killed", "killed"]
    first.close()
    Journal(RemoteCommand("last"), HOSTS, Settings(), kept=2).close()
    assert [past.description for past in journal.all_runs()] == ["rcmd [?HOST]: later", "rcmd [?HOST]: last"]
    assert (state / "something else").exists()


def test_nothing_is_recorded_where_none_is_kept(state: Path) -> None:
    record = Journal(RemoteCommand("c"), HOSTS, Settings(), kept=0)
    assert record.marker is None
    record.end(interrupted=False)
    assert not state.exists()


def test_a_run_goes_on_where_it_cannot_be_recorded(state: Path, caplog) -> None:
    state.parent.parent.mkdir()
    state.parent.write_text("a file in the way")
    recorded(Outcome.OK)
    assert [record.getMessage() for record in caplog.records] == [
        f"{state}: not a directory: this run is not recorded"
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("@none", "@none: no such hosts of a run: name one of @failed, @unstarted, @ok"),
        ("@failed:1999", "no run 1999: see inv runs"),
        ("@failed:2", "may be any of 2"),
    ],
)
def test_names_that_mean_nothing(name: str, message: str) -> None:
    recorded(Outcome.OK)
    recorded(Outcome.OK)
    with pytest.raises(UsageError, match=message):
        journal.select(name)


def test_there_are_no_runs_yet(state: Path) -> None:
    with pytest.raises(UsageError, match=f"no runs in {state} yet"):
        journal.select("@failed")
    assert os.path.commonpath([state, journal.root()]) == str(state)
