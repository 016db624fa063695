"""Jobs that wait for descriptors, all watched by one thread."""

import os
from collections.abc import Iterator

import pytest

from paramgmt_tasks.waiting import Silence, Watch


@pytest.fixture
def watch() -> Iterator[Watch[str]]:
    watch: Watch[str] = Watch()
    watch.open()
    yield watch
    watch.close()


def test_a_job_whose_connection_was_closed_meanwhile_goes_on_with_the_others(watch: Watch[str]) -> None:
    reading, writing = os.pipe()
    closed = os.dup(reading)
    os.close(closed)
    os.write(writing, b"!")
    try:
        for job, descriptor in (("no descriptor any more", -1), ("closed", closed), ("ready", reading)):
            watch.add(job, Silence(descriptor, deadline=None))
        assert sorted(watch.poll(None)) == ["closed", "no descriptor any more", "ready"]
    finally:
        os.close(reading)
        os.close(writing)


def test_a_job_is_given_once_however_often_it_is_hurried(watch: Watch[str]) -> None:
    watch.add("job", Silence(None, deadline=0.0))
    watch.hurry_all()
    watch.hurry_all()
    assert watch.poll(None) == ["job"]
    watch.wake()
    assert watch.poll(None) == []
