from pathlib import Path

import pytest
from paramiko import ECDSAKey

from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.ssh.authentication import Identities


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id_ecdsa"
    ECDSAKey.generate().write_private_key_file(str(path))
    return path


def test_a_key_is_read_once(key: Path) -> None:
    identities = Identities()
    first = identities.load(str(key))
    key.unlink()
    assert identities.load(str(key)) is first


def test_a_key_with_a_passphrase_needs_the_agent_or_the_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "id"
    ECDSAKey.generate().write_private_key_file(str(path), password="secret")
    identities = Identities()
    assert "passphrase" in str(identities.load(str(path)))
    assert not isinstance(identities.load(str(path), "secret"), str)
    with pytest.raises(UsageError, match="ssh-add"):
        identities.require(str(path))


def test_offers_come_once_each_and_defaults_only_without_own_files(key: Path, blank_home: Path) -> None:
    (blank_home / ".ssh").mkdir()
    default = ECDSAKey.generate()
    default.write_private_key_file(str(blank_home / ".ssh" / "id_ecdsa"))
    identities = Identities()
    own = [offer.asbytes() for offer in identities.offers([str(key), str(key), "/none"])]
    assert len(own) == 1
    assert [offer.asbytes() for offer in identities.offers([])] == [default.asbytes()]
    assert list(identities.offers([], defaults=False)) == []
