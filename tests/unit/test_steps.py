"""Jobs that wait for descriptors, all watched by one thread."""

import os
import time
from collections.abc import Iterator

import pytest

from paramgmt_tasks.steps import Reactor, WaitForIO


@pytest.fixture
def watch() -> Iterator[Reactor[str]]:
    watch: Reactor[str] = Reactor()
    watch.open()
    yield watch
    watch.close()


def test_a_job_whose_connection_was_closed_meanwhile_goes_on_with_the_others(watch: Reactor[str]) -> None:
    reading, writing = os.pipe()
    closed = os.dup(reading)
    os.close(closed)
    os.write(writing, b"!")
    try:
        for job, descriptor in (("no descriptor any more", -1), ("closed", closed), ("ready", reading)):
            watch.add(job, WaitForIO(descriptor, deadline=None))
        assert sorted(watch.poll(None)) == ["closed", "no descriptor any more", "ready"]
    finally:
        os.close(reading)
        os.close(writing)


def test_a_job_is_given_once_however_often_it_is_hurried(watch: Reactor[str]) -> None:
    watch.add("job", WaitForIO(None, deadline=0.0))
    watch.resume_all()
    watch.resume_all()
    assert watch.poll(None) == ["job"]
    watch.wake()
    assert watch.poll(None) == []


@pytest.mark.parametrize("seconds", [1e7, 1e300])
def test_a_deadline_beyond_what_the_system_can_wait_for_is_waited_for(
    watch: Reactor[str], seconds: float
) -> None:
    reading, writing = os.pipe()
    try:
        waiting = WaitForIO(reading, time.monotonic() + seconds)
        watch.add("far", waiting)
        watch.wake()
        assert watch.poll(None) == []
        os.write(writing, b"!")
        waiting.block()
        assert watch.poll(time.monotonic() + seconds) == ["far"]
    finally:
        os.close(reading)
        os.close(writing)
