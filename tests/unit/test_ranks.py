"""Rank and count, values quoted for a shell, and what is replaced in the environment's values."""

import json
import pickle
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramgmt_tasks import Controller, Fleet, Host, ParallelGroup, Pool, Recipe, Role, Settings, UsageError
from paramgmt_tasks.model import (
    LocalCommand,
    Operation,
    Pull,
    Push,
    RemoteCommand,
    Script,
    Verbatim,
    describe,
)
from paramgmt_tasks.model.hosts import parse_lines
from paramgmt_tasks.model.ranks import NAMES
from paramgmt_tasks.model.run_texts import env_on, ranked
from paramgmt_tasks.model.substitution import substitute
from paramgmt_tasks.recipes import BenchmarkRun, planned

Run = Callable[..., "subprocess.CompletedProcess[str]"]

HOSTS = parse_lines(
    [
        "nic@web1:2222 NOTE='a b'",
        "[::1]:22",
        "db HostName=%h.example.com",
        "nic@web1:2222 RANK=own",
        "gpu HostName=10.0.0.5 DATA=192.168.0.5",
    ],
    "a list",
)
EVERYONE = "web1,::1,db.example.com,web1,192.168.0.5"
ALL = "?RANK/?COUNT ?FIRST ?ALL"
PLAIN = Settings()


def filled(operation: Operation, hosts: list[Host] = HOSTS) -> list[Operation]:
    return [operation.on(host) for host in ranked(hosts, operation, PLAIN)]


# -- ranks


@pytest.mark.parametrize("kind", [RemoteCommand, LocalCommand])
def test_each_host_has_its_rank_duplicates_too_and_its_own_variable_goes_before(kind) -> None:
    assert filled(kind(ALL)) == [kind(f"{rank}/5 web1 {EVERYONE}") for rank in ("0", "1", "2", "own", "4")]


def test_ranks_are_in_all_paths() -> None:
    assert filled(Push(("a?RANK", "b"), "/?COUNT/?FIRST"))[1] == Push(("a1", "b"), "/5/web1")
    assert filled(Pull(("?RANK",), "res/?RANK-?HOST"))[2] == Pull(("2",), "res/2-db")
    assert filled(Script(("s?RANK.sh",)))[4] == Script(("s4.sh",))


def test_a_name_needs_no_word_boundary_and_the_longest_one_wins() -> None:
    hosts = parse_lines(["a RANKED=yes", "b"], "a list")
    texts = [operation.command for operation in filled(RemoteCommand("?RANKS ?RANKED ?ALLOW"), hosts)]
    assert texts == ["0S yes a,bOW", "1S 1ED a,bOW"]


def test_hosts_of_an_earlier_run_are_counted_anew() -> None:
    before = ranked(HOSTS, RemoteCommand(ALL), PLAIN)
    assert [operation.command for operation in filled(RemoteCommand("?RANK/?COUNT"), before[1:3])] == [
        "0/2",
        "1/2",
    ]


def test_a_rank_makes_no_host_another_one() -> None:
    (host, *_) = ranked(HOSTS, RemoteCommand(ALL), PLAIN)
    assert host == HOSTS[0]
    assert hash(host) == hash(HOSTS[0])
    assert repr(host) == repr(HOSTS[0])


def test_hosts_are_left_alone_if_no_text_names_a_rank() -> None:
    for operation in (RemoteCommand("echo ?HOST ?R"), Push(("f",), "/?HOST")):
        assert ranked(HOSTS, operation, PLAIN) is HOSTS
    assert ranked(HOSTS, Push(("f",), "/"), Settings(env={"R": "?RANK"})) is not HOSTS
    assert ranked(HOSTS, Script(("s",)), PLAIN)[1].values["RANK"] == "1", "its text may name one"


def test_ten_thousand_hosts_share_the_text_of_all_and_are_sent_it_once() -> None:
    hosts = [Host(f"node{number:05}", f"node{number:05}") for number in range(10_000)]
    found = ranked(hosts, RemoteCommand("?ALL"), PLAIN)
    assert len({id(host.values["ALL"]) for host in found}) == 1
    assert len(pickle.dumps(found)) < len(pickle.dumps(hosts)) + len(found[0].values["ALL"]) + 100 * 10_000
    assert pickle.loads(pickle.dumps(found))[7].values == found[7].values


