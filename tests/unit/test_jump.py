"""One connection to a jump host serves all that are reached through it."""

import time

import pytest

from paramgmt_tasks import Outcome, Settings
from paramgmt_tasks.ssh import jump
from paramgmt_tasks.ssh.failures import Classified
from paramgmt_tasks.ssh.jump import JumpHost


class Connection:
    transport = None
    is_connected = False

    def __init__(self, hop: str, settings: Settings) -> None:
        self.hop, self.settings, self.tries = hop, settings, 0

    def renew(self) -> None:
        pass

    def open(self) -> None:
        self.tries += 1
        raise ConnectionRefusedError(111, "refused")

    def close(self) -> None:
        pass


def jump_host(hops: str, settings: Settings) -> tuple[JumpHost, Connection]:
    made: list[Connection] = []

    def connect(hop: str, through: Settings) -> Connection:
        made.append(Connection(hop, through))
        return made[0]

    return JumpHost(hops, settings, connect), made[0]


def test_the_last_hop_is_reached_through_those_before_it() -> None:
    settings = Settings(jump="a,nic@b:5", user="eve", port=7)
    _, connection = jump_host("a,nic@b:5", settings)
    assert connection.hop == "nic@b:5"
    assert (connection.settings.jump, connection.settings.user, connection.settings.port) == ("a", None, None)
    _, connection = jump_host("a", settings)
    assert connection.settings.jump is None


def test_the_password_of_sudo_is_not_offered_to_a_jump_host() -> None:
    for sudo, password in ((True, None), (False, "secret")):
        _, connection = jump_host("a", Settings(sudo=sudo, password="secret"))
        assert (connection.settings.sudo, connection.settings.password) == (False, password)


def test_a_jump_host_that_refused_is_asked_again_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    host, connection = jump_host("a", Settings())
    for _ in range(3):
        with pytest.raises(Classified) as raised:
            host.open(time.monotonic() + 10)
        assert raised.value.failure.outcome is Outcome.UNREACHABLE
        assert raised.value.failure.reason == "jump host a: connection refused"
    assert connection.tries == 1
    monkeypatch.setattr(jump, "_REST", 0.0)
    with pytest.raises(Classified):
        host.open(time.monotonic() + 10)
    assert connection.tries == 2


def test_a_jump_host_that_was_closed_meanwhile_is_an_error_of_the_connection() -> None:
    host, _ = jump_host("a", Settings())
    with pytest.raises(ConnectionAbortedError):
        host.dial("b", 22, 1.0)
