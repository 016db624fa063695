import base64
import random
from pathlib import Path

import pytest

from paramgmt_tasks.ssh.known_hosts import Entry, HashedEntry, KnownHosts, KnownHostsFile, _hashed


def blob(content: bytes, key_type: bytes = b"ssh-ed25519") -> bytes:
    return len(key_type).to_bytes(4, "big") + key_type + content


KEY, OTHER, RSA = blob(b"first key"), blob(b"second key"), blob(b"third key", b"ssh-rsa")


def line(names: str, key: bytes = KEY) -> str:
    return f"{names} {key[4 : 4 + key[3]].decode()} {base64.b64encode(key).decode()}\n"


def read(*paths: Path) -> KnownHosts:
    return KnownHosts([KnownHostsFile(path) for path in paths])


@pytest.fixture
def known(tmp_path: Path):
    def write(text: str) -> KnownHosts:
        (tmp_path / "known_hosts").write_text(text)
        return read(tmp_path / "known_hosts")

    return write


def test_a_key_is_known_under_each_of_its_names(known) -> None:
    keys = known("# comment\n\n" + line("web1,[web1]:2222"))
    assert keys.find("web1", KEY)
    assert keys.find("[web1]:2222", KEY)
    assert not keys.find("web1", OTHER)
    assert not keys.find("web2", KEY)


def test_hashed_entries_are_found_by_key_and_by_search(known) -> None:
    keys = known("".join(line(_hashed(f"web{n}")) for n in range(20)) + line(_hashed("db"), RSA))
    assert keys.find("web7", KEY)
    assert [entry.key_type for entry in keys.search("db")] == ["ssh-rsa"]
    assert keys.search("web99") == []
    assert keys.types("web7") == {"ssh-ed25519"}


def test_a_hashed_entry_as_ssh_keygen_writes_it() -> None:
    # ssh-keygen -H of `[127.0.0.1]:2222`
    salt = base64.b64decode("F1E1KeoE/eEWhi10WpGv4OdiO6Y=")
    import hashlib
    import hmac

    digest = hmac.new(salt, b"[127.0.0.1]:2222", hashlib.sha1).digest()
    assert HashedEntry(salt, digest, Entry("t", b"")).matches("[127.0.0.1]:2222")
    assert not HashedEntry(salt, digest, Entry("t", b"")).matches("127.0.0.1")


def test_patterns_and_negated_patterns(known) -> None:
    keys = known(line("*.Example.com,!bad.example.com") + line("[10.?.*]:22"))
    assert keys.find("[10.0.0.7]:22", KEY)
    assert not keys.find("1", KEY)
    assert keys.find("a.example.com", KEY)
    assert not keys.find("bad.example.com", KEY)


@pytest.mark.parametrize("names", ["*", "web1", "hashed"])
def test_a_marked_line_is_for_its_hosts_and_no_key_of_theirs(known, names: str) -> None:
    names = _hashed("web1") if names == "hashed" else names
    keys = known("@revoked " + line(names) + "@cert-authority " + line(names, OTHER))
    assert [entry.blob for entry in keys.revoked("web1")] == [KEY]
    assert [entry.blob for entry in keys.authorities("web1")] == [OTHER]
    assert bool(keys.revoked("web2")) is (names == "*")
    assert keys.search("web1") == []


def test_an_entry_says_where_it_stands(known, blank_home: Path) -> None:
    path = blank_home / "a b"
    path.write_text("# comment\n\n" + line("web2") + line("web1"))
    (entry,) = read(path).search("web1")
    assert entry.where == "~/'a b':4"
    (entry,) = known(line("web1").rstrip()).search("web1")
    assert entry.where.endswith("/known_hosts:1")


def test_lines_that_cannot_be_read_are_no_entries(known) -> None:
    bad = [
        "web1",
        "web1 ssh-rsa !!!",
        "@what " + line("web1"),
        "|1|x|y ssh-rsa AAAA",
        "@revoked",
        "@revoked x",
    ]
    bad.append(line("web1").replace("ssh-ed25519", "ssh-rsa"))  # its key is another one
    assert known("\n".join(bad)).search("web1") == []


