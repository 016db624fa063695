"""Office: a worker of ours in a Dask worker, and its post, which goes in batches."""

import asyncio
import contextlib
import logging
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from .worker import LogForwarder, Worker

log = logging.getLogger("paramgmt_tasks")

#: Bytes of messages in one batch, and how many may wait before whoever sends much has to wait.
_BATCH, _FULL = 1024 * 1024, 4 * 1024 * 1024
#: Seconds in which more messages are gathered for a batch, and after which an empty one is sent.
_GATHER, _QUIET = 0.01, 2.0


class Mailbox:
    """Messages that wait to be taken, in batches. Safe for many threads."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._bytes = 0
        self._closed = False
        self._watcher: Callable[[], object] | None = None

    def put(self, message: tuple[Any, ...]) -> bool:
        """Add a message; False where nobody takes any."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        with self._changed:
            if self._closed:
                return False
            self._messages.append(data)
            self._bytes += len(data)
            self._changed.notify_all()
            watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher()
        return True

    def has_room(self) -> bool:
        """Whether more than a little may be put in."""
        return self._bytes < _FULL or self._closed

    def wait_for_room(self) -> None:
        """Wait until it is."""
        with self._changed:
            self._changed.wait_for(self.has_room)

    def wait(self) -> bool:
        """Wait until there is something; False where there is nothing any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._closed)
            return bool(self._messages) and not self._closed

    def watch(self, watcher: Callable[[], object]) -> bool:
        """Have `watcher` called when there is something; False where there is already."""
        with self._changed:
            self._watcher = None if self._messages else watcher
            return self._watcher is not None

    def take(self) -> bytes:
        """A batch, perhaps an empty one."""
        batch: list[bytes] = []
        size = 0
        with self._changed:
            while self._messages and size < _BATCH:
                batch.append(self._messages.popleft())
                size += len(batch[-1])
            self._bytes -= size
            self._changed.notify_all()
        return pickle.dumps(batch, pickle.HIGHEST_PROTOCOL)

    def close(self) -> None:
        """Nobody takes anything any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def messages(batch: bytes) -> Iterable[Any]:
    """What is in a batch."""
    return map(pickle.loads, pickle.loads(batch))


class WorkerActor:
    """The actor in a Dask worker: a worker of ours with its post.

    Each batch has a number, by which one that is asked for or brought again is known: what was done is not
    done again.
    """

    def __init__(self, share: int) -> None:
        self._post = post = ActorTransport()
        self._taken = self._given = 0
        self._last = b""
        self._collecting: asyncio.Lock | None = None
        worker = Worker(post, share)
        handler = LogForwarder(post)
        log.addHandler(handler)

        def serve() -> None:
            try:
                worker.serve()
            finally:
                post.close()
                log.removeHandler(handler)
                worker.close()

        threading.Thread(target=serve, name="paramgmt office", daemon=True).start()

    async def clock(self) -> float:
        """The seconds of the monotonic clock here."""
        return time.monotonic()

    async def deliver(self, number: int, batch: bytes) -> None:
        """Take messages."""
        if number > self._taken:
            self._taken = number
            for message in messages(batch):
                self._post.incoming.put(message)

    async def collect(self, number: int) -> bytes:
        """Give messages; waits for some.

        Raises:
            EOFError: there will not be any more.
        """
        self._collecting = self._collecting or asyncio.Lock()
        async with self._collecting:
            if self._post.closed:
                raise EOFError("its part of paramgmt-tasks has ended")
            if number > self._given:
                come = asyncio.Event()
                loop = asyncio.get_running_loop()
                if self._post.box.watch(lambda: loop.call_soon_threadsafe(come.set)):
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(come.wait(), _QUIET)
                        await asyncio.sleep(_GATHER)
                self._last, self._given = self._post.box.take(), number
            return self._last

    def __del__(self) -> None:
        # Dask lets go of an actor when the client has, or is gone.
        if hasattr(self, "_post"):
            self._post.close()


class ActorTransport:
    """An office's post, as its worker sees it."""

    sends_files = False

    def __init__(self) -> None:
        self.box = Mailbox()
        self.incoming: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.has_room, self.wait_for_room = self.box.has_room, self.box.wait_for_room
        self.closed = False

    def send(self, *message: Any, file: int | None = None) -> bool:
        """Have a message collected."""
        return self.box.put(message)

    def receive(self) -> tuple[Any, ...] | None:
        """The next message that was delivered; None at the end."""
        return self.incoming.get()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Nobody collects any more, or has anything to give."""
        self.closed = True
        self.box.close()
        self.incoming.put(None)
