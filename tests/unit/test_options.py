"""What is given wins over what is configured, or is refused; what is to be spared is spared, or refused."""

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from invoke import Config, Context, Exit

from paramgmt_tasks import Settings
from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.tasks import OPTIONS, lcmd, rcmd, rhosts, rpush
from paramgmt_tasks.tasks.option_table import ALL
from paramgmt_tasks.tasks.options import Options


def context(run: dict[str, Any] | None = None, **configured: Any) -> Context:
    return Context(Config(overrides={"paramgmt": configured, "run": run or {}}))


def refusal(call: Any, *args: Any, **options: Any) -> str:
    """The one line with which a task refuses what it is given."""
    with pytest.raises(Exit) as refused:
        call(*args, **options)
    assert refused.value.code == 2
    assert len(refused.value.message.splitlines()) == 1
    return str(refused.value.message)


@pytest.fixture
def project(
    run: "Callable[..., subprocess.CompletedProcess[str]]", tmp_path: Path
) -> "Callable[..., subprocess.CompletedProcess[str]]":
    """Run `inv` in a project of somebody else's, whose tasks are these."""
    (tmp_path / "tasks.py").write_text("from paramgmt_tasks import namespace as ns\n")
    return partial(run, "inv")


def ran(folder: Path) -> list[str]:
    """The hosts for which a command was run that touches `?HOST` here."""
    return sorted(path.name for path in folder.iterdir())


# -- hosts


@pytest.mark.parametrize("none", [[], (), "", set(), " "])
@pytest.mark.parametrize("name", ["machines", "hosts"])
@pytest.mark.parametrize("configured", ["machines", "hosts"])
def test_no_hosts_given_are_refused_whatever_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, none: Any, configured: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web").write_text("web1\n")
    c = context(**{configured: "web"})
    assert refusal(lcmd, c, "touch ?HOST", **{name: none}).startswith("lcmd: no hosts")
    assert ran(tmp_path) == ["web"]


def test_hosts_that_are_none_because_a_generator_is_empty_are_refused() -> None:
    assert refusal(rhosts, context(machines="web"), machines=(host for host in ())) == (
        "rhosts: no hosts: name a list with --hosts FILE or hosts with --machines HOST"
    )


def test_without_machines_the_configured_list_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web").write_text("web1\n")
    rhosts(context(hosts="web"), machines=None)
    rhosts(context(hosts="web", machines="db"), machines=None)
    rhosts(context(hosts="web", machines="db"))
    rhosts(context(hosts="web", machines="db"), machines=["x"])
    assert capsys.readouterr().out.split() == ["web1", "web1", "db", "web1", "x"]
    assert refusal(rhosts, context(hosts="web"), hosts=None).startswith("rhosts: no hosts")


def test_a_host_of_a_report_keeps_what_stands_on_its_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "list").write_text("web1 PEER=db1\nweb2 PEER=db2 Port=2222\n")
    hosts = rhosts(context(), hosts=tmp_path / "list")
    assert Options({"machines": [hosts[1]]}, {}).hosts()[0].options == {"Port": "2222"}
    assert Options({"machines": hosts[1]}, {}).hosts() == [hosts[1]]
    lcmd(context(), "echo ?PEER", machines=hosts, exclude=hosts[0])
    assert capsys.readouterr().out.splitlines()[-4:-2] == ["stdout:", "db2"]


@pytest.mark.parametrize("name", ["machines", "hosts", "exclude"])
@pytest.mark.parametrize("wrong", [5.5, [None], [b"a"], [["a"]], [True], object])
def test_what_is_no_name_of_a_host_is_refused(name: str, wrong: Any) -> None:
    given = {"machines": "a", name: wrong}
    assert ": must be text" in refusal(rhosts, context(), **given)


def test_a_task_that_changes_a_setting_goes_before_the_environment(monkeypatch, capsys) -> None:
    monkeypatch.setenv("INVOKE_PARAMGMT_GATHER", "false")
    c = Context(Config())
    c.config["paramgmt"] = {"gather": True}
    lcmd(c, "echo x", machines="a,b")
    assert capsys.readouterr().out.startswith("a b (2 hosts):")


# -- switches and numbers


