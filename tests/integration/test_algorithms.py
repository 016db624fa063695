"""Every algorithm that ssh_config may name, against sshd: negotiated, files moved, new keys on the way."""

import os
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import paramiko
import pytest
from helpers import until

from paramgmt_tasks import Fleet, HostResult, Outcome, Pull, Push, RemoteCommand
from paramgmt_tasks.ssh.connection import HostConnection
from paramgmt_tasks.ssh.paramiko_internals import LeanTransport, algorithms

#: What sshd knows and nobody offers unless asked to, so that all can be had from one.
_LEGACY_KEX = "diffie-hellman-group14-sha1,diffie-hellman-group1-sha1,diffie-hellman-group-exchange-sha1"
_LEGACY_MACS = ",".join(f"{mac},{mac}-etm@openssh.com" for mac in ("hmac-md5", "hmac-md5-96", "hmac-sha1-96"))


@pytest.fixture(scope="module")
def willing(start_sshd):
    """A server with all that OpenSSH knows, which wants new keys each half a megabyte."""
    return start_sshd(
        f"KexAlgorithms +{_LEGACY_KEX}",
        "Ciphers +aes128-cbc,aes192-cbc,aes256-cbc,3des-cbc",
        f"MACs +{_LEGACY_MACS}",
        "RekeyLimit 500K",
        "LogLevel DEBUG",
        "MaxStartups 100",
    )


@pytest.fixture
def agreed(willing) -> Callable[[str], set[str]]:
    """What the server says since the test began that it has agreed on."""
    before = len(willing.log)

    def since(what: str) -> set[str]:
        return set(re.findall(rf"kex: {what}: (\S+)", willing.log[before:]))

    return since


def run(sshd, **options: str) -> HostResult:
    with Fleet([sshd.host(**options)]) as fleet:
        (result,) = fleet.report(RemoteCommand("echo hello"))
    return result


def exchanges(sshd) -> int:
    """How many exchanges of keys there have been."""
    return sshd.log.count("SSH2_MSG_NEWKEYS received")


def move(sshd, folder: Path, **options: str) -> None:
    """Push a file and pull it back."""
    data = os.urandom(700_000) + bytes(100_000) + os.urandom(700_000)
    (folder / "file").write_bytes(data)
    with Fleet([sshd.host(**options)]) as fleet:
        for operation in (
            Push((f"{folder}/file",), f"{folder}/pushed"),
            Pull((f"{folder}/pushed",), f"{folder}/pulled"),
        ):
            (result,) = fleet.report(operation)
            assert result.ok, result.reason
    assert (folder / "pulled").read_bytes() == data


#: Without what not every release of OpenSSH and paramiko has.
_METHODS = sorted(name for name in algorithms.KEX_METHODS if not name.startswith(("gss-", "mlkem")))


@pytest.mark.parametrize("method", _METHODS)
def test_a_key_exchange_by_each_method(willing, agreed, method: str) -> None:
    result = run(willing, KexAlgorithms=method)
    assert (result.outcome, result.stdout) == (Outcome.OK, b"hello\n"), result.reason
    assert agreed("algorithm") == {method}


def test_a_key_exchange_by_what_only_newer_servers_have() -> None:
    """OpenSSH has it since 9.9: here the server is paramiko's."""
    if "mlkem768x25519-sha256" not in algorithms.KEX:
        pytest.skip("needs paramiko 5.1 and cryptography 48")
    ours, theirs = socket.socketpair()
    client, server = LeanTransport(ours), paramiko.Transport(theirs)
    try:
        server.add_server_key(paramiko.ECDSAKey.generate())
        server.start_server(threading.Event(), paramiko.ServerInterface())
        client.prefer("KexAlgorithms", "mlkem768x25519-sha256")
        client.start_client(timeout=20)
        assert client.get_remote_server_key() == server.get_server_key()
    finally:
        client.close()
        server.close()
        ours.close()
        theirs.close()


@pytest.mark.parametrize("limit", ["300K", "default"])
@pytest.mark.parametrize("cipher", sorted(algorithms.CIPHER_TABLE))
def test_files_pass_under_each_cipher_and_new_keys(
    willing, agreed, tmp_path: Path, cipher: str, limit: str
) -> None:
    """Which the server asks for, or both."""
    before = exchanges(willing)
    move(willing, tmp_path, Ciphers=cipher, RekeyLimit=limit)
    assert agreed("client->server cipher") == agreed("server->client cipher") == {cipher}
    assert exchanges(willing) - before > 2


