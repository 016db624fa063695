"""How one host is reached, by its line, ssh_config and settings; nothing is connected."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paramgmt_tasks import Host, Settings, UsageError
from paramgmt_tasks.ssh.config import SSHConfig
from paramgmt_tasks.ssh.target import Target, resolve
from paramgmt_tasks.steps import run_to_end

LOGIN = ("me", 22)


def resolved(host: Host, text: str = "", **settings: object) -> Target:
    return resolve(host, Settings(**settings), SSHConfig.from_text(text), LOGIN)  # type: ignore[arg-type]


def where(target: Target) -> tuple[str, str, int]:
    return target.address, target.user, target.port


def test_a_host_of_which_nothing_is_said_is_reached_under_its_name() -> None:
    target = resolved(Host("web1", "web1"))
    assert where(target) == ("web1", "me", 22)
    assert (target.jump, target.proxy_command, target.fault) == ("", "", "")


def test_ssh_config_comes_after_settings_and_these_after_the_hosts_own_line() -> None:
    text = "Host web1\n  HostName 10.0.0.1\n  User conf\n  Port 5\n"
    options = {"User": "line", "Port": "3"}
    assert where(resolved(Host("web1", "web1"), text)) == ("10.0.0.1", "conf", 5)
    assert where(resolved(Host("web1", "web1"), text, user="set", port=4)) == ("10.0.0.1", "set", 4)
    own = Host("web1", "web1", options=options)
    assert where(resolved(own, text, user="set", port=4)) == ("10.0.0.1", "line", 3)
    named = Host("nic@web1:2", "web1", "nic", 2, options=options)
    assert where(resolved(named, text, user="set", port=4)) == ("10.0.0.1", "nic", 2)
    assert where(resolve(named, Settings(), SSHConfig(), LOGIN, "arg", 1)) == ("web1", "arg", 1)


def test_the_settings_jump_hosts_come_before_those_of_ssh_config() -> None:
    text = "Host *\n  ProxyJump a,b\n"
    assert resolved(Host("web1", "web1"), text).jump == "a,b"
    assert resolved(Host("web1", "web1"), text, jump="c").jump == "c"
    assert resolved(Host("web1", "web1"), text, jump="none").jump == ""


def test_a_proxy_command_is_used_unless_jump_hosts_are_asked_for() -> None:
    text = "Host *\n  ProxyCommand nc %h %p\n"
    assert resolved(Host("web1", "web1"), text).proxy_command == "nc web1 22"
    assert resolved(Host("web1", "web1"), text, jump="none").proxy_command == ""
    target = resolved(Host("web1", "web1"), text, jump="a")
    assert (target.jump, target.proxy_command) == ("a", "")


@pytest.mark.parametrize(
    ("host", "text", "fault"),
    [
        (Host("web1", "web1", options={"Port": "x"}), "", "Port"),
        (Host("web1", "web1"), "Host web1\n  ProxyCommand nc %z\n", "unknown token %z"),
        (Host("web1", "web1"), "Match host web1 command reboot\n  Port 5\n", "command"),
    ],
)
def test_what_is_wrong_with_one_host_is_a_fault_of_it_alone(host: Host, text: str, fault: str) -> None:
    target = resolved(host, text)
    assert fault.lower() in target.fault.lower()
    with pytest.raises(UsageError) as raised:
        target.check()
    assert str(raised.value) == target.fault
    resolved(Host("web2", "web2"), text).check()


def test_what_is_wrong_for_all_hosts_is_raised() -> None:
    with pytest.raises(UsageError, match="bad port 'x'"):
        resolved(Host("web1", "web1"), jump="a:x")


@pytest.mark.parametrize(("user", "text"), [("-x", ""), ("", "Host *\n  HostName -oProxyCommand=x\n")])
def test_what_could_be_an_option_is_no_host_or_user(user: str, text: str) -> None:
    with pytest.raises(UsageError):
        resolved(Host("web1", "web1", user or None), text).check()


def test_the_name_in_known_hosts_has_the_port_unless_it_is_sshs_or_there_is_an_alias() -> None:
    assert resolved(Host("Web1", "Web1")).host_key_names == ("web1",)
    assert resolved(Host("web1", "web1", port=2222)).host_key_names == ("[web1]:2222", "web1")
    alias = Host("web1", "web1", port=2222, options={"HostKeyAlias": "All"})
    assert resolved(alias).host_key_names == ("all",)


def test_another_ssh_config_is_asked_as_paramiko_is() -> None:
    class Other:
        def lookup(self, hostname: str) -> dict[str, str]:
            return {"hostname": f"{hostname}.example", "user": "conf", "port": "5"}

    target = resolve(Host("web1", "web1"), Settings(), Other(), LOGIN)
    assert where(target) == ("web1.example", "conf", 5)
    own = Host("web1", "web1", options={"HostName": "10.0.0.1"})
    assert where(resolve(own, Settings(user="set"), Other(), LOGIN)) == ("10.0.0.1", "set", 5)


def test_a_jump_host_that_another_ssh_config_names_may_be_a_fault() -> None:
    class Other:
        def lookup(self, hostname: str) -> dict[str, str]:
            return {"proxyjump": "a:x"}

    target = resolve(Host("web1", "web1"), Settings(), Other(), LOGIN)
    assert (target.jump, target.fault[:12]) == ("", "bad port 'x'")


def test_options_of_the_command_line_come_after_the_hosts_own_line_and_before_ssh_config() -> None:
    text = (
        "Host web1\n  HostName 10.0.0.1\n  Port 5\n  User conf\n  IdentityFile c\nMatch user opt\n  Tag t\n"
        "Host *\n  ProxyJump j\n"
    )
    asked = {"hostname": "10.0.0.9", "Port": "6", "User": "opt", "IdentityFile": "o"}
    target = resolved(Host("web1", "web1"), text, ssh_options=asked)
    assert where(target) == ("10.0.0.9", "opt", 6)
    assert target.options["identityfile"] == ["o", "c"]
    assert (target.options["tag"], target.jump) == ("t", "j")
    own = Host("web1", "web1", options={"Port": "3", "IdentityFile": "l", "ProxyCommand": "nc %h"})
    target = resolved(own, text, ssh_options={**asked, "ProxyJump": "x"})
    assert where(target) == ("10.0.0.9", "opt", 3)
    assert target.options["identityfile"] == ["l"]
    assert (target.jump, target.proxy_command) == ("", "nc 10.0.0.9")
    assert where(resolved(Host("web1", "web1"), text, ssh_options=asked, user="u", port=7))[1:] == ("u", 7)


def test_of_an_option_that_is_given_several_times_the_first_holds_or_all() -> None:
    pairs = [
        ("Port", "6"),
        ("Port", "7"),
        ("IdentityFile", "a"),
        ("IdentityFile", "b"),
        ("ProxyCommand", "nc"),
    ]
    target = resolved(Host("web1", "web1"), ssh_options=[*pairs, ("ProxyJump", "j")])
    assert (target.port, target.options["identityfile"]) == (6, ["a", "b"])
    assert (target.jump, target.proxy_command) == ("", "nc")


def test_settings_with_options_of_ssh_are_keys_and_can_be_pickled() -> None:
    settings = Settings(ssh_options={"pubkeyacceptedkeytypes": "+ssh-rsa", "Port": "2"})
    assert settings.ssh_options == (("PubkeyAcceptedAlgorithms", "+ssh-rsa"), ("Port", "2"))
    assert {settings: 1}[pickle.loads(pickle.dumps(settings))] == 1
    assert "ssh_options=" in repr(settings)
    assert "ssh_options" not in repr(Settings())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"Prot": "2"}, "ssh_options: 'Prot' is no option of ssh_config (near: Port)"),
        ({"Port": "x"}, "ssh_options: bad port 'x'"),
        ({"Match": "all"}, "ssh_options: Match stands in files of ssh_config only"),
        ("Port=2", "ssh_options: must be a mapping"),
        ([("Port",)], "ssh_options: must be a mapping"),
        ({"Port": None}, "ssh_options: the name and the value of Port must be text"),
    ],
)
def test_options_of_ssh_that_cannot_be_used_are_refused(options: Any, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        Settings(ssh_options=options)
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Tunnel no\nForwardX11 no\nHashKnownHosts yes\nSendEnv LANG\nControlMaster auto\n", ()),
        ("Tunnel yes\nForwardX11 true\n", ("ForwardX11", "Tunnel")),
        ("LocalForward 80 a:80\nRemoteForward 90 b:90\n", ("LocalForward", "RemoteForward")),
        ("ClearAllForwardings yes\nLocalForward 80 a:80\n", ()),
        ("LocalCommand echo\n", ()),
        ("LocalCommand echo\nPermitLocalCommand yes\n", ("LocalCommand",)),
        ("PKCS11Provider /lib/x.so\nVerifyHostKeyDNS yes\n", ("PKCS11Provider", "VerifyHostKeyDNS")),
        ("PKCS11Provider none\nSessionType default\nChannelTimeout none\n", ()),
    ],
)
def test_what_is_not_supported_is_named_if_it_would_matter(text: str, named: tuple[str, ...]) -> None:
    assert resolved(Host("web1", "web1"), text).unsupported == named


def test_a_target_is_a_guess_until_what_has_to_be_asked_is_known() -> None:
    config = SSHConfig.from_text('Match exec "true"\n  Port 5\nHost *\n  ConnectTimeout 2\n')
    target = resolve(Host("web1", "web1"), Settings(), config, LOGIN)
    assert target.question is not None
    assert (target.port, target.options["connecttimeout"]) == (22, "2")
    run_to_end(config.answers.wait(target.question, 5.0))
    target = resolve(Host("web1", "web1"), Settings(), config, LOGIN)
    assert (target.port, target.question) == (5, None)


@pytest.mark.parametrize(
    "host",
    [
        Host("web", "web;touch {mark}"),
        Host("web", "web", user="x;touch {mark}"),
        Host("web", "web", options={"User": "x;touch {mark}"}),
    ],
    ids=["name", "user", "option"],
)
def test_no_name_is_a_command_of_match_exec(tmp_path: Path, host: Host) -> None:
    mark = tmp_path / "ran"
    host = replace(
        host,
        address=host.address.format(mark=mark),
        user=host.user and host.user.format(mark=mark),
        options={key: value.format(mark=mark) for key, value in host.options.items()},
    )
    config = SSHConfig.from_text('Match exec "true %n %h %r; exit 1"\nHostName real\n')
    target = resolve(host, Settings(), config, ("me", 22))
    if target.question is not None:
        run_to_end(config.answers.wait(target.question, 5))
    assert "contains invalid characters" in target.fault
    assert not mark.exists()


def test_a_name_that_ssh_refuses_is_refused_though_another_is_configured() -> None:
    config = SSHConfig.from_text("Host *\nHostName real\nProxyCommand nc %n\n")
    target = resolve(Host("a;b", "a;b"), Settings(), config, ("me", 22))
    assert target.fault == "host name 'a;b' contains invalid characters"
