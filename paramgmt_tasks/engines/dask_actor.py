"""The actor that lives in a Dask worker and holds one of our workers; its messages go in batches."""

import asyncio
import contextlib
import logging
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from .messages import FromWorker, ToWorker
from .worker import LogForwarder, Worker

log = logging.getLogger("paramgmt_tasks")

#: Bytes of messages in one batch, and how many may wait before whoever sends much has to wait.
_BATCH, _FULL = 1024 * 1024, 4 * 1024 * 1024
#: Seconds in which more messages are gathered for a batch, and after which an empty one is sent.
_GATHER, _QUIET = 0.01, 2.0


class Mailbox:
    """Messages that wait to be fetched, in batches. Safe for many threads."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._bytes = 0
        self._closed = False
        self._watcher: Callable[[], object] | None = None

    def put(self, message: ToWorker | FromWorker) -> bool:
        """Add a message; False if the mailbox is closed."""
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
        """Whether more than a little may be added; True once the mailbox is closed."""
        return self._bytes < _FULL or self._closed

    def wait_for_room(self) -> None:
        """Wait until more than a little may be added."""
        with self._changed:
            self._changed.wait_for(self.has_room)

    def wait(self) -> bool:
        """Wait until there is a message; False if the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._closed)
            return bool(self._messages) and not self._closed

    def watch(self, watcher: Callable[[], object]) -> bool:
        """Have `watcher` called once there is a message; False if there is one already."""
        with self._changed:
            self._watcher = None if self._messages else watcher
            return self._watcher is not None

    def next_batch(self) -> bytes:
        """Remove the oldest messages: a batch of them, perhaps an empty one."""
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
        """Accept no more messages, and let nobody wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def decode_batch(batch: bytes) -> Iterator[Any]:
    """The messages of a batch."""
    return map(pickle.loads, pickle.loads(batch))


class WorkerActor:
    """The actor in a Dask worker: a Worker, and the two ways of its messages.

    Each batch has a number, by which one that is asked for or delivered again is recognized: nothing is done
    twice.
    """

    @classmethod
    def launch(cls, share: int) -> "WorkerActor":
        """An actor whose worker serves; what Dask is asked to make."""
        actor = cls(share)
        actor._thread.start()
        return actor

    def __init__(self, share: int) -> None:
        self._transport = ActorTransport()
        self._delivered = self._collected = 0
        self._last_batch = b""
        self._collecting: asyncio.Lock | None = None
        worker = Worker(self._transport, share)
        # Not a method of this actor, which must be collected, and so end the worker, while the thread runs.
        self._thread = threading.Thread(
            target=_serve, args=(worker, self._transport), name="paramgmt worker", daemon=True
        )

    async def clock(self) -> float:
        """The seconds of the monotonic clock here."""
        return time.monotonic()

    async def deliver(self, number: int, batch: bytes) -> None:
        """Hand messages to the worker."""
        if number > self._delivered:
            self._delivered = number
            for message in decode_batch(batch):
                self._transport.incoming.put(message)

    async def collect(self, number: int) -> bytes:
        """The worker's messages, once there are some, or an empty batch after a while.

        Raises:
            EOFError: there will not be any more.
        """
        self._collecting = self._collecting or asyncio.Lock()
        async with self._collecting:
            if self._transport.closed:
                raise EOFError("its part of paramgmt-tasks has ended")
            if number > self._collected:
                arrived = asyncio.Event()
                loop = asyncio.get_running_loop()
                if self._transport.outbox.watch(lambda: loop.call_soon_threadsafe(arrived.set)):
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(arrived.wait(), _QUIET)
                        await asyncio.sleep(_GATHER)
                self._last_batch, self._collected = self._transport.outbox.next_batch(), number
            return self._last_batch

    def __del__(self) -> None:
        # Dask lets go of an actor when the client has, or is gone.
        if hasattr(self, "_transport"):
            self._transport.close()


class ActorTransport:
    """The MessageChannel of a worker in an actor."""

    sends_files = False

    def __init__(self) -> None:
        self.outbox = Mailbox()
        self.incoming: queue.SimpleQueue[ToWorker | None] = queue.SimpleQueue()
        self.closed = False

    def send(self, message: FromWorker, file: int | None = None) -> bool:
        """Have a message collected; False if nobody collects any more."""
        return self.outbox.put(message)

    def receive(self) -> ToWorker | None:
        """The next message that was delivered; None at the end."""
        return self.incoming.get()

    def wait_for_room(self) -> None:
        """Wait until most of what was sent has been collected."""
        self.outbox.wait_for_room()

    def has_room(self) -> bool:
        """Whether most of what was sent has been collected."""
        return self.outbox.has_room()

    def close(self) -> None:
        """Neither send nor receive any more."""
        self.closed = True
        self.outbox.close()
        self.incoming.put(None)


def _serve(worker: Worker, transport: ActorTransport) -> None:
    handler = LogForwarder(transport)
    log.addHandler(handler)
    try:
        worker.serve()
    finally:
        transport.close()
        log.removeHandler(handler)
        worker.close()
