import json
import pickle
from pathlib import Path

import pytest

from paramgmt_tasks.errors import UsageError
from paramgmt_tasks.hosts import duplicates, exclude, fold, parse_lines, parse_patterns

CASES = json.loads((Path(__file__).parent / "cases" / "hosts.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["line"]))
def test_a_line_of_a_host_list(case: dict) -> None:
    if "error" in case:
        with pytest.raises(UsageError) as raised:
            parse_lines(["ok", case["line"]], "web.txt")
        assert str(raised.value).startswith("web.txt, line 2: ")
        assert case["error"] in str(raised.value)
        assert "\n" not in str(raised.value)
    else:
        assert [host.entry for host in parse_lines([case["line"]], "web.txt")] == case["hosts"]


def test_user_address_and_port_are_taken_apart() -> None:
    named, six, bare = parse_lines(["nic@web1:2222", "root@[fe80::1]:22", "::1"], "x")
    assert (named.user, named.address, named.port) == ("nic", "web1", 2222)
    assert (six.user, six.address, six.port) == ("root", "fe80::1", 22)
    assert (bare.user, bare.address, bare.port) == (None, "::1", None)


def test_order_and_duplicates_are_kept() -> None:
    hosts = parse_lines(["b", "a", "b"], "x")
    assert [host.entry for host in hosts] == ["b", "a", "b"]
    assert duplicates(hosts) == {"b": 2}


def test_variables_and_ssh_options_of_a_line() -> None:
    (host,) = parse_lines(['10.0.0.7 PEER=10.0.1.7 NOTE="a b" Port=2222 User=nic'], "x")
    assert host.values == {"HOST": "10.0.0.7", "PEER": "10.0.1.7", "NOTE": "a b"}
    assert host.options == {"Port": "2222", "User": "nic"}


def test_a_star_line_sets_defaults_for_the_lines_after_it() -> None:
    before, after, own = parse_lines(["a", "* RACK=r1 Port=22", "b", "c RACK=r2"], "x")
    assert before.values == {"HOST": "a"}
    assert after.values == {"HOST": "b", "RACK": "r1"}
    assert after.options == {"Port": "22"}
    assert own.values["RACK"] == "r2"


def test_windows_line_ends_do_not_become_part_of_a_host() -> None:
    assert [host.entry for host in parse_lines(["a\r", "b\r\n"], "x")] == ["a", "b"]


def test_exclude_takes_entries_addresses_and_ranges() -> None:
    hosts = parse_patterns(["n[1-4]", "nic@n9:22"], "--machines")
    assert [host.entry for host in exclude(hosts, ["n[2-3]", "n9"])] == ["n1", "n4"]


def test_errors_of_inline_hosts_and_excludes_name_their_option() -> None:
    with pytest.raises(UsageError, match="--machines: "):
        parse_patterns(["-x"], "--machines")
    with pytest.raises(UsageError, match="--exclude: "):
        exclude([], ["a[1"])
    with pytest.raises(UsageError, match=r"--exclude: control characters in 'a\\nb'"):
        exclude([], ["a\nb"])


def test_folding_keeps_what_is_no_plain_name() -> None:
    assert fold(["web2", "web1", "web3", "db", "nic@x:22", "::1"]) == "db web[1-3] nic@x:22 ::1"
    assert fold([]) == ""


def test_a_host_can_be_pickled_and_hashed() -> None:
    (host,) = parse_lines(["a K=v Port=1"], "x")
    assert pickle.loads(pickle.dumps(host)) == host
    assert len({host, pickle.loads(pickle.dumps(host))}) == 1
