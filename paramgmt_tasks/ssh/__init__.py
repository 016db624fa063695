"""One host: how it is reached, how a command is run on it, and how that is ended."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from . import config
    from .command import communicate, kill_on_disconnect, with_env
    from .connection import HostConnection
    from .failures import Classified, Denied, NoAnswer, NotStarted, classify
    from .handshake_gate import HandshakeGate
    from .host_run import START_TIMEOUT, HostRun
    from .login_shell import by_sh
    from .paramiko_internals import Answers, ExecChannel, FabricGroup, SFTPSession
    from .permit import PERMITTED, Permit
    from .shared import SharedResources
    from .sudo import Sudo
    from .target import Target, resolve
    from .termination import GRACE
else:
    __getattr__ = later(
        __name__,
        {
            ".": ["config"],
            ".command": ["communicate", "kill_on_disconnect", "with_env"],
            ".connection": ["HostConnection"],
            ".failures": ["Denied", "Classified", "NoAnswer", "NotStarted", "classify"],
            ".handshake_gate": ["HandshakeGate"],
            ".host_run": ["START_TIMEOUT", "HostRun"],
            ".login_shell": ["by_sh"],
            ".paramiko_internals": ["Answers", "ExecChannel", "FabricGroup", "SFTPSession"],
            ".permit": ["PERMITTED", "Permit"],
            ".shared": ["SharedResources"],
            ".sudo": ["Sudo"],
            ".target": ["Target", "resolve"],
            ".termination": ["GRACE"],
        },
    )

__all__ = [
    "GRACE",
    "PERMITTED",
    "START_TIMEOUT",
    "Answers",
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
    "Sudo",
    "Target",
    "by_sh",
    "classify",
    "communicate",
    "config",
    "kill_on_disconnect",
    "resolve",
    "with_env",
]
