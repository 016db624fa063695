"""Logging in where ssh does, with the same files and agents: OpenSSH's client is run beside, and is right.

One sshd listens on all of 127.0.0.0/8, and asks for something else at each address.
"""

import base64
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from agents import ssh_agent, token_agent

from paramgmt_tasks import Fleet, Host, HostResult, Outcome, RemoteCommand, Settings, UsageError

#: What the sshd asks for, by address.
ADDRESSES = {
    "127.2.0.1": "AuthorizedKeysFile {folder}/keys/user.pub",
    "127.2.0.2": "TrustedUserCAKeys {folder}/keys/ca.pub\n AuthorizedKeysFile none",
    "127.2.0.3": "AuthorizedKeysFile {folder}/keys/user.pub\n MaxAuthTries 2",
    "127.2.0.4": "AuthorizedKeysFile {folder}/keys/both\n AuthenticationMethods publickey,publickey",
    "127.2.0.5": "AuthorizedKeysFile none\n Banner {folder}/keys/banner",
    "127.2.0.6": "AuthorizedKeysFile {folder}/keys/all\n PubkeyAcceptedAlgorithms rsa-sha2-256",
    "127.2.0.7": "AuthorizedKeysFile {folder}/keys/all\n PubkeyAcceptedAlgorithms +ssh-rsa",
    "127.2.0.8": "AuthorizedKeysFile {folder}/keys/token.pub",
    "127.2.0.9": "AuthorizedKeysFile {folder}/keys/user.pub\n MaxAuthTries 1",
    "127.2.0.10": "AuthorizedKeysFile none\n PubkeyAuthentication no",
}


def keygen(*words: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *words], check=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of all kinds. `user` is the one that is let in at most addresses, and `k1` … are not."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("user", "k1", "k2", "k3", "k4", "cert", "plain", "elsewhere", "ca", "second"):
        keygen("-t", "ed25519", "-N", "", "-C", name, "-f", folder / name)
    keygen("-t", "rsa", "-b", "2048", "-N", "", "-C", "rsa", "-f", folder / "rsa")
    keygen("-t", "ecdsa", "-N", "", "-C", "ecdsa", "-f", folder / "ecdsa")
    for name in ("cert", "rsa", "ecdsa", "elsewhere"):
        keygen("-s", folder / "ca", "-I", name, "-n", "root", folder / f"{name}.pub")
    (folder / "elsewhere-cert.pub").rename(folder / "apart.pub")
    keygen("-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", folder / "pem")
    for name in ("encrypted", "without_pub"):
        shutil.copy(folder / "user", folder / name)
        keygen("-p", "-P", "", "-N", "secret", "-f", folder / name)
    shutil.copy(folder / "user.pub", folder / "encrypted.pub")
    shutil.copy(folder / "user.pub", folder / "public_half")
    (folder / "open").write_bytes((folder / "user").read_bytes())
    (folder / "broken").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nnothing\n")
    (folder / "broken").chmod(0o600)
    (folder / "open").chmod(0o644)
    (folder / "both").write_text((folder / "user.pub").read_text() + (folder / "second.pub").read_text())
    (folder / "all").write_text("".join((folder / f"{n}.pub").read_text() for n in ("rsa", "ecdsa", "pem")))
    (folder / "banner").write_text("Welcome\nThis host is closed until noon\x1b[2J\n")
    return folder


@pytest.fixture(scope="module")
def server(start_sshd, keys: Path) -> Any:
    matches = [
        f"Match LocalAddress {address}\n {asks.replace('{folder}/keys', str(keys))}"
        for address, asks in ADDRESSES.items()
    ]
    return start_sshd("MaxStartups 1000", "LogLevel VERBOSE", *matches)


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory, keys: Path):
    """Agents: `all` has those of many kinds, `user` that one, `wrong` others."""
    folder = tmp_path_factory.mktemp("agents")
    held = {
        "all": ("k1", "cert", "rsa", "user", "k2"),
        "user": ("k1", "user"),
        "many": ("k1", "k2", "k3", "k4", "user"),
        "plain": ("plain",),
        "wrong": ("k1",),
    }
    # Without the certificate beside it.
    shutil.copy(keys / "cert", folder / "cert")
    with (
        ssh_agent(folder / "all", *(keys / name for name in held["all"])),
        ssh_agent(folder / "user", *(keys / name for name in held["user"])),
        ssh_agent(folder / "many", *(keys / name for name in held["many"])),
        ssh_agent(folder / "wrong", *(keys / name for name in held["wrong"])),
        ssh_agent(folder / "plain", folder / "cert"),
    ):
        yield folder


