"""Logging in with a Kerberos ticket, against sshd and a key distribution centre of our own on loopback."""

import getpass
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import free_port, listens, start_lasting, until

from paramgmt_tasks import Fleet, HostResult, Outcome, RemoteCommand
from paramgmt_tasks.ssh import gssapi

_REALM = "EXAMPLE.TEST"
_PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_CONFIG = """
[libdefaults]
  default_realm = {realm}
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
[realms]
  {realm} = {{
    kdc = 127.0.0.1:{port}
  }}
"""
_KDC_CONFIG = """
[kdcdefaults]
  kdc_listen = 127.0.0.1:{port}
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  {realm} = {{
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
    acl_file = {folder}/acl
  }}
"""


@dataclass
class Realm:
    """A realm, whose environment programs need, and the caches of its tickets."""

    folder: Path
    env: dict[str, str]

    @property
    def cache(self) -> Path:
        """Where this user's ticket is."""
        return self.folder / "ticket"

    def run(self, *words: str | Path, **options: Any) -> str:
        env = {**os.environ, **self.env}
        done = subprocess.run(
            words, env=env, capture_output=True, text=True, check=True, timeout=60, **options
        )
        return done.stdout


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    programs = {name: shutil.which(name, path=_PATH) for name in _PROGRAMS}
    missing = [name for name, path in programs.items() if path is None]
    if not gssapi._is_installed():
        missing.append("the extra gssapi")
    if missing:
        needed = f"needs {', '.join(missing)}, from the packages krb5-kdc, krb5-admin-server and krb5-user"
        pytest.fail(f"CI {needed}") if os.environ.get("CI") else pytest.skip(needed)
    folder, port = tmp_path_factory.mktemp("realm"), free_port()
    about = {"realm": _REALM, "port": port, "folder": folder}
    (folder / "krb5.conf").write_text(_CONFIG.format(**about))
    (folder / "kdc.conf").write_text(_KDC_CONFIG.format(**about))
    env = {
        "KRB5_CONFIG": f"{folder}/krb5.conf",
        "KRB5_KDC_PROFILE": f"{folder}/kdc.conf",
        "KRB5_KTNAME": f"{folder}/keytab",
    }
    realm = Realm(folder, env)
    realm.run(programs["kdb5_util"], "create", "-s", "-W", "-P", "master")
    user, hosts = getpass.getuser(), ["127.1.0.1", "127.1.0.2", "other.example.test"]
    asked = [f"addprinc -pw secret {user}", "addprinc -pw secret other/one"]
    asked += [f"addprinc -randkey host/{name}" for name in hosts]
    asked += [f"ktadd -k {folder}/keytab host/{name}" for name in hosts]
    realm.run(programs["kadmin.local"], input="\n".join(asked) + "\n")
    with (folder / "log").open("wb") as log:
        kdc = start_lasting(
            [programs["krb5kdc"], "-n", "-P", folder / "pid"],
            env={**os.environ, **env},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: listens(port), 20, lambda: (folder / "log").read_text())
        for principal, cache in ((user, realm.cache), ("other/one", folder / "another")):
            realm.run(programs["kinit"], "-f", "-c", f"FILE:{cache}", principal, input="secret\n")
        yield realm
    finally:
        kdc.terminate()
        kdc.wait(10)


@pytest.fixture(scope="module")
def server(realm: Realm, start_sshd: Callable[..., Any]) -> Any:
    """One that takes tickets, beside keys."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in realm.env.items():
            environment.setenv(name, value)
        return start_sshd("GSSAPIAuthentication yes", "GSSAPIStrictAcceptorCheck no", "LogLevel DEBUG")


@pytest.fixture
def ticket(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process has a ticket; where it is."""
    monkeypatch.setenv("KRB5_CONFIG", realm.env["KRB5_CONFIG"])
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{realm.cache}")
    return realm.cache


def ask(server: Any, command: str = "echo hello", **options: str) -> HostResult:
    with Fleet([server.host(0, **options)]) as fleet:
        (result,) = fleet.report(RemoteCommand(command))
    return result


def accepted(server: Any, since: int) -> list[str]:
    """The methods by which the server has let in somebody."""
    return re.findall(r"^Accepted (\S+) for", server.log[since:], re.MULTILINE)


ON = {"GSSAPIAuthentication": "yes"}
NO_KEY = {**ON, "PubkeyAuthentication": "no"}


def test_a_ticket_lets_in(server, ticket) -> None:
    before = len(server.log)
    result = ask(server, **NO_KEY)
    assert (result.outcome, result.stdout) == (Outcome.OK, b"hello\n"), result.reason
    assert accepted(server, before) == ["gssapi-with-mic"]


def test_it_lets_in_many(server, ticket) -> None:
    hosts = [server.host(number % 2, **NO_KEY) for number in range(20)]
    with Fleet(hosts) as fleet:
        assert fleet.report(RemoteCommand("true")).ok