@pytest.mark.parametrize("off", [False, None, 0, "", "no", "false", "off", "0", "False"])
def test_a_configured_switch_is_turned_off_by_what_is_given(off: Any, capsys) -> None:
    lcmd(context(gather=True, machines="a,b"), "echo x", gather=off)
    assert "a, b" not in capsys.readouterr().out
    assert not Options({"gather": off}, {"gather": True}).flag("gather")


@pytest.mark.parametrize("on", [True, 1, "yes", "TRUE", "on", "1"])
def test_a_switch_is_on_by_all_words_for_it(on: Any) -> None:
    assert Options({}, {"gather": on}).flag("gather")
    assert Options({"gather": on}, {}).flag("gather")


@pytest.mark.parametrize("nonsense", ["maybe", 2, [], ["true"], "tru"])
def test_a_switch_that_is_neither_on_nor_off_is_refused(nonsense: Any) -> None:
    message = refusal(lcmd, context(gather=nonsense, machines="a"), "true")
    assert message == (
        f"lcmd: gather, below paramgmt in the configuration: {nonsense}: must be true or false"
    )
    assert refusal(lcmd, context(machines="a"), "true", gather=nonsense) == (
        f"lcmd: --gather {nonsense}: must be true or false"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0) for name in ("fanout", "attempts", "batch", "port", "timeout", "workers")),
        *((name, False) for name in ("fanout", "max_fail", "canary", "timeout", "connect_timeout")),
        *((name, True) for name in ("fanout", "timeout", "max_fail")),
        *((name, -1) for name in ("canary", "max_fail", "fanout")),
        ("fanout", []),
        ("fanout", [1]),
        ("timeout", float("nan")),
        ("canary", 1.5),
    ],
)
def test_a_number_that_means_nothing_is_refused_and_says_whose_it_is(name: str, value: Any) -> None:
    flag = name.replace("_", "-")
    assert refusal(rcmd, context(machines="a"), "x", **{name: value}).startswith(f"rcmd: --{flag} {value}: ")
    assert refusal(rcmd, context(machines="a", **{name: value}), "x").startswith(
        f"rcmd: {name}, below paramgmt in the configuration: {value}: must be "
    )


@pytest.mark.parametrize("none", [0, "0", "0%"])
def test_no_failure_is_allowed_where_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, none: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for c, given in ((context(max_fail=9), {"max_fail": none}), (context(max_fail=none), {})):
        with pytest.raises(Exit) as failed:
            lcmd(c, "touch ?HOST; false", machines=["h[1-9]"], sequential=True, **given)
        assert failed.value.code == 1
        assert ran(tmp_path) == ["h1"]


def test_no_canary_is_honoured_over_a_configured_one() -> None:
    assert Options({"canary": 0}, {"canary": 3}).settings().canary == 0
    assert Options({}, {"canary": "0"}).settings().canary == 0


@pytest.mark.parametrize(
    "name",
    ["engine", "order", "output_dir", "stdin", "user", "identity", "jump", "host_keys", "destination"],
)
@pytest.mark.parametrize("wrong", [0, False, b"x", []])
def test_what_is_no_text_is_refused_where_text_belongs(tmp_path: Path, name: str, wrong: Any) -> None:
    given = {"machines": "a", "dry_run": name == "destination", name: wrong}
    said = f"rpush: --{name.replace('_', '-')} {wrong!r}: must be text"
    assert refusal(rpush, context(), tmp_path, **given) == said


@pytest.mark.parametrize("wrong", [5, None, b"ls", ["ls", 5], [None]])
def test_words_that_are_no_text_are_refused(wrong: Any) -> None:
    assert refusal(lcmd, context(machines="a"), wrong).endswith(": must be text, or a list of texts")
    assert refusal(rpush, context(machines="a"), wrong).endswith(": must be text, or a list of texts")


def test_files_may_be_paths(tmp_path: Path, capsys) -> None:
    rpush(context(machines="a"), tmp_path / "f", destination=Path("/t"), dry_run=True)
    assert capsys.readouterr().out == f"rpush [a]: {tmp_path / 'f'} => a:/t\n"


