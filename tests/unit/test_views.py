"""What is shown of a run, by each view."""

import base64
import json
import os
from pathlib import Path

import pytest

from paramgmt_tasks.display.blocks import painter, uncoloured
from paramgmt_tasks.display.folder import OutputFolder
from paramgmt_tasks.display.gathered import Gathered
from paramgmt_tasks.display.jsonl import JsonLines
from paramgmt_tasks.display.live import Live
from paramgmt_tasks.display.view import ERR, OUT, InOrder, View
from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.model.hosts import Host
from paramgmt_tasks.model.output import Output
from paramgmt_tasks.model.results import HostResult, Outcome, OutputEvent, Report


def result(index: int, out: bytes = b"", err: bytes = b"", **fields) -> HostResult:
    values = {"outcome": Outcome.OK, "return_code": 0, "attempts": 1, **fields}
    host = Host(f"web{index}", f"web{index}")
    return HostResult(host, index, f"rcmd [{host}]: c", out=Output(out), err=Output(err), **values)


def failed(index: int, out: bytes = b"") -> HostResult:
    return result(index, out, outcome=Outcome.FAILED, return_code=1, reason="return code 1")


def shown(view: View, *results: HostResult, stream: int = OUT) -> str:
    pieces = [piece for one in results for piece in view.on_result(one)]
    pieces += view.on_end(Report(results))
    return "".join(text for where, text in pieces if where == stream)


def test_results_are_shown_in_host_order_each_as_soon_as_it_can_be() -> None:
    view = InOrder(JsonLines())
    assert list(view.on_result(result(1))) == []
    texts = "".join(text for _, text in view.on_result(result(0)))
    assert [json.loads(line)["host"] for line in texts.splitlines()] == ["web0", "web1"]


# -- gathered


def test_identical_output_is_shown_once_that_of_most_hosts_first() -> None:
    results = [result(0, b"other\n"), *(result(n, b"same\n", attempts=n) for n in (1, 2, 3)), failed(4)]
    assert shown(Gathered(uncoloured), *results) == (
        "web[1-3] (3 hosts):\nstdout:\nsame\nweb0 (1 host):\nstdout:\nother\nweb4 (1 host):\nreturn code: 1\n"
    )


def test_hosts_that_were_not_reached_are_gathered_by_reason() -> None:
    down = {"outcome": Outcome.UNREACHABLE, "return_code": None, "reason": "connection refused"}
    other = {**down, "reason": "x"}
    text = shown(Gathered(uncoloured), result(0, **down), result(1, **down), result(2, **other))
    block = "web[0-1] (2 hosts):\nstderr:\nunreachable: connection refused\nreturn code: 255\n"
    assert text.startswith(block)


def test_diff_shows_each_output_against_that_of_most_hosts() -> None:
    results = [result(0, b"a\nb\n"), result(1, b"a\nb\n"), result(2, b"a\nc\n")]
    assert shown(Gathered(uncoloured, diff=True), *results) == (
        "web[0-1] (2 hosts):\nstdout:\na\nb\n"
        "web2 (1 host):\n--- web[0-1]\n+++ web2\n@@ -1,3 +1,3 @@\n stdout:\n a\n-b\n+c\n"
    )


def test_diff_of_long_outputs_does_not_take_minutes() -> None:
    long = [b"".join(b"%d %d\n" % (n, line * n) for line in range(100_000)) for n in (1, 2)]
    text = shown(Gathered(uncoloured, diff=True), result(0, long[0]), result(1, long[1]))
    assert text.endswith("web1 (1 host):\ndiffers from web0: too long to be compared line by line\n")


# -- live


def test_lines_are_shown_with_their_host_when_they_have_ended() -> None:
    out, err = Output(b"one\ntw"), Output()
    live = Live(uncoloured)
    heard = OutputEvent(Host("web1", "web1"), 1, out, err)
    assert list(live.on_output(heard)) == [(OUT, "web1: one\n")]
    out.write(b"o\r\n\n\xff")
    err.write(b"oh\n")
    assert list(live.on_output(heard)) == [(OUT, "web1: two\nweb1: \n"), (ERR, "web1: oh\n")]
    out.write(b"end")
    done = HostResult(heard.host, 1, "", Outcome.TIMED_OUT, out=out, err=err, reason="too slow")
    assert list(live.on_result(done)) == [(OUT, "web1: \ufffdend\n"), (ERR, "web1: timed-out: too slow\n")]


def test_a_character_may_come_in_two_pieces() -> None:
    out = Output("é".encode()[:1])
    live = Live(uncoloured)
    heard = OutputEvent(Host("h", "h"), 0, out, Output())
    assert list(live.on_output(heard)) == []
    out.write("é\n".encode()[1:])
    assert list(live.on_output(heard)) == [(OUT, "h: é\n")]


def test_a_return_code_is_told_and_the_hosts_are_coloured() -> None:
    pieces = list(Live(painter(True)).on_result(failed(1, b"x")))
    assert pieces == [(OUT, "\x1b[32mweb1:\x1b[0m x\n"), (ERR, "\x1b[31mweb1:\x1b[0m return code 1\n")]


# -- JSON Lines


