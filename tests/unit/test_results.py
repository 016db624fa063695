from paramgmt_tasks.hosts import Host
from paramgmt_tasks.results import HostResult, Outcome, Report


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
