"""A run tells of a host only when it has done with it."""

import pytest

from paramgmt_tasks import Host, HostResult, LocalCommand, Settings
from paramgmt_tasks.execution.local_command import LocalWork, LocalWorks
from paramgmt_tasks.execution.local_run import LocalRun
from paramgmt_tasks.execution.result_stream import ResultStream
from paramgmt_tasks.model import Outcome


@pytest.mark.parametrize("command", ["true", "kill -9 $$"])
def test_a_host_is_released_before_its_result_is_known(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    events: list[str] = []
    release, publish = LocalWork.release, ResultStream.publish

    def released(work: LocalWork) -> None:
        events.append(f"{work.host.entry} released")
        release(work)

    def published(stream: ResultStream, result: HostResult) -> object:
        events.append(f"{result.host.entry} {'ok' if result.outcome is Outcome.OK else 'failed'}")
        return publish(stream, result)

    monkeypatch.setattr(LocalWork, "release", released)
    monkeypatch.setattr(ResultStream, "publish", published)
    hosts, settings = [Host("a", "a")], Settings()
    report = LocalRun(hosts, LocalCommand(command), settings, LocalWorks(hosts, settings)).start().report()
    assert events == ["a released", "a ok" if report.ok else "a failed"]