@pytest.mark.parametrize("without", [None, ""])
def test_an_option_given_as_nothing_is_without_it_and_not_as_configured(without: Any) -> None:
    configured = {
        "timeout": 2,
        "user": "nic",
        "max_fail": 1,
        "fanout": 7,
        "stdin": "none",
        "env": ["A=1"],
        "engine": "dask",
        "limit_rate": "1M",
        "destination": "/srv",
    }
    options = Options(dict.fromkeys(configured, without), configured)
    settings = options.settings()
    assert (settings.timeout, settings.user, settings.max_fail, settings.fanout) == (None, None, None, 512)
    assert (settings.stdin, settings.env, settings.engine, settings.limit_rate) == (None, (), "auto", None)
    assert options["destination"] == "~/"


def test_an_empty_list_given_is_without_the_configured_one(capsys) -> None:
    rhosts(context(machines="a,b", exclude="b"), exclude=[])
    assert capsys.readouterr().out.split() == ["a", "b"]
    assert Options({"env": {}}, {"env": {"A": 1}}).settings().env == ()


def test_variables_of_a_mapping_are_checked_like_others() -> None:
    assert Options({"env": {"A": 1}}, {}).settings().env == (("A", "1"),)
    with pytest.raises(UsageError, match="env: 'A B' is no name"):
        Options({"env": {"A B": 1}}, {}).settings()
    with pytest.raises(UsageError, match="env: the value of A must be text"):
        Options({}, {"env": {"A": None}}).settings()


@pytest.mark.parametrize("wrong", [5, b"A=hush", [("A", "hush")], [b"A=hush"], True])
def test_variables_that_are_no_text_are_refused_and_not_shown(wrong: Any) -> None:
    with pytest.raises(UsageError, match="--env: must be KEY=VALUE") as refused:
        Options({"env": wrong}, {}).settings()
    assert "hush" not in str(refused.value)


def test_output_that_is_asked_for_wins_over_configured_kinds_that_exclude_it(capsys) -> None:
    lcmd(context(gather=True, machines="a,b"), "echo x", quiet=True)
    assert capsys.readouterr().out == ""
    lcmd(context(gather=True, live=True, machines="a,b"), "echo x", json=True)
    assert capsys.readouterr().out.count('{"host"') == 2
    lcmd(context(quiet=True, machines="a,b"), "echo x", gather=True)
    assert capsys.readouterr().out.startswith("a b (2 hosts):")
    assert refusal(lcmd, context(machines="a"), "x", json=True, quiet=True).endswith("do not go together")
    assert refusal(lcmd, context(machines="a", json=True, live=True), "x").endswith("do not go together")


# -- their definitions


def test_each_setting_is_that_of_an_option_and_the_other_way_round() -> None:
    ours = {option.name for option in ALL.values() if option.setting}
    # Two are asked for, and `keep` is whether another task may follow.
    ours = ours - {"ssh_option"} | {"ssh_options"}
    assert ours | {"password", "passphrase", "keep"} == set(Settings.__dataclass_fields__)


def test_without_options_settings_are_the_defaults_but_for_the_engine() -> None:
    assert Options({}, {}).settings() == Settings(engine="auto")


@pytest.mark.parametrize("task", OPTIONS)
def test_no_two_options_of_a_task_are_typed_the_same(task: str) -> None:
    typed = [option.flag for option in OPTIONS[task]]
    typed += [option.opposite for option in OPTIONS[task] if option.kind is bool]
    typed += [option.short for option in OPTIONS[task] if option.short]
    assert len(typed) == len(set(typed))


# -- the command line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "a b (2 hosts):"),
        (["--no-gather"], "lcmd [a]: echo x"),
        (["--no-gather", "--gather"], "a b (2 hosts):"),
        (["--gather", "--no-gather"], "lcmd [a]: echo x"),
    ],
)
def test_each_switch_is_turned_off_on_the_command_line(inv, words: list[str], expected: str) -> None:
    done = inv("lcmd", "-m", "a,b", *words, "echo x", INVOKE_PARAMGMT_GATHER="true")
    assert done.stdout.splitlines()[0] == expected, done.stderr


@pytest.mark.parametrize("off", ["false", "no", "0", "off", "False", ""])
@pytest.mark.parametrize("file", ["", "paramgmt: {gather: true}\n"])
def test_a_switch_is_off_in_the_environment_by_all_words_for_it(
    project, tmp_path: Path, off: str, file: str
) -> None:
    (tmp_path / "invoke.yaml").write_text(file)
    done = project("lcmd", "-m", "a,b", "echo x", INVOKE_PARAMGMT_GATHER=off)
    assert done.stdout.startswith("lcmd [a]: "), done.stderr


