"""Which kind of inventory a name is, and what `ansible-inventory` says of those that are Ansible's."""

import io
import json
import os
import sys
from pathlib import Path

import pytest

from paramgmt_tasks import UsageError, read_list
from paramgmt_tasks.inventory import Inventory, Known, ansible, find_list, read_inventory
from paramgmt_tasks.inventory.ansible_order import listed_under_all

LISTED = {
    "_meta": {"hostvars": {"web1": {"RACK": "b"}}},
    "all": {"children": ["web"]},
    "web": {"hosts": ["web1"]},
}
OF_ANSIBLE = {"a": {"children": ["b"]}, "b": {"hosts": ["by-ansible"]}}
INI = "[web]\nweb1 ansible_host=10.0.0.1\n[web:vars]\nx=1\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ansible-inventory which lists one host, and keeps its words; the first in the PATH."""
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin" / "ansible-inventory"
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    answer(path, f"printf '%s\\n' \"$@\" > {tmp_path}/words; echo '{json.dumps(OF_ANSIBLE)}'")
    return path


@pytest.fixture
def none(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no ansible-inventory."""
    monkeypatch.setattr(ansible, "program", lambda: None)


def answer(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def entries(inventory: Inventory) -> list[str]:
    return [host.entry for host in inventory.hosts]


# -- which kind it is


@pytest.mark.parametrize(
    "name", ["a.yml", "a.yaml", "a.json", "a.ini", "a.toml", "a.INI", "./a.yml", "hosts", "-a.ini"]
)
def test_what_is_ansibles_is_read_by_ansible(name: str, fake: Path, here: Path) -> None:
    Path(name).write_text(INI)
    inventory = read_inventory(name)
    assert entries(inventory) == ["by-ansible"]
    assert inventory.groups["a"] == ("by-ansible",)
    assert inventory.source == str(Path(name))
    words = (here.parent / "words").read_text().splitlines()
    assert words == ["-i", str(here / name), "--list"]


def test_a_folder_is_read_by_ansible(fake: Path) -> None:
    Path("fleet").mkdir()
    assert entries(read_inventory("fleet")) == ["by-ansible"]
    assert entries(read_inventory("fleet/")) == ["by-ansible"]


@pytest.mark.parametrize("name", ["hosts.txt", "hosts", "hosts.ini", "hosts.list"])
@pytest.mark.parametrize(
    "line",
    [
        "* User=nic",
        "nic@web1",
        "web[1-1]",
        "web1,web1",
        "web1 HostName=10.0.0.1",
        "web1 ProxyJump=b ansible_host=c",
    ],
)
def test_a_list_of_ours_is_never_read_by_ansible(name: str, line: str, fake: Path) -> None:
    Path(name).write_text(f"# [web:vars]\nweb1 ansible_port=22\n{line}\n")
    hosts = read_list(name)
    assert hosts[0].entry == "web1"
    assert "by-ansible" not in [host.entry for host in hosts]


@pytest.mark.parametrize(
    "text", ["web1\n", "web1 RACK=a  # ansible_host=x\n", "# ansible_host\nweb1\n", "[::1]:22\n"]
)
def test_a_plain_list_without_suffix_is_ours(text: str, fake: Path) -> None:
    Path("hosts").write_text(text)
    assert entries(read_inventory("hosts")) != ["by-ansible"]


def test_a_txt_file_is_ours_whatever_is_in_it(fake: Path) -> None:
    Path("hosts.txt").write_text("web1 ansible_group=x\n")
    assert entries(read_inventory("hosts.txt")) == ["web1"]


def test_variables_beside_a_list_with_headings_make_it_ansibles(fake: Path) -> None:
    Path("group_vars").mkdir()
    Path("hosts").write_text("[web]\nweb1\n")
    assert entries(read_inventory("hosts")) == ["by-ansible"]
    Path("plain").write_text("web1\n")
    assert entries(read_inventory("plain")) == ["web1"]


def test_standard_input_is_never_ansibles(monkeypatch: pytest.MonkeyPatch, fake: Path) -> None:
    for name in ("-", "/dev/stdin"):
        monkeypatch.setattr(sys, "stdin", io.StringIO("web1 RACK=b\n"))
        assert entries(read_inventory(name)) == ["web1"]


def test_kept_output_is_read_as_such(fake: Path) -> None:
    Path("fleet.json").write_text(json.dumps(LISTED))
    assert [(host.entry, dict(host.variables)) for host in read_list("fleet.json")] == [
        ("web1", {"RACK": "b"})
    ]


def test_a_name_that_there_is_not_says_so(fake: Path) -> None:
    with pytest.raises(UsageError, match=r"^host list fleet.yml: no such file or directory; hint$"):
        read_inventory("fleet.yml", "; hint")
    with pytest.raises(UsageError, match=r"^host list x{300}: file name too long"):
        read_inventory("x" * 300)


def test_a_folder_with_a_program_that_others_can_write_is_not_read(fake: Path) -> None:
    Path("fleet/more").mkdir(parents=True)
    Path("fleet/more/hosts").write_text("web1\n")
    Path("fleet/more/hosts").chmod(0o777)
    assert entries(read_inventory("fleet")) == ["by-ansible"]
    answer(Path("fleet/more/hosts"), "echo")
    Path("fleet/more/hosts").chmod(0o777)
    with pytest.raises(
        UsageError, match=r"^fleet: not run, as others can write .*/fleet/more/hosts: chmod go-w"
    ):
        read_inventory("fleet")


def test_programs_in_a_folder_that_is_named_like_a_list_are_not_run(fake: Path) -> None:
    Path("web").mkdir()
    answer(Path("web/reboot"), "reboot")
    with pytest.raises(UsageError) as caught:
        read_inventory("web")
    assert str(caught.value) == (
        "web: a folder with a program, web/reboot: if it is an inventory, by which that is run, name it ./web"
    )
    for name in ("./web", "web/"):
        assert entries(read_inventory(name)) == ["by-ansible"]
    Path("hostlists").mkdir()
    Path("web").rename("hostlists/cloud")
    assert entries(read_inventory("cloud")) == ["by-ansible"]


# -- names in hostlists/


@pytest.mark.parametrize("suffix", ["", ".txt", ".ini", ".yml", ".yaml", ".json", ".toml"])
def test_names_in_hostlists_are_found_whatever_the_suffix(suffix: str, here: Path) -> None:
    (here.parent / "hostlists").mkdir()
    path = here.parent / "hostlists" / f"prod{suffix}"
    path.write_text("")
    assert find_list("prod") == path


def test_a_list_of_ours_comes_before_others_and_a_folder_last(here: Path, fake: Path) -> None:
    Path("hostlists/prod").mkdir(parents=True)
    assert find_list("prod") == here / "hostlists" / "prod"
    assert entries(read_inventory("prod")) == ["by-ansible"]
    for name in ("prod.yml", "prod.ini", "prod.txt"):
        Path("hostlists", name).write_text("")
        assert find_list("prod") == here / "hostlists" / name


def test_a_folder_here_does_not_hide_a_list(here: Path) -> None:
    Path("web").mkdir()
    assert find_list("web") == Path("web")
    Path("hostlists").mkdir()
    Path("hostlists/web.txt").write_text("web1\n")
    assert find_list("web") == here / "hostlists" / "web.txt"
    assert find_list("web/") == Path("web")
    assert find_list("..") == Path("..")


@pytest.mark.parametrize(
    "part", ["prod", "prod/hosts", "prod/group_vars", "prod/group_vars/web.yml", "group_vars/all"]
)
def test_what_ansible_reads_above_has_to_be_safe_too(part: str, here: Path, fake: Path) -> None:
    lists = here.parent / "hostlists"
    for name in ("prod/hosts", "prod/group_vars/web.yml", "group_vars/all", "test.ini"):
        (lists / name).parent.mkdir(parents=True, exist_ok=True)
        (lists / name).write_text("")
    (lists / "prod" / "gone").symlink_to("nowhere")
    name = "test" if part.startswith("group") else "prod"
    assert entries(read_inventory(name)) == ["by-ansible"]
    (lists / part).chmod(0o777)
    with pytest.raises(UsageError, match="is not used, as others can write it: chmod go-w"):
        read_inventory(name)


# -- without Ansible


@pytest.mark.usefixtures("none")
@pytest.mark.parametrize("name", ["fleet.yml", "fleet.toml", "fleet.json", "fleet"])
def test_without_ansible_its_inventories_say_what_to_do(name: str) -> None:
    Path(name).mkdir() if name == "fleet" else Path(name).write_text("{}")
    with pytest.raises(UsageError) as caught:
        read_inventory(name)
    assert str(caught.value) == (
        f"{name}: an Ansible inventory, and ansible-inventory is not installed: pip install ansible-core, "
        f"or where it is ansible-inventory -i {name} --list > fleet.json, and name fleet.json"
    )


@pytest.mark.usefixtures("none")
def test_without_ansible_ini_is_read_as_a_list(caplog: pytest.LogCaptureFixture) -> None:
    Path("fleet.ini").write_text("web1\nweb2\n")
    assert entries(read_inventory("fleet.ini")) == ["web1", "web2"]
    assert not caplog.messages
    Path("host_vars").mkdir()
    assert entries(read_inventory("fleet.ini")) == ["web1", "web2"]
    assert caplog.messages == [
        "fleet.ini: group_vars and host_vars beside it are not read: ansible-inventory is not installed"
    ]


def test_ansible_inventory_beside_python_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert ansible.program() is None
    answer(tmp_path / "ansible-inventory", "")
    assert ansible.program() == str(tmp_path / "ansible-inventory")


# -- what ansible-inventory says

WARNED = """\
cat >&2 <<'END'
[WARNING]: Deprecated: all of it
[WARNING]: Failed to parse inventory with 'auto' plugin: no root 'plugin' key found, '/x/a.yml' is not

Failed to parse inventory with 'auto' plugin.

[WARNING]:  * Failed to parse /x/a.yml with yaml plugin: the
reason, in lines
[WARNING]: Failed to parse inventory with 'ini' plugin: it is no INI
END"""


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (f"{WARNED}\n echo [ERROR]: Completely failed to parse inventory source /x/a.yml >&2; exit 1",
         "ansible-inventory cannot read /x/a.yml: the reason, in lines (ANSIBLE_INVENTORY_ANY_UNP"),
        (f"{WARNED}\n echo \"ERROR! Completely failed to parse inventory source $2\" >&2; exit 1",
         "ansible-inventory cannot read it: the reason, in lines"),
        (f"{WARNED}\n echo [WARNING]: Unable to parse /x/a.yml as an inventory source >&2; echo '{{}}'",
         "ansible-inventory cannot read /x/a.yml: the reason, in lines"),
        ("echo 'ERROR! no locale' >&2; exit 5", "ansible-inventory cannot read it: no locale"),
        ("echo Traceback: oh >&2; exit 5", "ansible-inventory cannot read it: exit status 5: Traceback: oh"),
        ("kill -9 $$", "ansible-inventory cannot read it: killed by signal 9"),
        ("printf '[ERROR]: \\033[2J\\n' >&2; exit 1", "ansible-inventory cannot read it: \\x1b[2J"),
        ("echo nothing", "what ansible-inventory prints: not JSON: "),
        ("", "what ansible-inventory prints: not JSON: "),
        ("echo []", "what ansible-inventory prints: all of it must be an object"),
        ("""echo '{"web": {"hosts": [1]}}'""", "what ansible-inventory prints: the group 'web': its hosts"),
    ],
)  # fmt: skip
def test_what_fails_is_said_in_one_line(script: str, why: str, fake: Path) -> None:
    answer(fake, script)
    Path("a.yml").write_text("")
    with pytest.raises(UsageError) as caught:
        read_inventory("a.yml")
    assert str(caught.value).startswith(f"a.yml: {why}")
    assert "\n" not in str(caught.value)


def test_one_that_hangs_is_ended_and_the_remedy_said(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ansible, "PATIENCE", 0.2)
    answer(fake, "exec sleep 300")
    Path("a.yml").write_text("")
    with pytest.raises(UsageError) as caught:
        read_inventory("a.yml")
    assert str(caught.value) == (
        "a.yml: ansible-inventory: not done after 120 s: ask it once, by "
        "ansible-inventory -i a.yml --list > fleet.json, and name fleet.json"
    )


def test_other_warnings_are_not_shown(fake: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = "[DEPRECATION WARNING]: old\n[WARNING]: Found both group and host with same name: web"
    answer(fake, f"echo '{json.dumps(OF_ANSIBLE)}'; echo '{said}' >&2")
    Path("a.yml").write_text("")
    assert entries(read_inventory("a.yml")) == ["by-ansible"]
    assert not caplog.messages


def test_it_runs_without_colours_and_exports_and_fails_if_something_cannot_be_read(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_INVENTORY_EXPORT", "1")
    monkeypatch.setenv("ANSIBLE_CONFIG", "my.cfg")
    monkeypatch.setenv("LC_ALL", "C")
    names = "NOCOLOR INVENTORY_EXPORT INVENTORY_ANY_UNPARSED_IS_FAILED CONFIG"
    values = "-".join(f"$ANSIBLE_{name}" for name in names.split())
    answer(fake, f'echo "{{\\"a\\": [\\"$(basename $PWD)-{values}-$LC_ALL\\"]}}"')
    Path("a.yml").write_text("")
    assert entries(read_inventory("a.yml")) == ["here-1-0-1-my.cfg-C.UTF-8"]


# -- what stands under `all`


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("a.yml", "all:\n  hosts:\n    b:\n    a[2:3]: {x: 1}\n    c:22: !vault |\n      x\n",
         ["b", "a2", "a3", "c"]),
        ("a.yml", "all:\n  children: {web: {hosts: {b: }}}\n", []),
        ("a.yml", "all: {hosts: \n", []),
        ("a.yml", "- all\n- hosts\n", []),
        ("a.json", '{"all": {"hosts": {"b": null, "a": null}}}', ["b", "a"]),
        ("a.json", '{"all": {"hosts": ["b", "a"]}}', ["b", "a"]),
        ("a", "x\n[web]\ny\n[all]\n# no\n; no\nb k=v\na\n[all:vars]\nk=v\n[web]\nz\n", ["b", "a"]),
        ("a", "[all]\nn[a:c][08:12:2]\nn[x:1]\n", [f"n{a}{b}" for a in "abc" for b in ("08", "10", "12")]),
    ],
)  # fmt: skip
def test_hosts_under_all_itself_are_found(name: str, text: str, names: list[str]) -> None:
    Path(name).write_text(text)
    assert listed_under_all(Path(name)) == names


def test_hosts_under_all_of_a_folder_come_in_the_order_of_files() -> None:
    for name in ("fleet/2", "fleet/1/b", "fleet/.hidden"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(f"[all]\n{name[-1]}\n")
    Path("fleet/3").write_bytes(b"[all]\n\xff\n")
    assert listed_under_all(Path("fleet")) == ["b", "2"]


def test_they_come_first(fake: Path) -> None:
    answer(fake, """echo '{"web": {"hosts": ["a", "b"]}, "ungrouped": {"hosts": ["c"]}}'""")
    Path("a.ini").write_text("[all]\nb\nnone\nc\n[web]\na\nb\n")
    inventory = read_inventory("a.ini")
    assert entries(inventory) == ["b", "c", "a"]
    assert inventory.groups["web"] == ("a", "b")


# -- in expressions


def test_a_folder_that_is_called_like_a_host_is_no_list_in_expressions(here: Path, fake: Path) -> None:
    Path("web1").mkdir()
    known = Known()
    assert not known.has_list("web1")
    assert known.has_list("./web1")
    Path("hostlists/web1").mkdir(parents=True)
    assert known.has_list("web1")
    assert [host.entry for host in known.listed("web1")] == ["by-ansible"]


@pytest.mark.parametrize("name", [".", "..", "./", "/"])
def test_the_folder_where_the_user_is_and_those_above_are_no_inventories(name: str, fake: Path) -> None:
    with pytest.raises(UsageError, match=r"^host list .*: is a directory"):
        read_inventory(name)
