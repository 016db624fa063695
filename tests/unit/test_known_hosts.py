import base64
import random
from pathlib import Path

import pytest

from paramgmt_tasks.ssh.known_hosts import HashedEntry, KnownHosts, _hashed

KEY, OTHER = b"first key", b"second key"


def line(names: str, key: bytes = KEY, key_type: str = "ssh-ed25519") -> str:
    return f"{names} {key_type} {base64.b64encode(key).decode()}\n"


@pytest.fixture
def known(tmp_path: Path):
    def write(text: str, **options) -> KnownHosts:
        path = tmp_path / "known_hosts"
        path.write_text(text)
        return KnownHosts([path], **options)

    return write


def test_a_key_is_known_under_each_of_its_names(known) -> None:
    keys = known("# comment\n\n" + line("web1,[web1]:2222"))
    assert keys.has("web1", "ssh-ed25519", KEY)
    assert keys.has("[web1]:2222", "ssh-ed25519", KEY)
    assert not keys.has("web1", "ssh-ed25519", OTHER)
    assert not keys.has("web2", "ssh-ed25519", KEY)


def test_hashed_entries_are_found_by_key_and_by_search(known) -> None:
    keys = known("".join(line(_hashed(f"web{n}")) for n in range(20)) + line(_hashed("db"), OTHER, "ssh-rsa"))
    assert keys.has("web7", "ssh-ed25519", KEY)
    assert keys.search("db") == ["ssh-rsa"]
    assert keys.search("web99") == []
    assert keys.types("web7") == ["ssh-ed25519"]


def test_a_hashed_entry_as_ssh_keygen_writes_it() -> None:
    # ssh-keygen -H of `[127.0.0.1]:2222`
    salt = base64.b64decode("F1E1KeoE/eEWhi10WpGv4OdiO6Y=")
    import hashlib
    import hmac

    digest = hmac.new(salt, b"[127.0.0.1]:2222", hashlib.sha1).digest()
    assert HashedEntry(salt, digest, "t", b"").matches("[127.0.0.1]:2222")
    assert not HashedEntry(salt, digest, "t", b"").matches("127.0.0.1")


def test_patterns_and_negated_patterns(known) -> None:
    keys = known(line("*.example.com,!bad.example.com") + line("[10.?.*]:22"))
    assert keys.has("[10.0.0.7]:22", "ssh-ed25519", KEY)
    assert not keys.has("1", "ssh-ed25519", KEY)
    assert keys.has("a.example.com", "ssh-ed25519", KEY)
    assert not keys.has("bad.example.com", "ssh-ed25519", KEY)


def test_a_revoked_key_is_known_as_such(known) -> None:
    assert known("@revoked " + line("*")).is_revoked(KEY)


def test_lines_that_cannot_be_read_are_no_entries(known) -> None:
    keys = known("web1\nweb1 ssh-rsa !!!\n@cert-authority " + line("web1") + "|1|x|y ssh-rsa AAAA\n")
    assert keys.search("web1") == []


@pytest.mark.parametrize("hash_new", [False, True])
def test_a_new_key_is_recorded_on_a_line_of_its_own(known, hash_new: bool) -> None:
    keys = known(line("a").rstrip("\n"), hash_new=hash_new)
    keys.add("[web1]:22", "ssh-ed25519", OTHER)
    text = keys.paths[0].read_text()
    assert len(text.splitlines()) == 2
    assert ("web1" in text) is not hash_new
    assert KnownHosts(keys.paths).has("[web1]:22", "ssh-ed25519", OTHER)


def test_the_file_and_its_folder_are_made_private(tmp_path: Path) -> None:
    path = tmp_path / "ssh" / "known_hosts"
    KnownHosts([path]).add("web1", "ssh-ed25519", KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_cannot_be_written_is_a_warning_once(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").write_text("")
    keys = KnownHosts([tmp_path / "file" / "known_hosts"])
    caplog.clear()
    keys.add("a", "t", KEY)
    keys.add("b", "t", KEY)
    assert len([record for record in caplog.records if "cannot record" in record.message]) == 1
    assert keys.has("a", "t", KEY)


@pytest.mark.parametrize("name", ["*", "a*", "a b", "a,b", "!a", "|1|x", "#a", "@revoked", "a\nb", "?", ""])
def test_no_name_is_recorded_that_stands_for_other_hosts_or_for_none(
    known, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = known(line("web1"))
    keys.add(name, "ssh-ed25519", OTHER)
    assert keys.paths[0].read_text() == line("web1")
    assert "not recorded" in caplog.text
    assert not KnownHosts(keys.paths).has("web2", "ssh-ed25519", OTHER)


def test_no_file_makes_the_parser_fail(tmp_path: Path) -> None:
    some = random.Random(15)
    good = (line("web1,*.a") + line(_hashed("web2")) + "@revoked " + line("*")).encode()
    for _ in range(2000):
        text = bytearray(good if some.random() < 0.7 else some.randbytes(200))
        for _ in range(some.randrange(8)):
            text[some.randrange(len(text))] = some.choice(b" \n\t,|*!?@#=\x00\xff\x85")
        (tmp_path / "file").write_bytes(text)
        keys = KnownHosts([tmp_path / "file"])
        for name in ("web1", "web2", "x.a", "\udcff"):
            keys.types(name)
            keys.has(name, "ssh-ed25519", KEY)
            keys.search(name)
        keys.is_revoked(KEY)


@pytest.mark.parametrize("name", ["folder", "file/below", "\0"])
def test_a_file_that_cannot_be_is_no_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    keys = KnownHosts([tmp_path / name])
    keys.add("web1", "ssh-ed25519", KEY)
    assert keys.has("web1", "ssh-ed25519", KEY)
