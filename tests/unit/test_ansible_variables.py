"""Variables of Ansible as our options and variables."""

import logging

import pytest

from paramgmt_tasks.inventory.ansible_variables import LeftOut, host_of
from paramgmt_tasks.model import Host, UsageError


def host(name: str = "web1.lan", **variables: object) -> Host:
    return host_of(name, variables, "fleet", LeftOut("fleet"))


def warnings(caplog: pytest.LogCaptureFixture, *names: str, **variables: object) -> list[str]:
    left_out = LeftOut("fleet")
    for name in names or ("web1",):
        host_of(name, variables, "fleet", left_out)
    with caplog.at_level(logging.WARNING):
        left_out.tell()
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({"ansible_host": "10.0.0.1", "ansible_port": 2222}, {"HostName": "10.0.0.1", "Port": "2222"}),
        (
            {"ansible_user": "nic", "ansible_ssh_private_key_file": "~/k"},
            {"User": "nic", "IdentityFile": "~/k"},
        ),
        ({"ansible_ssh_host": "old", "ansible_host": "new"}, {"HostName": "new"}),
        ({"ansible_ssh_common_args": "-o ProxyJump=nic@b:22"}, {"ProxyJump": "nic@b:22"}),
        (
            {"ansible_ssh_common_args": "-Jb -i k -p22 -l nic"},
            {"ProxyJump": "b", "IdentityFile": "k", "Port": "22", "User": "nic"},
        ),
        (
            {"ansible_ssh_common_args": "-o 'ProxyCommand=ssh -W %h:%p b' -oForwardAgent=yes"},
            {"ProxyCommand": "ssh -W %h:%p b", "ForwardAgent": "yes"},
        ),
        (
            {"ansible_ssh_common_args": "-J a -o proxyjump=b", "ansible_ssh_extra_args": "-o Port=1"},
            {"ProxyJump": "a", "Port": "1"},
        ),
        ({"ansible_ssh_args": "-C -o ControlMaster=auto -o ControlPersist=60s -qvv"}, {}),
        ({"ansible_host": "{{ hosts[0] }}"}, {"HostName": "{{ hosts[0] }}"}),
        ({"ansible_host": "", "ansible_port": None}, {}),
    ],
)
def test_what_says_how_a_host_is_reached_is_an_option(
    variables: dict[str, object], options: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    found = host(**variables)
    assert found.options == options
    assert not [name for name in found.variables if name.startswith("ansible_")]
    assert not caplog.records


def test_the_others_are_variables_as_text() -> None:
    found = host(rack="b", n=3, on=True, off=False, f=1.5, no=None, l=[1, "ü"], d={"a": 1}, ansible_x="y")
    assert found.variables == {
        "rack": "b",
        "n": "3",
        "on": "True",
        "off": "False",
        "f": "1.5",
        "no": "",
        "l": '[1, "ü"]',
        "d": '{"a": 1}',
        "ansible_x": "y",
    }


@pytest.mark.parametrize(
    "name",
    [
        "ansible_password",
        "ansible_ssh_pass",
        "ansible_become_password",
        "ansible_sudo_pass",
        "ansible_ssh_private_key_passphrase",
    ],
)
def test_a_secret_is_no_variable(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert host(**{name: "secret"}).variables == {}
    said = warnings(caplog, "web1", "web2", **{name: "secret"})
    assert said == [f"fleet: {name} is not used: give --ask-password, or keys: web[1-2]"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"k": {"__ansible_vault": "x"}}, "k is encrypted, and left out"),
        ({"HOST": "x"}, "the variable HOST is left out: ?HOST cannot be its name"),
        ({"a-b": "x"}, "the variable a-b is left out: ?a-b cannot be its name"),
        ({"ansible_connection": "local"}, "ansible_connection=local is not done here, only ssh"),
        ({"ansible_ssh_common_args": "-F x -q"}, "-F in ansible_ssh_common_args has no meaning here"),
        ({"ansible_ssh_common_args": "-A"}, "-A in ansible_ssh_common_args has no meaning here"),
        (
            {"ansible_ssh_common_args": "-o Prot=22"},
            "-o Prot=22 in ansible_ssh_common_args is left out: 'prot'",
        ),
        ({"ansible_ssh_common_args": "'"}, "ansible_ssh_common_args has unbalanced quotes, and is left out"),
    ],
)
def test_what_has_no_meaning_is_told_once(
    variables: dict[str, object], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    (warning,) = warnings(caplog, "web1", "web2", **variables)
    assert warning.startswith(f"fleet: {said}")
    assert warning.endswith(": web[1-2]")


def test_a_name_that_no_host_has_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^fleet: .*control characters or white space"):
        host("a b")
