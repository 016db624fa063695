"""One host: how it is reached, how a command is run on it, and how that is ended."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from . import config
    from .command import CommandStatus, communicate, kill_on_disconnect, with_env
    from .connection import START_TIMEOUT, HostConnection, SharedResources
    from .failures import Classified, Denied, NoAnswer, classify
    from .handshake_gate import HandshakeGate, WaitForSlot
    from .paramiko_internals import Answers, ExecChannel, FabricGroup, SFTPSession
    from .sudo import Sudo
    from .termination import GRACE
else:
    __getattr__ = later(
        __name__,
        {
            ".": ["config"],
            ".command": ["CommandStatus", "communicate", "kill_on_disconnect", "with_env"],
            ".connection": ["HostConnection", "SharedResources", "START_TIMEOUT"],
            ".failures": ["Denied", "Classified", "NoAnswer", "classify"],
            ".handshake_gate": ["WaitForSlot", "HandshakeGate"],
            ".paramiko_internals": ["Answers", "ExecChannel", "FabricGroup", "SFTPSession"],
            ".sudo": ["Sudo"],
            ".termination": ["GRACE"],
        },
    )

__all__ = [
    "GRACE",
    "START_TIMEOUT",
    "Answers",
    "Classified",
    "CommandStatus",
    "Denied",
    "ExecChannel",
    "FabricGroup",
    "HandshakeGate",
    "HostConnection",
    "NoAnswer",
    "SFTPSession",
    "SharedResources",
    "Sudo",
    "WaitForSlot",
    "classify",
    "communicate",
    "config",
    "kill_on_disconnect",
    "with_env",
]
