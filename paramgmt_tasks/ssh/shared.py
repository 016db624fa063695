"""SharedResources: what all connections of one `inv` call share."""

import logging
import os
import shlex
import threading
from dataclasses import dataclass
from pathlib import Path

import fabric

from ..model import Settings
from . import config as ssh_config
from .handshake_gate import HandshakeGate
from .identities import Identities
from .jump import Connect, JumpHost
from .known_hosts import KnownHosts
from .paramiko_internals import FabricConfig
from .questions import Ask, Questions

log = logging.getLogger("paramgmt_tasks")


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
        self._known_hosts: dict[tuple[str, bool], KnownHosts] = {}
        self._jump_hosts: dict[tuple[str, Settings], JumpHost] = {}

    def known_hosts(self, files: str, hash_new: bool) -> KnownHosts:
        """The keys in `files`: names separated by white space, quoted if they contain some."""
        with self._lock:
            if (files, hash_new) not in self._known_hosts:
                names = [name for name in shlex.split(files) if name.lower() != "none"]
                paths = [Path(os.path.expanduser(name)) for name in names]
                self._known_hosts[files, hash_new] = KnownHosts(paths, hash_new)
            return self._known_hosts[files, hash_new]

    def jump_host(self, hops: str, settings: Settings, connect: Connect) -> JumpHost:
        """The last of some jump hosts, made once for all hosts that are reached through it."""
        with self._lock:
            if (hops, settings) not in self._jump_hosts:
                self._jump_hosts[hops, settings] = JumpHost(hops, settings, connect)
            return self._jump_hosts[hops, settings]

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
        """Close the connections to jump hosts, and to agents; ask nobody any more."""
        self.questions.close()
        for jump_host in self._jump_hosts.values():
            jump_host.close()
        self.identities.close()
