"""Which hosts are meant: expressions, what they add and what they filter."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramgmt_tasks.history import Journal
from paramgmt_tasks.inventory import GroupSources, Inventory, Selection, picked
from paramgmt_tasks.inventory.expressions import parse
from paramgmt_tasks.model import Host, HostResult, Outcome, RemoteCommand, Settings, UsageError, parse_entry
from paramgmt_tasks.model.hosts import parse_lines


class Sources(GroupSources):
    """Groups as another program has them."""

    def __init__(self, groups: Mapping[str, Mapping[str, str]]) -> None:
        self._groups = groups

    def names(self) -> Sequence[str]:
        return [name for name in self._groups if name]

    def groups(self, source: str = "") -> Sequence[str]:
        return sorted(self._groups.get(source, {}))

    def hosts(self, source: str, group: str) -> list[Host] | None:
        groups = self._groups.get(source, {})
        names = " ".join(groups.values()) if group == "*" else groups.get(group)
        return None if names is None else [parse_entry(name) for name in names.split()]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def selection(notes: list[str]) -> Selection:
    """An inventory with groups, and groups of another program."""
    made = Selection(note=notes.append)
    hosts = parse_lines(
        ["web[1-4] HostName=10.0.0.9", "db[1-2] RACK=b", "nic@adm1:2222", "old1", "staging"], "fleet"
    )
    groups = {
        "web": ("web1", "web2", "web3", "web4"),
        "db": ("db1", "db2"),
        "prod": ("web1", "web2", "db1"),
        "down": ("web2", "old1"),
        "empty": (),
        "rack1": ("web1",),
        "rack2": ("web2", "db2"),
        "staging": ("web4", "db2"),
        "ok": ("db1",),
        "all": tuple(host.entry for host in hosts),
    }
    made.known.add(Inventory("fleet", tuple(hosts), groups))
    made.known.sources = Sources({"": {"gpu": "g1 g2", "web": "other"}, "slurm": {"idle": "g2 web1"}})
    return made


def entries(hosts: Sequence[Host]) -> str:
    return " ".join(host.entry for host in hosts)


def added(selection: Selection, *patterns: str) -> str:
    return entries(selection.added(patterns, "-m"))


# -- the text


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a", ",a"),
        ("a b,c", ",a ,b ,c"),
        (" a & b!c ^d ", ",a &b !c ^d"),
        ("web[1-3,5]&n[1-2]x[0-8/2]", ",web[1-3,5] &n[1-2]x[0-8/2]"),
        (
            "nic@web1:2222,[::1]:22,::1,fe80::1%eth0,nic@::1",
            ",nic@web1:2222 ,[::1]:22 ,::1 ,fe80::1%eth0 ,nic@::1",
        ),
        ("@failed:20261125-1318!@slurm:idle", ",@failed:20261125-1318 !@slurm:idle"),
        ("/^we(b|c)[1-3],&x$/,db", ",/^we(b|c)[1-3],&x$/ ,db"),
        (r"/a\/b/&c", r",/a\/b/ &c"),
        ("/etc/list.txt!./down.txt!~/x", ",/etc/list.txt !./down.txt !~/x"),
        (r"~(web|db:x).*\.example\.com:x", r",~(web|db:x).*\.example\.com ,x"),
        (r"~web.*\.com$:!old:&~^w", r",~web.*\.com$ &~^w !old"),
        ("a:~^b:!~^c", ",a ,~^b !~^c"),
        ("a:b:c", ",a ,b ,c"),
        ("web:!phoenix:db:&staging", ",web ,db &staging !phoenix"),
        ("a, !b", ",a !b"),
        ("a:123456,b", ",a:123456 ,b"),
        ("!a", "!a"),
        ("&a:!b", "&a !b"),
        ("web[0:2]:db[-1]", ",web[0:2] ,db[-1]"),
        ("10.0.0.1:10.0.0.2:22", ",10.0.0.1 ,10.0.0.2:22"),
        ("@a:@b", ",@a ,@b"),
    ],
)
def test_a_text_has_these_steps(text: str, steps: str) -> None:
    assert " ".join(f"{operator}{term}" for operator, term in parse(text)) == steps


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty entry in ''"),
        (" ", "empty entry in ' '"),
        ("a,", "empty entry in 'a,'"),
        (",a", "empty entry in ',a'"),
        ("a,,b", "empty entry in 'a,,b'"),
        ("a!", "'!' joins nothing in 'a!'"),
        ("^a", "'^' joins nothing in '^a'"),
        ("a&!b", "'&!' joins nothing in 'a&!b'"),
        (":a", "':' joins nothing in ':a'"),
        ("a:", "':' joins nothing in 'a:'"),
        ("a:b&c", "mixes two notations"),
        ("a^b:c", "mixes two notations"),
        ("!a^b", "mixes two notations"),
        ("a\nb", "control characters"),
    ],
)
def test_a_text_that_cannot_be_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert said in str(error.value)


# -- what is added


@pytest.mark.parametrize(
    ("expression", "hosts"),
    [
        ("x2,x1", "x2 x1"),
        ("web2,web1", "web2 web1"),
        ("n[1-5]!n[2-3]", "n1 n4 n5"),
        ("n[0-8/4]", "n0 n4 n8"),
        ("r[1-2]n[1-2]&r1n[1-9]", "r1n1 r1n2"),
        ("n[1-3]^n[3-5]", "n1 n2 n4 n5"),
        ("@web", "web1 web2 web3 web4"),
        ("@web&@prod!@down", "web1"),
        ("@web!@down,db2", "web1 web3 web4 db2"),
        ("@web @db", "web1 web2 web3 web4 db1 db2"),
        ("@prod,@web", "web1 web2 db1 web3 web4"),
        ("web:&prod:!down", "web1"),
        ("web:!down:db", "web1 web3 web4 db1 db2"),
        ("@rack[1-2]", "web1 web2 db2"),
        ("@rack*", "web1 web2 db2"),
        ("web*", "web1 web2 web3 web4"),
        ("web?", "web1 web2 web3 web4"),
        ("*b[1-2]", "web1 web2 db1 db2"),
        ("/^(db|adm)/", "db1 db2 nic@adm1:2222"),
        ("~d", "db1 db2"),
        ("@gpu", "g1 g2"),
        ("@slurm:idle&@web", "web1"),
        ("@slurm:*", "g2 web1"),
        ("@ok:*", None),
        ("g*", "g1 g2"),
        ("@web[0]", "web1"),
        ("@web[-1]", "web4"),
        ("@web[0:1]", "web1 web2"),
        ("@web[2:]:@db", "web3 web4 db1 db2"),
        ("@slurm:idle[0:0]", "g2"),
        ("web[1:2]", "web2 web3"),
        ("web[2:]", "web3 web4"),
        ("web[:1]", "web1 web2"),
        ("all:!web:!nic@adm1:2222:!~stag", "db1 db2 old1"),
    ],
)
def test_an_expression_adds_these_hosts(selection: Selection, expression: str, hosts: str | None) -> None:
    if hosts is None:
        with pytest.raises(UsageError):
            added(selection, expression)
    else:
        assert added(selection, expression) == hosts


def test_a_known_host_has_what_the_inventory_says(selection: Selection) -> None:
    (web, db, new) = selection.added(["web1", "@db&db1", "new1"], "-m")
    assert web.options == {"HostName": "10.0.0.9"}
    assert db.variables == {"RACK": "b"}
    assert new == Host("new1", "new1")


def test_names_alone_are_added_as_often_as_they_stand_there(selection: Selection) -> None:
    assert added(selection, "a,a", "a", "web1") == "a a a web1"


def test_what_an_expression_means_is_not_added_to_what_is_there(selection: Selection) -> None:
    there = [parse_entry("web1"), parse_entry("web1")]
    assert (
        entries(selection.added(["@web", "@prod", "web2"], "-m", beside=there)) == "web2 web3 web4 db1 web2"
    )


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("@wbe", "-m @wbe: no such group (near: @web)"),
        ("@faild", "-m @faild: no such group (near: @failed)"),
        ("@slurm:idel", "-m @slurm:idel: no such group (near: idle)"),
        ("@slrum:idle", "-m @slrum:idle: no such group; no source is called slrum (near: slurm)"),
        ("@web&@dwon", "-m @dwon: no such group (near: @down)"),
        ("@x*", "-m @x*: matches no group"),
        ("@", "-m @: no name of a group"),
        ("n[1-5]!m3", "-m m3: not among those before it"),
        ("web[1-3]!wbe[1-2]", "-m wbe[1-2]: none of these is among those before it (near: web[1-2])"),
        ("xyz*", "-m xyz*: matches no host that is known"),
        ("n1!n1", "-m n1!n1: no host is meant"),
        ("@web&@db", "-m @web&@db: no host is meant"),
        (
            "staging",
            "-m staging: a host and a group are called so: write @staging for the group, /^staging$/ for",
        ),
        (
            "@ok",
            "-m @ok: a group is called as hosts of a run are: write ok for the group, @ok:RUN for the run",
        ),
        ("/(/", "-m /(/: not a regular expression"),
        ("!web1", "-m !web1: nothing stands before '!' to take from"),
        ("web[7]", "-m web[7]: there are 4 hosts"),
        ("web[7:9]", "-m web[7:9]: there are 4 hosts"),
        ("@web[2:1]", "-m @web[2:1]: there are 4 hosts"),
        ("@empty[0]", "-m @empty[0]: there are 0 hosts"),
        ("web[-:1]", "-m: malformed range in 'web[-:1]'"),
        (f"web[0:{'9' * 5000}]", "-m: malformed range in 'web[0:999"),
        ("web1:123456", "-m: bad port '123456' in 'web1:123456'"),
        ("~", "-m ~: an empty regular expression matches every host"),
        ("@web!~", "-m ~: an empty regular expression matches every host"),
        ("w*[1-5000]", "-m w*[1-5000]: 5000 patterns: at most 2000; leave out the range or the wildcards"),
        ("w*[", "-m: malformed range in 'w*['"),
        ("web1;x", "-m: "),
        ("a[1", "-m: malformed range"),
        ("./none.txt", "-m ./none.txt: no such file"),
        ("@failed", "no runs in"),
    ],
)
def test_what_adds_nothing_is_refused_and_named(selection: Selection, expression: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        added(selection, expression)
    assert str(error.value).startswith(said)


def test_a_group_without_hosts_is_a_note(selection: Selection, notes: list[str]) -> None:
    assert added(selection, "@web!@empty") == "web1 web2 web3 web4"
    assert added(selection, "@empty") == ""
    assert notes == ["-m @empty: has no hosts"] * 2


# -- lists by their names


def test_a_name_is_a_list_where_nothing_else_is_called_so(selection: Selection, notes: list[str]) -> None:
    Path("hostlists").mkdir()
    Path("hostlists/spare.txt").write_text("web3 SLOT=9\nspare1\n")
    assert added(selection, "@web&spare") == "web3"
    assert added(selection, "spare!spare1,z1") == "web3 z1"
    assert added(selection, "spare*") == "spare1"
    assert notes == []
    assert added(selection, "spare") == "spare"
    assert notes == ["-m spare: a host is called so here; the list is --hosts spare"]
    hosts = [parse_entry(name) for name in ("web3", "spare1", "db1")]
    assert entries(selection.limited(hosts, "spare", "-l")) == "web3 spare1"
    assert entries(selection.without(hosts, ["hostlists/spare.txt"], "-x")) == "db1"
    assert entries(selection.without(hosts, ["@hostlists/spare.txt"], "-x")) == "db1"


def test_a_list_is_completed_by_the_inventories_and_not_by_itself() -> None:
    Path("fleet.txt").write_text("web1 HostName=10.0.0.9 RACK=a\n")
    Path("list.txt").write_text("web1 RACK=b\nweb1\nweb2 RACK=c\nweb2\n")
    selection = Selection(["fleet.txt"])
    hosts = selection.listed(["list.txt"], "-f", lambda name: "")
    assert [(host.entry, dict(host.variables), dict(host.options)) for host in hosts] == [
        ("web1", {"RACK": "b"}, {"HostName": "10.0.0.9"}),
        ("web1", {"RACK": "a"}, {"HostName": "10.0.0.9"}),
        ("web2", {"RACK": "c"}, {}),
        ("web2", {}, {}),
    ]


def test_groups_and_runs_add_no_host_that_is_listed(selection: Selection) -> None:
    Path("list.txt").write_text("web1\nweb1\n")
    found = selection.listed(["list.txt", "@prod", "@web&@down", "@rack1"], "-f", lambda name: "")
    assert entries(found) == "web1 web1 web2 db1"


# -- what is filtered


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("web*", "web1 web2 web1"),
        ("@prod", "web1 db1 web2 web1"),
        ("prod:!db1", "web1 web2 web1"),
        ("!web*", "db1 nic@adm1:2222"),
        ("adm1", "nic@adm1:2222"),
        ("/^adm/", "nic@adm1:2222"),
        ("all", "web1 db1 nic@adm1:2222 web2 web1"),
        ("*", "web1 db1 nic@adm1:2222 web2 web1"),
        ("*!@down", "web1 db1 nic@adm1:2222 web1"),
        ("*!web4", "web1 db1 nic@adm1:2222 web2 web1"),
        ("web[1-9]^web2", "web1 web1"),
    ],
)
def test_a_limit_keeps_these_in_their_order(selection: Selection, expression: str, kept: str) -> None:
    hosts = parse_lines(["web1 N=1", "db1", "nic@adm1:2222", "web2", "web1 N=2"], "x")
    found = selection.limited(hosts, expression, "-l")
    assert entries(found) == kept
    left = selection.without(hosts, [expression], "-x") if not expression.startswith("!") else None
    assert left in (None, [host for host in hosts if host not in found])


@pytest.mark.parametrize("filters", ["limited", "without"])
@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("wbe1", "wbe1: not in the list (near: web1)"),
        ("web1,web9", "web9: not in the list (near: web1)"),
        ("web1!wbe1", "wbe1: not in the list (near: web1)"),
        ("@rack2", None),
        ("@db,@gpu", "@gpu: none of its hosts is in the list"),
        ("x*", "x*: matches no host that is in the list"),
        ("@dbb", "@dbb: no such group (near: @db)"),
    ],
)
def test_a_filter_that_meets_nothing_is_refused(
    selection: Selection, filters: str, expression: str, said: str | None
) -> None:
    hosts = parse_lines(["web1", "db2"], "x")
    call = (
        (lambda: selection.limited(hosts, expression, "-o"))
        if filters == "limited"
        else lambda: selection.without(hosts, [expression], "-o")
    )
    if said is None:
        call()
        return
    with pytest.raises(UsageError) as error:
        call()
    assert str(error.value) == f"-o {said}"


def test_all_are_all_hosts_without_an_inventory_too() -> None:
    hosts = [parse_entry(name) for name in ("web1", "db1")]
    assert entries(Selection().limited(hosts, "all:!web1", "-l")) == "db1"
    assert entries(Selection().without(hosts, ["all!web1"], "-x")) == "web1"
    assert entries(Selection().limited([*hosts, parse_entry("all")], "all", "-l")) == "all"
    assert added(Selection(), "all") == "all"


@pytest.mark.parametrize("joined", [",", "!", ":", " ", ":!"])
def test_long_expressions_take_no_longer_than_their_terms(selection: Selection, joined: str) -> None:
    names = [f"n{number}" for number in range(20_000)]
    hosts = [parse_entry(name) for name in (*names, "last")]
    text = joined.join(["*", *names, "last"][: -1 if "!" in joined else None])
    assert len(selection.limited(hosts, text, "-l")) == (1 if "!" in joined else 20_001)


@pytest.mark.parametrize("text", ["[" * 100_000, ":" * 100_000, "a[" * 50_000, "@x:" * 40_000, "/" * 100_000])
def test_what_is_long_and_malformed_is_refused_soon(selection: Selection, text: str) -> None:
    with pytest.raises(UsageError):
        selection.limited([parse_entry("a")], text, "-l")


def test_hosts_of_a_run_are_left_out(selection: Selection, notes: list[str]) -> None:
    hosts = [parse_entry(name) for name in ("web1", "nic@web2", "web2")]
    with closing(Journal(RemoteCommand("x"), hosts, Settings(), 10)) as journal:
        for index, host in enumerate(hosts):
            outcome = Outcome.FAILED if index == 1 else Outcome.OK
            journal.finished(HostResult(host, index, "x", outcome, 0))
        journal.end(interrupted=False)
    assert entries(selection.without(hosts, ["@failed"], "-x")) == "web1 web2"
    assert entries(selection.limited(hosts, "*!@failed", "-l")) == "web1 web2"
    assert entries(selection.without(hosts, ["@lost"], "-x")) == "web1 nic@web2 web2"
    assert notes == ["-x @lost: has no hosts"]


@pytest.mark.parametrize(
    ("listed", "left"),
    [
        ("web1 db1", "web1"),  # the one of another port
        ("web2 root@web2 root@web2:22 db1", "root@web2:22"),
        ("nic@web2 web2 root@web2 db1", "web2 root@web2"),  # the very one is there
        ("root@web1:2222 nic@web1:23 web1", "nic@web1:23 web1"),
    ],
)
def test_a_host_of_a_group_is_left_out_whoever_logs_in(selection: Selection, listed: str, left: str) -> None:
    hosts = [parse_entry(name) for name in ("nic@web2", "nic@web1:2222", "db1")]
    selection.known.add(Inventory("x", tuple(hosts), {"spare": tuple(host.entry for host in hosts)}))
    found = selection.without([parse_entry(name) for name in listed.split()], ["@spare"], "-x")
    assert entries(found) == left


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8), st.data())
def test_a_filter_keeps_order_and_duplicates(names: list[str], data: st.DataObject) -> None:
    hosts = [Host(name, name, variables={"N": str(index)}) for index, name in enumerate(names)]
    wanted = data.draw(st.sets(st.sampled_from(names), min_size=1))
    expression = data.draw(st.sampled_from([",", " ", ":"])).join(sorted(wanted))
    kept = Selection().limited(hosts, expression, "-l")
    assert kept == [host for host in hosts if host.entry in wanted]
    assert Selection().without(hosts, [expression], "-x") == [host for host in hosts if host not in kept]


def test_picks_are_in_order_and_repeatable() -> None:
    hosts = [parse_entry(f"n{number}") for number in range(50)]
    found = picked(hosts, 5, seed=3)
    assert found == picked(hosts, 5, seed=3) == sorted(found, key=hosts.index)
    assert len({host.entry for host in found}) == 5
    assert picked(hosts, 99) == hosts
    assert {json.dumps([h.entry for h in picked(hosts, 5)]) for _ in range(20)} != {
        json.dumps(entries(found))
    }


def test_a_new_name_that_is_nearly_known_is_noted(notes: list[str]) -> None:
    Path("fleet.txt").write_text("[web]\nnode1\n")
    selection = Selection(["fleet.txt"], notes.append)
    assert added(selection, "webb", "nodee1", "another,x", "node1") == "webb nodee1 another x node1"
    assert notes == [
        "-m webb: not in the inventory (near: web)",
        "-m nodee1: not in the inventory (near: node1)",
    ]
