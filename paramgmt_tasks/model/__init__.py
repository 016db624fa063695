"""Plain data and pure decisions: hosts, operations, settings, results, retries, rollouts.

Nothing here connects, waits or prints; only outputs that are too large for memory are kept in files.
"""

from . import ssh_options, ssh_support, ssh_values
from .errors import UsageError, escaped, one_line, reason_of
from .hosts import (
    SSH_OPTIONS,
    Host,
    duplicates,
    expand,
    fold,
    parse_entry,
    parse_lines,
    read_line,
    read_settings,
    with_settings,
)
from .later import later
from .operations import Copying, LocalCommand, Operation, Pull, Push, RemoteCommand, Script, describe
from .output import IN_MEMORY, FileSpool, Output, Reader, Room, Spool
from .ownership import doubt, exposed, make_private
from .ranks import ranks
from .results import (
    PATIENCE,
    CommandStatus,
    HostResult,
    Outcome,
    OutputEvent,
    Report,
    count_outcomes,
    unless_not_kept,
)
from .retry import Failure, RetryPolicy
from .rollout import Rollout, check_together
from .run_texts import env_on, ranked
from .settings import WAYS, Changes, Settings, Verbatim, check, share
from .ssh_options import Value, assignment
from .substitution import substitute
from .units import amount, duration

__all__ = [
    "IN_MEMORY",
    "PATIENCE",
    "SSH_OPTIONS",
    "WAYS",
    "Changes",
    "CommandStatus",
    "Copying",
    "Failure",
    "FileSpool",
    "Host",
    "HostResult",
    "LocalCommand",
    "Operation",
    "Outcome",
    "Output",
    "OutputEvent",
    "Pull",
    "Push",
    "Reader",
    "RemoteCommand",
    "Report",
    "RetryPolicy",
    "Rollout",
    "Room",
    "Script",
    "Settings",
    "Spool",
    "UsageError",
    "Value",
    "Verbatim",
    "amount",
    "assignment",
    "check",
    "check_together",
    "count_outcomes",
    "describe",
    "doubt",
    "duplicates",
    "duration",
    "env_on",
    "escaped",
    "expand",
    "exposed",
    "fold",
    "later",
    "make_private",
    "one_line",
    "parse_entry",
    "parse_lines",
    "ranked",
    "ranks",
    "read_line",
    "read_settings",
    "reason_of",
    "share",
    "ssh_options",
    "ssh_support",
    "ssh_values",
    "substitute",
    "unless_not_kept",
    "with_settings",
]
