"""What Fabric keeps private and this package overrides or resets, under public names.

Config: `_clone_init_kwargs`; Connection: `_sftp`; Group: `_do`.
"""

import fabric
import invoke
from fabric.group import GroupResult


class FabricConfig(fabric.Config):
    """Fabric's configuration, whose copies keep our ssh_config: Fabric would make them one of paramiko's."""

    def _clone_init_kwargs(self, into: type[invoke.Config] | None = None) -> dict[str, object]:
        # Invoke's, which Fabric's extends by its own copy of ssh_config.
        ours = invoke.Config._clone_init_kwargs(self, into)
        return {**ours, "ssh_config": self.base_ssh_config}


class FabricGroup(fabric.ThreadingGroup):
    """Fabric's group, whose subclass decides how a method is called on all connections."""

    def call_all(self, method: str, *args: object, **kwargs: object) -> GroupResult:
        """Call a method of Fabric's on every connection; to be overridden."""
        raise NotImplementedError

    def _do(self, method: str, *args: object, **kwargs: object) -> GroupResult:
        return self.call_all(method, *args, **kwargs)


def forget_sftp(connection: fabric.Connection) -> None:
    """Have a connection open SFTP again when it is asked for it next."""
    connection._sftp = None
