"""Another user's commands by real sudo, su, doas and a command: makes users, so as root in CI only."""

import fcntl
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import until

from paramgmt_tasks import Copying, Fleet, HostResult, Outcome, Pull, Push, RemoteCommand, Script, Settings

PASSWORD, TARGETS = "pass $word", "their 'word"
#: All that a terminal could take for something else, and a line that is longer than a terminal takes.
BYTES = bytes(range(256)) * 20 + b"\n" + b"x" * 9000 + b"\x04\x16\x04end"
DOAS = Path("/etc/doas.conf")
pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") or os.geteuid() != 0, reason="makes users: as root in CI only"
)


def _edit_doas(change: str, *, add: bool) -> None:
    with open(DOAS, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read().replace(change, "") + (change if add else "")
        file.truncate(0)
        file.write(text)


@pytest.fixture(scope="module")
def users() -> Iterator[tuple[str, str]]:
    """Who logs in, and whom that one may become, each with a password."""
    for program in ("sudo", "su", "doas"):
        if shutil.which(program) is None:
            pytest.fail(f"CI has no {program}: install it")
    names = f"pmlogin{os.getpid()}", f"pmother{os.getpid()}"
    for name, password in zip(names, (PASSWORD, TARGETS), strict=True):
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True)
        subprocess.run(["chpasswd"], input=f"{name}:{password}", text=True, check=True)
    rule = Path(f"/etc/sudoers.d/{names[0]}")
    rule.write_text(f"Defaults:{names[0]} timestamp_timeout=0\n{names[0]} ALL=(ALL) ALL\n")
    rule.chmod(0o440)
    permitted = (
        f"permit {names[0]} as {names[1]}\npermit {names[0]} as root\npermit nopass root as {names[1]}\n"
    )
    _edit_doas(permitted, add=True)
    yield names
    _edit_doas(permitted, add=False)
    rule.unlink()
    for name in names:
        subprocess.run(["userdel", "--force", "--remove", name], check=True, capture_output=True)


@pytest.fixture(scope="module")
def sshd(start_sshd):
    return start_sshd(
        "AuthorizedKeysCommand /bin/cat {folder}/id_ed25519.pub",
        "AuthorizedKeysCommandUser root",
        "AcceptEnv FOO* LANG",
        "Match User root",
        "PermitTTY no",
    )


@pytest.fixture(params=["sudo", "su", "doas", "command"])
def way(request, users) -> dict[str, Any]:
    """Settings with which the other user's commands run, by a way that asks for a password."""
    ways = {
        "sudo": ("sudo", PASSWORD),
        "su": ("su", TARGETS),
        "doas": ("doas", PASSWORD),
        "command": ("sudo -u {user} -i --", PASSWORD),
    }
    become, password = ways[request.param]
    return {"become": become, "run_as": users[1], "password": password}


def perform(sshd, user: str, operation, options: dict[str, str] | None = None, **settings) -> HostResult:
    host = sshd.host(1, User=user, **(options or {}))
    with Fleet([host], Settings(**settings)) as fleet:
        (result,) = fleet.report(operation)
    return result


def test_bytes_outputs_variables_and_return_code(sshd, users, way) -> None:
    command = RemoteCommand("whoami >&2; echo $K >&2; cat; exit 5")
    result = perform(sshd, users[0], command, **way, stdin=BYTES, env=(("K", "a 'v'"),))
    assert (result.outcome, result.return_code, result.reason) == (Outcome.FAILED, 5, "return code 5")
    assert result.stderr == f"{users[1]}\na 'v'\n".encode()
    assert result.stdout == BYTES


def test_no_input_is_the_end_of_input(sshd, users, way) -> None:
    result = perform(sshd, users[0], RemoteCommand("cat; cat; echo over; echo err >&2"), **way)
    assert (result.outcome, result.stdout, result.stderr) == (Outcome.OK, b"over\n", b"err\n")


