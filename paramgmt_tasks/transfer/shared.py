"""What the transfers of a run share: what is sent, how fast, and how much has moved."""

import threading
import time

from ..model import Push, Settings
from . import compression
from .local_files import LocalFiles
from .local_tree import Tree
from .tar_writer import Archive

#: Seconds of a limited rate that may be made up for at once.
_BURST = 0.1


class RateLimiter:
    """Says how long to pause so that no more than `rate` bytes a second move; None is without a limit."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_at = 0.0

    def free_at(self, count: int) -> float:
        """When the next bytes may move, in monotonic seconds, after `count` that have."""
        if self._rate:
            self._free_at = max(self._free_at, time.monotonic() - _BURST) + count / self._rate
        return self._free_at


class ByteCounts:
    """How many bytes have moved, and how many are going to."""

    def __init__(self, hosts: int) -> None:
        #: Bytes that have moved, of all hosts together.
        self.moved = 0
        self._hosts = hosts
        self._begun = self._bytes = 0

    def begin(self, count: int) -> None:
        """A host is going to be sent `count` bytes."""
        self._begun += 1
        self._bytes += count

    def expected(self) -> float:
        """Bytes that all hosts are going to be sent, if the others are like those that have begun."""
        return self._bytes * self._hosts / self._begun if self._begun else 0.0


class PushCache:
    """What is pushed, looked at, read and compressed once for all hosts. Safe for many threads."""

    def __init__(self, files: LocalFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._trees: dict[tuple[tuple[str, ...], bool], Tree] = {}
        self._archives: dict[object, Archive] = {}
        self._encoded: dict[tuple[int, str], compression.Encoded] = {}

    def tree(self, operation: Push) -> Tree:
        """What is under the sources of an operation."""
        key = (operation.sources, operation.how.follow)
        with self._lock:
            if key not in self._trees:
                self._trees[key] = self._files.tree(operation)
            return self._trees[key]

    def archive(self, operation: Push, names: frozenset[str] | None = None) -> Archive:
        """The archive of an operation's sources, or of those members that are named."""
        tree = self.tree(operation)
        key = (operation.sources, operation.how, names)
        with self._lock:
            if key not in self._archives:
                members = [m for m in tree.members.values() if names is None or m.name in names]
                self._archives[key] = Archive(members, operation.how.preserve)
            return self._archives[key]

    def encoded(self, stream: Archive, name: str) -> compression.Encoded:
        """A stream, compressed once for all hosts that have this codec."""
        with self._lock:
            key = (id(stream), name)
            if key not in self._encoded:
                self._encoded[key] = compression.Encoded(stream, name)
            return self._encoded[key]


class SharedTransfers:
    """What the transfers of a run to `hosts` hosts share."""

    def __init__(self, settings: Settings, hosts: int, files: LocalFiles) -> None:
        self.files = files
        self.cache = PushCache(files)
        self.counts = ByteCounts(hosts)
        #: The rate of all hosts together.
        self.limiter = RateLimiter(settings.limit_rate_all)

    @property
    def moved(self) -> int:
        """Bytes that have moved."""
        return self.counts.moved

    def expected(self) -> float:
        """Bytes that are going to be sent to all hosts, if the others are like those that have begun."""
        return self.counts.expected()
