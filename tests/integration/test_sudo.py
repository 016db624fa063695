"""Real sudo with a real password: needs a user of its own, so it runs as root in CI only."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from paramgmt_tasks import Fleet, HostResult, Outcome, Pull, Push, RemoteCommand, Script, Settings

PASSWORD = "pass word"
pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") or os.geteuid() != 0, reason="makes a user: as root in CI only"
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sudo") / "log"


@pytest.fixture(scope="module")
def user(log: Path) -> Iterator[str]:
    if shutil.which("sudo") is None:
        pytest.fail("CI has no sudo: install it")
    name = f"paramgmt{os.getpid()}"[:30]
    rule = Path(f"/etc/sudoers.d/{name}")
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True)
    subprocess.run(["chpasswd"], input=f"{name}:{PASSWORD}", text=True, check=True)
    rule.write_text(
        f"Defaults:{name} timestamp_timeout=0\nDefaults:{name} logfile={log}\n{name} ALL=(ALL) ALL\n"
    )
    rule.chmod(0o440)
    yield name
    rule.unlink()
    subprocess.run(["userdel", "--force", name], check=True)


@pytest.fixture(scope="module")
def sshd(start_sshd):
    # The test's folder is closed to that user, so the key is read by root.
    return start_sshd(
        "AuthorizedKeysCommand /bin/cat {folder}/id_ed25519.pub", "AuthorizedKeysCommandUser root"
    )


def perform(sshd, user: str, operation, **settings) -> HostResult:
    host = sshd.host(1, User=user)
    with Fleet([host], Settings(sudo=True, **settings)) as fleet:
        (result,) = fleet.report(operation)
    return result


def test_a_command_runs_as_root_and_never_sees_the_password(sshd, user) -> None:
    command = RemoteCommand("whoami; echo $K; cat; echo err >&2")
    result = perform(sshd, user, command, password=PASSWORD, stdin=b"input\n", env=(("K", "v"),))
    assert (result.outcome, result.reason) == (Outcome.OK, "")
    assert result.stdout == b"root\nv\ninput\n"
    assert result.stderr == b"err\n"


@pytest.mark.parametrize("stdin", [None, b"input"])
def test_the_values_of_variables_are_on_no_command_line_and_not_in_the_log_of_sudo(
    sshd, user, log: Path, stdin: bytes | None
) -> None:
    look = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\000' ' '"
    value = secrets.token_hex(8)
    command = RemoteCommand(f"{look}; printenv K >&2; cat >&2")
    result = perform(sshd, user, command, password=PASSWORD, stdin=stdin, env=(("K", value),))
    assert (result.outcome, result.stderr) == (Outcome.OK, value.encode() + b"\n" + (stdin or b""))
    assert look[:20].encode() in result.stdout
    assert value.encode() not in result.stdout
    assert look[:20] in log.read_text().replace("\n    ", " "), "sudo's log has what was run"
    assert value not in log.read_text()
    held = perform(sshd, user, RemoteCommand("echo $K", held=True), password=PASSWORD, env=(("K", "v"),))
    assert (held.outcome, held.stdout) == (Outcome.OK, b"v\n")


def test_a_wrong_password_is_denied_and_the_command_not_started(sshd, user, tmp_path: Path) -> None:
    result = perform(sshd, user, RemoteCommand(f"touch {tmp_path}/ran"), password="wrong")
    assert (result.outcome, result.attempts) == (Outcome.DENIED, 1)
    assert "password" in result.reason
    assert PASSWORD not in result.reason
    assert not (tmp_path / "ran").exists()


def test_no_password_is_denied_where_one_is_needed(sshd, user) -> None:
    result = perform(sshd, user, RemoteCommand("true"))
    assert (result.outcome, result.reason) == (Outcome.DENIED, "sudo: a password is required")


def test_the_return_code_is_the_commands(sshd, user) -> None:
    result = perform(sshd, user, RemoteCommand("exit 5"), password=PASSWORD)
    assert (result.outcome, result.return_code) == (Outcome.FAILED, 5)


def test_scripts_and_transfers_as_root(sshd, user, tmp_path: Path) -> None:
    script = tmp_path / "s.sh"
    script.write_text("#!/bin/sh\nid -un; cat\n")
    assert perform(sshd, user, Script((str(script),)), password=PASSWORD).stdout == b"root\n"
    tmp_path.chmod(0o700)
    pushed = perform(sshd, user, Push((str(script),), f"{tmp_path}/pushed"), password=PASSWORD)
    assert (pushed.outcome, pushed.reason) == (Outcome.OK, "")
    assert (tmp_path / "pushed").read_bytes() == script.read_bytes()
    pulled = perform(sshd, user, Pull((f"{tmp_path}/pushed",), f"{tmp_path}/pulled"), password=PASSWORD)
    assert (pulled.outcome, pulled.reason) == (Outcome.OK, "")


def test_logging_in_with_a_password(sshd, user) -> None:
    host = sshd.host(1, User=user, IdentityFile="/nonexistent")
    with Fleet([host], Settings(password=PASSWORD)) as fleet:
        (result,) = fleet.report(RemoteCommand("whoami"))
    assert (result.outcome, result.stdout) == (Outcome.OK, f"{user}\n".encode())
    with Fleet([host], Settings(password="wrong")) as fleet:
        (result,) = fleet.report(RemoteCommand("whoami"))
    assert result.outcome is Outcome.DENIED
    assert result.reason.partition(";")[0].endswith(": password")
