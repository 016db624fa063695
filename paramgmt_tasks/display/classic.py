"""ParaMgmt's own output: a block a host, the summary, and the reasons behind the failures."""

from collections.abc import Callable

from ..hosts import fold
from ..results import HostResult, Outcome, Report

_CODES = {"blue": 34, "green": 32, "yellow": 33, "red": 31}

#: Outcomes whose reason stands in the block's stderr, as ssh would print it.
_EXPLAINED = set(Outcome) - {Outcome.OK, Outcome.FAILED}

Painter = Callable[[str, str], str]


def painter(color: bool) -> Painter:
    """A function that puts text in a colour, or leaves it as it is."""
    if not color:
        return lambda text, name: text
    return lambda text, name: f"\x1b[{_CODES[name]}m{text}\x1b[0m"


def block(result: HostResult, paint: Painter) -> list[str]:
    """A host's lines: description, output, and return code and attempts where they are worth saying."""
    lines = [paint(result.description, "blue")]
    stdout, stderr = _text(result.stdout), _text(result.stderr)
    if result.outcome in _EXPLAINED and result.reason not in stderr:
        stderr = f"{stderr}\n{result.outcome}: {result.reason}".lstrip("\n")
    if stdout:
        lines += [paint("stdout:", "green"), paint(stdout, "green")]
    if stderr:
        name = "yellow" if result.ok else "red"
        lines += [paint("stderr:", name), paint(stderr, name)]
    name = "yellow" if result.ok else "red"
    if result.exit_status != 0:
        lines.append(paint(f"return code: {result.exit_status}", name))
    if result.exit_status != 0 or result.attempts > 1:
        lines.append(paint(f"attempts:    {result.attempts}", name))
    return lines


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace").rstrip("\r\n")


def summary(report: Report, paint: Painter) -> list[str]:
    """The counts, which add up to the hosts, and the failed hosts."""
    failed = report.failed
    lines = [f"{len(report) - len(failed)} succeeded, {len(failed)} failed, {len(report)} total", ""]
    if failed:
        lines.append(paint("Failed hosts:", "red"))
        lines += [paint(result.host.entry, "red") for result in failed]
    return lines


def reasons(report: Report) -> list[str]:
    """A line for each outcome and reason: `unreachable (12): web03 web[07-17] - connection refused`."""
    return [
        f"{outcome} ({len(results)}): {fold(result.host.entry for result in results)} - {reason}"
        for outcome, reason, results in report.reasons()
    ]
