"""Several factors, and questions that servers ask: of OpenSSH's client, of ours, and of who sits there."""

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from agents import ssh_agent
from factors import CODE, PASSWORD, USERS, FactorServer, serving
from helpers import until

from paramgmt_tasks import Fleet, Host, HostResult, Outcome, Pool, RemoteCommand, Settings, UsageError

BIN = Path(sys.executable).parent
#: Whom a key alone, or a key and a password, let in.
BY_KEY_AND_PASSWORD = ["word", "word-asked", "key-word", "empty", "none"]
#: Who is asked for a code too.
BY_CODE = ["key-code", "word-code", "asked", "at-once", "code", "quiet-code"]


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("identity") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture
def server(identity: Path, blank_home: Path) -> Iterator[FactorServer]:
    key = paramiko.Ed25519Key.from_private_key_file(str(identity)).asbytes()
    with serving(FactorServer(key)) as server:
        (blank_home / ".ssh").mkdir()
        (blank_home / ".ssh" / "config").write_text(
            f"Host *\nPort {server.port}\nIdentityFile {identity}\nIdentitiesOnly yes\n"
            "StrictHostKeyChecking accept-new\n"
        )
        yield server


def configure(home: Path, text: str) -> None:
    config = home / ".ssh" / "config"
    config.write_text(f"{text}\n{config.read_text()}")


def ask(user: str, asking: Callable[..., str | None] | None = None, hosts: int = 1, **settings: object):
    """The results of hosts that are logged in to as a user; `asking` answers questions."""
    names = [f"127.3.0.{number}" for number in range(1, hosts + 1)]
    pool = Pool(asking)
    try:
        with Fleet(
            [Host(name, name) for name in names],
            Settings(user=user, connect_timeout=20, ask_interactive=asking is not None, **settings),  # type: ignore[arg-type]
            pool=pool,
        ) as fleet:
            return list(fleet.perform(RemoteCommand("hello")).report())
    finally:
        pool.close()


def one(user: str, asking: Callable[..., str | None] | None = None, **settings: object) -> HostResult:
    (result,) = ask(user, asking, **settings)
    return result


class Somebody:
    """Answers by what the question has in it, and remembers what was asked."""

    def __init__(self, **more: str | None) -> None:
        self.answers = {"Password": PASSWORD, "code": CODE, **more}
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, text: str, echo: bool, gives_up: Callable[[], bool]) -> str | None:
        self.asked.append((text, echo))
        return next((answer for word, answer in self.answers.items() if word in text), None)


