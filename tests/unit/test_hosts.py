import io
import json
import os
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from paramgmt_tasks.inventory import list_text, read_list
from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.model.hosts import SSH_OPTIONS, duplicates, expand, fold, parse_lines

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


def test_an_option_in_another_case_is_one_and_a_variable() -> None:
    (host,) = parse_lines(["web Hostname=10.0.0.1 port=2222 Tag=lab SetEnv='A=1 B=2'"], "x")
    assert host.options == {"HostName": "10.0.0.1", "Port": "2222", "Tag": "lab", "SetEnv": "A=1 B=2"}
    assert host.values == {"Hostname": "10.0.0.1", "port": "2222", "HOST": "web"}


@pytest.mark.parametrize("option", sorted(SSH_OPTIONS))
def test_each_option_is_known_in_any_case_but_in_capitals_could_be_meant_as_a_variable(option: str) -> None:
    value = {"Port": "22"}.get(option, "x")
    for name in {option.lower(), option.swapcase(), option.title()} - {option.upper()}:
        said = ""
        try:
            (host,) = parse_lines([f"web {name}={value}"], "x")
            said = f"x, line 1: {' '.join(host.options)}="
        except UsageError as error:  # it cannot have this value
            said = str(error)
        assert said.startswith(f"x, line 1: {option}=")
    with pytest.raises(UsageError) as refused:
        parse_lines(["web", f"web {option.upper()}={value}"], "x")
    assert str(refused.value) == (
        f"x, line 2: {option.upper()}={value}: write {option}={value} for ssh_config's option, "
        "or give the variable another name"
    )


def test_a_line_for_those_after_it_may_have_no_option_in_capitals_either() -> None:
    with pytest.raises(UsageError, match="line 1: PORT=80: write Port=80 for ssh_config's option"):
        parse_lines(["* PORT=80", "web"], "x")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HostNme", "HostName"),
        ("IdentiyFile", "IdentityFile"),
        ("identiyFile", "IdentityFile"),
        ("ProxyJumb", "ProxyJump"),
        ("Prot", "Port"),
        ("Usr", "User"),
        ("Host_Name", "HostName"),
    ],
)
def test_what_is_nearly_an_option_is_refused_and_names_it(name: str, meant: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_lines([f"web {name}=1"], "x")
    assert str(refused.value) == (
        f"x, line 1: {name}: did you mean {meant}? "
        f"A variable of this name is written {name.lower()} or {name.upper()}"
    )
    for variable in (name.lower(), name.upper()):
        (host,) = parse_lines([f"web {variable}=1"], "x")
        assert (host.options, host.variables) == ({}, {variable: "1"})


def test_one_letter_too_many_too_few_or_another_in_an_option_never_passes() -> None:
    chosen = random.Random(3)
    for option in sorted(SSH_OPTIONS):
        for _ in range(20):
            at, letter = chosen.randrange(1, len(option)), chosen.choice("aeinrst")
            before, rest = option[:at], option[at:]
            slips = [f"{before}{letter}{rest}", f"{before[:-1]}{rest[0]}{before[-1]}{rest[1:]}"]
            slips += [f"{before}{rest[1:]}"] if len(option) > 3 else []
            slips += [f"{before}{letter}{rest[1:]}"] if len(option) > 5 else []
            for name in slips:
                if name.lower() in map(str.lower, SSH_OPTIONS) or name.islower() or name.isupper():
                    continue
                with pytest.raises(UsageError, match=f"{name}: did you mean"):
                    parse_lines([f"web {name}=1"], "x")


@pytest.mark.parametrize("name", ["Role", "RackNo", "PEER", "zone", "IPAddress", "Gateway", "_A", "Protocol"])
def test_other_names_are_variables(name: str) -> None:
    assert parse_lines([f"web {name}=1"], "x")[0].variables == {name: "1"}


def test_an_older_name_of_an_option_is_the_option_too() -> None:
    (host,) = parse_lines(["web PubkeyAcceptedKeyTypes=ssh-ed25519 ChallengeResponseAuthentication=no"], "x")
    assert host.options == {"PubkeyAcceptedAlgorithms": "ssh-ed25519", "KbdInteractiveAuthentication": "no"}


@pytest.mark.parametrize("name", ["Include", "Match", "IgnoreUnknown"])
def test_an_option_of_files_is_refused_on_a_line(name: str) -> None:
    with pytest.raises(UsageError, match=f"line 1: {name} stands in files of ssh_config only"):
        parse_lines([f"web {name}=x"], "x")


@pytest.mark.parametrize("word", ["port=x", "hostname=a;b", "tunnel=maybe", "Ciphers="])
def test_an_option_of_a_line_that_cannot_be_used_is_refused_in_any_case(word: str) -> None:
    with pytest.raises(UsageError):
        parse_lines([f"web {word}"], "x")


@pytest.mark.parametrize("name", ["ProxyCommand", "proxycommand", "KnownHostsCommand"])
def test_a_program_that_would_run_here_is_refused_where_none_is_allowed(name: str) -> None:
    lines = [f"web {name}=/bin/x"]
    assert parse_lines(lines, "-")
    with pytest.raises(UsageError, match="runs here: allow it with --allow-proxy-command"):
        parse_lines(lines, "-", proxy_commands=False)


def test_folding_keeps_what_is_no_plain_name() -> None:
    assert fold(["web2", "web1", "web3", "db", "nic@x:22", "::1"]) == "db web[1-3] nic@x:22 ::1"
    assert fold([]) == ""


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ("web01 web02 web03 web07", "web[01-03,07]"),
        ("web1 web2 web10 web9 web11", "web[1-2,9-11]"),
        ("web1 web01 web2", "web[1-2,01]"),
        ("web08 web09 web10 web99 web100", "web[08-10,99-100]"),
        ("web098 web099 web100 web98", "web[98,098-100]"),
        ("w0 w00 w000 w1", "w[0-1,00,000]"),
        ("10.0.0.1 10.0.0.2 10.0.1.1", "10.0.0.[1-2] 10.0.1.1"),
        ("web1.a.example web2.a.example", "web[1-2].a.example"),
        ("ip-10-1-2-3 ip-10-1-3-3 ip-9-1-2-3 ip-10-1-2-4", "ip-9-1-2-3 ip-10-1-2-[3-4] ip-10-1-3-3"),
        ("db web1 db web1", "db web1"),
        (f"h{'9' * 5000} h{'1' * 5000}", f"h[{'1' * 5000},{'9' * 5000}]"),
        (f"h{10**30} h{10**30 + 1}", f"h[{10**30}-{10**30 + 1}]"),
    ],
)
def test_the_last_number_of_names_is_folded(names: str, folded: str) -> None:
    assert fold(names.split()) == folded