def test_all_of_more_hosts_than_a_command_can_name_is_for_scripts() -> None:
    hosts = [Host(f"node{number:05}", f"node{number:05}") for number in range(20_000)]
    for operation, env in ((RemoteCommand("echo ?ALL"), {}), (RemoteCommand("x"), {"A": "?ALL"})):
        with pytest.raises(UsageError) as refused:
            ranked(hosts, operation, Settings(env=env))
        said = " bytes for 20000 hosts, and a command or a variable can have 131072: use it in a script"
        assert str(refused.value).endswith(said)
    assert ranked(hosts, Script(("s",)), PLAIN)[0].values["ALL"].count(",") == 19_999
    assert ranked(hosts, RemoteCommand("?RANK ?FIRST"), PLAIN)[1].values["RANK"] == "1"


def test_a_host_name_that_a_shell_would_interpret_reaches_no_other_host() -> None:
    hosts = [Host("a", "a", options={"HostName": "x$(reboot)"}), Host("b", "b", options={"HostName": "%%h"})]
    assert filled(RemoteCommand("?FIRST ?ALL"), hosts)[1] == RemoteCommand("a a,%h")


@settings(max_examples=60, deadline=None, database=None)
@given(st.text("RANKCOUTFISLHQ?:q x\\'$\n", max_size=25))
def test_texts_without_the_names_stay_as_they_are(text: str) -> None:
    named = any(f"?{name}" in text for name in NAMES)
    for operation in (RemoteCommand(text), Push((text,), text)):
        hosts = [Host("a", "a"), Host("b", "b")]
        if not named:
            assert ranked(hosts, operation, PLAIN) is hosts
            assert [operation.on(host) for host in hosts] == [operation, operation]
    classic = [Host("a", "a", classic=True), Host("b", "b", classic=True)]
    assert filled(RemoteCommand(text), classic) == [RemoteCommand(text)] * 2


# -- quoting


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo ?NOTE:q", "echo 'a b'"),
        ("echo ?HOST:q.", "echo nic@web1:2222."),
        (
            "echo ?HOST:queue ?HOST:q_ ?HOST:q1 ?HOST:Q",
            "".join(["echo"] + [f" nic@web1:2222:{rest}" for rest in ("queue", "q_", "q1", "Q")]),
        ),
        ("?RANK:q?COUNT:q:q", "05:q"),
        ("?NOTHING:q", "?NOTHING:q"),
    ],
)
def test_a_value_is_quoted_where_it_is_asked_for(text: str, expected: str) -> None:
    assert filled(RemoteCommand(text))[0] == RemoteCommand(expected)
    assert filled(LocalCommand(text))[0] == LocalCommand(expected)


@settings(max_examples=60, deadline=None, database=None)
@given(st.text("ab $`'\"\\;|&()?HOSTVq:*~\n-", max_size=15))
def test_a_shell_reads_a_quoted_value_as_it_is(value: str) -> None:
    command = substitute("printf '<%s>' ?V:q x", {"V": value}, quoting=True)
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == f"<{value}><x>"


@pytest.mark.parametrize(
    ("operation", "env", "message"),
    [
        (
            Push(("a",), "/srv/?HOST:q"),
            {},
            "/srv/?HOST:q: ?HOST:q quotes for a shell, which does not read it",
        ),
        (Push(("?NOTE:q/f",), "/"), {}, "?NOTE:q/f: ?NOTE:q quotes for a shell, which does not"),
        (
            Pull(("?RANK:q",), "."),
            {},
            "?RANK:q: ?RANK:q quotes for a shell, which does not read it: write ?RANK",
        ),
        (Script(("s?HOST:q.sh",)), {}, "s?HOST:q.sh: ?HOST:q quotes for a shell"),
        (RemoteCommand("x"), {"K": "secret ?NOTE:q"}, "env: the value of K: ?NOTE:q quotes for a shell"),
    ],
)
def test_quotes_where_no_shell_reads_them_are_refused(
    operation: Operation, env: dict[str, str], message: str
) -> None:
    with Fleet(HOSTS) as fleet, pytest.raises(UsageError) as refused:
        fleet.perform(operation, env=env)
    assert str(refused.value).startswith(message)
    assert "secret" not in str(refused.value)
    with ParallelGroup(*HOSTS, settings=Settings(env=env)) as group, pytest.raises(UsageError):
        group.perform(operation)


