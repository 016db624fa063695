import time
from types import SimpleNamespace

import pytest

from paramgmt_tasks.ssh import Classified
from paramgmt_tasks.steps import Steps, run_to_end
from paramgmt_tasks.transfer.errors import Refused, WithoutTar
from paramgmt_tasks.transfer.remote_scripts import READY
from paramgmt_tasks.transfer.script_session import ScriptSession
from paramgmt_tasks.transfer.shared import RateLimiter
from paramgmt_tasks.transfer.sums import read_sums


def test_a_pace_says_when_the_next_bytes_may_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    limiter = RateLimiter(1000)
    assert limiter.free_at(500) == pytest.approx(100.4)  # a tenth of a second is made up for
    assert limiter.free_at(500) == pytest.approx(100.9)
    monkeypatch.setattr(time, "monotonic", lambda: 200.0)
    assert limiter.free_at(500) == pytest.approx(200.4), "idle time is not made up for"


def test_without_a_rate_bytes_may_move_at_once() -> None:
    assert RateLimiter(None).free_at(10**12) == 0


class _Said(ScriptSession):
    """What a host says, in the pieces it comes in."""

    def __init__(self, *pieces: bytes, broken: bool = False) -> None:
        self.data = self._said = b""
        self._useless, self._has_input = 0, False
        self.channel = SimpleNamespace(closed=True, closed_by_peer=not broken, close=lambda: None)
        self._coming = [piece for piece in pieces if piece]

    def read(self) -> Steps[bytes]:
        yield from ()
        return self._coming.pop(0) if self._coming else b""


@pytest.mark.parametrize("rest", [b"", b"the stream", bytes(1_000_000)])
@pytest.mark.parametrize("noise", [b"", b"Welcome!\n" * 100])
def test_a_script_is_heard_however_much_follows_or_was_said_before(noise: bytes, rest: bytes) -> None:
    for said in (
        [noise + READY + b"with gzip\n" + rest],
        [noise, READY[:5], READY[5:] + b"with", b" gzip\n" + rest],
    ):
        session = _Said(*said)
        assert run_to_end(session.ready()) == "gzip"
        assert session.data == rest


def test_a_shell_that_never_comes_to_the_script_is_given_up_and_what_it_says_is_told() -> None:
    with pytest.raises(WithoutTar, match=r"^no such shell$"):
        run_to_end(_Said(b"\nno such ", b"shell\n", b"more").ready())
    with pytest.raises(WithoutTar, match=r"^x$"):
        run_to_end(_Said(b"x").ready())
    with pytest.raises(WithoutTar, match=r"^$"):
        run_to_end(_Said().ready())
    with pytest.raises(WithoutTar, match=r"^$"):
        run_to_end(_Said(b"noise", READY + b"without\n").ready())


def test_startup_files_may_print_megabytes_but_not_without_end() -> None:
    session = _Said(*[b"noise\n" * 100_000] * 10, READY + b"with\n")
    assert run_to_end(session.ready()) == ""
    session = _Said(*[b"noise\n" * 1_000_000] * 100, READY + b"with\n")
    with pytest.raises(Classified, match="without end"):
        run_to_end(session.ready())
    assert len(session._coming) > 80


def test_a_connection_that_breaks_before_the_script_says_nothing_of_the_host() -> None:
    with pytest.raises(EOFError):
        run_to_end(_Said(b"Welcome!\n", broken=True).ready())


def test_a_script_is_heard_where_every_byte_comes_alone_and_noise_has_its_bound() -> None:
    said = b"noise\n" * 2000 + READY + b"with gzip\nfirst\nrest"
    session = _Said(*(said[at : at + 1] for at in range(len(said))))
    assert run_to_end(session.ready()) == "gzip"
    assert run_to_end(session.line()) == b"first"
    session = _Said(READY, *[b"without an end "] * 100_000)
    with pytest.raises(WithoutTar):
        run_to_end(session.ready())
    assert len(session._coming) > 90_000


def test_an_answer_without_end_is_refused() -> None:
    session = _Said(*[b"x" * 1000] * 100)
    with pytest.raises(Refused):
        run_to_end(session.read_all(10_000))
    assert len(session._coming) == 89
    assert run_to_end(_Said(b"to", b" the end").read_all(10)) == b"to the end"


def test_sums_are_read_at_once_however_many_lines_a_name_has() -> None:
    lines = [b"0" * 64 + b"  ./a"] + [b"b"] * 300_000
    ((name, _),) = read_sums(lines)
    assert len(name) == 1 + 2 * 300_000
