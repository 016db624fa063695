"""Ansible's inventories give the hosts and groups that Ansible itself lists, in its order."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import until

from paramgmt_tasks import Host, UsageError
from paramgmt_tasks.inventory import Inventory, ansible, read_inventory

Run = Callable[..., "subprocess.CompletedProcess[str]"]

INI = """\
solo
[web]
web[01:03] x=1
[db]
db1 ansible_host=10.0.0.1 ansible_port=2222 ansible_user=nic
web02
[prod:children]
web
dc
[dc:children]
db
empty
[empty]
[web:vars]
colour=blue
[prod:vars]
colour=red
x=2
"""
YAML = """\
all:
  # those that are first
  hosts:
    zeta:
    alpha:
    mid[1:3]:
  children:
    web:
      hosts:
        mid2:
        alpha:
        other:
    db:
      children:
        deep:
          hosts: {d1: , zeta: }
      hosts:
        own:
  vars: {colour: blue}
"""
#: The groups below those of `all` have hosts of one alone: Ansible takes such groups in no certain order.
SCRIPT = """\
#!/bin/sh
echo '{"_meta": {"hostvars": {"c": {"x": 1}}}, "z": {"hosts": ["c", "a"], "vars": {"x": 2}},
 "y": {"hosts": ["b"]}}'
"""
FILES = {
    "fleet.ini": INI,
    "fleet.yml": YAML,
    "fleet.yaml": "web:\n  hosts:\n    b:\n    a: {x: 3}\n  children:\n    more: {hosts: {c: }}\n",
    "fleet.json": '{"web": {"hosts": {"b": null, "a": null}}, "all": {"hosts": {"a": null, "z": null}}}',
    "fleet.toml": '[web.hosts]\nweb1 = {}\n[web.hosts.web2]\nx = 1\n',
    "hosts": INI,
    "top.ini": "[web]\nb\na\n[all]\na\nc\nb\n",
    "folder/10-static": INI,
    "folder/20-fleet.yml": YAML,
    "folder/30-script.sh": SCRIPT,
    "folder/90-constructed.yml": "plugin: constructed\nstrict: false\ngroups: {blue: \"colour == 'blue'\"}\n",
    "folder/group_vars/web.yml": "from_group_vars: 1\n",
    "folder/host_vars/web01.yml": "from_host_vars: 2\n",
    "script.sh": SCRIPT,
    "beside/script.sh": SCRIPT,
    "beside/group_vars/z.yml": "more: 3\n",
}  # fmt: skip
NAMES = sorted({"./folder" if name.startswith("folder") else name for name in FILES if "vars" not in name})


@pytest.fixture(autouse=True)
def inventories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    monkeypatch.chdir(tmp_path)


def listed_by_ansible(name: str, *words: str) -> str:
    """What the `ansible` beside our `ansible-inventory` prints for all hosts."""
    program = Path(ansible.program() or "").with_name("ansible")
    done = subprocess.run([program, "-i", name, "all", *words], capture_output=True, text=True, check=True)
    return done.stdout


def groups_of_ansible(name: str) -> dict[str, list[str]]:
    """All groups as `ansible GROUP --list-hosts` lists them, by one call."""
    line = listed_by_ansible(name, "-o", "-m", "debug", "-a", "var=groups", "--limit", "all[0]")
    groups: dict[str, list[str]] = json.loads(line.partition("=> ")[2])["groups"]
    return groups


def of(inventory: Inventory, entry: str) -> Host:
    return next(host for host in inventory.hosts if host.entry == entry)


@pytest.mark.parametrize("name", NAMES)
def test_hosts_and_groups_are_those_that_ansible_lists_in_its_order(name: str) -> None:
    inventory = read_inventory(name)
    assert [host.entry for host in inventory.hosts] == [
        line.strip() for line in listed_by_ansible(name, "--list-hosts").splitlines()[1:]
    ]
    assert len(inventory.hosts) >= 2
    assert {name: list(group) for name, group in inventory.groups.items()} == groups_of_ansible(name)


def test_variables_are_merged_as_ansible_merges_them() -> None:
    inventory = read_inventory("fleet.ini")
    assert of(inventory, "web02").variables == {"colour": "blue", "x": "1"}
    assert of(inventory, "db1").variables["colour"] == "red"
    folder = read_inventory("./folder")
    assert of(folder, "web01").variables["from_host_vars"] == "2"
    assert of(folder, "web03").variables["from_group_vars"] == "1"
    assert "from_group_vars" not in of(folder, "solo").variables
    assert "web02" in folder.groups["blue"]
    assert of(read_inventory("script.sh"), "c").variables == {"x": "1"}
    assert of(read_inventory("beside/script.sh"), "a").variables == {"x": "2", "more": "3"}


def test_connection_variables_become_how_a_host_is_reached() -> None:
    host = of(read_inventory("fleet.ini"), "db1")
    assert host.options["HostName"] == "10.0.0.1"
    assert {host.port, host.options.get("Port")} & {2222, "2222"}
    assert {host.user, host.options.get("User")} & {"nic"}


def test_an_implicit_localhost_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty.ini").write_text("[web]\n")
    inventory = read_inventory("empty.ini")
    assert inventory.hosts == ()
    assert inventory.groups["ungrouped"] == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("all:\n  hosts: [a, b]\n", 'Invalid "hosts" entry for "all" group'),
        ("all: {\n", "YAML"),
        ("plugin: no.such.plugin\n", "specifies unknown plugin 'no.such.plugin'"),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "name a file with the password in ANSIBLE_VAULT_PASSWORD_FILE"),
    ],
)
def test_what_ansible_cannot_read_is_an_error_that_says_why(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "bad.yml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_inventory("bad.yml")
    assert str(caught.value).startswith("bad.yml: ansible-inventory cannot read it: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_file_of_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "folder" / "bad.yml").write_text("web: {hosts: [a]}\n")
    with pytest.raises(
        UsageError, match=r"^folder: ansible-inventory cannot read .*/folder/bad.yml: .*=0 goes on"
    ):
        read_inventory("./folder")
    monkeypatch.setenv("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "0")
    assert read_inventory("./folder").hosts
    assert any("Unable to parse" in message for message in caplog.messages)


def test_a_misspelt_key_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "bad.yml").write_text("web:\n  host: {a: }\n  hosts: {b: }\n")
    assert [host.entry for host in read_inventory("bad.yml").hosts] == ["b"]
    assert [message.split(", only")[0] for message in caplog.messages] == [
        "bad.yml: ansible-inventory: Skipping unexpected key (host) in group (web)"
    ]


def test_the_configuration_of_the_user_counts_but_not_for_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ansible.cfg").write_text(
        "[inventory]\nexport = true\nignore_extensions = .yml\n[defaults]\nverbosity=4\n"
    )
    monkeypatch.setenv("ANSIBLE_FORCE_COLOR", "1")
    monkeypatch.setenv("LC_ALL", "C")
    inventory = read_inventory("./folder")
    assert of(inventory, "web02").variables["colour"] == "blue"
    assert "blue" not in inventory.groups


def test_a_name_that_looks_like_an_option_or_has_spaces(tmp_path: Path) -> None:
    for name in ("-i.ini", "my fleet.ini"):
        (tmp_path / name).write_text(INI)
        assert len(read_inventory(name).hosts) == 5
    (tmp_path / "a,b.ini").write_text(INI)
    with pytest.raises(
        UsageError, match=r"^a,b.ini: Ansible takes a path with a comma for a list of hosts: ren"
    ):
        read_inventory("a,b.ini")


def test_a_suffix_in_capitals_which_ansible_does_not_know_is_said(tmp_path: Path) -> None:
    (tmp_path / "FLEET.YML").write_text(YAML)
    with pytest.raises(
        UsageError, match=r"^FLEET.YML: Ansible knows files by suffixes in small letters: rename"
    ):
        read_inventory("FLEET.YML")


def test_an_inventory_of_hostlists_is_found_by_name(tmp_path: Path, inv: Run) -> None:
    (tmp_path / "hostlists").mkdir()
    os.rename("fleet.yml", "hostlists/prod.yml")
    os.rename("folder", "hostlists/all")
    assert inv("rhosts", "--hosts", "prod").stdout.split()[:2] == ["zeta", "alpha"]
    assert "web01" in inv("rhosts", "--hosts", "all").stdout.split()


def test_hosts_of_an_inventory_are_reached_as_it_says(tmp_path: Path, inv: Run, sshd: Any) -> None:
    options = sshd.options()
    (tmp_path / "lab.yml").write_text(f"""\
