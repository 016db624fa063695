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

from paramgmt_tasks import Fleet, HostResult, Outcome, RemoteCommand, Settings

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
    permitted = f"permit {names[0]} as {names[1]}\npermit {names[0]} as root\n"
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
    for how, said in ((Copying(), b""), (Copying(changed=True), b"2 of 2 files unchanged\n")):
        pushed = perform(sshd, users[0], Push((str(source),), home, how), **way)
        assert (pushed.outcome, pushed.reason, pushed.stdout) == (Outcome.OK, "", said)
        home = home if said else home
    assert Path(home, "sub", "bytes").read_bytes() == BYTES * 50
    assert Path(home, "sub", "bytes").owner() == users[1]
    Path(home).chmod(0o700)
    pulled = perform(sshd, users[0], Pull((home, "/nonexistent"), f"{tmp_path}/pulled/"), **way)
    assert (pulled.outcome, pulled.stderr) == (Outcome.FAILED, b"/nonexistent: no such file\n")
    pulled = perform(sshd, users[0], Pull((home,), f"{tmp_path}/pulled"), **way)
    assert (pulled.outcome, pulled.reason) == (Outcome.OK, "")
    assert (tmp_path / "pulled" / "sub" / "bytes").read_bytes() == BYTES * 50


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(sshd, users, way) -> None:
    nap = f"1000.{secrets.randbelow(10**9)}"
    command = RemoteCommand(f"echo begun; echo err >&2; sleep {nap} & sleep {nap}; :")
    result = perform(sshd, users[0], command, **way, timeout=3)
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "timed out after 3 s; ended on the host")
    assert (result.stdout, result.stderr[:4]) == (b"begun\n", b"err\n")
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
        ("doas", "doas: Authorization required"),
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
    if become == "doas":
        _edit_doas(f"permit nopass root as {users[1]}\n", add=True)
    command = RemoteCommand('id -un; cat; echo "it\'s $HOME" >&2')
    result = perform(sshd, "root", command, **settings, stdin=BYTES)
    assert (result.outcome, result.stdout) == (Outcome.OK, f"{users[1]}\n".encode() + BYTES)
    assert result.stderr.startswith(b"it's /")
