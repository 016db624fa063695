"""What is listed in Ansible's JSON: the order of hosts, groups in groups, and what wins among variables."""

import json

import pytest

from paramgmt_tasks import UsageError
from paramgmt_tasks.inventory import ansible_json
from paramgmt_tasks.inventory.ansible_json import Listing


def parse(listed: object) -> Listing:
    return ansible_json.parse(json.dumps(listed).encode(), "fleet.py", "fleet.py --list")


NESTED = {
    "prod": {"children": ["web", "dc"], "hosts": ["solo"]},
    "web": ["web2", "web1"],
    "dc": {"children": ["db", "empty"]},
    "db": {"hosts": ["db1", "web1", "db1"]},
    "all": {"hosts": ["lone", "db1"]},
}


def test_hosts_come_as_ansible_orders_them_each_once() -> None:
    listing = parse(NESTED)
    assert listing.names() == ["lone", "db1", "solo", "web2", "web1"]
    assert listing.names("prod") == ["solo", "web2", "web1", "db1"]


def test_all_and_ungrouped_are_groups_and_empty_ones_too() -> None:
    inventory = parse(NESTED).inventory()
    assert inventory.source == "fleet.py"
    assert inventory.groups["ungrouped"] == ("lone",)
    assert inventory.groups["all"] == tuple(host.entry for host in inventory.hosts)
    assert inventory.groups["dc"] == ("db1", "web1")
    assert inventory.groups["empty"] == ()
    assert set(inventory.groups) == {"all", "ungrouped", "prod", "web", "dc", "db", "empty"}


def test_a_host_of_a_group_is_not_ungrouped() -> None:
    listing = parse({"ungrouped": ["a", "b"], "web": ["a"]})
    assert listing.names("ungrouped") == ["b"]
    assert listing.names() == ["b", "a"]


def test_the_more_particular_variables_win() -> None:
    listing = parse(
        {
            "_meta": {"hostvars": {"h": {"host": "host"}, "stranger": {"x": 1}}},
            "all": {"vars": {"host": "all", "child": "all", "parent": "all", "all": "all"}},
            "z_parent": {"children": ["child"], "vars": {"host": 1, "child": 1, "parent": "parent"}},
            "child": {"hosts": ["h"], "vars": {"host": 2, "child": "child", "name": "child"}},
            "other": {"children": ["deeper"]},
            "deeper": {"hosts": ["h"], "vars": {"name": "deeper"}},
            "first": {"children": ["chosen"]},
            "chosen": {"hosts": ["h"], "vars": {"ansible_group_priority": 9, "name": "chosen", "child": "9"}},
        }
    )
    assert listing.variables(["h"]) == {
        "h": {"host": "host", "child": "9", "parent": "parent", "all": "all", "name": "chosen"}
    }


def test_an_inventory_may_be_empty() -> None:
    inventory = parse({}).inventory()
    assert inventory.hosts == ()
    assert inventory.groups == {"all": (), "ungrouped": ()}


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ([], "all of it must be an object, {…}, and is a list"),
        ({"_meta": 1}, "_meta must be an object, {…}, and is a number"),
        ({"_meta": {"hostvars": []}}, "_meta.hostvars must be an object, {…}, and is a list"),
        ({"_meta": {"hostvars": {"a": "x"}}}, "variables of 'a' must be an object, {…}, and is text"),
        ({"web": "a"}, "the group 'web' must be an object, {…}, and is text"),
        ({"web": {"hosts": "a"}}, "the group 'web': its hosts must be a list, […], and is text"),
        ({"web": {"hosts": None}}, "the group 'web': its hosts must be a list, […], and is null"),
        ({"web": {"hosts": ["a", 1]}}, "the group 'web': its hosts must be names, and one is a number"),
        ({"web": {"children": [True]}}, "the group 'web': its children must be names, and one is true or"),
        ({"web": {"vars": []}}, "the group 'web': its vars must be an object, {…}, and is a list"),
        ({"web1": {"ansible_host": "a"}}, "the group 'web1' has neither hosts, children nor vars"),
        ({"w\x1b": 1}, "the group 'w\\x1b' must be an object, {…}, and is a number"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_form_is_named(listed: object, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(listed)
    assert str(caught.value).startswith(f"fleet.py --list: {why}")


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"])
def test_what_is_not_json_is_said_in_one_line(text: bytes) -> None:
    with pytest.raises(UsageError, match=r"^fleet.py --list: ") as caught:
        ansible_json.parse(text, "fleet.py", "fleet.py --list")
    assert "\n" not in str(caught.value)


def test_a_group_below_itself_is_named() -> None:
    listed = {"a": {"children": ["b"]}, "b": {"children": ["a"], "hosts": ["h"]}}
    with pytest.raises(UsageError, match=r"^fleet.py: the group 'a' is below itself: take it out of its ch"):
        parse(listed).inventory()


def test_a_priority_that_is_no_number_is_named() -> None:
    listed = {"a": {"hosts": ["h"], "vars": {"ansible_group_priority": "high"}}}
    with pytest.raises(UsageError, match=r"'a' has ansible_group_priority='high': must be a number$"):
        parse(listed).inventory()


def test_a_host_that_cannot_be_one_is_named() -> None:
    with pytest.raises(UsageError, match=r"fleet.py"):
        parse({"web": ["a b"]}).inventory()


def variables_of(own: dict[str, object]) -> dict[str, str]:
    inventory = parse({"_meta": {"hostvars": {"web1.lab": own}}, "web": ["web1.lab"]}).inventory()
    return dict(inventory.hosts[0].variables)


@pytest.mark.parametrize(
    ("own", "value"),
    [
        ("{{ inventory_hostname }}:{{port}}", "web1.lab:22"),
        ("{{ deep }}", "web1/22"),
        ("{{ nothing }}", "{{ nothing }}"),
        ("{{ port }} {{ port | int }}", "{{ port }} {{ port | int }}"),
        ("{{ VALUE }}", "{{ VALUE }}"),
        ("{{ unsafe }}", "{{ unsafe }}"),
        ({"__ansible_unsafe": "{{ port }}"}, "{{ port }}"),
        ("{{ port }}" * 40_000, "{{ port }}" * 40_000),
    ],
)
def test_templates_that_only_name_variables_are_filled_in(own: object, value: str) -> None:
    more = {
        "port": 22,
        "deep": "{{ inventory_hostname_short }}/{{ port }}",
        "unsafe": {"__ansible_unsafe": "{{ a }}"},
    }
    assert variables_of({"VALUE": own, **more})["VALUE"] == value


def test_half_a_character_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"^fleet.py: 'web1.lab': VALUE has half a character: "):
        variables_of({"VALUE": "\ud800"})