def test_a_result_is_one_line_of_json() -> None:
    text = shown(JsonLines(), result(3, 'a "quoted"\n\té\x00'.encode(), b"e", started=1.0, finished=2.5))
    assert text.count("\n") == 1
    assert json.loads(text) == {
        "host": "web3",
        "index": 3,
        "outcome": "ok",
        "return_code": 0,
        "reason": "",
        "attempts": 1,
        "seconds": 1.5,
        "dropped": 0,
        "description": "rcmd [web3]: c",
        "stdout": 'a "quoted"\n\té\x00',
        "stderr": "e",
    }


@pytest.mark.parametrize("data", [b"\xff", b"abc\xc3", b"ab\x80cd" * 1000])
def test_what_is_no_text_is_in_base64(data: bytes) -> None:
    out = Output()
    for at in range(0, len(data), 7):
        out.write(data[at : at + 7])
    line = json.loads(shown(JsonLines(), HostResult(Host("h", "h"), 0, "", Outcome.OK, out=out)))
    assert base64.b64decode(line["stdout_base64"]) == data
    assert "stdout" not in line
    assert line["stderr"] == ""


# -- a folder


def test_a_folder_has_a_file_for_each_stream_of_each_host_and_an_index(tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path / "new" / "out"), [Host("web0", ""), Host("web1", "")])
    shown(folder, failed(1, b"\xffo"), result(0, err=b"e"))
    files = {path.name: path.read_bytes() for path in (tmp_path / "new" / "out").iterdir()}
    index = [json.loads(line) for line in files.pop("results.jsonl").splitlines()]
    assert files == {"web0.out": b"", "web0.err": b"e", "web1.out": b"\xffo", "web1.err": b""}
    assert [(line["host"], line["return_code"], line["stdout_file"]) for line in index] == [
        ("web1", 1, "web1.out"),
        ("web0", 0, "web0.out"),
    ]
    assert folder.whole


def test_a_folder_that_cannot_be_is_an_error_before_anything_is_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--output-dir .*/file/out: not a directory"):
        OutputFolder(str(tmp_path / "file" / "out"), [])


def test_a_folder_that_goes_away_is_told_and_the_run_goes_on(tmp_path: Path, caplog) -> None:
    folder = OutputFolder(str(tmp_path / "out"), [Host("web0", ""), Host("web1", "")])
    (tmp_path / "out").rmdir()
    shown(folder, result(0), result(1))
    assert not folder.whole
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/out: no such file or directory: files of results are missing"
    ]


def test_files_of_results_are_for_their_user_and_take_the_place_of_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "web0.out").write_text("older, and longer")
    previous = os.umask(0)
    try:
        shown(OutputFolder(str(out), [Host("web0", "")]), result(0, b"new"))
        shown(OutputFolder(str(tmp_path / "a" / "b"), [Host("web0", "")]), result(0, b"new"))
    finally:
        os.umask(previous)
    assert (out / "web0.out").read_bytes() == b"new"
    for folder in (out, tmp_path / "a" / "b"):
        assert sorted(path.name for path in folder.iterdir()) == ["results.jsonl", "web0.err", "web0.out"]
        assert {path.stat().st_mode & 0o7777 for path in folder.iterdir()} == {0o600}
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700] * 2


@pytest.mark.parametrize("name", ["web0.out", "web0.err", "results.jsonl"])
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_what_is_no_file_is_left_alone_and_told(tmp_path: Path, caplog, kind: str, name: str) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    if kind == "pipe":
        os.mkfifo(out / name)
    elif kind == "folder":
        (out / name).mkdir()
    else:
        if kind == "link":
            victim.write_text("precious")
        (out / name).symlink_to(victim)
    before = os.lstat(out / name)
    folder = OutputFolder(str(out), [Host("web0", "")])
    shown(folder, result(0, b"evil"))
    assert not folder.whole
    assert os.lstat(out / name).st_ino == before.st_ino
    assert victim.exists() == (kind == "link")
    assert not victim.exists() or victim.read_text() == "precious"
    assert [record.getMessage() for record in caplog.records] == [
        f"{out}: {name} is no regular file: files of results are missing"
    ]


def test_what_a_process_with_this_number_left_when_it_was_killed_is_in_nobodys_way(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f".paramgmt-{os.getpid()}-{number}").touch()
    folder = OutputFolder(str(tmp_path), [Host("web0", "")])
    shown(folder, result(0, b"new"))
    assert folder.whole
    assert (tmp_path / "web0.out").read_bytes() == b"new"


def test_a_link_that_another_user_put_in_the_place_of_the_folder_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    OutputFolder(str(tmp_path / "out"), [])
    monkeypatch.setattr("paramgmt_tasks.display.folder._is_own", lambda path: False)
    with pytest.raises(UsageError, match=r"--output-dir .*: a link of another user"):
        OutputFolder(str(tmp_path / "out"), [])


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = OutputFolder(str(tmp_path / "out"), [Host("web0", ""), Host("web1", "")])
    shown(folder, result(0, b"text"))

    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("paramgmt_tasks.display.folder.os.write", full)
    shown(folder, result(1, b"text"))
    assert not folder.whole
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "results.jsonl",
        "web0.err",
        "web0.out",
    ]
