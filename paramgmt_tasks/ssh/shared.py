"""SharedResources: what all connections of one `inv` call share."""

import os
import shlex
import threading
from dataclasses import dataclass
from pathlib import Path

import fabric

from ..model import Settings, UsageError
from . import config as ssh_config
from .authentication import Identities
from .handshake_gate import HandshakeGate
from .jump import Connect, JumpHost
from .known_hosts import KnownHosts
from .paramiko_internals import FabricConfig

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

    Identities, known_hosts, ssh_config, the handshake gate and jump hosts. Safe for many threads.

    Raises:
        UsageError: an ssh_config that cannot be read.
    """

    def __init__(self, share: int = 1) -> None:
        self.ssh_config = ssh_config.load()
        self.config = FabricConfig(ssh_config=self.ssh_config)
        self.defaults = Defaults.of(self.config)
        self.connect_kwargs = dict(self.config.connect_kwargs)
        self.identities = Identities()
        self.gate = HandshakeGate(share=share)
        self._lock = threading.RLock()  # a chain of jump hosts is made from its last one on
        self._known_hosts: dict[tuple[str, bool], KnownHosts] = {}
        self._jump_hosts: dict[tuple[str, Settings], JumpHost] = {}
        #: Those that are being made, each on the way to the one before.
        self._making: list[tuple[str, Settings]] = []

    def known_hosts(self, files: str, hash_new: bool) -> KnownHosts:
        """The keys in `files`: names separated by white space, quoted if they contain some."""
        with self._lock:
            if (files, hash_new) not in self._known_hosts:
                names = [name for name in shlex.split(files) if name.lower() != "none"]
                paths = [Path(os.path.expanduser(name)) for name in names]
                self._known_hosts[files, hash_new] = KnownHosts(paths, hash_new)
            return self._known_hosts[files, hash_new]

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

    def close(self) -> None:
        """Close the connections to jump hosts, and to the agent."""
        for jump_host in self._jump_hosts.values():
            jump_host.close()
        self.identities.close()