def test_what_looks_like_quotes_in_paths_is_a_path() -> None:
    push = Push(("f:q", "?HOST:queue"), "/?OTHER:q")
    assert filled(push)[1] == Push(("f:q", "[::1]:22:queue"), "/?OTHER:q")


# -- the environment


def test_values_of_variables_are_filled_in_for_each_host_but_not_those_that_are_set_here() -> None:
    env = {"A": "?HOST", "B": "?NOTE ?RANK", "C": Verbatim("?HOST ?RANK:q"), "D": "1"}
    chosen = Settings(env=env)
    host, other = ranked(HOSTS, RemoteCommand("x"), chosen)[:2]
    assert env_on(host, chosen) == [
        ("A", "nic@web1:2222"),
        ("B", "a b 0"),
        ("C", "?HOST ?RANK:q"),
        ("D", "1"),
    ]
    assert dict(env_on(other, chosen))["B"] == "?NOTE 1"
    again = pickle.loads(pickle.dumps(chosen))
    assert env_on(host, again) == env_on(host, chosen)


def test_a_command_here_gets_values_of_its_own() -> None:
    with Fleet(["a", "b"]) as fleet:
        report = fleet.local('echo "$A $B"', env={"A": "?HOST-?RANK", "B": "?ALL"}).report()
    assert [result.stdout for result in report] == [b"a-0 a,b\n", b"b-1 a,b\n"]


def test_the_command_line_gives_values_to_fill_in_and_those_of_the_environment_as_they_are(run: Run) -> None:
    words = ["lcmd", "-m", "a,b", "--env", "A=?HOST ?RANK", "--env", "TOKEN", "--", 'echo "$A|$TOKEN"']
    done = run("paramgmt", *words, TOKEN="?HOST ?RANK:q")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\na 0|?HOST ?RANK:q\n") == 1
    assert done.stdout.count("\nb 1|?HOST ?RANK:q\n") == 1


# -- runs


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_a_run_in_batches_counts_all_hosts_and_its_record_has_no_ranks(run: Run, state: Path) -> None:
    words = ["--canary", "1", "--batch", "2", "--order", "finished", "--json"]
    done = run("paramgmt", "lcmd", "-m", "a,b,c,a,d", *words, "--", "echo ?RANK ?COUNT ?ALL")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(result["stdout"] for result in results) == [f"{n} 5 a,b,c,a,d\n" for n in range(5)]
    (record,) = state.rglob("*.jsonl")
    text = record.read_text()
    assert "?RANK ?COUNT" in text
    assert "a,b,c" not in text
    again = run("paramgmt", "lcmd", "-f", "@ok", "-x", "a", "--dry-run", "echo ?RANK ?FIRST")
    assert again.stdout.splitlines()[0] == "lcmd [b]: echo 0 b", again.stderr


def test_a_dry_run_shows_ranks_and_refuses_what_the_run_would(run: Run) -> None:
    assert run("paramgmt", "rcmd", "-m", "nic@a:22,b", "--dry-run", "x ?RANK ?ALL ?HOST:q").stdout == (
        "rcmd [nic@a:22]: x 0 a,b nic@a:22\nrcmd [b]: x 1 a,b b\n"
    )
    done = run("paramgmt", "rpull", "-m", "a", "--dry-run", "-d", "?HOST:q", "f")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "rpull: ?HOST:q: ?HOST:q quotes for a shell, which does not read it: write ?HOST\n"
    )


