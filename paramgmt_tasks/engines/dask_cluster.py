"""The engine `dask`: workers in the workers of a Dask cluster, which may be on other machines.

In each Dask worker lives an actor, an Office, for as long as this process does; messages go to it and come
from it in batches, through the scheduler. No work is a task of the scheduler's, so that none can be run again
by it. A worker asks before it starts what is not to be repeated, and what it was let start is lost where it
is gone.
"""

import asyncio
import contextlib
import json
import logging
import pydoc
import socket
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..model import Operation, Settings, UsageError, reason_of
from ..transfer import FileRelay
from .coordinator import WorkerEngine
from .dask_actor import Mailbox, WorkerActor, messages

log = logging.getLogger("paramgmt_tasks")

#: Seconds without an answer after which a worker is given up; it cannot start anything by itself then.
CALL_TIMEOUT = 60.0
#: Seconds in which the scheduler notices that a worker is gone.
DEATH_NOTICE = 3.0
#: Seconds to reach the scheduler, and for a worker to make its office.
_CONNECT, START_TIMEOUT = 10.0, 60.0
_VERSION = "paramgmt_tasks.__version__"
_ENCRYPTED = ("tls", "wss")


class _Gone(Exception):
    pass


class ActorLink:
    """The way to an office."""

    def __init__(self, address: str, future: Any, actor: Any, workers: WorkerEngine) -> None:
        self.address = address
        self.name = f"its Dask worker {address} is gone"
        self.alive = True
        self.spools: dict[Any, Any] = {}
        self._future, self._actor, self._workers = future, actor, workers
        self._box = Mailbox()
        self._ending = threading.Lock()
        self.wait_for_room = self._box.wait_for_room
        self.ahead, self.uncertain = self._compare_clocks()
        for task in (self._carry, self._listen):
            threading.Thread(target=task, name=f"paramgmt {address}", daemon=True).start()

    def _compare_clocks(self) -> tuple[float, float]:
        """How far the clock there is ahead, and how uncertain that is: half of the shortest round trip."""
        trips = []
        for _ in range(5):
            asked = time.monotonic()
            there = self._call("clock")
            took = time.monotonic() - asked
            trips.append((took / 2, there - asked - took / 2))
        uncertain, ahead = min(trips)
        return ahead, uncertain

    def send(self, *message: Any) -> bool:
        """Have a message delivered."""
        return self._box.put(message)

    def _carry(self) -> None:
        number = 0
        with contextlib.suppress(_Gone):
            while self._box.wait():
                number += 1
                self._call("deliver", number, self._box.take())
        self._end()

    def _listen(self) -> None:
        number = 0
        try:
            while self.alive:
                number += 1
                for message in messages(self._call("collect", number)):
                    self._workers.handle(self, *message)
        except _Gone:
            pass
        except Exception as error:  # of an on_start, which is the caller's
            log.warning("what Dask worker %s says cannot be taken: %s", self.address, _words(error))
        finally:
            self._end()

    def _call(self, method: str, *args: Any) -> Any:
        """Call a method of the office; again where that failed and the worker is there."""
        while True:
            try:
                return getattr(self._actor, method)(*args).result(timeout=CALL_TIMEOUT)
            except (TimeoutError, asyncio.TimeoutError):
                raise _Gone from None
            except Exception as error:
                failed = error
            # Either that shows soon, or only a connection was lost on the way.
            deadline = time.monotonic() + DEATH_NOTICE
            while time.monotonic() < deadline:
                if not self.alive or self._future.status != "finished":
                    raise _Gone from None
                time.sleep(0.05)
            if not isinstance(failed, OSError):
                log.warning("Dask worker %s: %s", self.address, _words(failed))
                raise _Gone from None

    def _end(self) -> None:
        with self._ending:
            ended, self.alive = not self.alive, False
        if not ended:
            self._box.close()
            self._future.release()
            self._workers.on_worker_lost(self)

    def leave(self) -> None:
        """It ends by that."""
        self._end()


