"""Patterns mean what Ansible takes them for: the hosts of `ansible PATTERN --list-hosts`, in its order.

The patterns are those of Ansible's page "Patterns: targeting hosts and groups", each kind in every inventory.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from host_oracles import ansible, needed

from paramgmt_tasks.inventory import Selection
from paramgmt_tasks.model import UsageError

#: What `inv` is, as tests have it.
Inv = Callable[..., "subprocess.CompletedProcess[str]"]

#: Nested groups.
INI = """\
lonely
192.0.2.50

[webservers]
web1.example.com
web2.example.com
www.example.org

[dbservers]
one.example.com
two.example.com
db-west

[atlanta]
web1.example.com
one.example.com

[raleigh]
web2.example.com
db-west

[southeast:children]
raleigh
atlanta

[usa:children]
southeast
northwest

[northwest]
192.0.2.51

[staging:children]
atlanta

[phoenix]
web2.example.com
"""
#: Children, and hosts under `all`.
YAML = """\
all:
  hosts:
    lonely:
    192.0.2.50:
  children:
    usa:
      children:
        southeast:
          children:
            raleigh: {hosts: {web2.example.com: , db-west: }}
            atlanta: {hosts: {web1.example.com: , one.example.com: }}
        northwest: {hosts: {192.0.2.51: }}
    staging: {children: {atlanta: }}
    phoenix: {hosts: {web2.example.com: }}
    webservers: {hosts: {web1.example.com: , web2.example.com: , www.example.org: }}
    dbservers: {hosts: {one.example.com: , two.example.com: , db-west: }}
"""
#: Variables and ranges.
RANGES = """\
lonely ansible_user=nic
192.0.2.[50:51]

[webservers]
web[01:20] ansible_user=nic http_port=80
web[1:2].example.com ansible_port=2222

[dbservers]
db-[a:c] ansible_host=10.0.0.1
one.example.com
two.example.com x="a b"

[phoenix]
web[05:08]

[staging]
web[01:10:3]
db-a

[atlanta]
web2.example.com

[southeast:children]
atlanta
phoenix

[usa:children]
southeast

[webservers:vars]
colour=blue
"""
FILES = {
    "nested.ini": INI,
    "children.yml": YAML,
    "ranges.ini": RANGES,
    # A folder with variables beside, and a script.
    "folder/10-fleet.ini": INI,
    "folder/20-more.py": """\
#!/usr/bin/env python3
import json
hosts = ["web3.example.com", "web1.example.com"]
print(json.dumps({"webservers": {"hosts": hosts}, "_meta": {"hostvars": {}}}))
""",
    "folder/group_vars/webservers.yml": "http_port: 80\n",
    "folder/host_vars/lonely.yml": "ansible_host: 10.0.0.1\n",
    # A plugin makes most of the groups, from variables.
    "constructed/10-fleet.ini": """\
lonely
192.0.2.50 place=northwest
web1.example.com role=web place=atlanta
web2.example.com role=web place=raleigh
www.example.org role=web
one.example.com role=db place=atlanta
two.example.com role=db
db-west role=db place=raleigh
""",
    "constructed/90-groups.yml": """\
plugin: ansible.builtin.constructed
strict: false
groups:
  webservers: role | default('') == 'web'
  dbservers: role | default('') == 'db'
  phoenix: inventory_hostname is match('web2')
  staging: place | default('') == 'atlanta'
  southeast: place | default('') in ['atlanta', 'raleigh']
  usa: place is defined