def test_scripts_and_files(sshd, users, way, tmp_path: Path) -> None:
    script = tmp_path / "s.sh"
    script.write_text("#!/bin/sh\nid -un; cat\n")
    ran = perform(sshd, users[0], Script((str(script),)), **way, stdin=b"in\x04put")
    assert (ran.outcome, ran.stdout) == (Outcome.OK, f"{users[1]}\nin\x04put".encode())
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "bytes").write_bytes(BYTES * 50)
    (source / "empty").write_bytes(b"")
    home = f"/home/{users[1]}/{secrets.token_hex(4)}"
    for how, where, said in (
        (Copying(), home, b""),
        (Copying(changed=True), home, b"2 of 2 files unchanged\n"),
    ):
        pushed = perform(sshd, users[0], Push((f"{source}/.",), where, how), **way)
        assert (pushed.outcome, pushed.reason, pushed.stdout) == (Outcome.OK, "", said)
    assert Path(home, "sub", "bytes").read_bytes() == BYTES * 50
    assert Path(home, "sub", "bytes").owner() == users[1]
    Path(home).chmod(0o700)
    (tmp_path / "pulled").mkdir()
    pulled = perform(sshd, users[0], Pull((home, "/nonexistent"), f"{tmp_path}/pulled/"), **way)
    assert (pulled.outcome, pulled.stderr) == (Outcome.FAILED, b"/nonexistent: no such file\n")
    pulled = perform(sshd, users[0], Pull((f"{home}/.",), f"{tmp_path}/pulled"), **way)
    assert (pulled.outcome, pulled.reason) == (Outcome.OK, "")
    assert (tmp_path / "pulled" / "sub" / "bytes").read_bytes() == BYTES * 50


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(sshd, users, way) -> None:
    nap = f"1000.{secrets.randbelow(10**9)}"
    command = RemoteCommand(f"echo begun; echo err >&2; sleep {nap} & sleep {nap}; :")
    result = perform(sshd, users[0], command, **way, timeout=3)
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "timed out after 3 s; ended on the host")
    assert result.stdout.startswith(b"begun\n")
    # The shell of `sudo -i` ends at once, and the terminal with it, before what comes last has come.
    assert result.stderr.startswith(b"err\n") or "-i" in way["become"]
    until(lambda: subprocess.run(["pgrep", "-f", nap], capture_output=True, check=False).returncode == 1)


def test_a_wrong_password_is_said_and_sent_once(sshd, users, way, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    wrong = {**way, "password": "wrong"}
    result = perform(sshd, users[0], RemoteCommand(f"touch {tmp_path}/ran"), **wrong)
    assert (result.outcome, result.attempts) == (Outcome.DENIED, 1)
    assert re.search("password|[Aa]uthentication fail", result.reason), result.reason
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("become", "said"),
    [
        ("sudo", "sudo: a password is required"),
        ("doas", "doas: Authentication required"),
        ("su", "su: it asks for a password: give it with --ask-password"),
        ("nosuchprogram -u {user}", "nosuchprogram"),
    ],
)
def test_what_cannot_be_without_a_password_is_denied_and_said(sshd, users, become: str, said: str) -> None:
    result = perform(sshd, users[0], RemoteCommand("id"), become=become, run_as=users[1])
    assert (result.outcome, result.attempts) == (Outcome.DENIED, 1)
    assert said in result.reason


@pytest.mark.parametrize("become", ["sudo", "su", "doas", "runuser -u {user} --", "su {user} -c {command}"])
def test_root_needs_no_password(sshd, users, become: str, tmp_path: Path) -> None:
    settings = {"become": become, "run_as": users[1]}
    command = RemoteCommand('id -un; cat; echo "it\'s $HOME" >&2')
    result = perform(sshd, "root", command, **settings, stdin=BYTES)
    assert (result.outcome, result.stdout) == (Outcome.OK, f"{users[1]}\n".encode() + BYTES)
    assert result.stderr.startswith(b"it's /")


@pytest.mark.parametrize("tty", [False, True])
def test_a_terminal_for_commands(sshd, users, tty: bool) -> None:
    look = "test -t 0 && test -t 1 && echo terminal; cat; echo err >&2; printf 'a\\r\\nb\\n'"
    result = perform(sshd, users[0], RemoteCommand(look), tty=tty, stdin=BYTES, env=(("K", "v"),))
    assert result.outcome is Outcome.OK
    ends = b"a\r\nb\n"
    expected = (b"terminal\n" + BYTES + b"err\n" + ends, b"") if tty else (BYTES + ends, b"err\n")
    assert (result.stdout, result.stderr) == expected