class DaskEngine(WorkerEngine):
    """The workers of a Dask cluster.

    Raises:
        UsageError: it cannot be reached, or must not be.
    """

    shares_filesystem = False

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._client = _connect(settings)
        self._insecure = settings.insecure_scheduler

    def relay(self, operation: Operation) -> FileRelay:
        """What brings files to other machines."""
        return FileRelay(operation)

    def start(self, settings: Settings, hosts: int) -> int:
        """Have an office in each of the Dask workers that there are, or in so many."""
        with self._lock:
            try:
                there = sorted(self._client.nthreads())
            except Exception as error:
                raise UsageError(f"the Dask scheduler is gone: {_words(error)}") from None
            there = there[: settings.workers]
            self.links = [link for link in self.links if link.alive]
            known = {link.address for link in self.links}
            self._open([address for address in there if address not in known], there)
            if not self.links:
                raise UsageError("the Dask cluster has no workers: start some with dask worker")
            log.info("engine: dask, %d workers", len(self.links))
            return len(self.links)

    def _open(self, addresses: list[str], there: list[str]) -> None:
        if not addresses:
            return
        for address in addresses:
            _allow(address, "worker", self._insecure)
        self._compare_versions(addresses)
        machines = Counter(urlsplit(address).hostname for address in there)
        futures = {
            address: self._client.submit(
                WorkerActor,
                machines[urlsplit(address).hostname],
                key=f"paramgmt-{uuid.uuid4().hex}",
                workers=[address],
                allow_other_workers=False,
                retries=0,
                priority=1000,
                actor=True,
            )
            for address in addresses
        }
        deadline = time.monotonic() + START_TIMEOUT
        for address, future in futures.items():
            try:
                actor = future.result(timeout=max(0.1, deadline - time.monotonic()))
                with self._client.as_current():  # which an actor belongs to from its first use
                    self.links.append(ActorLink(address, future, actor, self))
            except UsageError as error:
                raise UsageError(f"Dask worker {address}: {error}") from None
            except (TimeoutError, asyncio.TimeoutError):
                future.cancel()
                log.warning("Dask worker %s is busy with something else, and left out", address)
            except Exception as error:  # Dask's, of a worker that is gone by now, or our own of it
                reason = "gone" if isinstance(error, _Gone) else f"of no use ({_words(error)})"
                log.warning("Dask worker %s is %s, and left out", address, reason)

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
                what = f"a paramgmt-tasks that cannot be used: {_words(version)}"
            raise UsageError(f"Dask worker {address}{more}: {what} there, {here} is needed")

    def close(self) -> None:
        """Leave the cluster, and all hosts."""
        with self._lock:
            links, self.links = self.links, []
        for link in links:
            link.leave()
        self._client.close()


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _connect(settings: Settings) -> Any:
    try:
        import dask
        from distributed import Client
        from distributed.security import Security
    except ImportError:
        raise UsageError("--engine dask needs dask.distributed: pip install 'paramgmt-tasks[dask]'") from None
    given = settings.scheduler or dask.config.get("scheduler-address", None)
    if not given:
        raise UsageError("--engine dask: name the scheduler with --scheduler tls://HOST:8786, or its file")
    address = _address(given)
    _allow(address, "scheduler", settings.insecure_scheduler)
    files = {
        "tls_ca_file": settings.tls_ca,
        "tls_client_cert": settings.tls_cert,
        "tls_client_key": settings.tls_key,
    }
    for option, path in zip(("--tls-ca", "--tls-cert", "--tls-key"), files.values(), strict=True):
        try:
            if path:
                Path(path).expanduser().read_bytes()
        except OSError as error:
            raise UsageError(f"{option} {path}: {reason_of(error)}") from None
    paths = {name: str(Path(path).expanduser()) for name, path in files.items() if path}
    try:
        security: Any = Security(**paths)
        encrypted = security.get_connection_args("client").get("ssl_context") is not None
    except Exception as error:  # of the ssl module, in many ways
        raise UsageError(f"{', '.join(paths.values())}: cannot be used for TLS: {_words(error)}") from None
    parts = urlsplit(address)
    if parts.scheme in _ENCRYPTED and not encrypted:
        raise UsageError(f"--scheduler {given}: TLS needs --tls-ca, --tls-cert and --tls-key")
    try:
        # Dask would go on trying where nobody listens.
        socket.create_connection((parts.hostname, parts.port or 8786), _CONNECT).close()
        return Client(address, security=security, timeout=_CONNECT, set_as_default=False, name="paramgmt")
    except Exception as error:
        reason = reason_of(error) if isinstance(error, OSError) and error.errno else _words(error)
        raise UsageError(f"--scheduler {given}: {reason}") from None


def _address(given: str) -> str:
    """The address of a scheduler, that may stand in a scheduler file."""
    if "://" in given:
        return given
    try:
        found = json.loads(Path(given).expanduser().read_text())["address"]
    except OSError as error:
        raise UsageError(
            f"--scheduler {given}: {reason_of(error)}: give an address, tls://HOST:PORT, or a scheduler file"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"--scheduler {given}: not a scheduler file of Dask's") from None
    return str(found)


def _allow(address: str, what: str, insecure: bool) -> None:
    """Whether what is sent there may be. On this machine too all its users reach what is not encrypted.

    Raises:
        UsageError: others could read it, and run what they like as the user of the workers.
    """
    if urlsplit(address).scheme in _ENCRYPTED or insecure:
        return
    raise UsageError(
        f"Dask {what} {address}: others could read what goes there, and run what they like there: "
        "use tls://, or allow it with --insecure-scheduler"
    )
