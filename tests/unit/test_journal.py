"""The record of runs, and host lists from it."""

import contextlib
import io
import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from invoke import Context, Exit

from paramgmt_tasks import Host, HostResult, Outcome, RemoteCommand, Settings, UsageError
from paramgmt_tasks.history import journal, past_runs, run_folders
from paramgmt_tasks.history.journal import Journal


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "paramgmt" / "runs"


HOSTS = [
    Host("web1", "web1", options={"Port": "22"}),
    Host("nic@web2:7", "web2", "nic", 7, variables={"PEER": "x", "PORT": "80"}, options={"Port": "22"}),
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
    assert past_runs.select("@failed") == [HOSTS[1], HOSTS[2], HOSTS[3]]
    assert past_runs.select("@lost") == [HOSTS[1]]
    assert past_runs.select("@unreachable") == [HOSTS[2]]
    assert past_runs.select("@unstarted") == [HOSTS[3]]
    assert past_runs.select("@timed-out") == []
    (first, _) = run_folders.identifiers()
    assert past_runs.select(f"@failed:{first}") == [HOSTS[0], HOSTS[1]]


def test_of_a_run_that_was_killed_what_had_begun_is_lost_and_the_rest_is_unstarted(state: Path) -> None:
    record = recorded(Outcome.OK, None, ends=False)
    record.close()
    (folder,) = state.iterdir()
    with (folder / "run.jsonl").open("a") as stream:
        stream.write('{"finished":1,"outc')  # the disk was full
    past = past_runs.read()
    assert past.state == "killed"
    assert (past.of("ok"), past.of("lost"), past.of("unstarted")) == ([HOSTS[0]], [HOSTS[1]], [])
    assert past.reason(1) == "the run was killed; it may have run"


def test_a_host_is_noted_before_anything_is_started_on_it(state: Path) -> None:
    record = recorded(Outcome.OK, ends=False)
    record.marker(1)
    (path,) = state.glob("*/run.jsonl")
    assert json.loads(path.read_text().splitlines()[-1])["started"] == 1
    with pytest.raises(UsageError, match="still under way"):
        past_runs.select("@unstarted")
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
    assert [past_runs.read(name).state for name in run_folders.identifiers()] == [
        "running",
        "killed",
        "killed",
    ]
    first.close()
    Journal(RemoteCommand("last"), HOSTS, Settings(), kept=2).close()
    assert [past.description for past in past_runs.all_runs()] == [
        "rcmd [?HOST]: later",
        "rcmd [?HOST]: last",
    ]
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
        past_runs.select(name)


def test_there_are_no_runs_yet(state: Path) -> None:
    with pytest.raises(UsageError, match=f"no runs in {state} yet"):
        past_runs.select("@failed")
    assert os.path.commonpath([state, run_folders.root()]) == str(state)


# -- records that are not as they were written

NAMES = ("@failed", "@unstarted", *(f"@{outcome}" for outcome in Outcome))


def told(which: str = "list") -> str:
    """What `inv runs` or `inv runs.show` prints."""
    tasks = sys.modules["paramgmt_tasks.tasks.runs"]
    log = logging.getLogger("paramgmt_tasks")
    handlers, propagate = log.handlers[:], log.propagate
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            tasks.show(Context()) if which == "show" else tasks.listing(Context())
    finally:
        log.handlers[:], log.propagate = handlers, propagate  # tasks have warnings go to standard error
    return printed.getvalue()


def all_that_reads_records() -> None:
    """What asks for runs: each may say that it cannot, and nothing else."""
    for which in ("list", "show"):
        with contextlib.suppress(Exit):
            told(which)
    for name in NAMES:
        with contextlib.suppress(UsageError):
            past_runs.select(name)


def damage(data: bytes, chance: random.Random) -> bytes:
    at, until = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    junk = chance.choice(
        [
            *(b"", b"\0" * 100, b"\xff\xfe", b"\n", b"null", b"[" * 100_000, b'{"a":' * 50_000, b"1e999"),
            *(
                b"9" * 5000,
                b"NaN",
                b"-1",
                b"true",
                b'"',
                b"{}",
                b"[]",
                b"\\ud800",
                b'{"finished":',
                b"\n\n7\n",
            ),
        ]
    )
    how = chance.randrange(5)
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + junk + data[at:]
    if how == 2:
        return data[:at] + junk + data[until:]
    if how == 3:
        byte = bytes((chance.randrange(256),))
        return data[:at] + byte + data[at + 1 :]
    # A value in place of another, so that lines stay what they look like.
    lines = data.split(b"\n")
    line = chance.randrange(len(lines))
    words = lines[line].split(b":")
    words[chance.randrange(len(words))] = junk + chance.choice([b"", b",", b"}", b',"at"'])
    lines[line] = b":".join(words)
    return b"\n".join(lines)


@pytest.mark.parametrize("seed", range(8))
def test_no_damage_to_a_record_is_more_than_said(state: Path, seed: int) -> None:
    chance = random.Random(seed)
    recorded(Outcome.FAILED)
    recorded(Outcome.OK, None, Outcome.UNREACHABLE, Outcome.CANCELLED)
    path = max(state.glob("*/run.jsonl"))
    whole = path.read_bytes()
    for _ in range(50):
        data = whole
        for _ in range(chance.randrange(1, 4)):
            data = damage(data, chance)
        path.write_bytes(data)
        all_that_reads_records()


@pytest.mark.parametrize("junk", [b"", b"junk\n", b"null\n", b'{"finished":9}\n', b"[" * 100_000 + b"\n"])
@pytest.mark.parametrize("line", range(1, 8))
def test_a_host_whose_line_is_damaged_is_not_ok_and_not_unstarted(
    state: Path, line: int, junk: bytes
) -> None:
    """Each line of the record of a run in which all went well, but one host was never begun."""
    recorded(Outcome.OK, Outcome.OK, Outcome.OK, Outcome.CANCELLED)
    (path,) = state.glob("*/run.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    lost = json.loads(lines[line])
    lines[line] = junk
    path.write_bytes(b"".join(lines))
    failed, unstarted = past_runs.select("@failed"), past_runs.select("@unstarted")
    if "finished" in lost and lost["finished"] < 3:
        assert failed == [HOSTS[lost["finished"]], HOSTS[3]]
        assert unstarted == [HOSTS[3]]
        shown = told("show")
        assert "its record is damaged" in shown
        assert "lost (1): " in shown
        assert "the record is damaged; it may have run" in shown
    elif "finished" in lost:
        assert (failed, unstarted) == ([HOSTS[3]], [])


def test_two_results_of_one_host_are_none(state: Path) -> None:
    recorded(Outcome.FAILED, Outcome.OK)
    (path,) = state.glob("*/run.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"finished":0', b'"finished":1'))
    assert past_runs.select("@failed") == HOSTS[:2]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "heading", "no folder"])
def test_a_run_that_cannot_be_read_is_listed_as_that_and_never_taken_for_the_one_before(
    state: Path, kind: str, tmp_path: Path
) -> None:
    recorded(Outcome.FAILED)
    recorded(Outcome.OK)
    path = max(state.glob("*/run.jsonl"))
    text = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        (tmp_path / "elsewhere").write_bytes(text)
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "heading":
        path.write_bytes(text[5:])
    else:
        path.parent.rmdir()
        path.parent.write_bytes(text)
    assert [past.state for past in past_runs.all_runs()] == ["ended", "unreadable"]
    with pytest.raises(UsageError, match=r"run [0-9-]+: its record cannot be read; name another one"):
        past_runs.select("@failed")
    assert told().endswith("unreadable   its record is damaged\n")


@pytest.mark.parametrize("begun", [b"", b'{"began":"2026'])
def test_a_run_that_had_not_begun_is_none(state: Path, begun: bytes) -> None:
    recorded(Outcome.FAILED)
    recorded(Outcome.OK)
    max(state.glob("*/run.jsonl")).write_bytes(begun)
    assert len(list(past_runs.all_runs())) == 1
    assert past_runs.select("@failed") == [HOSTS[0]]


def test_where_the_disk_is_full_nobody_is_said_to_be_unstarted(state: Path, monkeypatch, caplog) -> None:
    record = Journal(RemoteCommand("c"), HOSTS, Settings())
    with monkeypatch.context() as context:
        context.setattr(journal.os, "write", _full)
        record.finished(HostResult(HOSTS[0], 0, "", Outcome.OK))
    assert "no space left on device: this run is not recorded" in caplog.text
    assert past_runs.select("@unstarted") == []


def _full(*given: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_run_is_told_in_single_lines(state: Path) -> None:
    Journal(RemoteCommand("echo one\necho \x1b[2J"), HOSTS, Settings()).close()
    (line,) = told().splitlines()
    assert line.endswith(r"  rcmd: echo one\necho \x1b[2J")
    assert told("show").splitlines()[2] == r"rcmd: echo one\necho \x1b[2J"


@pytest.mark.parametrize("umask", ["000", "077", "022"])
def test_whatever_the_umask_nobody_else_can_look_into_records(tmp_path: Path, umask: str) -> None:
    program = (
        f"import os; os.umask(0o{umask}); from paramgmt_tasks import *; "
        "from paramgmt_tasks.history.journal import Journal; "
        "Journal(RemoteCommand('c'), [], Settings()).close()"
    )
    home = tmp_path / "deep" / "home"
    subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "XDG_STATE_HOME": str(home)}, check=True
    )
    made = [home.parent, *home.parent.rglob("*")]
    assert len(made) == 6
    assert {path.stat().st_mode & 0o7777 for path in made} == {0o700, 0o600}


def test_a_folder_that_others_could_look_into_is_closed(state: Path) -> None:
    state.mkdir(parents=True)
    for folder in (state, state.parent):
        folder.chmod(0o777)
    recorded(Outcome.OK)
    assert [folder.stat().st_mode & 0o777 for folder in (state, state.parent)] == [0o700, 0o700]


def test_a_folder_of_another_user_is_not_written_to_and_not_read(state: Path, monkeypatch, caplog) -> None:
    recorded(Outcome.FAILED)
    monkeypatch.setattr(run_folders.os, "geteuid", lambda: os.getuid() + 1)
    recorded(Outcome.OK)
    assert [record.getMessage() for record in caplog.records] == [
        f"{state}: {state.parent} belongs to another user: this run is not recorded"
    ]
    with pytest.raises(UsageError, match="its record cannot be read"):
        past_runs.select("@failed")