def test_a_ticket_comes_before_a_key_as_with_ssh(server, ticket) -> None:
    before = len(server.log)
    assert ask(server, **ON).ok
    words = [word for name, value in server.options(**ON).items() for word in ("-o", f"{name}={value}")]
    subprocess.run(["ssh", "-F", "none", *words, "127.1.0.1", "true"], check=True, timeout=60)
    assert accepted(server, before) == ["gssapi-with-mic", "gssapi-with-mic"]


@pytest.mark.parametrize(
    "options",
    [
        {"GSSAPIAuthentication": "no"},
        {**ON, "PreferredAuthentications": "publickey,gssapi-with-mic"},
    ],
)
def test_a_key_is_sent_where_no_ticket_is_asked_for(server, ticket, options: dict[str, str]) -> None:
    before = len(server.log)
    assert ask(server, **options).ok
    assert accepted(server, before) == ["publickey"]


def test_without_a_ticket_a_key_goes_along_with_the_first_request(server, realm, monkeypatch) -> None:
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{realm.folder}/nothing")
    before = len(server.log)
    assert ask(server, **ON).ok
    assert accepted(server, before) == ["publickey"]
    assert "method none" not in server.log[before:], "nothing was asked first"
    result = ask(server, **NO_KEY)
    assert (result.outcome, result.reason.split("; ")[-1]) == (
        Outcome.DENIED,
        "gssapi-with-mic: there is no Kerberos ticket: kinit gets one",
    )


def test_without_the_extra_the_reason_names_it(server, ticket, monkeypatch) -> None:
    monkeypatch.setattr(gssapi, "_is_installed", lambda: False)
    assert ask(server, **ON).ok, "by the key"
    result = ask(server, **NO_KEY)
    assert (result.outcome, result.reason.split("; ")[-1]) == (
        Outcome.DENIED,
        "gssapi-with-mic: it needs the extra gssapi: pip install 'paramgmt-tasks[gssapi]'",
    )


def test_a_server_that_takes_no_tickets_has_nothing_imported(sshd, ticket) -> None:
    program = (
        "import sys; from paramgmt_tasks import *; import paramgmt_tasks.model.hosts as h\n"
        f"report = Fleet([{sshd.host(**ON)!r}]).report(RemoteCommand('true'))\n"
        "assert report.ok, report\nassert 'gssapi' not in sys.modules"
    ).replace("Host(", "h.Host(")
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_server_may_have_another_name(server, ticket, realm) -> None:
    assert ask(server, **NO_KEY, GSSAPIServerIdentity="other.example.test").ok
    result = ask(server, **NO_KEY, GSSAPIServerIdentity="unknown.example.test")
    assert result.outcome is Outcome.DENIED
    assert "gssapi-with-mic: Server host/unknown.example.test@EXAMPLE.TEST not found" in result.reason


def test_the_client_may_have_another_name(server, ticket, monkeypatch) -> None:
    assert ask(server, **NO_KEY, GSSAPIClientIdentity=f"{getpass.getuser()}@{_REALM}").ok
    result = ask(server, **NO_KEY, GSSAPIClientIdentity=f"nobody@{_REALM}")
    assert result.outcome is Outcome.DENIED
    assert "gssapi-with-mic: " in result.reason


def test_a_ticket_of_somebody_else_is_refused(server, ticket, realm, monkeypatch) -> None:
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{realm.folder}/another")
    result = ask(server, **NO_KEY)
    assert result.outcome is Outcome.DENIED
    assert f"authentication failed for {getpass.getuser()}: gssapi-with-mic" in result.reason
    before = len(server.log)
    assert ask(server, **ON).ok
    assert accepted(server, before) == ["publickey"], "what is next in order"


def test_a_ticket_goes_along_if_it_is_delegated(server, ticket) -> None:
    ours = ask(server, 'echo "${KRB5CCNAME:-none}"', **NO_KEY)
    assert ours.stdout == b"none\n"
    delegated = ask(server, 'klist "$KRB5CCNAME"', **NO_KEY, GSSAPIDelegateCredentials="yes")
    assert f"Default principal: {getpass.getuser()}@{_REALM}" in delegated.stdout.decode(), delegated.reason


def test_the_name_that_a_name_server_has_for_the_address(server, ticket, monkeypatch) -> None:
    import socket

    numeric = socket.getnameinfo

    def name_of(address: tuple[str, int], flags: int) -> tuple[str, str]:
        if flags & socket.NI_NUMERICHOST:
            return numeric(address, flags)
        assert address[0] == "127.1.0.1"
        return "other.example.test", "22"

    monkeypatch.setattr(socket, "getnameinfo", name_of)
    before = len(server.log)
    assert ask(server, **NO_KEY, GSSAPITrustDns="yes").ok
    assert accepted(server, before) == ["gssapi-with-mic"]
