"""One host: how it is reached, how a command is run on it, and how that is ended."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from . import config
    from .command import CommandStatus, Sudo, at_eof, communicate, kill_on_disconnect, with_env
    from .connection import START_TIMEOUT, HostConnection, SharedResources
    from .failures import Classified, Denied, NoAnswer, classify
    from .handshake_gate import HandshakeGate, WaitForSlot
    from .termination import GRACE
else:
    __getattr__ = later(
        __name__,
        {
            ".": ["config"],
            ".command": ["CommandStatus", "Sudo", "communicate", "kill_on_disconnect", "at_eof", "with_env"],
            ".connection": ["HostConnection", "SharedResources", "START_TIMEOUT"],
            ".failures": ["Denied", "Classified", "NoAnswer", "classify"],
            ".handshake_gate": ["WaitForSlot", "HandshakeGate"],
            ".termination": ["GRACE"],
        },
    )

__all__ = [
    "GRACE",
    "START_TIMEOUT",
    "Classified",
    "CommandStatus",
    "Denied",
    "HandshakeGate",
    "HostConnection",
    "NoAnswer",
    "SharedResources",
    "Sudo",
    "WaitForSlot",
    "at_eof",
    "classify",
    "communicate",
    "config",
    "kill_on_disconnect",
    "with_env",
]