def test_files_that_ranks_keep_apart_do_not_replace_each_other(run: Run) -> None:
    done = run("paramgmt", "rpull", "-m", "127.0.0.1:1,127.0.0.2:1", "-d", "res?RANK", "f")
    assert done.returncode == 1
    assert "note: " not in done.stderr


# -- ParaMgmt's programs


def test_the_classic_programs_keep_their_texts(run: Run) -> None:
    texts = "echo '?RANK ?COUNT ?FIRST ?ALL ?HOST:q' $A"
    done = run("lcmd", "-m", "a", "b", "--env", "A=?HOST:q-?RANK", "--", texts)
    assert done.returncode == 0, done.stderr
    assert "\n?RANK ?COUNT ?FIRST ?ALL a:q a:q-?RANK\n" in done.stdout
    assert run("rpush", "-m", "a", "--dry-run", "-d", "?ALL/?HOST:q", "--", "f").stdout == (
        "rpush [a]: f => a:?ALL/a:q\n"
    )


def test_the_classic_controller_keeps_its_texts() -> None:
    (result,) = Controller(["a"], quiet=True).local_command(["echo", "'?RANK ?ALL ?HOST:q'"])
    assert result.stdout == "?RANK ?ALL a:q"


# -- recipes

RECIPE = Recipe(
    "ranks",
    roles=(
        Role("servers", "serve ?RANK ?COUNT ?FIRST ?NOTE:q", ready="true"),
        Role("clients", "use ?RANK/?COUNT of ?ALL, ?RUN ?point", config={"c": "?RANK ?FIRST:q\n"}),
    ),
    parameters={"point": [1]},
)


def test_ranks_in_a_recipe_are_those_within_the_role_although_hosts_drop_out(tmp_path: Path) -> None:
    hosts = {
        "servers": [Host("s", "s", variables={"NOTE": "a b"})],
        "clients": parse_lines(["c1", "c2 DATA=10.0.0.2", "c3 RANK=own"], "a list"),
    }
    with closing(Pool()) as pool:
        run = BenchmarkRun(RECIPE, hosts, PLAIN, tmp_path, pool, note=lambda text: None)
        assert list(planned(run, ["run"], "interleaved", None))[-3:] == [
            f"point=1,run=0: c{number + 1}: use {rank}/3 of c1,10.0.0.2,c3, 0 1"
            for number, rank in enumerate(("0", "1", "own"))
        ]
        run._operations.dropped["c1"] = "gone"
        servers, clients = RECIPE.roles
        texts = [
            host.variables["COMMAND"].partition("\n")[2] for host in run.commands(clients, "?RANK ?ALL", {})
        ]
        assert texts == ["1 c1,10.0.0.2,c3", "own c1,10.0.0.2,c3"]
        (server,) = run.commands(servers, servers.command, {})
        assert server.variables["COMMAND"].endswith("\nserve 0 1 s 'a b'")


def test_on_this_machine_each_role_has_one_rank(tmp_path: Path) -> None:
    role = Role(
        "here", "echo ?RANK ?COUNT ?ALL", config={"c-own": "?RANK ?FIRST\n"}, results=("c-?HOST", "r?RANK")
    )
    with closing(Pool()) as pool:
        run = BenchmarkRun(Recipe("one", roles=(role,)), {}, PLAIN, tmp_path, pool, note=lambda text: None)
        assert list(planned(run, ["run"], "interleaved", None))[-1] == "run=0: localhost: echo 0 1 127.0.0.1"
        run.configure()
        assert (tmp_path / "work" / "c-own").read_text() == "0 127.0.0.1\n"
        (tmp_path / "work" / "r0").write_text("a result")
        folder = run._result_folder(True, "interleaved", None)
        run.pull(folder.path)
    assert [path.name for path in folder.of_host("localhost").iterdir()] == ["r0"]


def test_a_description_names_the_rank() -> None:
    operation = RemoteCommand("x ?RANK")
    host = ranked(HOSTS, operation, PLAIN)[2]
    assert describe(operation, host, "nic") == "rcmd [nic@db]: x 2"