def test_the_configuration_named_on_the_command_line_goes_before_the_environment(inv, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("paramgmt: {gather: true}\n")
    done = inv("-f", "own.yaml", "lcmd", "-m", "a,b", "echo x", INVOKE_PARAMGMT_GATHER="false")
    assert done.stdout.startswith("a b (2 hosts):")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rcmd", "-m", "a", "--fanout", "0", "x"], "--fanout 0: must be a whole number, 1 or more"),
        (["rcmd", "-m", "a", "--canary", "-1", "x"], "--canary -1: must be a whole number, 0 or more"),
        (["rcmd", "-m", "a", "--user", "x", "--user", "y", "x"], "--user is given twice"),
        (["rcmd", "-m", "a", "-u", "x", "-uy", "--", "x"], "-u is given twice"),
        (["rcmd", "-m", "a", "-x", "--", "x"], "Flag --exclude needed value and was not given one!"),
        (["rcmd", "-m", "a", "-x", "b", "-x", "--", "x"], "-x needs a value"),
        (["rhosts", "-m", "a", "-x"], "Flag --exclude needed value and was not given one!"),
    ],
)
def test_what_would_be_another_commands_is_refused(inv, words: list[str], said: str) -> None:
    done = inv(*words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{words[0]}: {said}\n")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("fleet", "paramgmt in the configuration: fleet: must be settings, such as hosts: web"),
        ("[a]", "paramgmt in the configuration: ['a']: must be settings, such as hosts: web"),
        (
            "{fanuot: 3}",
            "fanuot, below paramgmt in the configuration: no such setting; did you mean fanout?",
        ),
        (
            "{xyzzy: 3}",
            "xyzzy, below paramgmt in the configuration: no such setting: see the options of inv rcmd --help",
        ),
        ("{order: up}", "order, below paramgmt in the configuration: up: must be hosts or finished"),
        ("{machines: 'a['}", "machines, below paramgmt in the configuration: malformed range in 'a['"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_line(
    project, tmp_path: Path, section: str, said: str
) -> None:
    (tmp_path / "invoke.yaml").write_text(f"paramgmt: {section}\n")
    words = ["-m", "a"] if "machines" not in section else []
    done = project("lcmd", *words, "true")
    assert done.stderr.startswith(f"lcmd: {said}"), done.stderr
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_a_mistyped_setting_of_the_environment_is_refused(inv) -> None:
    done = inv("lcmd", "-m", "a", "true", INVOKE_PARAMGMT_EXCLDUE="a")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "lcmd: excldue, below paramgmt in the configuration: no such setting; did you mean exclude?\n"
    )


# -- exclusions


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("wbe[1-4]", "wbe[1-4]: none of these is in the list (near: web[1-4])"),
        ("web1,wbe2", "wbe2: not in the list (near: web2)"),
        ("web[10-12]", "web[10-12]: none of these is in the list"),
        ("wbe*", "wbe*: matches no host that is in the list (near: web*)"),
        ("x?z", "x?z: matches no host that is in the list"),
        ("/^b/", "/^b/: matches no host that is in the list"),
        ("~b", "~b: matches no host that is in the list"),
        ("@faild", "@faild: no such group (near: @failed)"),
        ("@spare", "@spare: no such group; the list spare is written without @"),
        ("spare.txt", "spare.txt: none of its hosts is in the list"),
        ("web1&db1", "web1&db1: none of the hosts is meant"),
        ("web1!wbe1", "wbe1: not in the list (near: web1)"),
        ("!web1", "!web1: begins with '!': use --limit"),
        ("nothing", "nothing: not in the list"),
    ],
)
def test_an_exclusion_that_meets_no_host_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spare.txt").write_text("other\n")
    Path("hostlists").mkdir()
    Path("hostlists/spare.txt").write_text("other\n")
    machines = ["web[1-9],db1"]
    message = refusal(lcmd, context(), "touch ?HOST", machines=machines, exclude=[pattern])
    assert message.startswith(f"lcmd: --exclude {said}")
    message = refusal(lcmd, context(exclude=[pattern]), "touch ?HOST", machines=machines)
    assert message.startswith(f"lcmd: exclude, below paramgmt in the configuration: {said}")
    assert ran(tmp_path) == ["hostlists", "spare.txt"]


