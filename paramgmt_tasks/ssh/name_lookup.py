"""The addresses of a host's name, looked up without holding up other hosts, and for a limited time.

The system's lookup cannot be interrupted, so threads of their own ask it. They are shared: there are as many
as lookups are under way, and one that has nothing to do ends.
"""

import queue
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..steps import Job, Reactor, Steps, WaitForIO
from .failures import NoAnswer

#: A host that needs no looking up.
_NUMERIC = re.compile(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%.*)?")
#: Lookups under way at once, and seconds after which a thread that has nothing to do ends.
_MOST, _IDLE = 256, 1.0

#: What AddressFamily of ssh_config(5) calls the families of addresses.
FAMILIES = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
#: As socket.getaddrinfo gives it: family, type, protocol, canonical name and address.
Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str | int | bytes, ...]]


def look_up(host: str, port: int, family: socket.AddressFamily, deadline: float) -> Steps[list[Address]]:
    """The addresses of a host, of a family unless that is AF_UNSPEC, by `deadline` in monotonic seconds.

    Raises:
        socket.gaierror: it has none.
        NoAnswer: the deadline has passed.
    """
    if _NUMERIC.fullmatch(host):
        return _addresses(host, port, family)
    lookup = Lookup.begin(lambda: _addresses(host, port, family))
    while not lookup.is_over() and time.monotonic() < deadline:
        yield _WaitForLookup(lookup, deadline)
    if not lookup.is_over():
        raise NoAnswer("name lookup timed out")
    return lookup.result()


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[Address]:
    try:
        return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
    except UnicodeError:  # no name that can be asked for: a label is empty, or longer than 63 bytes
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from None


_Found = TypeVar("_Found")


class Lookup(Generic[_Found]):
    """One lookup, done by another thread."""

    def __init__(self, ask: Callable[[], _Found]) -> None:
        self._ask = ask
        self._over = threading.Event()
        self._found: _Found | None = None
        self._error: Exception | None = None
        #: Called when it is over.
        self.on_end: Callable[[], object] = lambda: None

    @classmethod
    def begin(cls, ask: Callable[[], _Found]) -> "Lookup[_Found]":
        """One that is under way."""
        lookup = cls(ask)
        _threads.add(lookup)
        return lookup

    def run(self) -> None:
        """Ask, in this thread."""
        try:
            self._found = self._ask()
        except Exception as error:
            self._error = error
        self._over.set()
        self.on_end()

    def is_over(self) -> bool:
        """Whether there is a result."""
        return self._over.is_set()

    def wait(self, seconds: float) -> None:
        """Wait for it in this thread."""
        self._over.wait(seconds)

    def result(self) -> _Found:
        """What was found, once it is over; raises what `ask` has raised."""
        if self._error is not None:
            raise self._error
        return self._found  # type: ignore[return-value]


class _WaitForLookup(WaitForIO):
    """The wait for the end of a lookup."""

    def __init__(self, lookup: Lookup[Any], deadline: float) -> None:
        super().__init__(None, deadline)
        self._lookup = lookup

    def __str__(self) -> str:
        return "the addresses of its name"

    def on_watched(self, watch: Reactor[Job], number: int) -> bool:
        """It is watched from now on; whether it has been over before."""
        self._lookup.on_end = lambda: watch.resume(number)
        return self._lookup.is_over()

    def block(self) -> None:
        """Wait in this thread."""
        self._lookup.wait(max(0.0, (self.deadline or 0.0) - time.monotonic()))


class _Threads:
    """Threads that do lookups, each of which waits for one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lookups: queue.SimpleQueue[Lookup[Any]] = queue.SimpleQueue()
        #: How many threads there are, and how many lookups are to be done or under way.
        self._count = self._unfinished = 0

    def add(self, lookup: Lookup[Any]) -> None:
        """Have a lookup done."""
        with self._lock:
            self._unfinished += 1
            start = self._count < min(self._unfinished, _MOST)
            self._count += start
        self._lookups.put(lookup)
        if start:
            threading.Thread(target=self._work, name="paramgmt name lookup", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                lookup = self._lookups.get(timeout=_IDLE)
            except queue.Empty:
                with self._lock:
                    if self._unfinished < self._count:
                        self._count -= 1
                        return
                continue
            lookup.run()
            with self._lock:
                self._unfinished -= 1


_threads = _Threads()