def ssh(home: Path, user: str, tmp_path: Path) -> bool:
    """Whether OpenSSH's client gets in, when somebody answers."""
    helper = tmp_path / "askpass"
    helper.write_text(f'#!/bin/sh\ncase $1 in *assword*) echo "{PASSWORD}";; *) echo {CODE};; esac\n')
    helper.chmod(0o755)
    env = {**os.environ, "SSH_ASKPASS": str(helper), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    known = ["-o", f"UserKnownHostsFile={tmp_path / 'known'}"]
    words = ["ssh", "-n", "-F", home / ".ssh" / "config", *known, "-l", user, "127.3.0.1", "hello"]
    return subprocess.run(words, env=env, capture_output=True, timeout=30).stdout == b"hi\n"


@pytest.mark.parametrize("user", [*BY_KEY_AND_PASSWORD, *BY_CODE])
def test_somebody_who_answers_gets_in_where_ssh_does(
    server: FactorServer, blank_home: Path, tmp_path: Path, user: str
) -> None:
    assert ssh(blank_home, user, tmp_path)
    somebody = Somebody()
    result = one(user, somebody, password=PASSWORD)
    assert (result.outcome, result.stdout) == (Outcome.OK, b"hi\n"), result.reason
    asked = user in BY_CODE
    assert [("code" in text, echo) for text, echo in somebody.asked] == [(True, user != "quiet-code")] * asked


@pytest.mark.parametrize("user", BY_KEY_AND_PASSWORD)
def test_a_password_is_enough_where_nothing_else_is_wanted(server: FactorServer, user: str) -> None:
    assert one(user, password=PASSWORD).ok
    if user != "none":
        server.tried.clear()
        result = one(user, password="wrong")
        assert (result.outcome, result.attempts) == (Outcome.DENIED, 1)
        tried = [each for each in server.tried if not each.startswith("publickey")]
        assert [each.endswith("wrong") for each in tried] == [True]


@pytest.mark.parametrize("user", BY_CODE)
def test_what_was_asked_for_is_told(server: FactorServer, user: str) -> None:
    result = one(user, password=PASSWORD)
    assert (result.outcome, result.attempts) == (Outcome.DENIED, 1)
    said = r"failed for \S+: the server asks '(Verification|One-time) code:', see --ask-interactive; "
    assert re.search(said, result.reason)
    assert PASSWORD not in result.reason


def test_a_question_of_many_hosts_is_asked_once(server: FactorServer) -> None:
    somebody = Somebody()
    assert [result.ok for result in ask("key-code", somebody, hosts=30)] == [True] * 30
    assert len(somebody.asked) == 1


def test_a_wrong_answer_is_not_given_twice(server: FactorServer) -> None:
    somebody = Somebody(code="wrong")
    result = one("code", somebody)
    assert (result.outcome, "the server refused the answer to" in result.reason) == (Outcome.DENIED, True)
    assert len(somebody.asked) == 1
    assert server.tried.count("keyboard-interactive wrong") == 1
    assert "wrong" not in result.reason


def test_hosts_that_ask_nothing_do_not_wait_for_somebody(server: FactorServer, identity: Path) -> None:
    """They are done before there is an answer."""
    done = threading.Event()

    def asking(text: str, echo: bool, gives_up: Callable[[], bool]) -> str | None:
        assert done.wait(30)
        return CODE

    hosts = [
        Host(f"{user}@127.3.0.{n}", f"127.3.0.{n}", user=user)
        for n in range(1, 21)
        for user in ("key-code", "none")
    ]
    with contextlib.closing(Pool(asking)) as pool:
        settings = Settings(connect_timeout=20, ask_interactive=True)
        with Fleet(hosts, settings, pool=pool) as fleet:
            for count, result in enumerate(fleet.perform(RemoteCommand("hello")), 1):
                assert result.ok, result.reason
                assert (result.host.user == "none") == (count <= 20)
                if count == 20:
                    done.set()


def test_who_takes_long_to_answer_does_not_take_the_hosts_time(server: FactorServer) -> None:
    began = time.monotonic()

    def asking(text: str, echo: bool, gives_up: Callable[[], bool]) -> str | None:
        until(lambda: time.monotonic() > began + 4.5)
        return CODE if "Verif" in text else "wrong"

    hosts = [Host(user, "127.3.0.1", user=user) for user in ("code", "quiet-code")]
    with contextlib.closing(Pool(asking)) as pool:
        settings = Settings(connect_timeout=4, ask_interactive=True)
        with Fleet(hosts, settings, pool=pool) as fleet:
            right, wrong = fleet.perform(RemoteCommand("hello")).report()
    assert right.ok, right.reason
    assert (wrong.outcome, "refused the answer" in wrong.reason) == (Outcome.DENIED, True)


def test_nobody_there_is_an_end_for_all(server: FactorServer) -> None:
    somebody = Somebody(code=None)
    results = ask("code", somebody, hosts=5)
    assert {result.outcome for result in results} == {Outcome.DENIED}
    assert "nobody answered 'Verification code:'" in results[0].reason
    assert len(somebody.asked) == 1


def test_what_a_host_asks_cannot_command_a_terminal(server: FactorServer) -> None:
    somebody = Somebody(PIN=CODE)
    assert one("evil", somebody).ok
    ((text, _),) = somebody.asked
    assert text == r"127.3.0.1: \x1b[2JType\r\nyour\x07 PIN: "


def test_a_host_that_goes_on_asking_is_given_up(server: FactorServer) -> None:
    somebody = Somebody(Token=CODE)
    result = one("endless", somebody)
    assert (result.outcome, "goes on asking" in result.reason) == (Outcome.DENIED, True)
    assert len(somebody.asked) == 16


def test_a_run_that_is_cancelled_does_not_wait_for_somebody(server: FactorServer) -> None:
    asked, given_up = threading.Event(), threading.Event()

    def asking(text: str, echo: bool, gives_up: Callable[[], bool]) -> str | None:
        asked.set()
        until(gives_up)
        given_up.set()
        return None

    with contextlib.closing(Pool(asking)) as pool:
        settings = Settings(user="code", connect_timeout=20, ask_interactive=True)
        with Fleet([Host("127.3.0.1", "127.3.0.1")], settings, pool=pool) as fleet:
            run = fleet.perform(RemoteCommand("hello"))
            assert asked.wait(30)
            run.cancel()
            (result,) = run.report()
            assert result.outcome is Outcome.CANCELLED
            assert given_up.wait(30)


@pytest.mark.parametrize(
    ("option", "user"),
    [
        ("PasswordAuthentication no", "word"),
        ("KbdInteractiveAuthentication no", "word-asked"),
        ("NumberOfPasswordPrompts 0", "word-asked"),
        ("BatchMode yes", "word"),
        ("BatchMode yes", "word-asked"),
        ("PreferredAuthentications publickey", "key-word"),
        ("PreferredAuthentications keyboard-interactive", "word"),
        ("PubkeyAuthentication no", "key-code"),
    ],
)
def test_methods_that_ssh_config_excludes_are_not_used(
    server: FactorServer, blank_home: Path, tmp_path: Path, option: str, user: str
) -> None:
    assert ssh(blank_home, user, tmp_path)
    configure(blank_home, option)
    assert not ssh(blank_home, user, tmp_path)
    server.tried.clear()
    assert one(user, Somebody(), password=PASSWORD).outcome is Outcome.DENIED
    assert not [each for each in server.tried if each.startswith(("password", "keyboard"))]


def test_what_is_said_of_a_closed_account_is_the_reason(server: FactorServer) -> None:
    server.banner = "All is logged.\r\nYour account has \x1b[1mexpired; ask the help desk.\r\n\r\n"
    result = one("closed")
    assert (result.outcome, result.attempts) == (Outcome.DENIED, 1)
    said = r"ssh-ed25519; the server says: Your account has \x1b[1mexpired; ask the help desk."
    assert result.reason == f"authentication failed for closed: {said}"


def test_who_is_let_in_does_not_see_what_a_server_shows(server: FactorServer) -> None:
    server.banner = "All is logged.\n" * 10_000
    result = one("none")
    assert (result.outcome, result.stdout, result.stderr) == (Outcome.OK, b"hi\n", b"")


def test_the_password_of_sudo_is_not_for_logging_in(server: FactorServer) -> None:
    assert one("word", password=PASSWORD, sudo=True).outcome is Outcome.DENIED
    assert "password right" not in server.tried


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_other_engines_cannot_ask(engine: str) -> None:
    with pytest.raises(UsageError, match="use the engine threads"):
        Fleet(["a"], Settings(engine=engine, ask_interactive=True), pool=Pool(Somebody()))


def test_there_has_to_be_somebody() -> None:
    with pytest.raises(UsageError, match="nobody to ask"):
        Fleet(["a"], Settings(ask_interactive=True))


# -- the terminal


def on_a_terminal(words: list[str], typed: list[tuple[str, str]], folder: Path) -> tuple[int, str]:
    """The status and all that a program shows, when each text is typed once something has been shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execv(words[0], words)
    shown, ends = b"", time.monotonic() + 40
    waiting = list(typed)
    with contextlib.suppress(OSError):  # that is how a terminal ends
        while select.select([terminal], [], [], max(0, ends - time.monotonic()))[0]:
            piece = os.read(terminal, 4096)
            if not piece:
                break
            shown += piece
            if waiting and waiting[0][0].encode() in shown:
                os.write(terminal, waiting.pop(0)[1].encode())
    os.close(terminal)
    assert time.monotonic() < ends, shown.decode()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def rcmd(user: str, *options: str) -> list[str]:
    return [str(BIN / "paramgmt"), "rcmd", "-m", "127.3.0.[1-3]", "-u", user, *options, "--", "hello"]


def test_a_code_is_asked_for_on_the_terminal(server: FactorServer, tmp_path: Path) -> None:
    status, shown = on_a_terminal(
        rcmd("key-code", "--ask-interactive"), [("Verification code: ", f"{CODE}\n")], tmp_path
    )
    assert (status, shown.count("Verification code:"), shown.count("hi")) == (0, 1, 3), shown
    assert CODE in shown  # the server lets it be seen


def test_what_must_not_be_seen_is_not_shown_nor_kept(
    server: FactorServer, tmp_path: Path, blank_home: Path
) -> None:
    status, shown = on_a_terminal(
        rcmd("quiet-code", "--ask-interactive", "--json"), [("One-time code: ", f"{CODE}\n")], tmp_path
    )
    assert (status, CODE in shown) == (0, False), shown
    kept = [path for folder in (tmp_path, blank_home) for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if CODE.encode() in path.read_bytes()]


def test_ctrl_c_at_a_question_ends_the_run(server: FactorServer, tmp_path: Path) -> None:
    status, shown = on_a_terminal(
        rcmd("quiet-code", "--ask-interactive"), [("One-time code: ", "\x03")], tmp_path
    )
    assert (status, "3 cancelled" in shown or "cancelled" in shown) == (130, True), shown


def test_the_password_comes_first_then_the_code(server: FactorServer, tmp_path: Path) -> None:
    status, shown = on_a_terminal(
        rcmd("asked", "--ask-interactive", "--ask-password"),
        [("password: ", f"{PASSWORD}\n"), ("Verification code: ", f"{CODE}\n")],
        tmp_path,
    )
    assert (status, PASSWORD in shown) == (0, False), shown


@pytest.mark.parametrize(("phrase", "status"), [("secret", 0), ("other", 2)])
def test_a_passphrase_is_asked_for_once(
    server: FactorServer, identity: Path, tmp_path: Path, phrase: str, status: int
) -> None:
    path = tmp_path / "encrypted"
    path.write_bytes(identity.read_bytes())
    path.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", path], check=True)
    server.tried.clear()
    words = [*rcmd("key-word", "--ask-passphrase", "--identity", str(path))]
    ended, shown = on_a_terminal(words, [("passphrase of private keys: ", f"{phrase}\n")], tmp_path)
    assert phrase not in shown
    if status:
        assert (ended, f"identity {path}: wrong passphrase" in shown, server.tried) == (2, True, []), shown
    else:
        assert server.tried.count("publickey right") == 3


def test_without_a_terminal_there_is_nobody_to_ask(tmp_path: Path) -> None:
    words = [str(BIN / "paramgmt"), "rcmd", "-m", "a", "--ask-interactive", "--", "x"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, start_new_session=True)
    assert done.returncode == 2
    assert done.stderr == "rcmd: --ask-interactive: there is no terminal to ask on\n"


# -- agents that hosts open


class Opener(FactorServer):
    """Opens channels to the agent as soon as somebody is in, and counts those that it gets."""

    opened, served = 0, 0

    def on_login(self, transport: paramiko.Transport) -> None:
        channels: list[paramiko.Channel] = []
        with contextlib.suppress(paramiko.SSHException, EOFError):
            while len(channels) < 20:
                channels.append(transport.open_channel("auth-agent@openssh.com", timeout=5))
        self.opened = len(channels)
        for channel in channels:
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                channel.settimeout(5)
                channel.sendall(b"\0\0\0\1\x0b")
                self.served += bool(channel.recv(5))


@pytest.mark.parametrize("forward", ["no", "yes"])
def test_a_server_opens_no_agent_that_is_not_forwarded_and_few_that_are(
    identity: Path, blank_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forward: str
) -> None:
    key = paramiko.Ed25519Key.from_private_key_file(str(identity)).asbytes()
    with ssh_agent(tmp_path / "agent", identity) as socket, serving(Opener(key)) as server:
        assert isinstance(server, Opener)
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        (blank_home / ".ssh").mkdir()
        config = f"ForwardAgent {forward}\nPort {server.port}\nStrictHostKeyChecking accept-new\n"
        (blank_home / ".ssh" / "config").write_text(config)
        assert one("none").ok
        assert (server.opened > 0, server.served) == (forward == "yes", 8 if forward == "yes" else 0)


def test_all_users_are_tried() -> None:
    assert {*BY_KEY_AND_PASSWORD, *BY_CODE, "closed", "evil", "endless"} == USERS.keys()
