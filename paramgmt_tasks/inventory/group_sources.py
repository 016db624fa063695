"""Groups that other programs know: ClusterShell's configuration, and sources of other packages."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ..model import Host
from .plugins import Plugin, installed

if TYPE_CHECKING:
    from .clustershell import Configuration


class GroupSources:
    """The sources of groups on this machine, each asked once and only when it is needed.

    A source is called by its name; `""` is the default one of ClusterShell's configuration. What that
    configures goes before a source of another package that is called the same.
    """

    def __init__(self) -> None:
        self._hosts: dict[tuple[str, str], list[Host] | None] = {}

    @cached_property
    def _configuration(self) -> "Configuration | None":
        from . import clustershell  # imports ClusterShell

        return clustershell.configuration()

    @cached_property
    def _plugins(self) -> Mapping[str, Plugin]:
        found, configured = installed(), self._configured()
        for name in configured:
            if found.pop(name, None):
                logging.getLogger("paramgmt_tasks").warning(
                    "groups of %s: those of ClusterShell's configuration are used, "
                    "not those of the package that adds a source of that name",
                    name,
                )
        return found

    def _configured(self) -> Sequence[str]:
        return self._configuration.names() if self._configuration else ()

    @property
    def default(self) -> str:
        """The name of the default source, empty if there is none.

        Raises:
            UsageError: ClusterShell's configuration cannot be used.
        """
        return self._configuration.default if self._configuration else ""

    def names(self) -> Sequence[str]:
        """The sources there are, the default one first.

        Raises:
            UsageError: ClusterShell's configuration cannot be used.
        """
        return (*self._configured(), *self._plugins)

    def groups(self, source: str = "") -> Sequence[str]:
        """The groups that a source can list, sorted; none if it cannot list them or there is no such source.

        That of another package has none, and a warning says why, if it is broken.

        Raises:
            UsageError: the source fails; says what it printed.
        """
        if self._configuration and (not source or source in self._configured()):
            return self._configuration.groups(source)
        return self._plugins[source].names() if source and source in self._plugins else ()

    def hosts(self, source: str, group: str) -> list[Host] | None:
        """The hosts of a group, `*` being all of the source; None if there is no such source or group.

        Raises:
            UsageError: the source fails; says what it printed.
        """
        if (source, group) not in self._hosts:
            self._hosts[source, group] = self._asked(source, group)
        found = self._hosts[source, group]
        return None if found is None else list(found)

    def _asked(self, source: str, group: str) -> list[Host] | None:
        if self._configuration and (not source or source in self._configured()):
            return self._configuration.hosts(source, group)
        return self._plugins[source].hosts(group) if source and source in self._plugins else None
