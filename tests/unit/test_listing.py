"""`rhosts` in other forms, and `rgroups`."""

import json
from pathlib import Path

import pytest

from paramgmt_tasks.inventory import GroupSources
from paramgmt_tasks.model import Host, UsageError, parse_lines
from paramgmt_tasks.tasks import Options
from paramgmt_tasks.tasks.groups import _kept, _lines, _of_inventories, _of_sources
from paramgmt_tasks.tasks.listing import chosen, shown

HOSTS = parse_lines(
    ["web[01-03]", "nic@db1:22 RACK=b", "[::1]:22 'NOTE=a; b' \"Q=it's\" EMPTY= hostname=x User=root"], "list"
)


class Sources(GroupSources):
    default = "one"

    def names(self):
        return ["one", "bad", "two"]

    def groups(self, source=""):
        if source == "bad":
            raise UsageError("groups of bad: sinfo: exit status 1: no slurm")
        return ["db", "web"]

    def hosts(self, source, group):
        return [Host("n1", "n1"), Host("n2", "n2")] if group == "web" else None


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


def test_groups_of_sources_and_what_fails() -> None:
    failures: list[str] = []
    found = dict(_of_sources(Sources(), failures))
    assert found == {"@db": [], "@web": ["n1", "n2"], "@two:db": [], "@two:web": ["n1", "n2"]}
    assert failures == ["groups of bad: sinfo: exit status 1: no slurm"]
    assert _lines(found, as_json=False)[:2] == ["@db       0", "@web      2  n[1-2]"]
    assert json.loads(_lines(found, as_json=True)[3]) == {
        "group": "two:web",
        "count": 2,
        "hosts": ["n1", "n2"],
    }
    assert list(_kept(found, ["two:*", "@db"])) == ["@db", "@two:db", "@two:web"]
    with pytest.raises(UsageError, match=r"no group @wen \(near: @web"):
        _kept(found, ["wen"])


def test_groups_of_inventories(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("[web]\nweb[1-2]\n[db]\ndb1\n")
    (tmp_path / "b.ini").write_text("[web]\nweb[2-3]\n")
    given = {"inventory": [str(tmp_path / "a.ini")], "hosts": [str(tmp_path / "b.ini"), "@failed"]}
    found = _of_inventories(Options(given, {}))
    assert (found["@web"], found["@db"]) == (["web1", "web2", "web3"], ["db1"])


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