class Both:
    """OpenSSH's client and ours, with the same configuration, agent and host."""

    def __init__(self, server: Any, home: Path, keys: Path, sockets: Path) -> None:
        self.server, self.home, self._names = server, home, {"keys": str(keys), "agents": str(sockets)}
        self.config = home / ".ssh" / "config"
        self.config.parent.mkdir()

    def configure(self, text: str) -> None:
        known_hosts = self.server.folder / "known_hosts"
        usual = f"Port {self.server.port}\nUser root\nUserKnownHostsFile {known_hosts}\n"
        for name, value in self._names.items():
            text = text.replace(f"{{{name}}}", value)
        self.config.write_text(f"{text}\nHost *\n{usual}StrictHostKeyChecking yes\n")

    def tried(self, client, address: str) -> tuple[bool, list[str]]:
        """Whether a client gets in, and the keys that the server has seen, in order."""
        before = len(self.server.log)
        ok = client(address)
        seen = re.findall(
            r"^(Failed|Accepted|Partial) publickey for \S+ .* ssh2: (.*)$",
            self.server.log[before:],
            re.MULTILINE,
        )
        return ok, [f"{how} {key}" for how, key in seen]

    def ssh(self, address: str) -> bool:
        words = ["ssh", "-n", "-F", self.config, "-o", "BatchMode=yes", address, "true"]
        return subprocess.run(words, capture_output=True, timeout=30).returncode == 0

    def ours(self, address: str) -> bool:
        return self.result(address).ok

    def result(self, address: str, command: str = "true", **settings: object) -> HostResult:
        with Fleet([Host(address, address)], Settings(connect_timeout=20, **settings)) as fleet:  # type: ignore[arg-type]
            (result,) = fleet.perform(RemoteCommand(command)).report()
        return result


@pytest.fixture
def both(server: Any, blank_home: Path, keys: Path, sockets: Path) -> Both:
    return Both(server, blank_home, keys, sockets)


