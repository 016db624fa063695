"""One host: how it is reached, how a command is run on it, and how that is ended."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from . import config
    from .command import Sudo, at_eof, communicate, kill_on_disconnect, with_env
    from .connection import HostConnection
    from .failures import Classified, Denied, NoAnswer, classify
    from .handshake_gate import HandshakeGate
    from .host_run import START_TIMEOUT, HostRun
    from .permit import PERMITTED, Permit
    from .shared import SharedResources
    from .target import Target, resolve
    from .termination import GRACE
else:
    __getattr__ = later(
        __name__,
        {
            ".": ["config"],
            ".command": ["Sudo", "communicate", "kill_on_disconnect", "at_eof", "with_env"],
            ".connection": ["HostConnection"],
            ".failures": ["Denied", "Classified", "NoAnswer", "classify"],
            ".handshake_gate": ["HandshakeGate"],
            ".host_run": ["START_TIMEOUT", "HostRun"],
            ".permit": ["PERMITTED", "Permit"],
            ".shared": ["SharedResources"],
            ".target": ["Target", "resolve"],
            ".termination": ["GRACE"],
        },
    )

__all__ = [
    "GRACE",
    "PERMITTED",
    "START_TIMEOUT",
    "Classified",
    "Denied",
    "HandshakeGate",
    "HostConnection",
    "HostRun",
    "NoAnswer",
    "Permit",
    "SharedResources",
    "Sudo",
    "Target",
    "at_eof",
    "classify",
    "communicate",
    "config",
    "kill_on_disconnect",
    "resolve",
    "with_env",
]
