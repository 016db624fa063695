"""When a transfer is given up: nothing moves any more, or the operation's timeout has passed."""

from ..model import CommandStatus, Outcome

#: Seconds without any progress after which a transfer is given up.
STALLED = 60.0


class OutOfTime(Exception):
    """The operation's timeout has passed."""


def timed_out(timeout: float) -> CommandStatus:
    """The outcome of a transfer that has taken more than `timeout` seconds."""
    return CommandStatus(Outcome.TIMED_OUT, None, f"timed out after {timeout:g} s")
