"""SharedResources: what all connections of one `inv` call share."""

import logging
import os
import shlex
import threading
from dataclasses import dataclass
from pathlib import Path

import fabric

from ..model import Settings, UsageError
from . import config as ssh_config
from .handshake_gate import HandshakeGate
from .identities import Identities
from .jump import Connect, JumpHost
from .known_hosts import KnownHosts, KnownHostsFile
from .paramiko_internals import FabricConfig
from .questions import Ask, Questions

log = logging.getLogger("paramgmt_tasks")

#: Jump hosts on the way to one another, as ssh_config says; more are a loop.
_MOST_JUMPS = 16


@dataclass(frozen=True)
class Defaults:
    """What Fabric's configuration says of all hosts, looked up once: Invoke takes long to do that."""

    login: tuple[str, int]
    connect_timeout: float | None

    @classmethod
    def of(cls, config: fabric.Config) -> "Defaults":
        """Those of a configuration."""
        return cls((config.user, config.port), config.timeouts.connect)


class SharedResources:
    """What all connections of one `inv` call share, read or asked for once.

    Identities, answers, known_hosts, ssh_config, the handshake gate and jump hosts. Safe for many threads.
    `ask` asks somebody what servers want to know.

    Raises:
        UsageError: an ssh_config that cannot be read.
    """

    def __init__(self, share: int = 1, ask: Ask | None = None) -> None:
        self.ssh_config = ssh_config.load()
        self.config = FabricConfig(ssh_config=self.ssh_config)
        self.defaults = Defaults.of(self.config)
        self.connect_kwargs = dict(self.config.connect_kwargs)
        self.identities = Identities()
        self.questions = Questions(ask)
        self.gate = HandshakeGate(share=share)
        self._warned: set[str] = set()
        self._lock = threading.RLock()  # a chain of jump hosts is made from its last one on
        self._known_hosts: dict[tuple[str, str], KnownHosts] = {}
        self._known_hosts_files: dict[str, KnownHostsFile] = {}
        self._jump_hosts: dict[tuple[str, Settings], JumpHost] = {}
        #: Those that are being made, each on the way to the one before.
        self._making: list[tuple[str, Settings]] = []

    def known_hosts(self, own: str, others: str) -> KnownHosts:
        """The keys in the user's `own` files and in `others`: names as in ssh_config, or `none`."""
        with self._lock:
            if (own, others) not in self._known_hosts:
                self._known_hosts[own, others] = KnownHosts(self._files(own), self._files(others))
            return self._known_hosts[own, others]

    def _files(self, given: str) -> list[KnownHostsFile]:
        names = [os.path.expanduser(name) for name in shlex.split(given) if name.lower() != "none"]
        for name in names:
            if name not in self._known_hosts_files:
                self._known_hosts_files[name] = KnownHostsFile(Path(name))
        return [self._known_hosts_files[name] for name in names]

    def jump_host(self, hops: str, settings: Settings, connect: Connect) -> JumpHost:
        """The last of some jump hosts, made once for all hosts that are reached through it.

        Raises:
            UsageError: it is to be reached through itself.
        """
        key = hops, settings
        with self._lock:
            if key not in self._jump_hosts:
                if key in self._making or len(self._making) >= _MOST_JUMPS:
                    raise UsageError(f"ProxyJump {hops}: a loop of jump hosts")
                self._making.append(key)
                try:
                    self._jump_hosts[key] = JumpHost(hops, settings, connect)
                finally:
                    self._making.pop()
            return self._jump_hosts[key]

    def trouble_with_agent(self, socket: str | None) -> str:
        """Why the agent behind a socket cannot be forwarded, empty if it can; warns once if it cannot."""
        trouble = "there is none here (SSH_AUTH_SOCK)"
        if socket is not None:
            agent = self.identities.agent(socket)
            agent.held()
            trouble = agent.trouble
        if trouble and trouble not in self._warned:
            self._warned.add(trouble)
            log.warning("the agent is not forwarded: %s", trouble)
        return trouble

    def close(self) -> None:
        """Close the connections to jump hosts and agents, end what ssh_config asks, and ask nobody more."""
        self.questions.close()
        for jump_host in self._jump_hosts.values():
            jump_host.close()
        self.identities.close()
        self.ssh_config.answers.close()
