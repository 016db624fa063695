"""One host: how it is reached, how a command is run on it, and how that is ended."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from . import config
    from .command import Execution, Sudo, converse, held, over, with_env
    from .connection import START_TIMEOUT, HostConnection, Resources
    from .failures import Denied, Known, Silent, classify
    from .handshake_gate import AtGate, HandshakeGate
    from .termination import GRACE
else:
    __getattr__ = later(
        __name__,
        {
            ".": ["config"],
            ".command": ["Execution", "Sudo", "converse", "held", "over", "with_env"],
            ".connection": ["HostConnection", "Resources", "START_TIMEOUT"],
            ".failures": ["Denied", "Known", "Silent", "classify"],
            ".handshake_gate": ["AtGate", "HandshakeGate"],
            ".termination": ["GRACE"],
        },
    )

__all__ = [
    "GRACE",
    "START_TIMEOUT",
    "AtGate",
    "Denied",
    "Execution",
    "HandshakeGate",
    "HostConnection",
    "Known",
    "Resources",
    "Silent",
    "Sudo",
    "classify",
    "config",
    "converse",
    "held",
    "over",
    "with_env",
]