keyed_groups:
- {key: place, prefix: '', separator: ''}
""",
}
INVENTORIES = ("nested.ini", "children.yml", "ranges.ini", "./folder", "constructed")

#: Patterns, by what the page calls them.
PATTERNS = {
    "all hosts": ["all", "*"],
    "one host": ["lonely", "one.example.com", "192.0.2.50"],
    "multiple hosts": [
        "one.example.com:two.example.com",
        "one.example.com,two.example.com",
        "two.example.com, lonely ,one.example.com",
    ],
    "one group": ["webservers", "usa", "southeast", "ungrouped"],
    "multiple groups": ["webservers:dbservers", "dbservers,webservers", "staging:lonely:phoenix"],
    "excluding groups": ["webservers:!atlanta", "all:!usa", "webservers,!phoenix", "all:!usa:!dbservers"],
    "intersection of groups": [
        "webservers:&staging",
        "dbservers,&southeast",
        "webservers:&southeast:&staging",
    ],
    "combined": [
        "webservers:dbservers:&staging:!phoenix",
        "webservers:!phoenix:dbservers:&staging",
        "&southeast:webservers:!staging:dbservers",
        "!phoenix:all",
        "webservers:!phoenix:!atlanta:dbservers:&southeast",
        "webservers,dbservers,&southeast,!web1.example.com",
    ],
    "wildcards": [
        "192.0.*",
        "*.example.com",
        "*.com",
        "one*.com:dbservers",
        "one*.com:lonely:!l*y",
        "web?.example.com",
    ],
    "positions in a group": [
        "webservers[0]",
        "webservers[-1]",
        "webservers[0:1]",
        "webservers[1]",
        "webservers[1:]",
        "webservers[0:2]",
        "webservers[1:1]",
        "usa[0]:dbservers[-1]",
        "webservers[0:1]:!phoenix",
        "all[0]",
        "all[1:3]",
    ],
    "regular expressions": [
        r"~(web|db).*\.example\.com",
        "~.*[12]",
        r"~.*\.com$:!atlanta",
        r"~.*\.com$,&southeast",
        "lonely:~^one",
        "all:!~.*(one|lone)",
    ],
}
#: Of these Ansible lists first what it read first, and we have the order of the inventory.
UNORDERED = ("wildcards", "regular expressions")
#: Patterns with what `--limit` keeps of their hosts.
LIMITS = [
    ("all", "one.example.com"),
    ("all", "lonely,two.example.com"),
    ("all", "all:!lonely"),
    ("all", "southeast"),
    ("all", "!phoenix"),
    ("webservers", "web1.example.com,web2.example.com"),
    ("all", "webservers:&staging"),
    ("webservers:dbservers", "southeast:!phoenix"),
    ("all", "*.example.com"),
    ("all", "~one|two"),
    ("all", "webservers[0]"),
    ("dbservers", "two.example.com"),
    ("all", "@retry_hosts.txt"),
    ("all", "@site.retry"),
    ("webservers,dbservers", "@site.retry"),
]

_NONE = "Specified inventory, host pattern and/or --limit leaves us with no hosts to target."
#: Where we differ, in nested.ini: the pattern, Ansible's hosts and ours.
DIFFERENT = {
    "what means none of the hosts is dropped there with a warning": (
        ("all", "nosuch,lonely"),
        ["lonely"],
        "--limit nosuch: not in the list",
    ),
    "so is a group that there is not": (
        ("lonely:!phenix", None),
        ["lonely"],
        "-m phenix: not among those before it",
    ),
    "a name that is not known is a host here": (
        ("new1.example.com", None),
        _NONE,
        ["new1.example.com"],
    ),
    "names alone come as often as they are written": (
        ("lonely:db-west:lonely", None),
        ["lonely", "db-west"],
        ["lonely", "db-west", "lonely"],
    ),
    "wildcards match names of groups there: here those are @*west": (
        ("*west", None),
        ["192.0.2.51", "db-west"],
        ["db-west"],
    ),
    "and so do regular expressions": (
        ("~north|lone", None),
        ["192.0.2.51", "lonely"],
        ["lonely"],
    ),
    "brackets are ranges of numbers, not of characters": (
        ("web[12].example.com", None),
        ["web1.example.com", "web2.example.com"],
        ["web12.example.com"],
    ),
    "all but something is for --limit": (
        ("!usa", None),
        ["lonely", "192.0.2.50", "www.example.org", "two.example.com"],
        "-m !usa: nothing stands before '!' to take from",
    ),
    "the page has this, the program refuses it": (
        ("webservers[:3]", None),
        _NONE,
        ["web1.example.com", "web2.example.com", "www.example.org"],
    ),
}


@pytest.fixture(autouse=True)
def _inventories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    (tmp_path / "retry_hosts.txt").write_text("one.example.com\nlonely\n")
    # What Ansible writes.
    (tmp_path / "site.retry").write_text("web1.example.com\none.example.com\n")
    # Not the groups of this machine.
    (tmp_path / "clustershell").mkdir()
    (tmp_path / "clustershell/groups.conf").write_text(
        "[Main]\ndefault: none\n[none]\nmap: true\nall: true\nlist: true\n"
    )
    monkeypatch.setenv("CLUSTERSHELL_CFGDIR", str(tmp_path / "clustershell"))
    monkeypatch.chdir(tmp_path)


def ours(inventory: str, asked: list[tuple[str, str | None]]) -> list[list[str] | str]:
    """Our hosts of `--inventory INVENTORY -m PATTERN --limit LIMIT`, or the error."""
    selection = Selection([inventory])
    answers: list[list[str] | str] = []
    for pattern, limit in asked:
        try:
            hosts = selection.added([pattern], "-m")
            if limit:
                hosts = selection.limited(hosts, limit, "--limit")
            answers.append([host.entry for host in hosts])
        except UsageError as error:
            answers.append(str(error))
    return answers


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_patterns_mean_the_hosts_that_ansible_lists(inventory: str) -> None:
    kinds = {pattern: kind for kind, patterns in PATTERNS.items() for pattern in patterns}
    asked = [*((pattern, None) for pattern in kinds), *LIMITS]
    differing = {}
    for pair, theirs, found in zip(asked, ansible(inventory, asked), ours(inventory, asked), strict=True):
        if isinstance(theirs, str):
            same = isinstance(found, str)  # no hosts: both refuse it
        elif kinds.get(pair[0]) in UNORDERED:
            same = sorted(theirs) == sorted(found)
        else:
            same = theirs == found
        if not same:
            differing[pair] = (theirs, found)
    assert not differing


def test_most_patterns_mean_some_hosts_in_each_inventory() -> None:
    """So that what is compared is not that nothing is found."""
    asked = [*((pattern, None) for patterns in PATTERNS.values() for pattern in patterns), *LIMITS]
    assert len(asked) >= 60
    for inventory in INVENTORIES:
        refused = [
            pair for pair, found in zip(asked, ours(inventory, asked), strict=True) if isinstance(found, str)
        ]
        assert len(refused) <= 3, (inventory, refused)


@pytest.mark.parametrize("reason", DIFFERENT)
def test_what_differs_on_purpose(reason: str) -> None:
    pair, theirs, expected = DIFFERENT[reason]
    assert ansible("nested.ini", [pair]) == [theirs]
    found = ours("nested.ini", [pair])[0]
    assert found == expected or (type(found) is type(expected) is str and found.startswith(expected))


@pytest.mark.parametrize(
    ("inventory", "words"),
    [
        ("./folder", ["webservers:dbservers:&staging:!phoenix"]),
        ("constructed", ["all", "--limit", "southeast:!phoenix"]),
        ("ranges.ini", ["webservers[0:2]:dbservers", "--limit", "!db-b"]),
    ],
)
def test_the_programs_themselves_list_the_same(inv: Inv, run: Inv, inventory: str, words: list[str]) -> None:
    printed = run(needed("ansible", "ansible-core"), "-i", inventory, *words, "--list-hosts")
    done = inv("rhosts", "--inventory", inventory, "--machines", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == printed.stdout.split("\n", 1)[1].split()
