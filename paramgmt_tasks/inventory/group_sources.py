"""Groups that other programs know: ClusterShell's configuration, and sources of other packages."""

from collections.abc import Sequence

from ..model import Host


class GroupSources:
    """The sources of groups on this machine, each asked once and only when it is needed.

    A source is called by its name; `""` is the default one of ClusterShell's configuration.
    """

    def names(self) -> Sequence[str]:
        """The sources there are, the default one first."""
        return ()

    def groups(self, source: str = "") -> Sequence[str]:
        """The groups that a source can list, sorted; none if it cannot list them or there is no such source.

        Raises:
            UsageError: the source fails; says what it printed.
        """
        return ()

    def hosts(self, source: str, group: str) -> list[Host] | None:
        """The hosts of a group, `*` being all of the source; None if there is no such source or group.

        Raises:
            UsageError: the source fails; says what it printed.
        """
        return None
