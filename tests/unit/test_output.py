import logging
import os

import pytest

from paramgmt_tasks import output as outputs
from paramgmt_tasks.output import Output, Spool


def test_outputs_that_share_a_spool_stay_apart() -> None:
    spool = Spool(in_memory=10)
    first, second = Output(spool=spool), Output(spool=spool)
    for number in range(100):
        first.write(b"first %d\n" % number)
        second.write(b"second %d\n" % number)
    assert bytes(first) == b"".join(b"first %d\n" % number for number in range(100))
    assert bytes(second) == b"".join(b"second %d\n" % number for number in range(100))


def test_pieces_are_small_and_in_memory_no_more_than_allowed() -> None:
    spool = Spool(in_memory=1000)
    output = Output(spool=spool)
    for _ in range(40):
        output.write(b"x" * 50_000)
    assert sum(len(piece) for piece in output.pieces()) == 2_000_000
    assert max(len(piece) for piece in output.pieces()) <= 65536
    assert all(isinstance(part, tuple) for part in output._parts)
    assert len(output._parts) == 1


def test_nothing_is_false_and_something_true() -> None:
    assert not Output()
    assert Output(b"x")


def test_a_full_disk_is_told_once_and_keeps_what_there_was(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("paramgmt_tasks"), "propagate", True)
    monkeypatch.setattr(outputs, "_unnamed_file", lambda: os.open("/dev/full", os.O_WRONLY))
    output = Output(spool=Spool(in_memory=4))
    for _ in range(3):
        output.write(b"four")
    assert bytes(output) == b"four"
    (record,) = caplog.records
    assert record.getMessage().endswith("output of commands is cut off")
