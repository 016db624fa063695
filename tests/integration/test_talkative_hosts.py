"""Hosts that say more in a push than anybody wants to know."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import FaultyServers

from paramgmt_tasks import Fleet, Host, HostResult, Outcome, Settings
from paramgmt_tasks.model.operations import Copying, Push
from paramgmt_tasks.transfer import script_session

READY = b"paramgmt-ready with\n"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[FaultyServers]:
    servers = FaultyServers(tmp_path)
    yield servers
    servers.close()


def push(
    servers: FaultyServers,
    run: Callable[[Any], Awaitable[None]],
    how: Copying = Copying(),  # noqa: B008
) -> HostResult:
    (servers.folder / "file").write_text("text")
    options = {
        "Port": str(servers.ssh(run)),
        "IdentityFile": str(servers.identity),
        "UserKnownHostsFile": str(servers.known_hosts),
    }
    host = Host("127.0.0.1", "127.0.0.1", options=options)
    with Fleet([host], Settings(timeout=10)) as fleet:
        (result,) = fleet.report(Push((str(servers.folder / "file"),), "/nonexistent/x", how))
    return result


def test_of_many_messages_the_first_are_kept_and_the_others_counted(servers: FaultyServers) -> None:
    async def run(process: Any) -> None:
        process.stdout.write(READY)
        for number in range(30_000):
            process.stderr.write(b"tar: file %06d is not to my taste, nor is it to anybody's\n" % number)
            await process.stderr.drain()
        process.exit(2)

    result = push(servers, run)
    assert result.outcome is Outcome.FAILED
    assert result.reason.startswith("file 000000 is not to my taste")
    assert len(result.stderr) < 66_000
    total = 30_000 * len(b"tar: file 000000 is not to my taste, nor is it to anybody's\n")
    assert result.stderr.decode().endswith(f"\n({total - 65_536} bytes more of messages)\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_messages_without_end_end_the_transfer(
    servers: FaultyServers, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(script_session, "_FLOOD", 3_000_000)

    async def run(process: Any) -> None:
        process.stdout.write(READY)
        while True:
            getattr(process, stream).write(b"blah " * 6000)
            await getattr(process, stream).drain()

    result = push(servers, run)
    assert (result.outcome, result.reason) == (Outcome.FAILED, "the host sends messages without end")


def test_more_sums_than_were_asked_for_are_refused(servers: FaultyServers) -> None:
    async def run(process: Any) -> None:
        process.stdout.write(READY + b"folder\n")
        for _ in range(3000):
            process.stdout.write(b"0" * 64 + b"  ./file\n" + b"\n" * 1000)
            await process.stdout.drain()
        process.exit(0)

    result = push(servers, run, Copying(changed=True))
    assert (result.outcome, result.reason) == (
        Outcome.FAILED,
        "the host says more than it was asked for",
    )
