"""HostSender: sends workers the hosts of a run, and what they need for them before that."""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from .channels import Link
from .messages import AddHosts, BeginRun, Halt, PositionedHost, RelayToWorker

if TYPE_CHECKING:
    from ..transfer import FileRelay


class HostSender:
    """Sends each worker the run itself, once; then files, if there is a relay; then the hosts that need them.

    `halted` says why nothing more is to be started; empty until then. Safe for many threads.
    """

    def __init__(self, begin: BeginRun, relay: "FileRelay | None", halted: Callable[[], str]) -> None:
        self._begin, self._relay, self._halted = begin, relay, halted
        self._lock = threading.Lock()
        #: Held while a worker is sent files: hosts that another thread has for it need them too.
        self._turns: defaultdict[Link, threading.Lock] = defaultdict(threading.Lock)
        #: The workers that know of this run.
        self.links: set[Link] = set()

    @property
    def may_take_long(self) -> bool:
        """Whether to send hosts may take so long that nobody should wait for it."""
        return self._relay is not None and self._relay.has_payload

    def send(self, link: Link, hosts: list[PositionedHost]) -> bool:
        """Send a worker hosts; False if the run was halted before."""
        number = self._begin.run
        with self._lock:
            turn = self._turns[link]
        with turn:
            if link not in self.links:
                self.links.add(link)
                link.send(self._begin)
            if self._relay:
                for message in self._relay.messages_for(link, [host for _, host in hosts]):
                    if self._halted() or not link.send(RelayToWorker(number, message)):
                        break
                    link.wait_for_room()
            if self._halted():
                return False
            link.send(AddHosts(number, hosts))
            if self._halted():  # a Halt that was sent meanwhile came before these hosts
                link.send(Halt(number, self._halted()))
            return True
