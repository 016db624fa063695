"""Host lists with groups."""

import logging

import pytest

from paramgmt_tasks.inventory import Inventory
from paramgmt_tasks.inventory.list_groups import parse
from paramgmt_tasks.model import UsageError

FLEET = """\
; all of them
adm1 User=root
* RACK=r0 Port=2222

[web]           # the web servers
nic@web[1-2]:22 RACK=r1
web3

[db]
db1
web3 ROLE=both

[prod:children]
web
stage

[stage]
db2

[prod:vars]
RACK = rp
Tag="a b"
[web:vars]
RACK=rw # of the web
[all:vars]
ZONE=z
"""


def read(text: str, **more: bool) -> Inventory:
    return parse(text.split("\n"), "fleet", **more)


def test_hosts_and_groups_are_in_the_order_of_the_list() -> None:
    fleet = read(FLEET)
    assert [host.entry for host in fleet.hosts] == [
        "adm1", "nic@web1:22", "nic@web2:22", "web3", "db1", "db2",
    ]  # fmt: skip
    assert fleet.groups == {
        "all": ("adm1", "nic@web1:22", "nic@web2:22", "web3", "db1", "db2"),
        "ungrouped": ("adm1",),
        "web": ("nic@web1:22", "nic@web2:22", "web3"),
        "db": ("web3", "db1"),
        "prod": ("nic@web1:22", "nic@web2:22", "web3", "db2"),
        "stage": ("db2",),
    }


def test_the_more_particular_variable_wins() -> None:
    hosts = {host.entry: host for host in read(FLEET).hosts}
    assert hosts["adm1"].variables == {"ZONE": "z"}
    assert hosts["adm1"].options == {"User": "root"}
    assert hosts["nic@web1:22"].variables == {"RACK": "r1", "ZONE": "z"}
    assert hosts["web3"].variables == {"RACK": "rw", "ROLE": "both", "ZONE": "z"}
    assert hosts["web3"].options == {"Port": "2222", "Tag": "a b"}
    assert hosts["db2"].variables == {"RACK": "rp", "ZONE": "z"}


def test_a_list_without_headings_has_no_groups_and_keeps_duplicates() -> None:
    fleet = read("a\n[::1]:22\n[1-2].lan\na X=1\n[fe80::1]\n")
    assert [host.entry for host in fleet.hosts] == ["a", "[::1]:22", "1.lan", "2.lan", "a", "[fe80::1]"]
    assert fleet.groups == {}


def test_an_inventory_of_ansible_is_read_without_ansible(caplog: pytest.LogCaptureFixture) -> None:
    text = "[web]\nweb[01:03].lan ansible_host=10.0.0.1 ansible_user=nic x=1\n"
    text += "n-[a:c]\nm[1:5:2] ansible_port=23\n"
    with caplog.at_level(logging.WARNING):
        fleet = read(
            text + "[web:vars]\nansible_ssh_common_args='-o ProxyJump=gate'\nansible_password=secret\n"
        )
    hosts = {host.entry: host for host in fleet.hosts}
    assert list(hosts) == ["web01.lan", "web02.lan", "web03.lan", "n-a", "n-b", "n-c", "m1", "m3", "m5"]
    assert hosts["web02.lan"].options == {"HostName": "10.0.0.1", "User": "nic", "ProxyJump": "gate"}
    assert hosts["web02.lan"].variables == {"x": "1"}
    assert hosts["m3"].options == {"Port": "23", "ProxyJump": "gate"}
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "fleet: ansible_password is not used: give --ask-password, or keys: "
    )


def test_options_of_ansible_hold_without_headings_too() -> None:
    (host,) = read("web1 ansible_host=10.0.0.1 User=me ansible_user=you\n").hosts
    assert host.options == {"HostName": "10.0.0.1", "User": "me"}


