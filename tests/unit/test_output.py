import os
import threading
import tracemalloc

import pytest

from paramgmt_tasks.model import output as outputs
from paramgmt_tasks.model.output import Output, Reader, Room, Spool


def test_outputs_that_share_a_spool_stay_apart() -> None:
    spool = Spool(in_memory=100)
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


def test_where_the_disk_is_full_what_there_was_is_kept_without_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "_unnamed_file", lambda: os.open("/dev/full", os.O_WRONLY))
    room = Room(1000)
    spool = Spool(in_memory=100)
    output, other = Output(spool=spool, room=room), Output(spool=spool, room=room)
    output.write(b"four")
    output.write(b"too much for what may be in memory")
    assert room.trouble.endswith("no space left on device")
    output.write(b"more")
    other.write(b"more")
    assert (bytes(output), bytes(other), room.dropped) == (b"four", b"", 0)


def test_no_more_is_kept_of_a_host_than_asked_for_both_streams_together() -> None:
    told: list[int] = []
    room = Room(10)
    out, err = (Output(spool=Spool(), on_write=lambda: told.append(1), room=room) for _ in range(2))
    out.write(b"1234567")
    err.write(b"abcdefg")
    out.write(b"8")
    err.write(b"h")
    assert (bytes(out), bytes(err), room.dropped, room.trouble) == (b"1234567", b"abc", 6, "")
    assert len(told) == 2


def test_output_that_comes_in_tiny_pieces_takes_no_more_memory_than_it_may() -> None:
    """Two hosts take turns, so that what one says does not lie together by itself."""
    spool = Spool(in_memory=100_000)
    outputs = [Output(spool=spool) for _ in range(2)]
    tracemalloc.start()
    for _ in range(50_000):
        for output in outputs:
            output.write(bytes((65, 98)))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [bytes(output) for output in outputs] == [b"Ab" * 50_000] * 2
    assert taken < 400_000


def test_what_another_process_says_of_its_file_takes_no_memory_a_time() -> None:
    there, here = Output(spool=Spool(in_memory=0)), Output()
    reader = Reader(there)
    for number in range(1000):
        there.write(b"%d " % number)
        here.extend(reader.parts(), there._spool)
    assert bytes(here) == bytes(there)
    assert len(here._parts) < 10


def test_a_reader_sees_all_of_what_is_written_meanwhile() -> None:
    output = Output(spool=Spool(in_memory=2000))
    reader, seen = Reader(output), []

    def write() -> None:
        for number in range(5000):
            output.write(b"%d " % number)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        seen += reader.more()
    seen += reader.more()
    assert b"".join(seen) == bytes(output) == b"".join(b"%d " % number for number in range(5000))
