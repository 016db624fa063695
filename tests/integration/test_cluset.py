"""Expressions mean what ClusterShell takes them for: the sets of `cluset -f`, with the same groups."""

import random
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from ClusterShell.NodeSet import NodeSet
from host_oracles import cluset, needed

from paramgmt_tasks.inventory import Selection
from paramgmt_tasks.model import UsageError

#: What `inv` is, as tests have it.
Inv = Callable[..., "subprocess.CompletedProcess[str]"]

_GROUPS = {
    "web": "web[01-20]",
    "db": "db[1-4]",
    "gpu": "gpu[1-2]n[1-4]",
    "mixed": "web[01-02],db1",
    "prod": "web[01-10],db[1-2]",
    "staging": "@web!@prod",
    "down": "web[03,07],db2,gpu1n4",
    "rack1": "web[01-05],gpu1n[1-4]",
    "rack2": "web[06-10],gpu2n[1-4]",
    "front": "@rack[1-2]&@web",
    "both": "@front,@db",
    "one": "login",
    "left-out": "@all!@both",
}
_RACKS = {"r1": "web[01-05] db1", "r2": "web[06-12] db[3-4]", "r10": "new[001-003]"}

EXPRESSIONS = [
    # names, ranges, padding, steps, several axes
    "a",
    "web[01-20]",
    "web[1-3,5,7-9]",
    "n[0-8/2]",
    "n[1-20/5],n[2-4]",
    "n[001-010/3]",
    "n[09-11]",
    "n[9-11]",
    "n[098-102]!n[099-100]",
    "n[1,01,001]",
    "r[1-2]n[1-4]",
    "r[1-2]n[01-04/2]x[3,5]",
    "r1n[1-2],r2n[1-3]",
    "[1-3]a",
    "a[1-2]-ib[0-1].example.org",
    "gpu-[1-2]_x",
    # union
    "a,b,c",
    "a b c",
    "a, b ,c",
    "b,a,c",
    "web[01-03],web[02-05]",
    "web[01-02] @db",
    # intersection, difference, symmetric difference, from left to right
    "web[01-10]&web[05-15]",
    "web[01-10]!web[02-09/2]",
    "web[01-10]^web[05-15]",
    "n[1-9]!n[1-3]!n[5]",
    "n[1-9]&n[2-8]&n[4-12]",
    "n[1-4]^n[3-6]^n[5-8]",
    "a,b&b,c",
    "a,b!b,c,b",
    "a,b,c!b&c,d",
    "a^b^a",
    "n[1-5] & n[2-9] ! n3 ^ n[8-9]",
    "n[1-5]!n[2-3] n2",
    "r[1-4]n[1-4]&r[2-3]n[1-9]",
    "r[1-4]n[1-4]!r[1-4]n[2-3]",
    "r[1-4]n[1-4]^r[3-6]n[2-3]",
    "web[01-10]&web[1-10]",
    # groups
    "@web",
    "@gpu",
    "@staging",
    "@front",
    "@both",
    "@left-out",
    "@one",
    "@cluster:web",
    "@web&@prod",
    "@web&@prod!@down",
    "@web!@prod",
    "@web^@prod",
    "@web,@db&@prod!@down,login",
    "@web @db & @prod ! @down",
    "@prod!web[01-05],new1",
    "new[1-3],@db",
    "@rack[1-2]",
    "@rack[1-2]&@web!@down",
    "@rack[1,2]&@gpu",
    "@*",
    "@*!@web",
    "@*&@racks:r1",
    # other sources
    "@racks:r1",
    "@racks:r[1-2]",
    "@racks:r1,@racks:r10",
    "@racks:*",
    "@racks:*!@web",
    "@racks:r1&@prod",
    "@web&@racks:r2^@down",
    "@cluster:prod!@racks:r1",
    # wildcards, which match all of the default source
    "web*",
    "web0*",
    "web?1",
    "*",
    "*!web*",
    "*1",
    "gpu?n[1-2]",
    "web*&@prod",
    "@prod!web*",
    "*&@racks:*",
    "web[01-12]&web*1",
    "db* login",
    "w*0[1-3]",
]


@pytest.fixture(autouse=True)
def _groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ClusterShell's configuration: a source of YAML, which is the default, and one that runs programs."""
    folder = tmp_path / "clustershell"
    (folder / "sources").mkdir(parents=True)
    everything = {"all": "@web,@db,@gpu,@one", **_GROUPS}
    lines = [f"  {name}: '{hosts}'\n" for name, hosts in everything.items()]
    (folder / "sources/cluster.yaml").write_text("cluster:\n" + "".join(lines))
    (folder / "racks").write_text("".join(f"{name}: {hosts}\n" for name, hosts in _RACKS.items()))
    racks = folder / "racks"
    (folder / "groups.conf").write_text(
        "[Main]\ndefault: cluster\nautodir: $CFGDIR/sources\n\n"
        f"[racks]\nmap: sed -n 's/^$GROUP: //p' {racks}\nall: sed 's/^.*: //' {racks}\n"
        f"list: sed 's/:.*//' {racks}\n"
    )
    monkeypatch.setenv("CLUSTERSHELL_CFGDIR", str(folder))