def test_a_command_on_a_terminal_without_input_ends_and_is_ended(sshd, users) -> None:
    command = RemoteCommand("cat; read -r x; cat; tty >&2; echo $TERM; stty size")
    result = perform(sshd, users[0], command, {"SetEnv": "TERM=vt220"}, tty=True)
    assert (result.outcome, result.return_code) == (Outcome.OK, 0)
    assert re.fullmatch(rb"/dev/pts/\d+\nvt220\n[1-9]\d* [1-9]\d*\n", result.stdout)
    nap = f"1000.{secrets.randbelow(10**9)}"
    result = perform(sshd, users[0], RemoteCommand(f"sleep {nap} & sleep {nap}; :"), tty=True, timeout=2)
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "timed out after 2 s; ended on the host")
    until(lambda: subprocess.run(["pgrep", "-f", nap], capture_output=True, check=False).returncode == 1)


def test_sudo_with_a_password_on_a_terminal(sshd, users) -> None:
    command = RemoteCommand("id -un; cat; tty -s && echo terminal")
    result = perform(sshd, users[0], command, sudo=True, password=PASSWORD, tty=True, stdin=b"\x04x")
    assert (result.outcome, result.stdout) == (Outcome.OK, b"root\n\x04xterminal\n")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"RequestTTY": "yes"},
        {"RequestTTY": "force"},
        {"SetEnv": 'FOO=b "FOO2=two words" NOT=x'},
        {"SendEnv": "FOO?"},
        {"SendEnv": "FOO* FOO3 -FOO?*"},
        {"SendEnv": "FOO*", "SetEnv": "FOO1=set"},
    ],
)
def test_the_session_is_as_with_ssh(
    sshd, users, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FOO1": "one  'x'", "FOO3": "three", "BAR": "no"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LANG", raising=False)  # which the system's ssh_config may have sent
    command = "env | grep -E '^(FOO|NOT|BAR)' | sort; test -t 1 && echo terminal; :"
    asked = [f"-o{key}={value}" for key, value in sshd.options(User=users[0], **options).items()]
    theirs = subprocess.run(
        ["ssh", "-F", "none", "-n", *asked, "127.1.0.2", command], capture_output=True, check=True
    )
    ours = perform(sshd, users[0], RemoteCommand(command), options)
    assert (ours.outcome, ours.stdout) == (Outcome.OK, theirs.stdout.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"RemoteCommand": "id"}, "RemoteCommand 'id': ssh_config has a command for this host"),
        ({"SessionType": "none"}, "SessionType none: ssh_config has no commands run on this host"),
        ({"SessionType": "subsystem"}, "SessionType subsystem: "),
        ({"SetEnv": "FOO"}, "bad variable 'FOO': NAME=VALUE"),
    ],
)
def test_what_ssh_would_not_run_is_the_hosts_error(sshd, users, options: dict[str, str], said: str) -> None:
    result = perform(sshd, users[0], RemoteCommand("id"), options)
    assert (result.outcome, result.attempts) == (Outcome.ERROR, 1)
    assert said in result.reason


def test_a_server_that_gives_no_terminal_has_run_nothing(sshd, users, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    result = perform(sshd, "root", RemoteCommand(f"touch {tmp_path}/ran"), tty=True)
    assert result.outcome is Outcome.DENIED
    assert "gives no terminal" in result.reason
    assert not (tmp_path / "ran").exists()


def test_a_refused_terminal_says_nothing_of_tar(sshd, users, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    push = Push((str(tmp_path / "file"),), str(tmp_path / "pushed"))
    with Fleet([sshd.host(1, User="root")]) as fleet:
        (refused,) = fleet.report(push, become="sudo", tty=True)
        (pushed,) = fleet.report(push)
    assert (refused.outcome, refused.attempts) == (Outcome.DENIED, 1)
    assert "gives no terminal" in refused.reason
    assert pushed.ok
    assert (tmp_path / "pushed").read_text() == "text"


def test_other_processes_do_the_same_and_what_is_held_ends(sshd, users) -> None:
    way = {"become": "su", "run_as": users[1], "password": TARGETS}
    with Fleet([sshd.host(n, User=users[0]) for n in (1, 2)], Settings(**way, workers=2)) as fleet:
        report = fleet.report(RemoteCommand("id -un"), engine="processes")
        assert [result.stdout for result in report] == [f"{users[1]}\n".encode()] * 2
        held = fleet.report(RemoteCommand("id -un; sleep 1000", held=True), timeout=2)
        assert [result.outcome for result in held] == [Outcome.TIMED_OUT] * 2


def test_an_unknown_user_is_the_reason_and_not_what_sudo_says_behind_it(sshd) -> None:
    result = perform(sshd, "root", RemoteCommand("true"), become="sudo", run_as="nosuch-user")
    assert (result.outcome, result.reason) == (Outcome.DENIED, "sudo: unknown user nosuch-user")
