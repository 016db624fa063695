"""ssh-agent, over one socket for all threads."""

import threading

import paramiko

from .upstream import PrivateAgent


class LockedAgent(PrivateAgent):
    """An agent whose one socket is shared by all threads: one question at a time."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        super().__init__()

    def _send_message(self, msg: paramiko.Message) -> tuple[int, paramiko.Message]:
        with self._one_at_a_time:
            return super()._send_message(msg)
