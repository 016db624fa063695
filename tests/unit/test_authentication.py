"""Which keys are offered in which order, from files alone. With agents and servers: tests/integration."""

import socket
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from paramgmt_tasks.execution import ConnectionPool
from paramgmt_tasks.model import Host, Settings, UsageError
from paramgmt_tasks.ssh.agent import Agent, AgentFailure
from paramgmt_tasks.ssh.identities import Identities, Offers, Wanted
from paramgmt_tasks.ssh.keys import BadKey, NeedsPassphrase, PrivateKey, PublicKey, private_key, public_half

FORMATS = {
    "OpenSSH": serialization.PrivateFormat.OpenSSH,
    "PEM": serialization.PrivateFormat.TraditionalOpenSSL,
    "PKCS8": serialization.PrivateFormat.PKCS8,
}


def written(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, kind: str, passphrase: str = "") -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(serialization.Encoding.PEM, FORMATS[kind], encryption)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write(tmp_path / "id_ecdsa")


def write(path: Path, passphrase: str = "") -> Path:
    path.write_bytes(written(ec.generate_private_key(ec.SECP256R1()), "OpenSSH", passphrase))
    path.chmod(0o600)
    return path


def offered(*files: Path | str, **wanted: object) -> Offers:
    return Identities().offers(Wanted(tuple(map(str, files)), **wanted))  # type: ignore[arg-type]


def test_a_key_is_read_once(key: Path) -> None:
    identities = Identities()
    (first,) = identities.offers(Wanted((str(key),))).keys
    key.unlink()
    assert identities.offers(Wanted((str(key),), only=True)).keys == (first,)


def test_a_key_with_a_passphrase_needs_the_agent_or_the_passphrase(tmp_path: Path) -> None:
    path = write(tmp_path / "id", "secret")
    assert "passphrase" in offered(path).notes[0]
    assert "wrong passphrase" in offered(path, passphrase="wrong").notes[0]
    assert len(offered(path, passphrase="secret").keys) == 1
    with pytest.raises(UsageError, match="ssh-add"):
        Identities().require(str(path))
    Identities().require(str(path), "secret")


@pytest.mark.parametrize("by", ["setting", "host"])
def test_an_identity_may_be_held_by_the_agent_that_a_setting_or_a_host_names(tmp_path: Path, by: str) -> None:
    path, pool = write(tmp_path / "key", "secret"), ConnectionPool()
    option = {"IdentityAgent": "/nonexistent"}
    settings = Settings(identity=str(path), ssh_options=option if by == "setting" else {})
    pool.require_identity(settings, [Host("web1", "web1", options=option if by == "host" else {})])
    with pytest.raises(UsageError, match="it has a passphrase"):
        pool.require_identity(Settings(identity=str(path)), [Host("web1", "web1")])


def test_a_passphrase_is_not_shown() -> None:
    assert "hush" not in repr(Wanted(passphrase="hush")) + repr(Settings(passphrase="hush"))


def test_offers_come_once_each_and_defaults_only_without_own_files(key: Path, blank_home: Path) -> None:
    (blank_home / ".ssh").mkdir()
    default = write(blank_home / ".ssh" / "id_ecdsa")
    assert len(offered(key, key, "/none").keys) == 1
    expected = private_key(default.read_bytes(), None).public
    assert [offer.key for offer in offered().keys] == [expected]
    assert offered(with_defaults=False).keys == offered("none").keys == ()


def test_a_private_key_that_others_can_read_is_not_used(key: Path) -> None:
    key.chmod(0o640)
    assert (offered(key).keys, "chmod 600" in offered(key).notes[0]) == ((), True)


