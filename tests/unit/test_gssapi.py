"""When a ticket is shown, and how the conversation about it ends, without Kerberos."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paramgmt_tasks.ssh import gssapi
from paramgmt_tasks.ssh.config_lookup import Found
from paramgmt_tasks.ssh.gssapi import TicketFailure, Tickets
from paramgmt_tasks.ssh.paramiko_internals import Answer
from paramgmt_tasks.steps import run_to_end


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gssapi, "_is_installed", lambda: True)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("{folder}/cache", True),
        ("FILE:{folder}/cache", True),
        ("DIR:{folder}", True),
        ("DIR::{folder}/cache", True),
        ("{folder}/none", False),
        ("FILE:{folder}/none", False),
        ("DIR:{folder}/none", False),
        ("KCM:", True),
        ("KEYRING:persistent:0", True),
    ],
)
def test_where_tickets_are_kept_is_looked_at_without_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, there: bool
) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setenv("KRB5CCNAME", name.format(folder=tmp_path))
    assert Tickets("web1", Found()).missing == ("" if there else gssapi._NO_TICKET)


def test_the_configuration_names_the_usual_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KRB5CCNAME", raising=False)
    configuration = tmp_path / "krb5.conf"
    monkeypatch.setenv("KRB5_CONFIG", f"{tmp_path}/none:{configuration}")
    configuration.write_text(f"[libdefaults]\n default_ccache_name = FILE:{tmp_path}/of-%{{uid}}\n")
    assert Tickets("web1", Found()).missing
    (tmp_path / f"of-{os.getuid()}").touch()
    assert not Tickets("web1", Found()).missing


class Server:
    """Stands for UserAuth: a server that answers each request with the next of its answers."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.sent: list[object] = []

    def _ask(self, *sent: object) -> Iterator[Any]:
        self.sent += sent
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        yield

    def gssapi(self, mechanism: bytes) -> Iterator[Any]:
        return self._ask(mechanism)

    def gssapi_token(self, token: bytes) -> Iterator[Any]:
        return self._ask(token)

    def to_authenticate(self) -> bytes:
        return b"request"

    def finish_gssapi(self, token: bytes | None, code: bytes) -> Iterator[Any]:
        return self._ask(token, code)


class Library:
    """Stands for what the library keeps of a login: it wants so many tokens of the server."""

    def __init__(self, tokens: int) -> None:
        self._wanted = tokens + 1

    @property
    def complete(self) -> bool:
        return not self._wanted

    def step(self, token: bytes | None = None) -> bytes | None:
        self._wanted -= 1
        return b"" if token == b"" else b"ours"

    def get_signature(self, message: bytes) -> bytes:
        return b"code of " + message


REFUSED, MORE = Answer(methods=("publickey",)), Answer(more=True)
TOKEN = Answer(more=True, token=b"theirs")


def log_in(monkeypatch: pytest.MonkeyPatch, server: Server, tokens: int) -> Answer:
    monkeypatch.setattr(Tickets, "_context", lambda self, name: Library(tokens))
    return run_to_end(Tickets("web1", Found()).log_in(server))  # type: ignore[arg-type]


def test_tokens_go_to_and_fro_until_both_are_content(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(MORE, TOKEN, TOKEN, Answer(accepted=True))
    assert log_in(monkeypatch, server, tokens=2).accepted
    assert server.sent == [gssapi._KERBEROS, b"ours", b"ours", b"ours", b"code of request"]


def test_a_refusal_ends_it_wherever_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ([], [MORE], [MORE, TOKEN]):
        assert log_in(monkeypatch, Server(*before, REFUSED), tokens=5) == REFUSED


def test_a_server_that_goes_on_asking_is_not_answered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TicketFailure, match="goes on asking"):
        log_in(monkeypatch, Server(MORE, TOKEN), tokens=1_000_000)


def test_a_library_that_cannot_be_loaded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(TicketFailure, match="the extra gssapi does not work here"):
        run_to_end(Tickets("web1", Found()).log_in(Server(MORE)))  # type: ignore[arg-type]