#: Configurations with which both clients offer the same keys in the same order: the agent of the
#: environment, what ssh_config has, and the address.
SAME = {
    "files": ("", "IdentityFile {keys}/k1\nIdentityFile {keys}/k2\nIdentityFile {keys}/user", "127.2.0.1"),
    "agent first": ("user", "IdentityFile {keys}/k2\nIdentityFile {keys}/k3", "127.2.0.1"),
    "named and held first": ("many", "IdentityFile {keys}/public_half", "127.2.0.3"),
    "named in another order": ("all", "IdentityFile {keys}/k2\nIdentityFile {keys}/k1", "127.2.0.5"),
    "only named": ("all", "IdentitiesOnly yes\nIdentityFile {keys}/k3\nIdentityFile {keys}/k2", "127.2.0.5"),
    "only defaults": ("all", "IdentitiesOnly yes", "127.2.0.5"),
    "none": ("", "IdentityFile none", "127.2.0.1"),
    "certificate beside": ("", "IdentityFile {keys}/k1\nIdentityFile {keys}/cert", "127.2.0.2"),
    "certificate of RSA": ("", "IdentityFile {keys}/rsa", "127.2.0.2"),
    "certificate of ECDSA": ("", "IdentityFile {keys}/ecdsa", "127.2.0.2"),
    "certificates of an agent": ("all", "", "127.2.0.2"),
    "certificate beside a plain key of an agent": ("plain", "IdentityFile {keys}/cert", "127.2.0.2"),
    "CertificateFile": (
        "",
        "IdentityFile {keys}/elsewhere\nCertificateFile {keys}/apart.pub",
        "127.2.0.2",
    ),
    "CertificateFile and an agent": (
        "all",
        "IdentityFile {keys}/elsewhere\nIdentityFile {keys}/cert\nCertificateFile {keys}/apart.pub",
        "127.2.0.5",
    ),
    "public half": ("user", "IdentitiesOnly yes\nIdentityFile {keys}/public_half", "127.2.0.1"),
    "encrypted, held": ("user", "IdentitiesOnly yes\nIdentityFile {keys}/encrypted", "127.2.0.1"),
    "encrypted without .pub, held": (
        "user",
        "IdentitiesOnly yes\nIdentityFile {keys}/without_pub",
        "127.2.0.1",
    ),
    "others may read it, but it is held": (
        "user",
        "IdentitiesOnly yes\nIdentityFile {keys}/open",
        "127.2.0.1",
    ),
    "PEM": ("", "IdentityFile {keys}/pem", "127.2.0.7"),
    "broken beside a good one": ("", "IdentityFile {keys}/broken\nIdentityFile {keys}/user", "127.2.0.1"),
    "IdentityAgent": ("wrong", "IdentityAgent {agents}/user", "127.2.0.1"),
    "IdentityAgent none": ("user", "IdentityAgent none", "127.2.0.1"),
    "IdentityAgent of a variable": ("wrong", "IdentityAgent $OTHER_AGENT", "127.2.0.1"),
    "IdentityAgent by a variable": ("wrong", "IdentityAgent ${OTHER_AGENT}", "127.2.0.1"),
    "IdentityAgent SSH_AUTH_SOCK": ("user", "IdentityAgent SSH_AUTH_SOCK", "127.2.0.1"),
    "IdentityAgent of no variable": ("user", "IdentityAgent $NO_SUCH", "127.2.0.1"),
    "IdentityAgent for one host": (
        "wrong",
        "Host 127.2.0.1\nIdentityAgent {agents}/user\nHost *\nIdentityAgent none",
        "127.2.0.1",
    ),
    "RSA with SHA-256 only": ("", "IdentityFile {keys}/rsa", "127.2.0.6"),
    "RSA with SHA-256 only, of an agent": ("all", "IdentitiesOnly yes\nIdentityFile {keys}/rsa", "127.2.0.6"),
    "RSA with SHA-1": ("", "PubkeyAcceptedAlgorithms ssh-rsa\nIdentityFile {keys}/rsa", "127.2.0.7"),
    "PubkeyAcceptedAlgorithms": (
        "",
        "PubkeyAcceptedAlgorithms -ssh-ed25519*\nIdentityFile {keys}/user\nIdentityFile {keys}/ecdsa",
        "127.2.0.7",
    ),
    "RequiredRSASize": (
        "",
        "RequiredRSASize 3072\nIdentityFile {keys}/rsa\nIdentityFile {keys}/ecdsa",
        "127.2.0.7",
    ),
    "two keys": ("", "IdentityFile {keys}/user\nIdentityFile {keys}/second", "127.2.0.4"),
    "one key of two": ("", "IdentityFile {keys}/user\nIdentityFile {keys}/k1", "127.2.0.4"),
    "too many": ("many", "", "127.2.0.3"),
    "PubkeyAuthentication no": ("user", "PubkeyAuthentication no", "127.2.0.1"),
    "PreferredAuthentications": ("user", "PreferredAuthentications password", "127.2.0.1"),
    "PreferredAuthentications with keys": (
        "user",
        "PreferredAuthentications password,publickey",
        "127.2.0.1",
    ),
}


@pytest.mark.parametrize(("agent", "config", "address"), SAME.values(), ids=SAME)
def test_the_same_keys_are_offered_in_the_same_order(
    both: Both, sockets: Path, monkeypatch: pytest.MonkeyPatch, agent: str, config: str, address: str
) -> None:
    if agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sockets / agent))
    monkeypatch.setenv("OTHER_AGENT", str(sockets / "user"))
    both.configure(config)
    expected = both.tried(both.ssh, address)
    assert both.tried(both.ours, address) == expected


#: Where ssh asks the server about keys with which it cannot sign here, and we do not.
OUTCOMES = {
    "encrypted beside a good one": ("IdentityFile {keys}/encrypted\nIdentityFile {keys}/user", True),
    "encrypted": ("IdentityFile {keys}/encrypted", False),
    "others may read it": ("IdentityFile {keys}/open", False),
    "others may read one": ("IdentityFile {keys}/open\nIdentityFile {keys}/user", True),
    "public half alone": ("IdentityFile {keys}/public_half", False),
}