def test_a_bad_key_beside_a_good_one_is_passed_over(key: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    bad.chmod(0o600)
    offers = offered(bad, tmp_path, key)
    assert len(offers.keys) == 1
    assert [note.partition(":")[0] for note in offers.notes] == [str(bad), str(tmp_path)]


def test_what_stands_before_a_key_is_passed_over_and_other_formats_are_told(tmp_path: Path) -> None:
    data = written(ec.generate_private_key(ec.SECP256R1()), "PEM")
    before = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert private_key(before + data, None).public == private_key(data, None).public
    with pytest.raises(BadKey, match="puttygen"):
        private_key(b"PuTTY-User-Key-File-3: ssh-ed25519\n", None)


@pytest.mark.parametrize("passphrase", ["", "secret"])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("crlf", [False, True], ids=["LF", "CRLF"])
def test_keys_of_all_formats_are_read(kind: str, passphrase: str, crlf: bool, tmp_path: Path) -> None:
    path = tmp_path / "id"
    data = written(rsa.generate_private_key(65537, 2048), kind, passphrase)
    path.write_bytes(data.replace(b"\n", b"\r\n") if crlf else data)
    path.chmod(0o600)
    assert [offer.kind for offer in offered(path, passphrase=passphrase or None).keys] == ["ssh-rsa"]


def test_the_public_half_of_an_encrypted_key_is_in_its_file() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    data = written(key, "OpenSSH", "secret")
    assert public_half(data) == PrivateKey(key).public
    with pytest.raises(NeedsPassphrase):
        private_key(data, None)


def test_a_certificate_gives_the_key_that_it_is_for(tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa", "rsa"):
        for name in ("ca", "id"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", tmp_path / f"{kind}_{name}"], check=True
            )
        words = ["-s", tmp_path / f"{kind}_ca", "-I", "x"]
        subprocess.run(["ssh-keygen", "-q", *words, tmp_path / f"{kind}_id.pub"], check=True)
        certificate = public_half((tmp_path / f"{kind}_id-cert.pub").read_bytes())
        plain = public_half((tmp_path / f"{kind}_id.pub").read_bytes())
        assert certificate is not None
        assert certificate.plain() == plain
        offers = offered(tmp_path / f"{kind}_id")
        assert [offer.key for offer in offers.keys] == [plain, certificate]
        hosts = ["ssh-keygen", "-q", *words, "-h", tmp_path / f"{kind}_id.pub"]
        subprocess.run(hosts, check=True)
        of_a_host = public_half((tmp_path / f"{kind}_id-cert.pub").read_bytes())
        assert of_a_host is not None
        with pytest.raises(BadKey):
            of_a_host.plain()
        assert len(offered(tmp_path / f"{kind}_id").keys) == 1


def test_small_rsa_keys_and_kinds_that_are_not_accepted_are_left_out(key: Path, tmp_path: Path) -> None:
    path = tmp_path / "rsa"
    path.write_bytes(written(rsa.generate_private_key(65537, 2048), "PEM"))
    path.chmod(0o600)
    assert [offer.kind for offer in offered(path, key, rsa_bits=3072).keys] == ["ecdsa-sha2-nistp256"]
    assert "RequiredRSASize" in offered(path, rsa_bits=3072).notes[0]
    assert [offer.kind for offer in offered(path, key, accepted="-ecdsa*").keys] == ["ssh-rsa"]
    assert offered(path, accepted="ssh-ed25519").keys == ()


@pytest.mark.parametrize(
    ("accepted", "server", "expected"),
    [
        ("", ["rsa-sha2-256", "rsa-sha2-512"], "rsa-sha2-512"),
        ("", ["rsa-sha2-256"], "rsa-sha2-256"),
        ("rsa-sha2-256", ["rsa-sha2-256", "rsa-sha2-512"], "rsa-sha2-256"),
        ("", ["ssh-rsa"], None),
        ("+ssh-rsa", ["ssh-rsa"], "ssh-rsa"),
        ("+ssh-rsa", None, "ssh-rsa"),
        ("", None, "rsa-sha2-512"),
    ],
)
def test_an_rsa_key_signs_by_what_both_accept(
    accepted: str, server: list[str] | None, expected: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "rsa"
    path.write_bytes(written(rsa.generate_private_key(65537, 2048), "PEM"))
    path.chmod(0o600)
    offers = offered(path, accepted=accepted)
    assert offers.keys[0].algorithm(offers.algorithms, server) == expected


def test_an_agent_that_does_not_answer_is_asked_to_sign_once(tmp_path: Path, monkeypatch) -> None:
    # Each host would wait as long for it, one after the other.
    monkeypatch.setattr("paramgmt_tasks.ssh.agent.SIGNING", 0.1)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "agent"))
        listening.listen()
        listening.settimeout(0.2)
        agent, key = Agent(str(tmp_path / "agent")), PublicKey(b"key")
        for _ in range(3):
            with pytest.raises(AgentFailure):
                agent.sign(key, b"data", "ssh-ed25519")
        listening.accept()[0].close()
        with pytest.raises(TimeoutError):
            listening.accept()
