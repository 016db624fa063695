"""Which engine `auto` takes."""

import logging

import pytest

from paramgmt_tasks import Settings, UsageError, fleet
from paramgmt_tasks.model.settings import ENGINES


@pytest.mark.parametrize(
    ("hosts", "cores", "settings", "taken", "said"),
    [
        (1999, 16, {}, ("threads", None), "engine: threads (1999 hosts, 16 processors)"),
        (2000, 16, {}, ("processes", 2), "engine: 2 processes (2000 hosts, 16 processors)"),
        (90_000, 16, {}, ("processes", 16), "engine: 16 processes (90000 hosts, 16 processors)"),
        (90_000, 16, {"workers": 3}, ("processes", 3), "engine: 3 processes (90000 hosts, 16 processors)"),
        (90_000, 1, {}, ("threads", None), "engine: threads (90000 hosts, 1 processors)"),
        (
            90_000,
            16,
            {"together": True},
            ("threads", None),
            "engine: threads (they begin together or in turn)",
        ),
        (
            90_000,
            16,
            {"sequential": True},
            ("threads", None),
            "engine: threads (they begin together or in turn)",
        ),
    ],
)
def test_auto_takes_processes_for_many_hosts_and_says_so(
    hosts: int,
    cores: int,
    settings: dict[str, object],
    taken: tuple[str, int | None],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fleet, "processors", lambda: cores)
    monkeypatch.setattr(logging.getLogger("paramgmt_tasks"), "propagate", True)
    caplog.set_level(logging.INFO, "paramgmt_tasks")
    chosen = fleet._chosen(Settings(engine="auto", **settings), hosts)  # type: ignore[arg-type]
    assert (chosen.engine, chosen.workers) == taken
    assert caplog.messages == [said]


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "auto"])
def test_an_engine_that_was_asked_for_is_taken(engine: str) -> None:
    assert fleet._chosen(Settings(engine=engine), 5000).engine == engine


def test_there_are_no_other_engines() -> None:
    with pytest.raises(UsageError, match="engine 'magic': must be one of auto, threads, processes, dask"):
        Settings(engine="magic")
