"""Certificates and lists of revoked keys: what is read of them, and that nothing makes that fail."""

import base64
import random
import subprocess
from pathlib import Path

import pytest

from paramgmt_tasks.ssh.host_certificate import BadCertificate, ShownKey
from paramgmt_tasks.ssh.revocation import RevokedKeys, Unreadable, revoked_keys

ALGORITHMS = ("ssh-ed25519", "rsa-sha2-512")


def keygen(folder: Path, *words: str) -> None:
    subprocess.run(["ssh-keygen", "-q", *words], check=True, cwd=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ca", "key", "other"):
        keygen(folder, "-t", "ed25519", "-N", "", "-f", name)
    certify = ["-s", "ca", "-I", "the id", "-h", "-n", "web1,web2", "-V", "20200101Z:20300101Z"]
    keygen(folder, *certify, "-z", "70", "key.pub")
    return folder


def blob(path: Path) -> bytes:
    return base64.b64decode(path.read_text().split()[1])


@pytest.fixture
def shown(folder: Path) -> bytes:
    return blob(folder / "key-cert.pub")


def test_a_certificate_says_whose_key_it_is_and_for_whom(shown: bytes, folder: Path) -> None:
    found = ShownKey.of(shown)
    assert (found.key_type, found.blob) == ("ssh-ed25519", blob(folder / "key.pub"))
    certificate = found.certificate
    assert certificate is not None
    certificate.check_signature()
    assert certificate.authority == blob(folder / "ca.pub")
    now = 1_800_000_000
    assert certificate.refusal("web1", ALGORITHMS, now) == ""
    assert certificate.refusal("web3", ALGORITHMS, now) == "it is for web1,web2"
    assert "not valid before" in certificate.refusal("web1", ALGORITHMS, 1_000_000_000)
    assert "expired" in certificate.refusal("web1", ALGORITHMS, 1_900_000_000)
    assert "CASignatureAlgorithms" in certificate.refusal("web1", ("rsa-sha2-512",), now)


def test_a_key_is_itself(folder: Path) -> None:
    key = blob(folder / "key.pub")
    assert ShownKey.of(key) == ShownKey("ssh-ed25519", key, key)


def test_no_changed_byte_of_a_certificate_leaves_it_signed(shown: bytes) -> None:
    for position in range(0, len(shown), 3):
        changed = bytearray(shown)
        changed[position] ^= 1
        try:
            found = ShownKey.of(bytes(changed))
            if found.certificate is not None:
                found.certificate.check_signature()
                pytest.fail(f"byte {position} is changed, and the signature is right")
        except BadCertificate:
            continue


def test_nothing_that_is_shown_is_an_error_of_another_kind(shown: bytes) -> None:
    some = random.Random(3)
    for _ in range(500):
        text = bytearray(shown if some.random() < 0.8 else some.randbytes(80))
        for _ in range(some.randrange(6)):
            text[some.randrange(len(text))] = some.randrange(256)
        try:
            found = ShownKey.of(bytes(text[: some.randrange(len(text) + 1)]))
            if found.certificate is not None:
                found.certificate.refusal("web1", ALGORITHMS)
                found.certificate.check_signature()
        except BadCertificate:
            continue


@pytest.mark.parametrize(
    ("spec", "revoked"),
    [
        ("serial: 70", True),
        ("serial: 71", False),
        ("serial: 60-80", True),
        ("serial: 1-69\nserial: 72-90", False),
        ("\n".join(f"serial: {n}" for n in range(20, 100, 2)), True),  # a bitmap
        ("\n".join(f"serial: {n}" for n in range(21, 100, 2)), False),
        ("id: the id", True),
        ("id: the", False),
        ("key: {ca}", True),
        ("key: {key}", True),
        ("sha1: {key}", True),
        ("sha256: {key}", True),
        ("sha256: {other}", False),
    ],
)
def test_a_krl_revokes_what_ssh_keygen_says(folder: Path, tmp_path: Path, spec: str, revoked: bool) -> None:
    names = {name: (folder / f"{name}.pub").read_text().strip() for name in ("ca", "key", "other")}
    (tmp_path / "spec").write_text(spec.format(**names) + "\n")
    keygen(tmp_path, "-k", "-f", "krl", "-s", str(folder / "ca.pub"), "spec")
    asked = ["ssh-keygen", "-Q", "-f", tmp_path / "krl", folder / "key-cert.pub"]
    assert (subprocess.run(asked, capture_output=True).returncode != 0) is revoked
    assert RevokedKeys(tmp_path / "krl").revokes(ShownKey.of(blob(folder / "key-cert.pub"))) is revoked


def test_a_list_revokes_keys_and_those_who_certified_them(folder: Path, tmp_path: Path, shown: bytes) -> None:
    path = tmp_path / "list"
    for name, revoked in (("key", True), ("ca", True), ("key-cert", True), ("other", False)):
        path.write_text(f"# comment\n\n{(folder / f'{name}.pub').read_text()}")
        assert revoked_keys(path).revokes(ShownKey.of(shown)) is revoked


@pytest.mark.parametrize("cut", [10, 30, 60, -1])
def test_a_krl_that_is_not_understood_leaves_no_host_trusted(folder: Path, tmp_path: Path, cut: int) -> None:
    keygen(tmp_path, "-k", "-f", "krl", str(folder / "key.pub"))
    whole = (tmp_path / "krl").read_bytes()
    (tmp_path / "krl").write_bytes(whole[:cut])
    with pytest.raises(Unreadable, match="krl"):
        RevokedKeys(tmp_path / "krl")
    (tmp_path / "krl").write_bytes(whole + b"\x09\0\0\0\0")
    with pytest.raises(Unreadable, match="section of type 9"):
        RevokedKeys(tmp_path / "krl")
    with pytest.raises(Unreadable, match="no such file"):
        revoked_keys(tmp_path / "none")


@pytest.mark.parametrize(
    "damage", ["{}", "ssh-ed25519 {}", "some garbage", "ssh-ed25519", "ssh-ed25519 AAAAAA=="]
)
def test_a_list_with_what_is_no_key_lets_no_host_pass(folder: Path, tmp_path: Path, damage: str) -> None:
    # As ssh: it may be the key that was to be revoked, cut off.
    (tmp_path / "list").write_text("# keys\n\n" + damage.format((folder / "key.pub").read_text()[:60]) + "\n")
    with pytest.raises(Unreadable, match="line 3 is no key"):
        revoked_keys(tmp_path / "list")