def test_what_is_folded_stands_for_the_same_hosts() -> None:
    chosen = random.Random(1)
    parts = ["a", "b", "-", ".", "0", "1", "9", "09", "10", "99", "100", "098"]
    for _ in range(2000):
        names = {"".join(chosen.choices(parts, k=chosen.randint(1, 4))) for _ in range(8)} - {"-", "."}
        assert {entry for text in fold(names).split() for entry in expand(text)} == names


class Counted(str):
    """A name that counts how often it is looked up."""

    lookups = 0

    def __hash__(self) -> int:
        Counted.lookups += 1
        return super().__hash__()


def effort(names: list[str]) -> int:
    """How many calls it takes to fold names, and how often one is looked up."""
    calls = 0

    def count(*event: object) -> None:
        nonlocal calls
        calls += 1

    Counted.lookups = 0
    entries = [Counted(name) for name in names]
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        fold(entries)
    finally:
        sys.setprofile(before)
    return calls + Counted.lookups


@pytest.mark.parametrize(
    "name",
    [
        lambda number, chosen: f"web{number}",
        lambda number, chosen: f"web{number:06}.example",
        lambda number, chosen: "ip-10-{}-{}-{}".format(*chosen.choices(range(256), k=3)),
        lambda number, chosen: f"{chosen.getrandbits(128):032x}",
        lambda number, chosen: f"h{chosen.getrandbits(600)}",
        lambda number, chosen: f"nic@web{number}:22",
        lambda number, chosen: f"r{number % 7}c{number % 11}n{number}",
        lambda number, chosen: "web1",
    ],
    ids=["even", "zeros", "scattered", "hex", "long", "no plain names", "several numbers", "one"],
)
def test_folding_takes_effort_as_there_are_names(name: Callable[[int, random.Random], str]) -> None:
    chosen = random.Random(2)
    names = [name(number, chosen) for number in range(2000)]
    fold(names[:10])  # what is loaded with the first use does not count
    assert effort(names) < 8 * effort(names[:400])


def test_a_host_can_be_pickled_and_hashed() -> None:
    (host,) = parse_lines(["a K=v Port=1"], "x")
    assert pickle.loads(pickle.dumps(host)) == host
    assert len({host, pickle.loads(pickle.dumps(host))}) == 1


# -- where lists come from


