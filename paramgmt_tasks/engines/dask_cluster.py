"""The engine `dask`: workers in the workers of a Dask cluster, which may be on other machines.

In each Dask worker lives a WorkerActor, for as long as this process does; messages go to it and come from it
in batches, through the scheduler. No work is a task of the scheduler's, so that none can be run again by it.
A worker asks before it starts what must not be repeated; what it was permitted to start is lost when the
worker is.
"""

import asyncio
import contextlib
import logging
import pydoc
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar, cast
from urllib.parse import urlsplit

from ..model import FileSpool, Operation, Settings, UsageError
from ..transfer import FileRelay
from .coordinator import WorkerEngine
from .dask_actor import Mailbox, WorkerActor, decode_batch
from .dask_client import connect, require_encryption, text_of
from .messages import ToWorker

if TYPE_CHECKING:
    from distributed import BaseActorFuture, Future

log = logging.getLogger("paramgmt_tasks")

#: Seconds without an answer after which a worker is given up; it cannot start anything by itself then.
CALL_TIMEOUT = 60.0
#: Seconds in which the scheduler notices that a worker is gone.
DEATH_NOTICE = 3.0
#: Seconds for a worker to make its actor.
START_TIMEOUT = 60.0
_VERSION = "paramgmt_tasks.__version__"

_Result = TypeVar("_Result")


class _WorkerLost(Exception):
    pass


class RemoteActor(Protocol):
    """A WorkerActor as Dask shows it here: each method returns a future."""

    def clock(self) -> "BaseActorFuture[float]":
        """As WorkerActor.clock."""

    def deliver(self, number: int, batch: bytes) -> "BaseActorFuture[None]":
        """As WorkerActor.deliver."""

    def collect(self, number: int) -> "BaseActorFuture[bytes]":
        """As WorkerActor.collect."""


class ActorLink:
    """The way to a worker in a Dask worker. `future` is that of the actor."""

    ahead: float = 0.0
    uncertain: float = 0.0

    def __init__(
        self, address: str, future: "Future[WorkerActor]", actor: RemoteActor, engine: "DaskEngine"
    ) -> None:
        self.address = address
        self.name = f"its Dask worker {address} is gone"
        self.alive = True
        self.spools: dict[tuple[int, int], FileSpool] = {}
        self._future, self._actor, self._engine = future, actor, engine
        self._outbox = Mailbox()
        self._ending = threading.Lock()

    def start(self) -> None:
        """Compare clocks, and let messages go and come.

        Raises:
            _WorkerLost: it does not answer.
        """
        self.ahead, self.uncertain = self._compare_clocks()
        for task in (self._deliver_messages, self._collect_messages):
            threading.Thread(target=task, name=f"paramgmt {self.address}", daemon=True).start()

    def _compare_clocks(self) -> tuple[float, float]:
        """How far the clock there is ahead, and how uncertain that is: half of the shortest round trip."""
        trips = []
        for _ in range(5):
            asked = time.monotonic()
            there = self._call(lambda actor: actor.clock())
            took = time.monotonic() - asked
            trips.append((took / 2, there - asked - took / 2))
        uncertain, ahead = min(trips)
        return ahead, uncertain

    def send(self, message: ToWorker) -> bool:
        """Have a message delivered; False if the worker is lost."""
        return self._outbox.put(message)

    def wait_for_room(self) -> None:
        """Wait until most of what was sent is on its way, or the worker is lost."""
        self._outbox.wait_for_room()

    def _deliver_messages(self) -> None:
        number = 0
        with contextlib.suppress(_WorkerLost):
            while self._outbox.wait():
                number += 1
                batch = self._outbox.next_batch()
                self._call(lambda actor: actor.deliver(number, batch))  # noqa: B023
        self.disconnect()

    def _collect_messages(self) -> None:
        number = 0
        try:
            while self.alive:
                number += 1
                batch = self._call(lambda actor: actor.collect(number))  # noqa: B023
                for message in decode_batch(batch):
                    self._engine.handle(self, message)
        except _WorkerLost:
            pass
        except Exception as error:  # of an on_start, which is the caller's
            log.warning("a message from Dask worker %s cannot be handled: %s", self.address, text_of(error))
        finally:
            self.disconnect()

    def _call(self, method: "Callable[[RemoteActor], BaseActorFuture[_Result]]") -> _Result:
        """Call a method of the actor; again if that failed and the worker is there.

        Raises:
            _WorkerLost: it is not, or does not answer.
        """
        while True:
            try:
                return method(self._actor).result(timeout=CALL_TIMEOUT)
            except (TimeoutError, asyncio.TimeoutError):
                raise _WorkerLost from None
            except Exception as error:
                failed = error
            # Either that shows soon, or only a connection was lost on the way.
            deadline = time.monotonic() + DEATH_NOTICE
            while time.monotonic() < deadline:
                if not self.alive or self._future.status != "finished":
                    raise _WorkerLost from None
                time.sleep(0.05)
            if not isinstance(failed, OSError):
                log.warning("Dask worker %s: %s", self.address, text_of(failed))
                raise _WorkerLost from None

    def disconnect(self) -> None:
        """Send and receive nothing more, by which the actor ends."""
        with self._ending:
            ended, self.alive = not self.alive, False
        if not ended:
            self._outbox.close()
            self._future.release()
            self._engine.on_worker_lost(self)