@pytest.mark.parametrize(("config", "expected"), OUTCOMES.values(), ids=OUTCOMES)
def test_who_ssh_lets_in_is_let_in(both: Both, config: str, expected: bool) -> None:
    both.configure(config)
    assert (both.ssh("127.2.0.1"), both.ours("127.2.0.1")) == (expected, expected)


# -- what a reason says


@pytest.mark.parametrize("option", ["PubkeyAuthentication no", "PreferredAuthentications password"])
def test_a_reason_says_that_ssh_config_excludes_keys(both: Both, option: str) -> None:
    both.configure(f"{option}\nIdentityFile {{keys}}/user")
    reason = both.result("127.2.0.1").reason
    assert "no key to offer" not in reason
    assert option.split()[0] in reason


def test_why_keys_were_not_offered_is_said(both: Both, keys: Path) -> None:
    both.configure("IdentityFile {keys}/encrypted\nIdentityFile {keys}/k1")
    reason = both.result("127.2.0.1").reason
    assert reason.startswith(f"authentication failed for root: ssh-ed25519; {keys}/encrypted: it has a pass")


@pytest.mark.parametrize("address", ["127.2.0.5", "127.2.0.9", "127.2.0.10"])
def test_a_refusal_is_denied_once(both: Both, address: str) -> None:
    both.configure("IdentityFile {keys}/k1\nIdentityFile {keys}/k2")
    result = both.result(address)
    assert (result.outcome, result.attempts) == (Outcome.DENIED, 1)
    said = {
        "127.2.0.5": "the server says: This host is closed until noon",
        "127.2.0.9": "the server says: Too many authentication failures",
        "127.2.0.10": "ssh-ed25519 (the server wants ",
    }
    assert said[address] in result.reason
    assert result.reason.isprintable()


# -- agents


def test_an_agent_with_a_token_signs_once_and_only_for_who_wants_it(
    both: Both, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with token_agent(tmp_path / "token") as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "token"))
        text = base64.b64encode(agent.public).decode()
        (keys / "token.pub").write_text(f"sk-ssh-ed25519@openssh.com {text} token\n")
        both.configure("IdentityFile {keys}/k1")
        assert both.ours("127.2.0.8")
        assert agent.signed == 1
        assert not both.ours("127.2.0.1")
        assert agent.signed == 1


def test_an_agent_that_refuses_to_sign_is_not_the_end(
    both: Both, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with token_agent(tmp_path / "token", refuses=True) as agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "token"))
        text = base64.b64encode(agent.public).decode()
        (keys / "token.pub").write_text(f"sk-ssh-ed25519@openssh.com {text} token\n")
        both.configure("IdentityFile {keys}/k1")
        result = both.result("127.2.0.8")
        assert (result.outcome, "refused to sign" in result.reason) == (Outcome.DENIED, True)
        (keys / "token.pub").write_text(f"sk-ssh-ed25519@openssh.com {text}\n{(keys / 'k1.pub').read_text()}")
        assert both.ours("127.2.0.8")


def test_an_identity_that_is_named_may_be_held_by_an_agent_of_the_host(both: Both, keys: Path) -> None:
    both.configure("IdentitiesOnly yes\nIdentityAgent {agents}/user")
    assert both.result("127.2.0.1", identity=str(keys / "public_half")).ok
    assert both.result("127.2.0.1", identity=str(keys / "without_pub")).ok
    both.configure("")
    with pytest.raises(UsageError, match="ssh-add"):
        both.result("127.2.0.1", identity=str(keys / "without_pub"))


def test_an_agent_that_is_gone_is_none(both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "none"))
    both.configure("IdentityFile {keys}/user")
    assert both.ssh("127.2.0.1")
    assert both.ours("127.2.0.1")


def test_a_passphrase_opens_keys_that_no_agent_holds(both: Both) -> None:
    both.configure("IdentityFile {keys}/without_pub")
    assert both.result("127.2.0.1", passphrase="secret").ok
    assert "wrong passphrase" in both.result("127.2.0.1", passphrase="other").reason


# -- forwarding