def test_a_byte_order_mark_is_no_part_of_the_first_host(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfweb1 Port=22\nweb2\n")
    assert [host.entry for host in read_list(str(tmp_path / "list"))] == ["web1", "web2"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_list_in_another_encoding_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    (tmp_path / "list").write_bytes("web1\nweb2\n".encode(encoding))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper((tmp_path / "list").open("rb")))
    for name in ("-", str(tmp_path / "list")):
        with pytest.raises(UsageError) as caught:
            read_list(name)
        assert str(caught.value) == (
            f"host list {name}: not a text file in UTF-8 but in UTF-16, it seems: save it as UTF-8"
        )
    sys.stdin.close()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            b"\xef\xbb\xbf[web]\nweb1\n",
            "begins with a byte order mark, which Ansible cannot read: save it without",
        ),
        (
            "[web]\nweb1\n".encode("utf-16"),
            "not a text file in UTF-8 but in UTF-16, it seems: save it as UTF-8",
        ),
    ],
)
def test_what_ansible_cannot_read_of_an_encoding_is_said_in_our_words(data: bytes, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        list_text.check_for_ansible(data, "fleet.ini", marked=False)
    assert str(caught.value) == f"fleet.ini: {said}"


def test_a_byte_order_mark_is_left_to_ansible_where_it_can_read_it() -> None:
    list_text.check_for_ansible(b"\xef\xbb\xbfweb:\n", "fleet.yml", marked=True)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_standard_input_is_utf_8_whatever_the_locale_is(monkeypatch: pytest.MonkeyPatch, mark: bytes) -> None:
    data = io.BytesIO(mark + "bücher.example\r\nweb2".encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data, "ascii", errors="surrogateescape"))
    assert [host.entry for host in read_list("-")] == ["bücher.example", "web2"]


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
@pytest.mark.parametrize("line", ["web1 ProxyCommand='nc %h %p'", "* ProxyCommand=x"])
def test_a_proxycommand_from_standard_input_has_to_be_allowed(
    name: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"web0\n{line}\n"))
    with pytest.raises(UsageError) as caught:
        read_list(name)
    assert str(caught.value) == (
        "standard input, line 2: a ProxyCommand runs here: allow it with --allow-proxy-command"
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"web0\n{line}\n"))
    assert read_list(name, allow_proxy_command=True)[0].entry == "web0"


def test_standard_input_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"web\xff\n"), "utf-8"))
    with pytest.raises(UsageError, match="not a text file in UTF-8"):
        read_list("-")


@pytest.fixture
def below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with hostlists/web.txt, two folders above the current one."""
    (tmp_path / "hostlists").mkdir(mode=0o755)
    (tmp_path / "hostlists" / "web.txt").write_text("web1\n")
    (tmp_path / "hostlists" / "web.txt").chmod(0o644)
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    return tmp_path


@pytest.mark.parametrize("part", ["hostlists", "hostlists/web.txt"])
def test_a_list_above_that_others_can_write_is_refused(
    below: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [host.entry for host in read_list("web")] == ["web1"]
    (below / part).chmod(0o777)
    with pytest.raises(UsageError) as caught:
        read_list("web")
    assert str(caught.value) == (
        f"host list web: {below / part} is not used, as others can write it: chmod go-w or chown it, "
        f"or name the file: {below / 'hostlists' / 'web.txt'}"
    )
    assert [host.entry for host in read_list(str(below / "hostlists" / "web.txt"))] == ["web1"]
    monkeypatch.chdir(below)
    assert [host.entry for host in read_list("web")] == ["web1"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("part", ["hostlists", "hostlists/web.txt"])
def test_a_list_above_of_another_user_is_refused(below: Path, part: str) -> None:
    os.chown(below / part, 12345, -1)
    with pytest.raises(UsageError, match="is not used, as it belongs to the user 12345"):
        read_list("web")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_link_that_another_user_made_is_refused(below: Path) -> None:
    (below / "hostlists").rename(below / "own")
    (below / "hostlists").symlink_to(below / "own")
    assert [host.entry for host in read_list("web")] == ["web1"]
    os.chown(below / "hostlists", 12345, -1, follow_symlinks=False)
    with pytest.raises(UsageError, match="is not used, as it belongs to the user 12345"):
        read_list("web")


@pytest.mark.parametrize("line", ["!web3", "web1!web2", "web*", "~web", "a^b", "RACK=b", "nic@web?:22"])
def test_an_expression_or_a_setting_is_no_host_of_a_list(line: str) -> None:
    with pytest.raises(UsageError, match=r"x, line 1: .* no host has it in its name"):
        parse_lines([line], "x")