def _ours(inv: Inv, expression: str, *more: str) -> str:
    """Our hosts, folded."""
    done = inv("rhosts", *more, "--machines", expression)
    assert done.returncode == 0, (expression, done.stderr)
    hosts = done.stdout.split()
    return _folded(",".join(hosts))


def _theirs(expressions: Sequence[str]) -> list[str | None]:
    """What cluset prints. It knows blanks around operators only: others stand between its arguments."""
    return cluset([re.sub(r"(?<=[^\s,&!^])\s+(?=[^\s,&!^])", ",", expression) for expression in expressions])


def _folded(text: str) -> str:
    return str(NodeSet(text, resolver=None))


def test_the_same_sets_as_of_cluset(inv: Inv) -> None:
    assert len(set(EXPRESSIONS)) == len(EXPRESSIONS) >= 60
    theirs = dict(zip(EXPRESSIONS, _theirs(EXPRESSIONS), strict=True))
    assert {expression: _ours(inv, expression) for expression in EXPRESSIONS} == theirs


@pytest.mark.parametrize("expression", ["@web&@prod!@down,login", "@racks:r1,web*", "r[1-4]n[1-4]!r[2-3]n1"])
def test_what_is_compared_with_is_what_the_program_prints(inv: Inv, run: Inv, expression: str) -> None:
    printed = run(needed("cluset", "ClusterShell"), "-f", expression).stdout.strip()
    assert [printed] == cluset([expression])
    assert _ours(inv, expression) == printed


def test_blanks_between_words_are_those_between_arguments(inv: Inv, run: Inv) -> None:
    for expression in ("a b c", "web[01-03] @db", "@prod!@down login", "n[1-3]^n2 n[5-6]"):
        printed = run(needed("cluset", "ClusterShell"), "-f", *expression.split()).stdout.strip()
        assert _ours(inv, expression) == printed


def test_filters_keep_and_leave_out_the_same(inv: Inv) -> None:
    filters = ["@prod", "web*", "@web&@prod!@down", "web[01-03,08] @db", "@racks:r1", "@rack[1-2]^@web"]
    everything = NodeSet(cluset(["@*"])[0], resolver=None)
    for each, theirs in zip(filters, _theirs(filters), strict=True):
        meant = NodeSet(theirs, resolver=None)
        for option, expected in (("--limit", everything & meant), ("--exclude", everything - meant)):
            done = inv("rhosts", "--hosts", "@*", option, each)
            assert (done.returncode, done.stderr) == (0, ""), done.stderr
            assert _folded(",".join(done.stdout.split())) == str(expected), (option, each)


@pytest.mark.parametrize("expression", ["web[01-03]&web[05-09]", "@db!@db", "a^a", "@down&@one"])
def test_no_host_at_all_is_an_error_here(inv: Inv, expression: str) -> None:
    """There it is an empty line: a script that goes on has nothing to work on, and nobody knows why."""
    assert cluset([expression]) == [""]
    done = inv("rhosts", "--machines", expression)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rhosts: --machines ")


@pytest.mark.parametrize("expression", ["@wbe", "@racks:r7", "@nosuch:web"])
def test_groups_that_there_are_not_are_refused_by_both(inv: Inv, expression: str) -> None:
    assert cluset([expression]) in ([None], [""])
    done = inv("rhosts", "--machines", expression)
    assert (done.returncode, done.stdout) == (2, "")
    assert expression.rpartition(":")[2] in done.stderr


def test_200_random_expressions_mean_the_same_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All hosts are known, so that only what means none of them is refused here, and is empty there.

    All are of the default source, too: there wildcards match no others, here also those before them.
    """
    monkeypatch.chdir(tmp_path)
    chance = random.Random(18)
    everything = cluset(["@*"])[0]
    Path("all.txt").write_text("\n".join(map(str, NodeSet(everything, resolver=None))))
    selection = Selection(["all.txt"])
    expressions = [_expression(chance) for _ in range(200)]
    differing = {}
    for expression, theirs in zip(expressions, _theirs(expressions), strict=True):
        try:
            ours = _folded(",".join(host.entry for host in selection.added([expression], "-m")))
        except UsageError as error:
            ours = "" if str(error).endswith("no host is meant") else str(error)
        if ours != theirs:
            differing[expression] = (theirs, ours)
    assert not differing


def _expression(chance: random.Random) -> str:
    text = _term(chance)
    for _ in range(chance.randrange(1, 6)):
        text += chance.choice([",", " ", "&", "!", "^", " & ", "! ", " ^", ", "]) + _term(chance)
    return text


def _term(chance: random.Random) -> str:
    first, last = sorted((chance.randrange(1, 20), chance.randrange(1, 21)))
    step = chance.choice(["", "", f"/{chance.randrange(1, 5)}"])
    return chance.choice(
        [
            f"@{chance.choice(list(_GROUPS))}",
            f"@racks:{chance.choice(['r1', 'r2', 'r[1-2]'])}",
            f"web[{first:02}-{last:02}{step}]",
            f"web[{first:02},{last:02}]",
            f"gpu[1-2]n[{min(first, 4)}-4]",
            f"db{chance.randrange(1, 5)}",
            chance.choice(["web*", "web?2", "gpu1*", "*", "*[1-2]", "db[1-2]", "l*"]),
        ]
    )