@pytest.mark.parametrize("mac", sorted(algorithms.MAC_TABLE))
def test_files_pass_under_each_mac(willing, agreed, tmp_path: Path, mac: str) -> None:
    move(willing, tmp_path, Ciphers="aes128-ctr", MACs=mac)
    assert agreed(r"client->server cipher: aes128-ctr MAC") == {mac}


@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr"])
def test_files_pass_compressed_if_asked_for(willing, agreed, tmp_path: Path, cipher: str) -> None:
    move(willing, tmp_path, Ciphers=cipher, Compression="yes")
    assert agreed(r"client->server cipher: \S+ MAC: \S+ compression") == {"zlib@openssh.com"}


def test_nothing_is_compressed_unless_asked_for(willing, agreed) -> None:
    assert run(willing).ok
    assert agreed(r"client->server cipher: \S+ MAC: \S+ compression") == {"none"}


def test_the_order_of_a_list_decides(willing, agreed) -> None:
    assert run(willing, Ciphers="^aes256-ctr", MACs="hmac-sha2-512,hmac-sha1").ok
    assert agreed("client->server cipher: aes256-ctr MAC") == {"hmac-sha2-512"}


def test_new_keys_are_asked_for_once_those_in_use_are_old(willing) -> None:
    before = exchanges(willing)
    with HostConnection(willing.host(RekeyLimit="default 1s")) as connection:
        connection.run("true", hide=True)
        assert exchanges(willing) - before == 1
        connection.run("sleep 1.1", hide=True)
        assert connection.run("echo hello", hide=True).stdout == "hello\n"
        until(lambda: exchanges(willing) - before > 1)


def test_what_an_old_server_has_is_named_with_the_option_that_allows_it(start_sshd) -> None:
    old = start_sshd(
        "KexAlgorithms diffie-hellman-group14-sha1,diffie-hellman-group1-sha1",
        "Ciphers aes128-cbc,3des-cbc",
        "MACs hmac-md5-96,hmac-sha1-96",
    )
    allowed: dict[str, str] = {}
    for option, first, others in (
        ("KexAlgorithms", "diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1"),
        ("Ciphers", "aes128-cbc", "3des-cbc"),
        ("MACs", "hmac-md5-96", "hmac-sha1-96"),
    ):
        result = run(old, **allowed)
        assert result.outcome is Outcome.UNREACHABLE
        assert result.reason == (
            f"no common algorithm: {option}=+{first} would allow what the server has ({first}, {others})"
        )
        allowed[option] = f"+{first}"
    assert run(old, **allowed).stdout == b"hello\n"


def test_a_server_with_what_is_in_no_library(start_sshd) -> None:
    sshd = start_sshd(
        "KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256",
        "Ciphers aes128-gcm@openssh.com,aes128-ctr",
        "MACs umac-128-etm@openssh.com",
    )
    assert run(sshd).stdout == b"hello\n", "AES-GCM needs no MAC"
    result = run(sshd, Ciphers="aes128-ctr")
    assert (result.outcome, result.reason) == (
        Outcome.UNREACHABLE,
        "no common algorithm: MACs that the server has cannot be used here: umac-128-etm@openssh.com",
    )


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("Ciphers", "+nonsense", "bad value '+nonsense' of 'ciphers': ssh knows no 'nonsense'"),
        ("MACs", "hmac-sha1,x", "bad value 'hmac-sha1,x' of 'macs': ssh knows no 'x'"),
        ("KexAlgorithms", "^x", "bad value '^x' of 'kexalgorithms': ssh knows no 'x'"),
        ("MACs", "umac-64@openssh.com", "MACs umac-64@openssh.com: none of them can be used here"),
        ("Ciphers", "-*", "Ciphers -*: none of them can be used here"),
        ("RekeyLimit", "8", "'rekeylimit': bad size '8': at least 16 bytes"),
        ("RekeyLimit", "1G x", "'rekeylimit': bad time 'x': seconds, or with units as in 1m30s"),
    ],
)
def test_what_cannot_be_meant_is_that_hosts_error(willing, option: str, value: str, reason: str) -> None:
    result = run(willing, **{option: value})
    assert (result.outcome, result.reason, result.attempts) == (Outcome.ERROR, reason, result.attempts)
    assert run(willing).ok


def test_names_that_only_ssh_knows_are_passed_over(willing, agreed) -> None:
    assert run(willing, MACs="umac-64@openssh.com,hmac-sha1", Ciphers="aes128-ctr").ok
    assert agreed("client->server cipher: aes128-ctr MAC") == {"hmac-sha1"}