class DaskEngine(WorkerEngine[ActorLink]):
    """The workers of a Dask cluster.

    Raises:
        UsageError: it cannot be reached, or must not be.
    """

    shares_filesystem = False

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._client = connect(settings)
        self._insecure = settings.insecure_scheduler

    def relay(self, operation: Operation) -> FileRelay:
        """Brings files to other machines."""
        return FileRelay(operation)

    def start(self, settings: Settings, hosts: int) -> int:
        """Have an actor in each of the Dask workers that there are, or in as many as the settings say.

        Raises:
            UsageError: there are none, or one must not be used.
        """
        with self._lock:
            try:
                found = sorted(self._client.nthreads())
            except Exception as error:
                raise UsageError(f"the Dask scheduler is gone: {text_of(error)}") from None
            in_use = found[: settings.workers]
            self.links = [link for link in self.links if link.alive]
            known = {link.address for link in self.links}
            self._open([address for address in in_use if address not in known], in_use)
            if not self.links:
                raise UsageError("the Dask cluster has no workers: start some with dask worker")
            log.info("engine: dask, %d workers", len(self.links))
            return len(self.links)

    def _open(self, addresses: list[str], in_use: list[str]) -> None:
        """Link to Dask workers that are new, of those that are to be used."""
        if not addresses:
            return
        for address in addresses:
            require_encryption(address, "worker", self._insecure)
        self._compare_versions(addresses)
        machines = Counter(urlsplit(address).hostname for address in in_use)
        futures = {
            address: self._launch(address, machines[urlsplit(address).hostname]) for address in addresses
        }
        deadline = time.monotonic() + START_TIMEOUT
        for address, future in futures.items():
            try:
                # Not the actor itself, whatever Dask's types say.
                actor = cast(RemoteActor, future.result(timeout=max(0.1, deadline - time.monotonic())))
                with self._client.as_current():  # which an actor belongs to from its first use
                    link = ActorLink(address, future, actor, self)
                    link.start()
                self.links.append(link)
            except UsageError as error:
                raise UsageError(f"Dask worker {address}: {error}") from None
            except (TimeoutError, asyncio.TimeoutError):
                future.cancel()
                log.warning("Dask worker %s is busy with something else, and is left out", address)
            except Exception as error:  # Dask's, as the worker is gone by now, or ours
                what = "is gone" if isinstance(error, _WorkerLost) else f"cannot be used ({text_of(error)})"
                log.warning("Dask worker %s %s, and is left out", address, what)

    def _launch(self, address: str, share: int) -> "Future[WorkerActor]":
        return self._client.submit(
            WorkerActor.launch,
            share,
            key=f"paramgmt-{uuid.uuid4().hex}",
            workers=[address],
            allow_other_workers=False,
            retries=0,
            priority=1000,
            actor=True,
        )

    def _compare_versions(self, addresses: list[str]) -> None:
        # By a function that every worker has.
        found = self._client.run(pydoc.locate, _VERSION, workers=addresses, on_error="return")
        here = pydoc.locate(_VERSION)
        wrong = {address: version for address, version in found.items() if version != here}
        for address, version in wrong.items():
            if isinstance(version, OSError):
                continue  # it is gone, and will be found to be
            more = f" (and on {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            what = "no paramgmt-tasks" if version is None else f"paramgmt-tasks {version}"
            if isinstance(version, BaseException):
                what = f"a paramgmt-tasks that cannot be used: {text_of(version)}"
            raise UsageError(f"Dask worker {address}{more}: {what} there, {here} is needed")

    def close(self) -> None:
        """Leave the cluster, and close all connections."""
        with self._lock:
            links, self.links = self.links, []
        for link in links:
            link.disconnect()
        self._client.close()
