"""Hosts as they are: login shells, startup files that print and read, servers that run no commands."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from faulty import FaultyServers
from helpers import free_port, kill, listens, running, start_lasting, until

from paramgmt_tasks import (
    Fleet,
    Host,
    HostResult,
    Operation,
    Outcome,
    Pull,
    Push,
    RemoteCommand,
    Script,
    Settings,
)
from paramgmt_tasks.model.operations import Copying

SHELLS = ["dash", "bash", "zsh", "csh", "tcsh", "fish", "mksh", "busybox"]
#: What startup files do before the login shell runs the command.
NOISY = {
    "prints": "echo Welcome; echo warning >&2; stty erase x; exec /bin/sh",
    "prints megabytes": "head -c 3000000 /dev/zero | tr '\\000' y; exec /bin/sh",
    "reads lines": "read -r line; read -r line; exec /bin/sh",
    "sets options": "set -euC; export CDPATH=/tmp TAR_OPTIONS=-v; exec /bin/sh",
}
NAMES = [*SHELLS, *NOISY]


def _missing(program: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"CI has no {program}: install it")
    pytest.skip(f"needs {program}")


def shell_line(name: str) -> str | None:
    if name in NOISY:
        return f'{NOISY[name]} -c "$SSH_ORIGINAL_COMMAND"'
    path = shutil.which(name)
    if path is None:
        return None
    words = f"{path} sh" if name == "busybox" else path
    return f'SHELL={path if name != "busybox" else "/bin/sh"} exec {words} -c "$SSH_ORIGINAL_COMMAND"'


@pytest.fixture(scope="module")
def sshd(start_sshd):
    """One server, whose addresses have the shells in turn."""
    lines = []
    for number, name in enumerate(NAMES):
        if line := shell_line(name):
            lines += [f"Match LocalAddress 127.1.0.{number + 1}", f"  ForceCommand {line}"]
    lines += ["Match LocalAddress 127.1.0.101", "  ForceCommand internal-sftp"]
    return start_sshd("LogLevel INFO", *lines)


@pytest.fixture(params=NAMES)
def host(request: pytest.FixtureRequest, sshd) -> Host:
    if shell_line(request.param) is None:
        _missing(request.param)
    return sshd.host(NAMES.index(request.param))


def perform(host: Host, operation: Operation, **settings: object) -> HostResult:
    with Fleet([host], Settings(**{"connect_timeout": 20, **settings})) as fleet:
        (result,) = fleet.report(operation)
    return result


@pytest.fixture
def nap(tmp_path: Path) -> str:
    path = tmp_path / f"nap-{os.getpid()}-{time.monotonic_ns()}"
    path.symlink_to("/bin/sleep")
    return str(path)


def test_files_go_there_and_back(host: Host, tmp_path: Path) -> None:
    source, there, back = (tmp_path / name for name in ("source !x", "it's there", "back"))
    (source / "sub").mkdir(parents=True)
    there.mkdir()
    (source / "f 2!").write_text("two")
    (source / "sub" / "a \\n $x `y` '").write_text("x" * 100_000)
    for how in (Copying(), Copying(changed=True, compress=True)):
        pushed = perform(host, Push((str(source),), f"{there}/", how))
        assert (pushed.outcome, pushed.reason) == (Outcome.OK, "")
    assert pushed.stdout == b"2 of 2 files unchanged\n"
    pulled = perform(host, Pull((str(there / source.name),), str(back), Copying(preserve=True)))
    assert (pulled.outcome, pulled.reason) == (Outcome.OK, "")
    assert subprocess.run(["diff", "-r", source, back], check=False, capture_output=True).stdout == b""
    for noise in (b"nmatched", b"not found", b"syntax", b"adly placed"):
        assert noise not in pushed.stderr + pulled.stderr


def test_a_script_has_its_variables_and_its_standard_input(host: Host, tmp_path: Path) -> None:
    script = tmp_path / "s!.sh"
    script.write_text('#!/bin/sh\nif [ 1 = 1 ]; then\n  printf "%s|" "$A"; cat\nfi\nexit 3\n')
    value = "one  two!x $x 'y'"
    result = perform(host, Script((str(script),)), env=(("A", value),), stdin=b"in!")
    assert (result.outcome, result.return_code) == (Outcome.FAILED, 3)
    assert result.stdout.endswith(f"{value}|in!".encode())


def test_a_timeout_ends_what_is_in_the_background_and_ignores_it_too(sshd, nap: str) -> None:
    hosts = [sshd.host(number) for number, name in enumerate(NAMES) if shell_line(name)]
    for host in hosts:
        Path(f"{nap}-{host.entry}-").symlink_to("/bin/sleep")
    own = f"{nap}-?HOST-"
    command = RemoteCommand(f"{own} 600 & sh -c 'trap \"\" TERM; {own} 600; {own} 600'")
    with Fleet(hosts, Settings(connect_timeout=20, timeout=2)) as fleet:
        results = list(fleet.report(command))
    assert len(results) == len(hosts)
    for result in results:
        left = running(f"{nap}-{result.host}-")
        kill(left)
        assert result.outcome is Outcome.TIMED_OUT, result.host
        assert not left or result.reason.endswith("it may still run"), result.host


def test_an_account_for_files_only_is_served_and_says_what_it_says_to_commands(sshd, tmp_path: Path) -> None:
    host = sshd.host(100)
    (tmp_path / "file").write_text("text")
    for operation in (
        Push((str(tmp_path / "file"),), str(tmp_path / "pushed")),
        Pull((str(tmp_path / "file"),), str(tmp_path / "pulled")),
    ):
        result = perform(host, operation)
        assert (result.outcome, result.reason) == (Outcome.OK, "")
    assert (tmp_path / "pushed").read_text() == (tmp_path / "pulled").read_text() == "text"
    result = perform(host, RemoteCommand("true"))
    assert (result.outcome, result.return_code) == (Outcome.FAILED, 1)
    assert b"sftp connections only" in result.stdout


# -- other servers


def other(servers: FaultyServers, port: int) -> Host:
    options = {
        "Port": str(port),
        "IdentityFile": str(servers.identity),
        "UserKnownHostsFile": str(servers.known_hosts),
    }
    return Host("127.0.0.1", "127.0.0.1", options=options)


def test_a_server_that_refuses_commands_has_run_none_and_gets_files(faulty, tmp_path: Path) -> None:
    host = other(faulty, faulty.ssh(process_factory=None, sftp_factory=True))
    (tmp_path / "file").write_text("text")
    for operation in (RemoteCommand("true"), RemoteCommand("cat", held=True)):
        result = perform(host, operation)
        assert (result.outcome, result.attempts) == (Outcome.DENIED, 1)
        assert result.reason == "the server refuses to run commands"
    for operation in (
        Push((str(tmp_path / "file"),), str(tmp_path / "pushed"), Copying(changed=True)),
        Pull((str(tmp_path / "file"),), str(tmp_path / "pulled")),
    ):
        result = perform(host, operation)
        assert (result.outcome, result.reason) == (Outcome.OK, "")
    assert (tmp_path / "pushed").read_text() == (tmp_path / "pulled").read_text() == "text"


def test_a_script_that_is_refused_after_others_have_run_is_not_told_as_denied(faulty, tmp_path: Path) -> None:
    import asyncssh

    asked: list[str] = []

    class Session(asyncssh.SSHServerSession[bytes]):
        def connection_made(self, channel: Any) -> None:
            self.channel = channel

        def exec_requested(self, command: str) -> bool:
            asked.append(command)
            return len(asked) == 1

        def session_started(self) -> None:
            self.channel.exit(0)

    class Server(asyncssh.SSHServer):
        def session_requested(self) -> Any:
            return Session()

    scripts = [tmp_path / "one.sh", tmp_path / "two.sh"]
    for script in scripts:
        script.write_text("true")
    host = other(faulty, faulty.ssh(server_factory=Server, process_factory=None))
    result = perform(host, Script(tuple(map(str, scripts))))
    assert (result.outcome, len(asked)) == (Outcome.FAILED, 2)
    assert result.reason == f"{scripts[1]}: the server refuses to run commands; those before it have run"


def test_a_server_that_only_says_something_is_quoted_if_files_cannot_go(faulty, tmp_path: Path) -> None:
    async def hello(process) -> None:
        process.stderr.write(b"Hi there! You've successfully authenticated.\nBye.\n")
        process.exit(1)

    host = other(faulty, faulty.ssh(hello))
    (tmp_path / "file").write_text("text")
    result = perform(host, Push((str(tmp_path / "file"),), "/tmp/x"))
    assert (result.outcome, result.reason) == (
        Outcome.FAILED,
        "neither tar nor SFTP on this host: Hi there! You've successfully authenticated.",
    )


def test_nothing_is_claimed_of_what_runs_on_a_server_that_is_not_known(faulty) -> None:
    async def ended_by_signals(process) -> None:
        process.signal_received = lambda signal: process.exit(0)
        await process.wait_closed()

    result = perform(other(faulty, faulty.ssh(ended_by_signals)), RemoteCommand("make"), timeout=0.3)
    assert (result.outcome, result.reason) == (
        Outcome.TIMED_OUT,
        "timed out after 0.3 s; it may still run",
    )


@pytest.fixture(scope="module")
def dropbear(tmp_path_factory: pytest.TempPathFactory):
    program = shutil.which("dropbear") or shutil.which("dropbear", path="/usr/sbin")
    if program is None:
        _missing("dropbear")
    if os.geteuid() != 0:
        pytest.skip("dropbear takes keys of the account that it runs as: as root, in a home of its own, only")
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs a mount namespace")
    folder = tmp_path_factory.mktemp("dropbear")
    folder.chmod(0o700)
    (folder / "home" / ".ssh").mkdir(parents=True, mode=0o700)
    (folder / "home").chmod(0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    shutil.copy(folder / "key.pub", folder / "home" / ".ssh" / "authorized_keys")
    made = ["dropbearkey", "-t", "ed25519", "-f", folder / "host_key"]
    subprocess.run(made, check=True, capture_output=True)
    port = free_port()
    serve = (
        f"mount --bind {folder}/home /root && exec {program} -F -E -p 127.0.0.1:{port} -r {folder}/host_key"
    )
    with open(folder / "log", "wb") as log:
        words = ["unshare", "-m", "sh", "-c", f"{serve} -P {folder}/pid"]
        process = start_lasting(words, stderr=log)
    until(lambda: listens(port), 20)
    options = {
        "Port": str(port),
        "User": "root",
        "IdentityFile": str(folder / "key"),
        "UserKnownHostsFile": str(folder / "known"),
        "StrictHostKeyChecking": "accept-new",
    }
    yield Host("127.0.0.1", "127.0.0.1", options=options)
    process.terminate()
    process.wait(10)


def test_a_timeout_ends_the_children_of_a_command_on_dropbear_and_not_those_of_others(
    dropbear: Host, nap: str
) -> None:
    with Fleet([dropbear], Settings(connect_timeout=20)) as fleet:
        assert fleet.run(f"{nap} 601 >/dev/null 2>&1 &").report().ok
        (kept,) = running(nap)
        (result,) = fleet.run(f"echo part; sh -c '{nap} 600; true'; true", timeout=1).report()
    left = running(nap)
    kill(left)
    assert (result.outcome, result.stdout) == (Outcome.TIMED_OUT, b"part\n")
    assert kept in left
    assert left == [kept] or result.reason.endswith("it may still run")


def test_a_command_that_is_too_long_for_dropbear_is_refused_before(dropbear: Host, tmp_path: Path) -> None:
    for length, outcome in ((9000, Outcome.OK), (9001, Outcome.DENIED)):
        result = perform(dropbear, RemoteCommand(": ".ljust(length, "x")))
        assert result.outcome is outcome, result.reason
    assert result.reason.startswith("the command has 9001 bytes, and this server (dropbear) takes 9000")
    script = tmp_path / "s.sh"
    script.write_text("#!/bin/sh\necho ran\n" + "# long\n" * 2000)
    assert perform(dropbear, Script((str(script),))).stdout == b"ran\n"