@pytest.mark.parametrize("hashed", [False, True])
def test_a_new_key_is_recorded_on_a_line_of_its_own(known, hashed: bool, tmp_path: Path) -> None:
    keys, path = known(line("a").rstrip("\n")), tmp_path / "known_hosts"
    keys.add("[web1]:22", "ssh-ed25519", OTHER, hashed)
    text = path.read_text()
    assert len(text.splitlines()) == 2
    assert ("web1" in text) is not hashed
    assert read(path).find("[web1]:22", OTHER)


def test_the_file_and_its_folder_are_made_private(tmp_path: Path) -> None:
    path = tmp_path / "ssh" / "known_hosts"
    read(path).add("web1", "ssh-ed25519", KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_cannot_be_written_is_a_warning_once(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").write_text("")
    keys = read(tmp_path / "file" / "known_hosts")
    caplog.clear()
    keys.add("a", "ssh-ed25519", KEY)
    keys.add("b", "ssh-ed25519", KEY)
    assert len([record for record in caplog.records if "cannot record" in record.message]) == 1
    assert keys.find("a", KEY)


@pytest.mark.parametrize("name", ["*", "a*", "a b", "a,b", "!a", "|1|x", "#a", "@revoked", "a\nb", "?", ""])
def test_no_name_is_recorded_that_stands_for_other_hosts_or_for_none(
    known, name: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    keys, path = known(line("web1")), tmp_path / "known_hosts"
    keys.add(name, "ssh-ed25519", OTHER)
    assert path.read_text() == line("web1")
    assert "not recorded" in caplog.text
    assert not read(path).find("web2", OTHER)


def test_what_others_write_is_read_and_what_they_remove_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    keys = read(path)
    assert not keys.refresh()
    path.write_text(line("web1"))
    assert keys.refresh()
    assert keys.find("web1", KEY)
    with path.open("a") as file:
        file.write(line("web2"))
    assert keys.refresh()
    assert (keys.search("web2")[0].line, keys.search("web1")[0].line) == (2, 1)
    path.write_text("#\n" + line("web2", OTHER))
    assert keys.refresh()
    assert keys.search("web1") == []
    assert [(entry.blob, entry.line) for entry in keys.search("web2")] == [(OTHER, 2)]
    assert not keys.refresh()


def test_what_is_recorded_here_need_not_be_read_again(known, tmp_path: Path, monkeypatch) -> None:
    keys, path = known(line("web1")), tmp_path / "known_hosts"
    for n in range(3):
        keys.add(f"new{n}", "ssh-ed25519", KEY)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read again"))
    assert not keys.refresh()
    assert [keys.search(f"new{n}")[0].line for n in range(3)] == [2, 3, 4]
    monkeypatch.undo()
    with path.open("a") as file:
        file.write(line("web2"))
    keys.add("last", "ssh-ed25519", KEY)
    assert keys.refresh(), "somebody else has written too"
    assert keys.find("web2", KEY)
    assert [entry.line for entry in keys.search("last")] == [6]


def test_no_file_makes_the_parser_fail(tmp_path: Path) -> None:
    some = random.Random(15)
    good = (line("web1,*.a") + line(_hashed("web2")) + "@revoked " + line("*")).encode()
    for _ in range(2000):
        text = bytearray(good if some.random() < 0.7 else some.randbytes(200))
        for _ in range(some.randrange(8)):
            text[some.randrange(len(text))] = some.choice(b" \n\t,|*!?@#=\x00\xff\x85")
        (tmp_path / "file").write_bytes(text)
        keys = read(tmp_path / "file")
        for name in ("web1", "web2", "x.a", "\udcff"):
            keys.types(name)
            keys.find(name, KEY)
            keys.search(name)
            keys.authorities(name)
            keys.revoked(name)


@pytest.mark.parametrize("name", ["folder", "file/below", "\0"])
def test_a_file_that_cannot_be_is_no_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    keys = read(tmp_path / name)
    keys.add("web1", "ssh-ed25519", KEY)
    assert keys.find("web1", KEY)
