"""Hosts that are down, hang, lie or go away: each has its outcome, and nothing is run twice."""

import base64
import gc
from pathlib import Path

import fabric
import pytest

from paramgmt_tasks import Fleet, Host, HostResult, Outcome, RemoteCommand, Settings
from paramgmt_tasks.ssh.connection import HostConnection
from paramgmt_tasks.ssh.failures import Classified
from paramgmt_tasks.ssh.paramiko_internals.transport import LeanTransport

pytest.importorskip("asyncssh")

from faulty import FaultyServers


def ask(
    faulty: FaultyServers,
    port: int,
    command: str = "echo hello",
    options: dict[str, str] | None = None,
    **settings,
) -> HostResult:
    host = faulty.host(port, **(options or {}))
    settings.setdefault("connect_timeout", 5)
    with Fleet([host], Settings(**settings)) as fleet:
        (result,) = fleet.report(RemoteCommand(command))
    return result


def test_a_refused_connection_is_tried_three_times(faulty) -> None:
    result = ask(faulty, faulty.refuse())
    assert (result.outcome, result.reason, result.attempts) == (Outcome.UNREACHABLE, "connection refused", 3)


def test_a_server_that_closes_before_its_banner_is_tried_as_often_as_asked(faulty) -> None:
    port = faulty.closing()
    result = ask(faulty, port, attempts=2)
    assert (result.outcome, result.attempts) == (Outcome.UNREACHABLE, 2)
    assert "before the SSH banner" in result.reason
    assert faulty.connections[port] == 2


def test_a_silent_server_is_given_up_at_the_connect_timeout(faulty) -> None:
    port = faulty.silent()
    result = ask(faulty, port, connect_timeout=0.5)
    assert (result.outcome, result.attempts) == (Outcome.UNREACHABLE, 1)
    assert "timeout" in result.reason or "no answer" in result.reason
    assert faulty.connections[port] == 1


def transports() -> int:
    """How many there are in this process."""
    return sum(isinstance(each, LeanTransport) for each in gc.get_objects())


@pytest.mark.parametrize("fault", ["closing", "silent", "stalling"])
def test_nothing_is_left_of_a_connection_that_failed(faulty, fault: str) -> None:
    gc.collect()
    gc.disable()
    try:
        port, before = getattr(faulty, fault)(), transports()
        assert ask(faulty, port, connect_timeout=0.5, attempts=1).outcome is Outcome.UNREACHABLE
        assert transports() == before
    finally:
        gc.enable()


def test_a_server_that_stops_in_the_middle_of_a_message_is_given_up_too(faulty) -> None:
    result = ask(faulty, faulty.stalling(), connect_timeout=0.5)
    assert (result.outcome, result.attempts) == (Outcome.UNREACHABLE, 1)


def test_a_server_that_talks_garbage_is_not_tried_again(faulty) -> None:
    result = ask(faulty, faulty.garbage())
    assert (result.outcome, result.attempts) == (Outcome.UNREACHABLE, 1)


def test_a_server_that_accepts_the_third_time_succeeds_with_three_attempts(faulty) -> None:
    port = faulty.third_time()
    result = ask(faulty, port)
    assert (result.outcome, result.stdout, result.attempts) == (Outcome.OK, b"hello\n", 3)


def test_a_refused_authentication_is_not_repeated_and_says_what_was_tried(faulty) -> None:
    result = ask(faulty, faulty.denying(), options={"User": "nic"})
    assert (result.outcome, result.attempts) == (Outcome.DENIED, 1)
    assert result.reason == "authentication failed for nic: ssh-ed25519"


def test_no_key_to_offer_is_denied(faulty) -> None:
    result = ask(faulty, faulty.ssh(), options={"IdentityFile": "/nonexistent"})
    assert result.outcome is Outcome.DENIED
    assert result.reason.endswith("no key to offer; /nonexistent: no such file or directory")


def test_an_unknown_name_is_not_tried_again(faulty) -> None:
    result = ask(faulty, 22, options={"HostName": "no-such-host.invalid"})
    assert result.outcome is Outcome.UNREACHABLE
    assert "name" in result.reason


# -- host keys


