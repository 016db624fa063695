"""`rhosts` in other forms, and `rgroups`."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from paramgmt_tasks.inventory import GroupSources
from paramgmt_tasks.model import Host, UsageError, expand, parse_entry, parse_lines
from paramgmt_tasks.tasks import Options
from paramgmt_tasks.tasks.groups import _found, _lines, _patterns
from paramgmt_tasks.tasks.listing import chosen, shown

HOSTS = parse_lines(
    ["web[01-03]", "nic@db1:22 RACK=b", "[::1]:22 'NOTE=a; b' \"Q=it's\" EMPTY= hostname=x User=root"], "list"
)


class Sources(GroupSources):
    """A default source, one that fails, one like the first, and one that lists nothing."""

    default = "one"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def names(self) -> Sequence[str]:
        return ["one", "bad", "two", "mute"]

    def groups(self, source: str = "") -> Sequence[str]:
        self.asked.append(source)
        if source == "bad":
            raise UsageError("groups of bad: sinfo: exit status 1: no slurm")
        return ["db", "web"] if source in ("one", "two") else []

    def hosts(self, source: str, group: str) -> list[Host] | None:
        if source == "mute" and group == "broken":
            raise UsageError("groups of mute: broken")
        if source not in self.names():
            return None
        known = {"web": "n[1-2]", "db": "", "secret": "n9" if source == "mute" else None}.get(group)
        return None if known is None else [parse_entry(name) for name in expand(known)] if known else []


def found(*wanted: str, **given: object) -> tuple[dict[str, list[str]], list[str]]:
    failures: list[str] = []
    return _found(Options(given, {}), Sources(), wanted, failures), failures


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        ("", ["web01", "web02", "web03", "nic@db1:22", "[::1]:22"]),
        ("count", ["5"]),
        ("fold", ["web[01-03] nic@db1:22 [::1]:22"]),
        ("expand", ["web01 web02 web03 nic@db1:22 [::1]:22"]),
    ],
)
def test_hosts_in_each_form(form: str, lines: list[str]) -> None:
    assert shown(HOSTS, form) == lines


def test_hosts_as_json() -> None:
    assert json.loads(shown(HOSTS, "json")[3]) == {
        "host": "nic@db1:22",
        "address": "db1",
        "user": "nic",
        "port": 22,
        "variables": {"RACK": "b"},
        "options": {},
    }


def test_hosts_with_their_variables_are_a_list_of_the_same_hosts() -> None:
    assert parse_lines(shown(HOSTS, "variables"), "again") == HOSTS


@pytest.mark.parametrize("value", ["a#b", "a\nb", "\x1b"])
def test_a_value_that_no_list_can_have_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="web1: NOTE has a character that no list can have: use --json"):
        shown([Host("web1", "web1", variables={"NOTE": value})], "variables")


def test_one_form_at_a_time_and_none_from_the_configuration() -> None:
    assert chosen(Options({"count": True, "fold": False}, {})) == "count"
    assert chosen(Options({}, {"json": True})) == ""
    with pytest.raises(UsageError, match="--count and --json: one of them"):
        chosen(Options({"json": True, "count": True}, {}))


BAD = "groups of bad: sinfo: exit status 1: no slurm"


def test_groups_of_all_sources_and_what_fails() -> None:
    groups, failures = found()
    assert groups == {"@db": [], "@web": ["n1", "n2"], "@two:db": [], "@two:web": ["n1", "n2"]}
    assert failures == [BAD]
    assert _lines(groups, as_json=False) == [
        "@db       0",
        "@web      2  n[1-2]",
        "@two:db   0",
        "@two:web  2  n[1-2]",
    ]
    assert json.loads(_lines(groups, as_json=True)[3]) == {
        "group": "two:web",
        "count": 2,
        "hosts": ["n1", "n2"],
    }


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("web", ["@web"]),
        ("w*", ["@web"]),
        ("db two:*", ["@db", "@two:db", "@two:web"]),
        ("one:web", ["@web"]),
        ("t*:web", ["@two:web"]),
        ("mute:secret", ["@mute:secret"]),
    ],
)
def test_groups_that_are_named_and_only_their_sources_are_asked(wanted: str, names: list[str]) -> None:
    groups, failures = found(*wanted.split())
    assert (list(groups), failures) == (names, [])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("wen", r"no group @wen \(near: @web\)"),
        ("two:wen", r"no group @two:wen \(near: @two:web"),
        ("x*", r"no group @x\*"),
        ("tow:web", r"no group @tow:web: no source is called tow \(near: two\)"),
    ],
)
def test_groups_that_there_are_not_are_named(wanted: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        found("db", wanted)


def test_groups_of_a_source_that_fails_are_not_said_to_be_missing() -> None:
    assert found("bad:x", "db") == ({"@db": []}, [BAD])
    assert found("mute:broken") == ({}, ["groups of mute: broken"])


def test_names_in_words() -> None:
    assert _patterns(["@web,db*", "slurm:idle x"]) == ["web", "db*", "slurm:idle", "x"]


def test_groups_of_inventories_come_first(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("[web]\nweb[1-2]\n[own]\ndb1\n")
    (tmp_path / "b.txt").write_text("[web]\nweb[2-3]\n")
    groups, _ = found(inventory=[str(tmp_path / "a.txt")], hosts=[str(tmp_path / "b.txt"), "@failed"])
    assert groups["@web"] == ["web1", "web2", "web3"]
    assert list(groups) == ["@all", "@ungrouped", "@web", "@own", "@db", "@two:db", "@two:web"]


def test_a_host_of_another_program_is_one_of_a_list() -> None:
    host = Host("db1", "10.0.0.1", "nic", 22, {"RACK": "b"})
    assert shown([host], "variables") == ["db1 HostName=10.0.0.1 User=nic Port=22 RACK=b"]
    with pytest.raises(UsageError, match="db1: a-b has a character that no list can have"):
        shown([Host("db1", "db1", variables={"a-b": "x"})], "variables")


def test_on_the_command_line(inv, tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("[web]\nweb[1-2] RACK='a b'\n[db]\ndb1\n")
    done = inv("rgroups", "--inventory", "a.ini", "web")
    assert done.stdout == "@web  2  web[1-2]\n", done.stderr
    assert inv("rhosts", "--hosts", "a.ini", "--count").stdout == "3\n"
    assert "web1 RACK='a b'\n" in inv("rhosts", "--hosts", "a.ini", "--variables").stdout
    done = inv("rhosts", "-m", "a", "--count", "--fold")
    assert (done.returncode, done.stderr) == (2, "rhosts: --count and --fold: one of them\n")
    done = inv("rgroups", "--inventory", "a.ini", "wen")
    assert (done.returncode, done.stdout) == (2, "")
    done = inv("rgroups", "--inventory", "a.ini", "--json", "--", "web", "d*")
    assert [json.loads(line)["group"] for line in done.stdout.splitlines()] == ["web", "db"]


def test_a_failing_source_is_named_beside_the_groups_of_others(
    inv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clustershell"
    (folder / "groups.d").mkdir(parents=True)
    (folder / "groups.conf").write_text(
        "[Main]\ndefault: own\nconfdir:\nautodir: $CFGDIR/groups.d\n"
        "[bad]\nmap: exit 3\nlist: echo no daemon >&2; exit 3\n"
    )
    (folder / "groups.d" / "own.yaml").write_text("own: {web: 'web[01-40]', db: db1}\n")
    monkeypatch.setenv("CLUSTERSHELL_CFGDIR", str(folder))
    done = inv("rgroups")
    assert (done.returncode, done.stdout) == (1, "@db    1  db1\n@web  40  web[01-40]\n")
    failure = "rgroups: groups of bad: echo no daemon >&2; exit 3: exit status 3: no daemon\n"
    assert done.stderr == failure
    done = inv("rgroups", "web")
    assert (done.returncode, done.stdout, done.stderr) == (0, "@web  40  web[01-40]\n", "")
    assert inv("rhosts", "-m", "@web&web0[1-3]!@own:db", "--fold").stdout == "web[01-03]\n"