web:
  hosts:
    web1: {{ansible_host: 127.1.0.1, RACK: a}}
    web2: {{ansible_host: 127.1.0.2, RACK: b}}
    web3: {{ansible_host: 127.1.0.3, RACK: c}}
  vars:
    ansible_port: {options["Port"]}
    ansible_user: {options["User"]}
    ansible_ssh_private_key_file: {options["IdentityFile"]}
    NAME: "{{{{ inventory_hostname }}}}.lab"
old: {{hosts: {{web2: }}}}
""")
    words = ["-o", f"UserKnownHostsFile={options['UserKnownHostsFile']}", "-o", "StrictHostKeyChecking=yes"]
    done = inv("rcmd", "--hosts", "lab.yml", "--limit", "@web!@old", *words, "--", "echo ?HOST ?RACK ?NAME")
    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if line.startswith("web")] == [
        "web1 a web1.lab",
        "web3 c web3.lab",
    ]


def test_a_program_that_fails_is_one_line_and_status_2(tmp_path: Path, inv: Run) -> None:
    (tmp_path / "cloud.sh").write_text("#!/bin/sh\necho no token >&2; exit 3\n")
    (tmp_path / "cloud.sh").chmod(0o755)
    done = inv("rhosts", "--hosts", "cloud.sh")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "rhosts: cloud.sh --list: exit status 3: no token\n"


def test_ctrl_c_ends_a_program_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "slow.sh").write_text("#!/bin/sh\necho $$ > pid\nexec sleep 300\n")
    (tmp_path / "slow.sh").chmod(0o755)
    words = [sys.executable, "-m", "paramgmt_tasks", "rhosts", "--hosts", "slow.sh"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == (b"", b"")
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")
