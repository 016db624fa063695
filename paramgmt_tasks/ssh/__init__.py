"""One host: how it is reached, how a command is run on it, and how that is ended."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from . import config
    from .become import Become, as_user
    from .command import communicate, kill_on_disconnect, with_env
    from .connection import HostConnection
    from .failures import Classified, Denied, NoAnswer, NotStarted, classify
    from .handshake_gate import HandshakeGate
    from .host_run import START_TIMEOUT, HostRun
    from .login_shell import PREAMBLE, PREAMBLE_LINES, SKIP_PREAMBLE, by_sh
    from .paramiko_internals import Answers, ExecChannel, FabricGroup, SFTPSession
    from .permit import PERMITTED, Permit
    from .session_options import check_command, has_terminal
    from .shared import SharedResources
    from .target import Target, resolve
    from .termination import GRACE
else:
    __getattr__ = later(
        __name__,
        {
            ".": ["config"],
            ".become": ["Become", "as_user"],
            ".command": ["communicate", "kill_on_disconnect", "with_env"],
            ".connection": ["HostConnection"],
            ".failures": ["Denied", "Classified", "NoAnswer", "NotStarted", "classify"],
            ".handshake_gate": ["HandshakeGate"],
            ".host_run": ["START_TIMEOUT", "HostRun"],
            ".login_shell": ["PREAMBLE", "PREAMBLE_LINES", "SKIP_PREAMBLE", "by_sh"],
            ".paramiko_internals": ["Answers", "ExecChannel", "FabricGroup", "SFTPSession"],
            ".permit": ["PERMITTED", "Permit"],
            ".session_options": ["check_command", "has_terminal"],
            ".shared": ["SharedResources"],
            ".target": ["Target", "resolve"],
            ".termination": ["GRACE"],
        },
    )

__all__ = [
    "GRACE",
    "PERMITTED",
    "PREAMBLE",
    "PREAMBLE_LINES",
    "SKIP_PREAMBLE",
    "START_TIMEOUT",
    "Answers",
    "Become",
    "Classified",
    "Denied",
    "ExecChannel",
    "FabricGroup",
    "HandshakeGate",
    "HostConnection",
    "HostRun",
    "NoAnswer",
    "NotStarted",
    "Permit",
    "SFTPSession",
    "SharedResources",
    "Target",
    "as_user",
    "by_sh",
    "check_command",
    "classify",
    "communicate",
    "config",
    "has_terminal",
    "kill_on_disconnect",
    "resolve",
    "with_env",
]