def forwarded(both: Both, address: str = "127.2.0.1") -> tuple[str, str]:
    """What programs on a host see of an agent, with both clients."""
    command = "ssh-add -l 2>&1; true"
    words = ["ssh", "-n", "-F", both.config, "-o", "BatchMode=yes", address, command]
    theirs = subprocess.run(words, capture_output=True, timeout=30, text=True).stdout
    return theirs, both.result(address, command).stdout.decode()


FORWARDED = {
    "yes": ("user", "ForwardAgent yes"),
    "no": ("user", "ForwardAgent no"),
    "path": ("user", "ForwardAgent {agents}/wrong"),
    "variable": ("user", "ForwardAgent $OTHER_AGENT"),
    "the one of IdentityAgent": ("wrong", "ForwardAgent yes\nIdentityAgent {agents}/user"),
    "without an agent": ("", "ForwardAgent yes\nIdentityFile {keys}/user"),
    "no such path": ("user", "ForwardAgent {agents}/nothing"),
    "for another host": ("user", "Host other\nForwardAgent yes\nHost *"),
}


@pytest.mark.parametrize(("agent", "config"), FORWARDED.values(), ids=FORWARDED)
def test_the_same_agent_is_forwarded(
    both: Both, sockets: Path, monkeypatch: pytest.MonkeyPatch, agent: str, config: str
) -> None:
    if agent:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sockets / agent))
    monkeypatch.setenv("OTHER_AGENT", str(sockets / "many"))
    both.configure(config)
    theirs, ours = forwarded(both)
    # Without keys it is not for all reasons the same message.
    assert re.findall("SHA256:.*", ours) == re.findall("SHA256:.*", theirs)
    assert ours


def test_no_agent_to_forward_is_told_once(both: Both, caplog: pytest.LogCaptureFixture) -> None:
    both.configure("ForwardAgent yes\nIdentityFile {keys}/user")
    hosts = [Host(address, address) for address in ("127.2.0.1", "127.2.0.3")]
    with Fleet(hosts) as fleet:
        assert fleet.perform(RemoteCommand("true")).report().ok
    assert [record.message.partition(":")[0] for record in caplog.records] == ["the agent is not forwarded"]


def test_one_agent_is_forwarded_to_many_programs_on_many_hosts(
    both: Both, sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(sockets / "user"))
    both.configure("ForwardAgent yes")
    hosts = [Host("127.2.0.1", "127.2.0.1")] * 10
    command = "for n in 1 2 3; do ssh-add -l >/dev/null || exit; done; ssh-add -l | wc -l"
    with Fleet(hosts, Settings(connect_timeout=20)) as fleet:
        report = fleet.perform(RemoteCommand(command)).report()
        assert [result.stdout for result in report] == [b"2\n"] * 10
        report = fleet.perform(RemoteCommand("ssh-add -l >/dev/null; ssh-add -l | wc -l")).report()
        assert [result.stdout for result in report] == [b"2\n"] * 10


@pytest.mark.parametrize("hide", [True, False], ids=["hidden", "shown"])
def test_fabric_forwards_it_too(
    both: Both, sockets: Path, monkeypatch: pytest.MonkeyPatch, hide: bool
) -> None:
    from paramgmt_tasks import ParallelGroup

    monkeypatch.setenv("SSH_AUTH_SOCK", str(sockets / "user"))
    both.configure("")
    with ParallelGroup("127.2.0.1", forward_agent=True) as group:
        (result,) = group.run("ssh-add -l | wc -l", hide=hide).values()
        assert result.stdout == "2\n"
        result = group[0].run("ssh-add -l | wc -l", hide=hide, pty=True)
        assert result.stdout.strip() == "2"
    both.configure("ForwardAgent yes")
    with ParallelGroup("127.2.0.1", forward_agent=False) as group:
        (result,) = group.run("echo $SSH_AUTH_SOCK", hide=True).values()
        assert result.stdout == "\n"


def test_a_script_sees_the_agent(
    both: Both, sockets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(sockets / "user"))
    both.configure("ForwardAgent yes")
    (tmp_path / "script").write_text("#!/bin/sh\nssh-add -l | wc -l\n")
    with Fleet([Host("127.2.0.1", "127.2.0.1")]) as fleet:
        (result,) = fleet.script(tmp_path / "script").report()
    assert result.stdout == b"2\n"
