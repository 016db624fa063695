"""Permit: what a run has to say before and while something is started on a host."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Permit:
    """What a run says, and wants to know, about one host. Without arguments all is permitted, at once.

    `objection` tells why nothing may be started, empty if it may; `on_start` is called right before something
    may be started. With `waits` a command is only made ready, and waits for permission to start.
    `on_stall` is called when the host keeps its thread waiting, on which other hosts may count; `cancelled`
    tells whether what was started is to be ended.
    """

    objection: Callable[[], str] = lambda: ""
    on_start: Callable[[], object] = lambda: None
    waits: bool = False
    on_stall: Callable[[], object] = lambda: None
    cancelled: Callable[[], bool] = lambda: False


#: For what nobody has to permit.
PERMITTED = Permit()
