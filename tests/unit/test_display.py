import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from paramgmt_tasks.display import progress as progress_module
from paramgmt_tasks.display.blocks import block, painter, reasons, skew, summary
from paramgmt_tasks.display.progress import ProgressLine
from paramgmt_tasks.model.hosts import Host
from paramgmt_tasks.model.output import Output
from paramgmt_tasks.model.results import HostResult, Outcome, Report

CASES = json.loads((Path(__file__).parent / "cases" / "blocks.json").read_text())


def made(fields: dict, index: int = 0, entry: str = "10.0.0.100") -> HostResult:
    values = {"description": f"rcmd [{entry}]: c", "attempts": 1, **fields}
    for name, field in (("stdout", "out"), ("stderr", "err")):
        values[field] = Output(values.pop(name, "").encode("latin-1"))
    values["outcome"] = Outcome(values["outcome"])
    return HostResult(host=Host(entry, entry), index=index, **values)


def lines(result: HostResult, color: bool = False) -> list[str]:
    return "".join(block(result, painter(color))).split("\n")[:-1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_block(case: dict) -> None:
    assert lines(made(case["result"])) == "\n".join(case["lines"]).split("\n")


def test_colours() -> None:
    ok = made({"outcome": "ok", "return_code": 0, "stdout": "o", "stderr": "e", "attempts": 2})
    bad = made({"outcome": "failed", "return_code": 1, "stderr": "e"})
    assert lines(ok, color=True) == [
        "\x1b[34mrcmd [10.0.0.100]: c\x1b[0m",
        "\x1b[32mstdout:\x1b[0m",
        "\x1b[32mo\x1b[0m",
        "\x1b[33mstderr:\x1b[0m",
        "\x1b[33me\x1b[0m",
        "\x1b[33mattempts:    2\x1b[0m",
    ]
    assert lines(bad, color=True)[-2:] == [
        "\x1b[31mreturn code: 1\x1b[0m",
        "\x1b[31mattempts:    1\x1b[0m",
    ]
    assert summary(Report([bad]), painter(True))[-1] == "\x1b[31m10.0.0.100\x1b[0m"


def test_the_summary_of_a_run_without_failures_ends_with_an_empty_line() -> None:
    report = Report([made({"outcome": "ok", "return_code": 0})])
    assert summary(report, painter(False)) == ["1 succeeded, 0 failed, 1 total", ""]


def test_failed_hosts_stand_in_host_order_with_duplicates() -> None:
    failed = {"outcome": "failed", "return_code": 1, "reason": "return code 1"}
    report = Report([made(failed, 1, "a"), made(failed, 0, "b"), made(failed, 2, "a")])
    assert summary(report, painter(False)) == [
        "0 succeeded, 3 failed, 3 total",
        "",
        "Failed hosts:",
        "b",
        "a",
        "a",
    ]
    assert reasons(report) == ["failed (3): a b - return code 1"]


def test_reasons_fold_the_hosts() -> None:
    down = {"outcome": "unreachable", "reason": "connection refused"}
    report = Report([made(down, n, f"web{n:02}") for n in (3, 7, 8, 9)])
    assert reasons(report) == ["unreachable (4): web[03,07-09] - connection refused"]


@pytest.fixture
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands at 100 s, so that no line is drawn in between however busy this machine is."""
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(progress_module, "_FIRST", 600.0)


@pytest.fixture
def progress(_clock: None) -> Iterator[ProgressLine]:
    """That of four hosts, begun at 100 s, of which two are under way since 104 s and 106 s."""
    under_way = [(Host("h3", "h3"), 106.0), (Host("h1", "h1"), 104.0)]
    with ProgressLine(io.StringIO(), 4, lambda: under_way) as progress:
        yield progress


def test_progress_tells_how_many_are_done_how_long_still_and_who_is_slow(progress: ProgressLine) -> None:
    assert progress.line(110.0) == "0/4 hosts, 2 running; slowest: h1 6 s, h3 4 s"
    progress.on_result(made({"outcome": "ok"}))
    progress.on_result(made({"outcome": "lost"}))
    assert progress.line(110.0) == "2/4 hosts, 1 failed, 2 running, 0.2/s, 10 s left; slowest: h1 6 s, h3 4 s"


@pytest.mark.usefixtures("_clock")
def test_progress_of_files_tells_bytes_too() -> None:
    out = io.StringIO()
    with ProgressLine(out, 4, list, copied=lambda: (30_000_000, 60_000_000)) as progress:
        progress.on_result(made({"outcome": "ok"}))
        line = progress.line(110.0)
        assert line == "[############            ] 30.0 MB 3.0 MB/s  1/4 hosts, 0 running, 0.1/s, 10 s left"
        with progress.paused():
            out.write("a block\n")
    assert out.getvalue() == "a block\n", "it was over before there was need of a line"


def test_the_skew_of_hosts_started_together_is_told() -> None:
    times = [(10.0, 10.1), (10.002, 10.032), (None, None)]
    results = [
        HostResult(Host(f"h{n}", f"h{n}"), n, "", Outcome.OK, requested=asked, confirmed=confirmed)
        for n, (asked, confirmed) in enumerate(times)
    ]
    report = Report(results)
    assert report.skew() == pytest.approx((0.033, 0.05))
    assert skew(report) == "2 hosts asked within 2.0 ms, started within 33.0 ms (± 50.0 ms)"
    assert Report(results[:1]).skew() == (0.0, 0.0)
