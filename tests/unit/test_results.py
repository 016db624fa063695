import pytest

from paramgmt_tasks.model.hosts import Host
from paramgmt_tasks.model.results import HostResult, Outcome, Report, unless_not_kept


def result(index: int, outcome: Outcome, reason: str = "", code: int | None = None) -> HostResult:
    return HostResult(Host(f"h{index}", f"h{index}"), index, "d", outcome, code, reason=reason)


def test_a_report_is_in_host_order_and_adds_up() -> None:
    report = Report(
        [result(2, Outcome.OK, code=0), result(0, Outcome.FAILED, "r", 1), result(1, Outcome.LOST)]
    )
    assert [item.index for item in report] == [0, 1, 2]
    assert (len(report), len(report.failed), report.ok) == (3, 2, False)


def test_reasons_are_grouped_by_outcome_the_most_hosts_first() -> None:
    report = Report(
        [
            result(0, Outcome.UNREACHABLE, "refused"),
            result(1, Outcome.UNREACHABLE, "silent"),
            result(2, Outcome.UNREACHABLE, "silent"),
            result(3, Outcome.FAILED, "return code 1", 1),
            result(4, Outcome.OK, code=0),
        ]
    )
    groups = [(outcome, reason, [r.index for r in results]) for outcome, reason, results in report.reasons()]
    assert groups == [
        (Outcome.FAILED, "return code 1", [3]),
        (Outcome.UNREACHABLE, "silent", [1, 2]),
        (Outcome.UNREACHABLE, "refused", [0]),
    ]


def test_exit_status_is_as_a_shell_would_have_it() -> None:
    assert result(0, Outcome.FAILED, code=7).exit_status == 7
    assert result(0, Outcome.TIMED_OUT).exit_status == 124
    assert result(0, Outcome.SIGNALLED).exit_status == 128
    assert {result(0, o).exit_status for o in Outcome if o.value in ("unreachable", "lost", "denied")} == {
        255
    }


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("two\nlines\r\n", "two lines"),
        ("killed by signal KILL\nok (500): all is fine", "killed by signal KILL ok (500): all is fine"),
        ("\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
        ("\x9b2J and \x7f and \x00", r"\x9b2J and \x7f and \x00"),
        ("a\u202eb\u2066c\u2028d\u2029e", r"a\u202eb\u2066c\u2028d\u2029e"),
        ("name \udcff\udc9b: no such file", r"name \xff\x9b: no such file"),
        ("name \ud800", r"name \ud800"),
        ("größer, 東京", "größer, 東京"),
        ("", ""),
        ("x" * 200, "x" * 200),
        ("x" * 100_000, "x" * 199 + "…"),
        ("\x1b" * 100_000, (r"\x1b" * 50)[:199] + "…"),
    ],
)
def test_every_reason_is_one_short_line_that_can_be_printed(said: str, reason: str) -> None:
    found = result(0, Outcome.FAILED, said, 1).reason
    assert found == reason
    assert found.isprintable()


@pytest.mark.parametrize("before", [Outcome.OK, Outcome.FAILED])
def test_output_that_could_not_be_kept_is_an_error(before: Outcome) -> None:
    assert unless_not_kept(before, "return code 3", "") == (before, "return code 3")
    assert unless_not_kept(before, "return code 3", "/tmp: full") == (
        Outcome.ERROR,
        "output not kept: /tmp: full (return code 3)",
    )
    assert unless_not_kept(Outcome.LOST, "gone", "/tmp: full") == (
        Outcome.LOST,
        "gone; output not kept: /tmp: full",
    )