@pytest.mark.parametrize(
    "text",
    ["a ProxyCommand=x", "[web]\na proxycommand=x", "[web]\na\n[web:vars]\nProxyCommand = x",
     "a ansible_ssh_common_args='-o ProxyCommand=x'"],
)  # fmt: skip
def test_a_program_that_would_run_here_is_refused_where_none_is_allowed(text: str) -> None:
    assert read(text)
    with pytest.raises(UsageError, match="a ProxyCommand runs here"):
        read(text, proxy_commands=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[web]\na b\n", "fleet, line 2: 'b' is neither KEY=VALUE nor a comment"),
        ("[web:childern]\n", "fleet, line 1: [web:childern]: must be [web], [web:children] or [web:vars]"),
        ("[web:]\n", "fleet, line 1: [web:]: must be"),
        ("[web]\na\n[prod:children]\nwbe\n", "fleet, line 4: there is no group wbe (near: web)"),
        ("[web]\na\n[wbe:vars]\nx=1\n", "fleet, line 3: there is no group wbe (near: web)"),
        ("[web]\na\n[prod:children]\nweb x=1\n", "fleet, line 4: 'web x=1': must be the name of a group"),
        ("[a:children]\nb\n[b:children]\na\n", "fleet: the group 'a' is below itself"),
        ("[web]\na\n[web:vars]\nx\n", "fleet, line 4: 'x' is neither KEY=VALUE"),
        ("[web]\na\n[web:vars]\nPort=x\n", "fleet, line 4: bad port 'x'"),
        ("[web]\n-x\n", "fleet, line 2: '-x' begins with '-'"),
        ("[web]\na[1\n", "fleet, line 2: malformed range"),
        ("[web\na\n", "fleet, line 1: malformed range"),
        ("a\n[web]\nb\x00\n", "fleet, line 3: control characters"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read(text)
    assert str(error.value).startswith(said)


def test_a_mark_and_line_ends_of_windows_are_no_part_of_a_heading() -> None:
    fleet = read("\ufeff[web]\r\nweb1\r\n")
    assert fleet.groups["web"] == ("web1",)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a,db[a:c],z", "a dba dbb dbc z"),
        ("web[1:2],db[a:b]", "web1 web2 dba dbb"),
        ("#db-[c:a] web1\nx", "x"),
        ("; db-[c:a]\nx", "x"),
        ("nic@n[a:b][08:10:2]:22", "nic@na08:22 nic@na10:22 nic@nb08:22 nic@nb10:22"),
        ("[web]\nx,y[a:b]", "x ya yb"),
        ("[fe80::1]\n[::1]:22", "[fe80::1] [::1]:22"),
    ],
)
def test_ranges_of_ansible_name_each_host_once(text: str, hosts: str) -> None:
    assert [host.entry for host in read(text).hosts] == hosts.split()


def test_values_are_no_ranges() -> None:
    (host,) = read("[w]\na T=[0:3]\n[w:vars]\nS=[0:3]\nR=[a:c]\n").hosts
    assert host.variables == {"T": "[0:3]", "S": "[0:3]", "R": "[a:c]"}
    assert read("a S=[0:3] R=[a:c]\n").hosts[0].variables == {"S": "[0:3]", "R": "[a:c]"}


@pytest.mark.parametrize("heading", ["", "[web]\n"])
@pytest.mark.parametrize(
    "pattern",
    [
        "db-[c:a]",
        "db-[a:c:0]",
        "db[5:1]",
        "db[1:5:0]",
        "db[a:5]",
        "db[aa:cc]",
        "x" + "[a:z]" * 5,
        "db[1:2:x]",
    ],
)
def test_a_range_of_ansible_that_is_none_is_refused(heading: str, pattern: str) -> None:
    line = heading.count("\n") + 1
    with pytest.raises(UsageError, match=rf"^fleet, line {line}: (malformed range|too many hosts) in "):
        read(f"{heading}{pattern} RACK=b\n")
