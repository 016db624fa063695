"""Agent forwarding: programs on a host may ask an agent of this machine (draft-miller-ssh-agent)."""

import contextlib
import struct
import threading
import time

import paramiko

from ...steps import run_to_end
from ..agent import SIGNING, connect, read_frame, send_frame
from .messages import MessageTransport

#: How many programs on one host are served at once: each takes a thread and a connection to the agent.
_AT_ONCE = 8
#: Seconds for an answer to leave.
_LEAVING = 60.0


class ForwardedAgent:
    """Serves what a server opens to the agent behind a socket, over one connection.

    A server cannot open anything before it was asked to forward, in `request`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def request(self, channel: paramiko.Channel) -> None:
        """Have a session's programs see the agent; there is no answer."""
        channel.request_forward_agent(self._on_open)

    def _on_open(self, channel: paramiko.Channel) -> None:
        """A program on the host asks for the agent."""
        if not self._places.acquire(blocking=False):
            channel.close()
            return
        threading.Thread(target=self._serve, args=(channel,), name="forwarded agent", daemon=True).start()

    def _serve(self, channel: paramiko.Channel) -> None:
        try:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                self._relay(channel)
        finally:
            self._places.release()
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                channel.close()
                _leave(channel)

    def _relay(self, channel: paramiko.Channel) -> None:
        """Hand each question to the agent, and its answer back: there is one at a time."""
        with connect(self._path) as agent:
            agent.settimeout(SIGNING)
            while question := read_frame(channel):
                send_frame(agent, question)
                answer = read_frame(agent)
                if not answer:
                    return
                channel.sendall(struct.pack(">I", len(answer)) + answer)
                _leave(channel)


def _leave(channel: paramiko.Channel) -> None:
    """Send what waits for the next message to be read: this is not the thread that reads."""
    transport = channel.get_transport()
    assert isinstance(transport, MessageTransport)
    run_to_end(transport.drained(time.monotonic() + _LEAVING))