def test_a_changed_host_key_is_untrusted_and_nothing_is_sent(faulty, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    result = ask(faulty, faulty.changed_key(), f"touch {ran}")
    assert (result.outcome, result.attempts) == (Outcome.UNTRUSTED, 1)
    assert "has changed" in result.reason
    assert not ran.exists()


@pytest.mark.parametrize("mode", ["accept-new", "strict"])
def test_a_changed_host_key_is_untrusted_whatever_is_asked_but_ignore(faulty, mode: str) -> None:
    port = faulty.changed_key()
    assert ask(faulty, port, host_keys=mode).outcome is Outcome.UNTRUSTED
    assert ask(faulty, port, host_keys="ignore").outcome is Outcome.OK


def test_a_new_host_is_recorded_and_known_from_then_on(faulty, tmp_path: Path) -> None:
    port, known = faulty.ssh(), tmp_path / "new" / "known_hosts"
    options = {"UserKnownHostsFile": str(known)}
    assert ask(faulty, port, options=options).outcome is Outcome.UNTRUSTED
    assert not known.exists()
    assert ask(faulty, port, options=options, host_keys="accept-new").ok
    assert ask(faulty, port, options=options, host_keys="strict").ok
    assert len(known.read_text().splitlines()) == 1


def test_a_server_is_asked_for_the_key_types_known_for_it(faulty, tmp_path: Path) -> None:
    import asyncssh

    keys = [asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519", "ssh-rsa")]
    port = faulty.ssh(server_host_keys=keys)
    known = tmp_path / "known"
    rsa = base64.b64encode(keys[1].public_data).decode()
    known.write_text(f"[127.0.0.1]:{port} ssh-rsa {rsa}\n")
    assert ask(faulty, port, options={"UserKnownHostsFile": str(known)}).ok


def test_the_same_with_a_hashed_entry(faulty, tmp_path: Path) -> None:
    import asyncssh

    from paramgmt_tasks.ssh.known_hosts import _hashed

    keys = [asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256")]
    port = faulty.ssh(server_host_keys=keys)
    known = tmp_path / "known"
    blob = base64.b64encode(keys[1].public_data).decode()
    known.write_text(f"{_hashed(f'[127.0.0.1]:{port}')} ecdsa-sha2-nistp256 {blob}\n")
    assert ask(faulty, port, options={"UserKnownHostsFile": str(known)}).ok


# -- what was started is never started again


def test_a_connection_dropped_in_mid_command_is_lost_with_its_output(faulty, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    result = ask(faulty, faulty.dropping(marker), attempts=5)
    assert (result.outcome, result.stdout, result.attempts) == (Outcome.LOST, b"begun\n", 1)
    assert "may have run" in result.reason
    assert marker.read_text() == "run\n"


def test_a_connection_dropped_before_the_start_was_confirmed_is_lost_too(faulty, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    result = ask(faulty, faulty.dropping_before_its_answer(marker), attempts=5)
    assert (result.outcome, result.attempts) == (Outcome.LOST, 1)
    assert marker.read_text() == "run\n"


def test_a_signal_is_named(faulty) -> None:
    result = ask(faulty, faulty.signalling())
    assert (result.outcome, result.reason) == (Outcome.SIGNALLED, "killed by signal SEGV")


def test_a_command_that_never_answers_times_out_with_its_output(faulty) -> None:
    result = ask(faulty, faulty.never_answering(), timeout=0.5)
    assert (result.outcome, result.stdout) == (Outcome.TIMED_OUT, b"part\n")


# -- many of them


def test_a_silent_host_does_not_hold_up_the_others(faulty) -> None:
    """More silent hosts than the gate admits at once: the good one still gets through."""
    good, silent = faulty.ssh(), faulty.silent()
    options = {"HostName": "127.0.0.1", "IdentityFile": str(faulty.identity), "IdentitiesOnly": "yes"}
    options |= {"UserKnownHostsFile": str(faulty.known_hosts)}
    hosts = [Host(f"s{n}", f"s{n}", options={**options, "Port": str(silent)}) for n in range(20)]
    hosts.append(Host("good", "good", options={**options, "Port": str(good)}))
    with Fleet(hosts, Settings(connect_timeout=30)) as fleet:
        run = fleet.perform(RemoteCommand("echo hello"))
        first = next(run)
        assert (first.host.entry, first.outcome) == ("good", Outcome.OK)
        run.cancel()
        assert {result.outcome for result in run} == {Outcome.CANCELLED}


# -- on the way there


def test_a_jump_host_is_connected_once_for_all_behind_it(faulty, sshd) -> None:
    hosts = sshd.hosts(10)
    jump = f"{sshd.options()['User']}@127.0.0.1:{sshd.port}"
    before = sshd.log.count("Accepted publickey")
    with Fleet(hosts, Settings(jump=jump, identity=sshd.identity, host_keys="ignore")) as fleet:
        report = fleet.report(RemoteCommand("echo $SSH_CONNECTION"))
    assert report.ok
    assert sshd.log.count("Accepted publickey") - before in (0, 11)


def test_jump_hosts_stand_one_behind_another(sshd) -> None:
    user = sshd.options()["User"]
    jump = f"{user}@127.0.0.1:{sshd.port},{user}@127.0.0.2:{sshd.port}"
    settings = Settings(jump=jump, identity=sshd.identity, host_keys="ignore")
    with Fleet(sshd.hosts(3), settings) as fleet:
        run = fleet.run("echo ${SSH_CLIENT%% *}")
        assert run.wait(20), "the chain is made"
        assert [result.stdout for result in run.report()] == [b"127.0.0.1\n"] * 3


def test_a_jump_host_that_is_down_is_named(faulty) -> None:
    result = ask(faulty, faulty.ssh(), jump=f"127.0.0.1:{faulty.refuse()}", attempts=1)
    assert result.outcome is Outcome.UNREACHABLE
    assert result.reason.startswith("jump host 127.0.0.1:")
    assert result.reason.endswith("connection refused")


def test_a_proxy_command_is_used(faulty) -> None:
    port = faulty.ssh()
    python = (
        "import socket,sys,threading,os;s=socket.create_connection((sys.argv[1],int(sys.argv[2])));"
        "f=lambda:[s.sendall(d) for d in iter(lambda:os.read(0,65536),b'')];"
        "threading.Thread(target=f,daemon=True).start();"
        "[os.write(1,d) for d in iter(lambda:s.recv(65536),b'')]"
    )
    command = f'python3 -c "{python}" %h %p'
    result = ask(faulty, port, options={"ProxyCommand": command})
    assert (result.outcome, result.stdout) == (Outcome.OK, b"hello\n")


def test_ssh_config_is_honoured(faulty, blank_home: Path) -> None:
    port = faulty.ssh()
    (blank_home / ".ssh" / "conf.d").mkdir(parents=True)
    (blank_home / ".ssh" / "conf.d" / "one").write_text(f"Host web1\n  Port {port}\n  User nic\n")
    (blank_home / ".ssh" / "config").write_text(
        "Include conf.d/*\n"
        "Host web*\n"
        "  HostName 127.0.0.1\n"
        f"  IdentityFile {faulty.identity}\n"
        f"  UserKnownHostsFile {faulty.known_hosts}\n"
        "  StrictHostKeyChecking yes\n"
        "  ConnectTimeout 7\n"
    )
    with Fleet(["web1"]) as fleet:
        (result,) = fleet.report(RemoteCommand("echo hello"))
        (connection,) = fleet.pool.threads.acquire(fleet.hosts, fleet.settings)
    assert result.ok, result.reason
    assert (connection.user, connection.connect_timeout) == ("nic", 7.0)


def test_a_proxy_command_that_fails_is_quoted(faulty) -> None:
    result = ask(faulty, faulty.ssh(), options={"ProxyCommand": "echo gone wrong >&2; exit 1"}, attempts=2)
    assert (result.outcome, result.reason) == (Outcome.UNREACHABLE, "ProxyCommand: gone wrong")
    assert result.attempts == 2


@pytest.mark.parametrize("name", ["web1..example", f"{'a' * 64}.example", ".example"])
def test_a_name_that_nobody_can_have_is_an_unknown_host(faulty, name: str) -> None:
    result = ask(faulty, 22, options={"HostName": name}, attempts=1)
    assert (result.outcome, result.reason) == (Outcome.UNREACHABLE, "unknown host name")


def test_match_sees_the_user_that_is_asked_for_and_that_of_the_entry(faulty, blank_home: Path) -> None:
    port = faulty.ssh()
    (blank_home / ".ssh").mkdir()
    (blank_home / ".ssh" / "config").write_text(
        f"Match user nic\n  Port {port}\nMatch user eve\n  Port 1\nHost *\n  UserKnownHostsFile "
        f"{faulty.known_hosts}\n  IdentityFile {faulty.identity}\n  User eve\n"
    )
    for entry, settings in (("127.0.0.1", Settings(user="nic")), ("nic@127.0.0.1", Settings(user="eve"))):
        with Fleet([entry], settings) as fleet:
            (result,) = fleet.report(RemoteCommand("echo hello"))
        assert result.ok, result.reason


def test_a_proxy_command_gets_the_port_and_the_user_that_hold(faulty, tmp_path: Path) -> None:
    command = f"echo %h %n %p %r %% >{tmp_path}/asked; exit 1"
    ask(faulty, 2222, options={"ProxyCommand": command, "User": "nic"}, attempts=1)
    assert (tmp_path / "asked").read_text() == "127.0.0.1 port2222 2222 nic %\n"


def test_copies_of_a_connections_configuration_keep_its_ssh_config(blank_home: Path) -> None:
    (blank_home / ".ssh").mkdir()
    (blank_home / ".ssh" / "config").write_text("Match final all\n  Port 5\n")
    connection = HostConnection("web1")
    assert fabric.Connection("web2", config=connection.config.clone()).port == connection.port == 5


def test_a_proxy_command_given_to_a_connection_has_its_tokens_filled_in() -> None:
    connection = HostConnection("nic@127.0.0.1:2222", gateway="echo %h %p %r >&2; exit 1")
    with pytest.raises(Classified, match=r"ProxyCommand: 127\.0\.0\.1 2222 nic"):
        connection.open()