def test_an_exclusion_that_meets_some_hosts_spares_those(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    lcmd(context(), "touch ?HOST", machines=["web[1-4]", "nic@db:22"], exclude=["web[3-9],db", "web1"])
    assert ran(tmp_path) == ["web2"]


def test_a_name_is_sought_quickly_among_many_hosts() -> None:
    from paramgmt_tasks.inventory import Selection
    from paramgmt_tasks.model import Host

    hosts = [Host(f"node-{number}-of-the-rack", "x") for number in range(100_000)]
    with pytest.raises(UsageError, match=r"--exclude nod-\[1-9000\]: none of these is in the list"):
        Selection().without(hosts, ["nod-[1-9000]"], "--exclude")


def test_a_push_is_refused_too(tmp_path: Path) -> None:
    message = refusal(rpush, context(), [str(tmp_path)], machines=["a"], exclude=["b"])
    assert message == "rpush: --exclude b: not in the list"


# -- options of ssh_config


@pytest.mark.parametrize(
    "given",
    [
        ["Port=2222", "User nic"],
        ["port = 2222", "USER=nic"],
        {"Port": "2222", "User": "nic"},
        ("Port 2222", 'User "nic" # comment'),
    ],
)
def test_options_of_ssh_are_given_as_ssh_has_them(given: Any) -> None:
    for options in (Options({"ssh_option": given}, {}), Options({}, {"ssh_option": given})):
        assert [name for name, _ in options.settings().ssh_options] == ["Port", "User"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("Prot=2", "--ssh-option Prot=2: 'prot' is no option of ssh_config (near: Port)"),
        ("Port", "--ssh-option Port: no argument after 'port': must be Name=Value, such as Port=22"),
        ("Port=a", "--ssh-option Port=a: bad port 'a': a number from 1 to 65535"),
        ("Include=x", "--ssh-option Include=x: Include stands in files of ssh_config only"),
        ("# x", "--ssh-option # x: must be Name=Value, such as Port=22"),
    ],
)
def test_an_option_of_ssh_that_cannot_be_used_is_refused(given: str, said: str) -> None:
    assert refusal(rcmd, context(), "true", machines="web", ssh_option=[given]) == f"rcmd: {said}"


# -- which hosts are kept


def test_first_and_pick_keep_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machines = ["n[1-20]"]
    assert [host.entry for host in rhosts(context(), machines=machines, first="10%")] == ["n1", "n2"]
    assert [host.entry for host in rhosts(context(), machines=machines, first=1, exclude="n1")] == ["n2"]
    assert [host.entry for host in rhosts(context(pick=3), machines=machines, first="1%")] == ["n1"]
    picks = [rhosts(context(), machines=machines, pick=3, seed=7) for _ in range(2)]
    assert picks[0] == picks[1]
    assert len(picks[0]) == 3
    message = refusal(rhosts, context(), machines=machines, pick=1, first=2)
    assert message == "rhosts: --pick 1 and --first 2: one of the two"
    assert refusal(rhosts, context(), machines=machines, seed=2) == "rhosts: --seed 2 is for --pick"
    assert refusal(rhosts, context(), machines=machines, first="0%").startswith("rhosts: --first 0%: must be")
    assert refusal(rhosts, context(), machines=machines, first="x").startswith("rhosts: --first x: must be")


def test_a_limit_and_an_inventory_filter_and_add_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fleet.txt").write_text("web[1-3] RACK=a\ndb1\n")
    found = rhosts(context(inventory="fleet.txt"), machines="web2,x1")
    assert [(host.entry, dict(host.variables)) for host in found] == [("web2", {"RACK": "a"}), ("x1", {})]
    kept = rhosts(context(), hosts="fleet.txt", limit="web*!web2")
    assert [host.entry for host in kept] == ["web1", "web3"]
    message = refusal(rhosts, context(), hosts="fleet.txt", limit="web1", exclude="web1")
    assert message == "rhosts: no hosts in fleet.txt after --limit and --exclude"
    assert refusal(rhosts, context(inventory="fleet.txt")).startswith("rhosts: no hosts: name a list")
    message = refusal(rhosts, context(inventory="flet.txt"), machines="a")
    assert message == "rhosts: host list flet.txt: no such file or directory"
