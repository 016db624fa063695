"""Variables for commands: their values reach the command, by any login shell, and no command line."""

import secrets
import shutil
import subprocess
from pathlib import Path

import pytest
from faulty import FaultyServers

from paramgmt_tasks import Fleet, Host, HostResult, Outcome, Settings
from paramgmt_tasks.model.operations import LocalCommand, RemoteCommand, Script
from paramgmt_tasks.ssh.connection import HostConnection

SHELLS = ["dash", "bash", "ksh", "mksh", "zsh", "tcsh", "fish"]
VALUE = "one  two!! $x `y` 'z' \"w\" \\ \\n {a,b} *\nnext line \N{SNOWMAN}"
COMMAND_LINES = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\000' ' '"


def perform(host: Host, operation: RemoteCommand | LocalCommand | Script, **settings: object) -> HostResult:
    with Fleet([host], Settings(**{"timeout": 20, **settings})) as fleet:
        (result,) = fleet.report(operation)
    return result


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest, start_sshd) -> Host:
    """A host whose login shell is that."""
    path = shutil.which(request.param)
    if path is None:
        pytest.skip(f"needs {request.param}")
    # Without a locale fish takes the bytes of variables apart.
    line = f'ForceCommand SHELL={path} LC_CTYPE=C.UTF-8 exec {path} -c "$SSH_ORIGINAL_COMMAND"'
    return start_sshd(line).host()


@pytest.mark.parametrize("stdin", [None, b"the command's own\n"])
def test_a_value_reaches_the_command_as_it_is_by_any_login_shell(shell: Host, stdin: bytes | None) -> None:
    command = RemoteCommand("printenv A; printenv B; cat; sh -c 'exit 7'")
    result = perform(shell, command, stdin=stdin, env=(("A", VALUE), ("B", "")))
    assert result.stderr == b""
    assert result.stdout.decode("utf-8", "replace") == f"{VALUE}\n\n{(stdin or b'').decode()}"
    assert (result.outcome, result.return_code) == (Outcome.FAILED, 7)


def test_a_script_gets_its_variables_and_its_standard_input(sshd, tmp_path: Path) -> None:
    script = tmp_path / "s.sh"
    script.write_text('#!/bin/sh\nprintf %s "$A"; cat\n')
    for stdin in (None, b"input"):
        result = perform(sshd.host(), Script((str(script),)), stdin=stdin, env=(("A", VALUE),))
        assert (result.outcome, result.stdout.decode("utf-8", "replace")) == (
            Outcome.OK,
            VALUE + (stdin or b"").decode(),
        )


def test_no_command_line_here_or_there_has_a_value(sshd) -> None:
    value = secrets.token_hex(8)
    for operation in (RemoteCommand, LocalCommand):
        for stdin in (None, b"input"):
            command = operation(f"{COMMAND_LINES}; printenv A >&2")
            result = perform(sshd.host(), command, env=(("A", value),), stdin=stdin)
            assert (result.outcome, result.stderr.decode()) == (Outcome.OK, f"{value}\n")
            assert COMMAND_LINES[:20] in result.stdout.decode("utf-8", "replace"), "it was not looked for"
            assert value not in result.stdout.decode("utf-8", "replace")
    with HostConnection(sshd.host()) as connection:
        done = connection.run(f"{COMMAND_LINES}; printenv A >&2", hide=True, env={"A": value})
    assert done.stderr == f"{value}\n"
    assert value not in done.stdout


def test_a_command_that_ends_with_its_input_gets_variables_too(sshd) -> None:
    command = RemoteCommand('printf %s "$A"', held=True)
    result = perform(sshd.host(), command, env=(("A", VALUE),))
    assert (result.outcome, result.stdout.decode("utf-8", "replace")) == (Outcome.OK, VALUE)
    result = perform(sshd.host(), RemoteCommand("sleep 30", held=True), env=(("A", "b"),), timeout=1)
    assert result.reason == "timed out after 1 s; ended on the host"


@pytest.mark.parametrize("stdin", [None, b"input"])
def test_a_command_with_variables_is_ended_on_the_host(sshd, stdin: bytes | None) -> None:
    command = RemoteCommand("trap '' TERM; sleep 987654 & wait; sleep 987654")
    result = perform(sshd.host(), command, env=(("A", "b"),), timeout=1, stdin=stdin)
    assert result.reason == "timed out after 1 s; ended on the host"
    assert subprocess.run(["pgrep", "-f", "^sleep 987654"], check=False, capture_output=True).stdout == b""


def test_more_than_the_host_takes_at_once(sshd) -> None:
    big = "x" * 5_000_000
    for stdin in (None, b""):
        result = perform(sshd.host(), RemoteCommand("echo ${#A}"), env=(("A", big),), stdin=stdin)
        assert (result.outcome, result.stdout) == (Outcome.OK, b"5000000\n")


def test_commands_with_variables_start_together(sshd) -> None:
    with Fleet(sshd.hosts(5), Settings(timeout=20, together=True, env=(("A", VALUE),))) as fleet:
        report = fleet.report(RemoteCommand('printf %s "$A"'))
    assert {result.stdout.decode("utf-8", "replace") for result in report} == {VALUE}


def test_a_signal_ends_the_command_as_without_variables(sshd) -> None:
    for env in ((), (("A", "b"),)):
        result = perform(sshd.host(), RemoteCommand("kill -KILL $$"), env=env)
        assert (result.outcome, result.reason) == (Outcome.SIGNALLED, "killed by signal KILL")


def test_variables_come_to_other_servers_too(tmp_path: Path) -> None:
    servers = FaultyServers(tmp_path)

    async def run(process) -> None:
        data = await process.stdin.read()
        done = subprocess.run(["sh", "-c", process.command], input=data, capture_output=True, check=False)
        process.stdout.write(done.stdout)
        process.exit(done.returncode)

    try:
        options = {
            "Port": str(servers.ssh(run)),
            "IdentityFile": str(servers.identity),
            "UserKnownHostsFile": str(servers.known_hosts),
        }
        host = Host("127.0.0.1", "127.0.0.1", options=options)
        result = perform(host, RemoteCommand('printf %s "$A"; cat'), env=(("A", VALUE),), stdin=b"input")
        assert (result.outcome, result.stdout.decode("utf-8", "replace")) == (Outcome.OK, f"{VALUE}input")
    finally:
        servers.close()
