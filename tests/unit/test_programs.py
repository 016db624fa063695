"""Programs that print an inventory: what is run, by whom it may be written, and what it prints."""

import json
import os
from pathlib import Path

import pytest

from paramgmt_tasks import UsageError, read_list
from paramgmt_tasks.inventory import Inventory, ansible, programs, read_inventory


@pytest.fixture(autouse=True)
def without_ansible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither in the PATH nor beside Python; the current folder is empty."""
    monkeypatch.setattr(ansible, "program", lambda: None)
    monkeypatch.chdir(tmp_path)


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def printing(path: Path, listed: object) -> Path:
    return program(path, f"cat <<'END'\n{json.dumps(listed)}\nEND")


def entries(inventory: Inventory) -> list[str]:
    return [host.entry for host in inventory.hosts]


LISTED = {
    "_meta": {"hostvars": {"web1": {"RACK": "b"}}},
    "web": {"hosts": ["web2", "web1"], "vars": {"RACK": "a"}},
    "db": ["db1"],
}


@pytest.mark.parametrize("name", ["fleet.py", "./fleet", "fleet.ini", "fleet.yml", "fleet.txt"])
def test_json_of_a_program_is_hosts_variables_and_groups(name: str) -> None:
    printing(Path(name), LISTED)
    inventory = read_inventory(name)
    assert [(host.entry, dict(host.variables)) for host in inventory.hosts] == [
        ("web2", {"RACK": "a"}),
        ("web1", {"RACK": "b"}),
        ("db1", {}),
    ]
    assert inventory.groups["web"] == ("web2", "web1")
    assert inventory.groups["ungrouped"] == ()
    assert [host.entry for host in read_list(name)] == ["web2", "web1", "db1"]


def test_a_program_is_run_with_list_where_the_user_is_and_without_input(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    program(tmp_path / "fleet.sh", 'echo "h N=$#-$1-$(basename "$PWD")-$(wc -c)"')
    os.chdir("here")
    assert read_list("../fleet.sh")[0].variables == {"N": "1---list-here-0"}


def test_a_program_prints_lines_of_ours() -> None:
    program(Path("fleet.sh"), "echo '# mine'; echo 'web[1-2] RACK=a'; echo 'nic@db1 ProxyCommand=x'")
    hosts = read_list("fleet.sh")
    assert [host.entry for host in hosts] == ["web1", "web2", "nic@db1"]
    assert hosts[2].options == {"ProxyCommand": "x"}
    program(Path("fleet.sh"), "echo a; echo 'b c'")
    with pytest.raises(UsageError, match=r"^fleet.sh --list, line 2: "):
        read_list("fleet.sh")


def test_programs_in_hostlists_are_found_by_name() -> None:
    Path("hostlists").mkdir()
    printing(Path("hostlists/cloud"), LISTED)
    assert entries(read_inventory("cloud")) == ["web2", "web1", "db1"]


def test_each_host_is_asked_for_if_there_is_no_meta() -> None:
    program(
        Path("fleet.sh"),
        """case $1 in
        --host) test "$2" = b || echo "{\\"NAME\\": \\"$2\\"}";;
        *) echo '{"web": ["a", "b"]}';;
        esac""",
    )
    assert [dict(host.variables) for host in read_list("fleet.sh")] == [{"NAME": "a"}, {}]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo no token >&2; exit 3", "fleet.sh --list: exit status 3: no token"),
        ("kill -9 $$", "fleet.sh --list: killed by signal 9"),
        ("", "fleet.sh --list: prints nothing"),
        ("echo; echo oh >&2", "fleet.sh --list: prints nothing: oh"),
        ("echo '{'", "fleet.sh --list: not JSON: "),
        (r"printf '\377\n'", "fleet.sh --list: neither JSON nor text in UTF-8"),
        ("""echo '{"a": 1}'""", "fleet.sh --list: the group 'a' must be an object, {…}, and is a number"),
        ("""test $1 = --list && echo '{"a": ["h"]}'""", "fleet.sh --host h: exit status 1"),
        ("""test $1 = --list && echo '{"a": ["h"]}' || echo []""", "fleet.sh --host h: all of it must be an"),
        ("""echo '{"a": ["-h"]}'""", "fleet.sh --list: '-h' is no name of a host"),
        (f"""echo '{json.dumps({"a": [f"h{n}" for n in range(1001)]})}'""",
         "fleet.sh --list: no _meta.hostvars for 1001 hosts, and --host NAME is asked for at most 1000: "),
    ],
)  # fmt: skip
def test_a_program_that_fails_says_what_it_said(script: str, why: str) -> None:
    program(Path("fleet.sh"), script)
    with pytest.raises(UsageError) as caught:
        read_inventory("fleet.sh")
    assert str(caught.value).startswith(why)
    assert "\n" not in str(caught.value)


def test_a_program_that_is_not_done_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PATIENCE", 0.2)
    program(Path("fleet.sh"), "exec sleep 300")
    with pytest.raises(UsageError, match=r"run it once, fleet.sh --list > fleet.json, and name fleet.json$"):
        read_inventory("fleet.sh")


def test_what_was_printed_and_kept_is_read_without_running_anything() -> None:
    Path("fleet.json").write_text(json.dumps(LISTED))
    assert entries(read_inventory("fleet.json")) == ["web2", "web1", "db1"]


@pytest.mark.parametrize("text", ["web1\n", "# !\nweb1\n", "\ufeffweb1\n", "web1 RACK=ü\n"])
def test_plain_text_that_is_marked_executable_is_read(text: str) -> None:
    Path("hosts").write_text(text)
    Path("hosts").chmod(0o777)
    assert [host.entry for host in read_list("hosts")] == ["web1"]


def test_what_is_not_marked_is_never_run(tmp_path: Path) -> None:
    program(Path("fleet.sh"), f"touch {tmp_path}/ran; echo web1").chmod(0o644)
    with pytest.raises(UsageError, match=r"fleet.sh, line 2"):
        read_inventory("fleet.sh")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("exposed", [".", "fleet.sh"])
def test_a_program_that_others_can_write_is_not_run(tmp_path: Path, exposed: str) -> None:
    program(Path("fleet.sh"), f"touch {tmp_path}/ran; echo web1")
    (tmp_path / exposed).chmod(0o777)
    part = (tmp_path / exposed).resolve()
    with pytest.raises(UsageError) as caught:
        read_inventory("fleet.sh")
    assert str(caught.value) == f"fleet.sh: not run, as others can write {part}: chmod go-w {part}"
    assert not (tmp_path / "ran").exists()


def test_a_link_to_a_program_that_others_can_write_is_not_run(tmp_path: Path) -> None:
    program(Path("fleet.sh"), "echo web1")
    Path("link").symlink_to("fleet.sh")
    assert [host.entry for host in read_list("link")] == ["web1"]
    Path("fleet.sh").chmod(0o777)
    with pytest.raises(UsageError, match=r"link: not run, as others can write"):
        read_list("link")


def test_a_program_in_a_folder_for_all_is_run_if_they_cannot_replace_it(tmp_path: Path) -> None:
    program(Path("fleet.sh"), "echo web1")
    tmp_path.chmod(0o1777)
    assert [host.entry for host in read_list("fleet.sh")] == ["web1"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_program_above_of_another_user_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "hostlists").mkdir(mode=0o755)
    printing(tmp_path / "hostlists" / "cloud", LISTED)
    (tmp_path / "below").mkdir()
    os.chdir("below")
    assert entries(read_inventory("cloud")) == ["web2", "web1", "db1"]
    os.chown(tmp_path / "hostlists" / "cloud", 12345, -1)
    with pytest.raises(UsageError, match=r"is not used, as it belongs to the user 12345"):
        read_inventory("cloud")


def test_variables_beside_a_program_that_are_not_read_are_told(caplog: pytest.LogCaptureFixture) -> None:
    Path("group_vars").mkdir()
    printing(Path("fleet.py"), LISTED)
    assert entries(read_inventory("fleet.py")) == ["web2", "web1", "db1"]
    assert caplog.messages == [
        "fleet.py: group_vars and host_vars beside it are not read: ansible-inventory is not installed"
    ]
