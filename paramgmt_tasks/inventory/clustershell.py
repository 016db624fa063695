"""ClusterShell's own configuration of groups, read as `cluset` reads it.

ClusterShell's packages install a sample of it, with hosts that there are not: example0 and others. Nobody is
to reach those. A sample that nobody has edited or added to therefore does not stand before the machine's own
configuration, as it would in a virtual environment, and a source that reads an untouched sample of
`groups.d/local.cfg` has no groups, and is not named. All that has been edited or added is heeded.
"""

import configparser
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ClusterShell import Defaults
from ClusterShell.NodeSet import ILLEGAL_GROUP_CHARS, NodeSet, NodeSetException, NodeSetExternalError
from ClusterShell.NodeUtils import (
    GroupResolverConfig,
    GroupResolverError,
    GroupSource,
    GroupSourceError,
    GroupSourceNoUpcall,
    UpcallGroupSource,
)

from ..model import Host, UsageError, doubt, one_line, parse_entry, reason_of
from .clustershell_commands import Commands, SourceFailed
from .clustershell_sample import is_sample, reads_sample

#: What no group has, as it is an operator there.
_OPERATORS = re.compile(r"[@,!&^*\s]")


def configuration() -> "Configuration | None":
    """The configuration of this machine and user; None if there is none, or only a sample.

    Raises:
        UsageError: it cannot be read, or is not to be trusted.
    """
    files = _files()
    return Configuration(files) if files else None


def _files() -> list[Path]:
    """The files named groups.conf that count, the last one the most.

    A sample counts only where it adds to the user's own and hides nothing: as the first of several.
    """
    paths = map(Path, dict.fromkeys(Defaults.config_paths("groups.conf")))
    files = [path for path in paths if path.is_file()]
    edited = [path for path in files if not is_sample(path)]
    return [path for path in files if path == files[0] or path in edited] if edited else []


class Configuration:
    """Sources of groups as `files` configure them.

    Raises:
        UsageError: it cannot be read, or is not to be trusted.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        with _errors(f"ClusterShell's configuration {files[-1]}"):
            self._resolver = _Resolver(files)
            sources = self._resolver.sources()  # reads the files
            self._names = [name for name in sources if name not in self._resolver.samples]
        for path in dict.fromkeys((*files, *self._resolver.used)):
            _trust(path)
        default = self._resolver.default_source_name
        #: The name of the default source, empty if there is none.
        self.default = default if default in self._names else ""

    def names(self) -> Sequence[str]:
        """The sources, the default one first."""
        return self._names

    def groups(self, source: str) -> Sequence[str]:
        """The groups that a source lists, sorted; none if it cannot.

        Raises:
            UsageError: it fails.
        """
        name = source or self.default
        if not name:
            return ()
        with _errors(f"groups of {name}"):
            try:
                return sorted(set(self._resolver.grouplist(name)))
            except GroupSourceNoUpcall:
                return ()

    def hosts(self, source: str, group: str) -> list[Host] | None:
        """The hosts of a group, in ClusterShell's order, `*` being all; None if there is no such group.

        Raises:
            UsageError: the source fails, or what it gives is no list of hosts.
        """
        name = source or self.default
        if not name or (group != "*" and (not group or _OPERATORS.search(group))):
            return None
        if group == "*":
            return self._all(name, is_default=not source)
        if not self._has(name, group):
            return None
        with _errors(f"groups of {name}: {group}"):
            return self._parsed(f"@{name}:{group}")

    def _all(self, name: str, is_default: bool) -> list[Host] | None:
        """All hosts of a source, None if the default one, which nobody named, cannot tell."""
        with _errors(f"groups of {name}"):
            try:
                return self._parsed(f"@{name}:*")
            except NodeSetExternalError as error:
                if is_default:
                    return None
                raise ValueError(f"cannot tell all of its hosts: {error}") from None

    def _has(self, name: str, group: str) -> bool:
        """Whether a source has a group. One without hosts it has only if it lists it."""
        try:
            with _errors(f"groups of {name}: {group}"):
                if self._resolver.group_nodes(group, name):
                    return True
        except UsageError:
            with suppress(UsageError):  # it may fail because there is no such group
                if (listed := self.groups(name)) and group not in listed:
                    return False
            raise
        return group in self.groups(name)

    def _parsed(self, nodes: str) -> list[Host]:
        return [parse_entry(entry) for entry in NodeSet(nodes, resolver=self._resolver)]


@contextmanager
def _errors(said: str) -> Iterator[None]:
    """What ClusterShell raises as errors of ours that begin with `said`, on one line.

    Raises:
        UsageError: instead of them.
    """
    try:
        yield
    except SourceFailed:
        raise
    except (TypeError, AttributeError):  # YAML has more than text
        raise UsageError(f"{said}: what there is for a group is no text") from None
    except OSError as error:
        raise UsageError(f"{said}: {reason_of(error)}") from None
    except (
        *(NodeSetException, GroupResolverError, GroupSourceError),
        *(configparser.Error, ValueError, RecursionError),
    ) as error:
        is_circle = isinstance(error.__context__ or error, RecursionError)
        what = "groups are within each other" if is_circle else one_line(str(error))
        raise UsageError(f"{said}: {what}") from None


class _Resolver(GroupResolverConfig):  # type: ignore[misc]
    """What resolves groups: with the files it has read besides, and the sources that are a sample's."""

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__([str(path) for path in files], ILLEGAL_GROUP_CHARS)
        self.used: list[Path] = []
        self.samples: set[str] = set()

    def add_source(self, source: GroupSource) -> None:
        """Add a source that is configured; instead of a sample's one without groups."""
        if isinstance(source, UpcallGroupSource):
            folder = Path(source.cfgdir)
            self.used += [*folder.glob("*.conf"), folder]
            if reads_sample(source.name, source.upcalls, folder):
                self.samples.add(source.name)
                source = GroupSource(source.name)
            else:
                source = Commands(source)
        else:
            self.used.append(Path(source.loader.filename))
        super().add_source(source)


def _trust(path: Path) -> None:
    """Make sure that nobody else decides what is run here, and on which hosts.

    Raises:
        UsageError: somebody else can write a file, or the folder it is in.
    """
    for part in dict.fromkeys((path if path.is_dir() else path.parent, path)):
        try:
            reason = doubt(part)
        except OSError as error:
            reason = reason_of(error)
        if reason:
            raise UsageError(
                f"ClusterShell's configuration {part} is not used, as {reason}: chmod go-w or chown it"
            )
