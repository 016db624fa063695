from io import StringIO
from pathlib import Path

import paramiko
import pytest

from paramgmt_tasks import ssh_config
from paramgmt_tasks.errors import UsageError

TEXT = """\
User everywhere
Host web1 web2
  Port 2201
  IdentityFile ~/.ssh/web
Host web*
  Port 2299
  HostName %h.example.com
  IdentityFile ~/.ssh/all
Host !web2 *2
  ProxyCommand nc %h %p
Match host db.example.com user everywhere
  Port 5432
Host db
  HostName db.example.com
Host *
  ConnectTimeout 7
"""


@pytest.mark.parametrize("name", ["web1", "web2", "web3", "x2", "db", "other"])
def test_the_index_gives_what_paramiko_gives(name: str) -> None:
    plain, indexed = paramiko.SSHConfig(), ssh_config.IndexedSSHConfig()
    for config in (plain, indexed):
        config.parse(StringIO(TEXT))
    indexed.index()
    expected = dict(plain.lookup(name))
    expected["identityfile"] = [
        path.replace(str(Path.home()), "~") for path in expected.get("identityfile", [])
    ]
    assert {"identityfile": [], **indexed.lookup(name)} == expected


def test_tokens_are_filled_in_without_asking_for_this_machines_name(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ssh_config.IndexedSSHConfig()
    config.parse(StringIO("Host a\n  Port 22\n  HostName b\n  ProxyCommand p %h %n %p %r %% %d\n  User u\n"))
    config.index()

    def asked(*arguments: object) -> None:
        raise AssertionError("a DNS look-up")

    monkeypatch.setattr("socket.getfqdn", asked)
    monkeypatch.setattr("socket.getaddrinfo", asked)
    assert config.lookup("a")["proxycommand"] == f"p b a 22 u % {Path.home()}"


def test_includes_are_followed(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("Host a\n  Port 1\n")
    (tmp_path / "config").write_text(f"Include {tmp_path}/o*\nInclude none\nHost *\n  Port 2\n")
    config = ssh_config.load(str(tmp_path / "config"), str(tmp_path / "none"))
    assert (config.lookup("a")["port"], config.lookup("b")["port"]) == ("1", "2")


def test_a_config_that_cannot_be_read_is_a_usage_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host a\n  Port\n")
    with pytest.raises(UsageError, match="config: "):
        ssh_config.load(str(tmp_path / "config"), str(tmp_path / "none"))
