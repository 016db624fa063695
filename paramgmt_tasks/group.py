"""ParallelGroup: Fabric's ThreadingGroup made to hold thousands, with retry and a result for every host."""

import heapq
import logging
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import fabric
from fabric.exceptions import GroupException
from fabric.group import GroupResult
from paramiko.ssh_exception import ChannelException

from . import local, script, transfer
from .command import Execution, Sudo, converse, with_env
from .connection import HostConnection, Resources
from .errors import UsageError
from .failures import Denied, classify
from .hosts import Host
from .operations import LocalCommand, Operation, RemoteCommand, Script
from .results import HostResult, Outcome
from .retry import Failure, RetryPolicy
from .settings import Settings

log = logging.getLogger("paramgmt_tasks")

_MAY_HAVE_RUN = "the command may have run"


class ParallelGroup(fabric.ThreadingGroup):
    """A list of connections that are worked on together, `settings.fanout` of them at once.

    Fabric's contract holds: `run`, `sudo`, `put` and `get` return a GroupResult or raise a GroupException.
    Unlike Fabric's own group it bounds the fan-out and the handshakes, tries hosts again that were not
    reached, and with `perform` gives a HostResult for each as soon as it is known.
    """

    def __init__(
        self,
        *hosts: str | Host,
        settings: Settings | None = None,
        resources: Resources | None = None,
        **kwargs: Any,
    ) -> None:
        self.settings = settings or Settings()
        resources = resources or Resources()
        super().__init__()
        self.extend(
            HostConnection(host, settings=self.settings, resources=resources, **kwargs) for host in hosts
        )

    @classmethod
    def from_connections(
        cls, connections: Iterable[HostConnection], settings: Settings | None = None
    ) -> "ParallelGroup":
        """A group of connections that exist already."""
        group = cls.__new__(cls)
        list.__init__(group, connections)
        group.settings = settings or Settings()
        return group

    def perform(self, operation: Operation) -> "Run":
        """Do `operation` on every host; the Run gives the results as they come."""
        return Run(self, operation, self.settings)

    def _do(self, method: str, *args: Any, **kwargs: Any) -> GroupResult:
        results = GroupResult()
        for connection, value in _Calls(self, method, args, kwargs, self.settings).outcomes():
            results[connection] = value
        if any(isinstance(value, BaseException) for value in results.values()):
            raise GroupException(results)
        return results


class _Hosts:
    """Which host is next: those in order, and those whose pause is over. Safe for many threads."""

    def __init__(self, count: int, in_order: bool) -> None:
        self._changed = threading.Condition()
        self._fresh = deque(range(count))
        self._pausing: list[tuple[float, int]] = []
        self._open = count
        self._in_order = in_order

    def next(self) -> int | None:
        """The next host's index, waiting for a pause to end; None when there will be none any more."""
        with self._changed:
            while self._open > 0:
                now = time.monotonic()
                if self._pausing and self._pausing[0][0] <= now:
                    return heapq.heappop(self._pausing)[1]
                if self._fresh and not (self._in_order and self._pausing):
                    return self._fresh.popleft()
                self._changed.wait(self._pausing[0][0] - now if self._pausing else None)
            return None

    def again(self, index: int, delay: float) -> None:
        """Give a host back, to be tried again after `delay` seconds."""
        with self._changed:
            heapq.heappush(self._pausing, (time.monotonic() + delay, index))
            self._changed.notify()

    def done(self) -> None:
        """One host needs no more work."""
        with self._changed:
            self._open -= 1
            if self._open <= 0:
                self._changed.notify_all()

    def stop(self) -> list[int]:
        """Start none any more: those that were not being worked on."""
        with self._changed:
            rest = [*self._fresh, *(index for _, index in self._pausing)]
            self._fresh.clear()
            self._pausing.clear()
            self._open = 0
            self._changed.notify_all()
            return rest


class _Tries:
    """How often a host was tried, and since when."""

    def __init__(self) -> None:
        self.count = 0
        self.since = 0.0

    def begin(self) -> None:
        self.since = self.since or time.monotonic()
        self.count += 1


class _Work:
    """The one loop over hosts: fan-out, and a next try where a host was not reached."""

    def __init__(self, group: ParallelGroup, settings: Settings) -> None:
        self.connections = list(group)
        self.settings = settings
        self.tries = [_Tries() for _ in group]
        self._hosts = _Hosts(len(group), in_order=settings.sequential)
        self._stopped = False
        fanout = 1 if settings.sequential else min(settings.fanout, len(group))
        for started in range(fanout):
            try:
                threading.Thread(target=self._work, name="paramgmt worker", daemon=True).start()
            except RuntimeError:
                if not started:
                    raise
                log.warning("no more than %d threads can be started: fan-out lowered to that", started)
                break

    def _work(self) -> None:
        while (index := self._hosts.next()) is not None:
            tries = self.tries[index]
            tries.begin()
            try:
                self.do(index)
            except BaseException as error:
                failure = classify(error)
                if failure.transient and not isinstance(error, ChannelException):
                    self.connections[index].discard()
                delay = self._pause(index, failure)
                if delay is not None:
                    self._hosts.again(index, delay)
                    continue
                self.fail(index, failure, error)
            self._hosts.done()

    def _pause(self, index: int, failure: Failure) -> float | None:
        connection, tries = self.connections[index], self.tries[index]
        if self._stopped or not self.may_repeat(index):
            return None
        policy = RetryPolicy(self.settings.attempts, budget=connection.connect_timeout)
        return policy.delay(failure, tries.count, connection.spent)

    def do(self, index: int) -> None:
        """One try on one host; raises where nothing came of it."""
        raise NotImplementedError

    def may_repeat(self, index: int) -> bool:
        """Whether a try that failed has certainly started nothing."""
        return not self.connections[index].started

    def fail(self, index: int, failure: Failure, error: BaseException) -> None:
        """The last try failed."""
        raise NotImplementedError


class Run(_Work):
    """An operation under way on many hosts: an iterator over their results, as they finish.

    Every host gives exactly one result, also where the run is cancelled.
    """

    def __init__(self, group: ParallelGroup, operation: Operation, settings: Settings) -> None:
        self._operation = operation
        self._arrived = threading.Condition()
        self._results: deque[HostResult] = deque()
        self._told: set[int] = set()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._left = len(group)
        for connection in group:
            connection.renew()
        super().__init__(group, settings)

    def __iter__(self) -> "Run":
        return self

    def __next__(self) -> HostResult:
        with self._arrived:
            if not self._left:
                raise StopIteration
            while not self._results:
                self._arrived.wait()
            self._left -= 1
            return self._results.popleft()

    def cancel(self, patience: float = 2.0) -> None:
        """Start nothing more and break off what runs; may be called from any thread.

        Hosts on which nothing was started become `cancelled`, those with a command under way `lost`.
        `patience` is how many seconds those are given to say how they ended.
        """
        self._stopped = True
        for index in self._hosts.stop():
            self._tell_cancelled(index)
        for connection in self.connections:
            connection.abandon()
        for process in list(self._processes.values()):
            local.kill(process)
        deadline = time.monotonic() + patience
        with self._arrived:
            while len(self._told) < len(self.connections):
                if not self._arrived.wait(max(0.0, deadline - time.monotonic())):
                    break
        for index in range(len(self.connections)):
            self._tell_cancelled(index)

    def _tell_cancelled(self, index: int) -> None:
        if self.connections[index].started:
            self._tell(index, Outcome.LOST, f"interrupted; {_MAY_HAVE_RUN}")
        else:
            self._tell(index, Outcome.CANCELLED, "interrupted before it was started")

    def do(self, index: int) -> None:
        """Do the operation on one host and tell its result."""
        connection = self.connections[index]
        operation = self._operation.on(connection.entry)
        connection.started = False
        if self._stopped:
            self._tell_cancelled(index)
            return
        if isinstance(operation, LocalCommand):
            done = self._local(index, operation)
        elif isinstance(operation, RemoteCommand):
            done = _command(connection, operation.command, self.settings.stdin, self.settings)
        elif isinstance(operation, Script):
            done = _scripts(connection, operation, self.settings)
        else:
            transfer.check(operation)
            done = transfer.run(connection, operation)
        if self._stopped and done.outcome is Outcome.LOST:
            self._tell_cancelled(index)
            return
        self._tell(index, done.outcome, done.reason, done)

    def _local(self, index: int, operation: LocalCommand) -> Execution:
        def started(process: "subprocess.Popen[bytes]") -> None:
            self._processes[index] = process
            self.connections[index].started = True
            if self._stopped:
                local.kill(process)

        try:
            done = local.run(operation.command, self.settings, started)
        except OSError as error:
            raise UsageError(f"/bin/sh here: {(error.strerror or str(error)).lower()}") from None
        finally:
            self._processes.pop(index, None)
        if self._stopped and done.outcome is Outcome.SIGNALLED:
            return Execution(Outcome.LOST, None, done.stdout, done.stderr, "interrupted; killed")
        return done

    def may_repeat(self, index: int) -> bool:
        """A transfer may be repeated even where it had begun."""
        return self._operation.repeatable or super().may_repeat(index)

    def fail(self, index: int, failure: Failure, error: BaseException) -> None:
        """Tell why there is no result of the operation itself."""
        if isinstance(error, Denied):
            self._tell(index, failure.outcome, failure.reason)
        elif self._stopped:
            self._tell_cancelled(index)
        elif self.connections[index].started:
            self._tell(index, *self._broken_off(error))
        else:
            self._tell(index, failure.outcome, failure.reason)

    def _broken_off(self, error: BaseException) -> tuple[Outcome, str]:
        silent = isinstance(error, TimeoutError)
        if self._operation.repeatable:
            return Outcome.LOST, "the transfer stalled" if silent else "connection lost in the transfer"
        if silent and self.settings.timeout is not None:
            return Outcome.TIMED_OUT, f"timed out after {self.settings.timeout:g} s; {_MAY_HAVE_RUN}"
        return Outcome.LOST, f"{'no answer' if silent else 'connection lost'}; {_MAY_HAVE_RUN}"

    def _tell(self, index: int, outcome: Outcome, reason: str, done: Execution | None = None) -> None:
        connection, tries = self.connections[index], self.tries[index]
        host = connection.entry
        user = self.settings.user if host.user is None and not self._operation.local else None
        name = f"{user}@{host.entry}" if user else host.entry
        result = HostResult(
            host=host,
            index=index,
            description=self._operation.on(host).description(name),
            outcome=outcome,
            return_code=done.return_code if done else None,
            stdout=done.stdout if done else b"",
            stderr=done.stderr if done else b"",
            attempts=tries.count,
            reason=reason,
            started=tries.since,
            finished=time.monotonic(),
        )
        with self._arrived:
            if index not in self._told:
                self._told.add(index)
                self._results.append(result)
                self._arrived.notify_all()


def _command(connection: HostConnection, text: str, stdin: bytes | None, settings: Settings) -> Execution:
    text = with_env(text, settings.env)
    sudo = Sudo(text, settings.password) if settings.sudo else None
    channel = connection.start(sudo.command if sudo else text, settings.timeout)
    return converse(channel, stdin, settings.timeout, sudo)


def _scripts(connection: HostConnection, operation: Script, settings: Settings) -> Execution:
    bodies = [script.read(path, connection.entry) for path in operation.paths]
    out = err = b""
    for path, body in zip(operation.paths, bodies, strict=True):
        text, stdin = script.command(path, body, settings.stdin)
        done = _command(connection, text, stdin, settings)
        out, err = out + done.stdout, err + done.stderr
        if done.outcome is not Outcome.OK:
            reason = done.reason if len(bodies) == 1 else f"{path}: {done.reason}"
            return Execution(done.outcome, done.return_code, out, err, reason)
    return Execution(Outcome.OK, 0, out, err)


class _Calls(_Work):
    """A method of Fabric's, called on every connection."""

    def __init__(self, group: ParallelGroup, method: str, args: Any, kwargs: Any, settings: Settings) -> None:
        self._call: Callable[[HostConnection], Any] = lambda cxn: getattr(cxn, method)(*args, **kwargs)
        self._values: dict[int, Any] = {}
        self._finished = threading.Semaphore(0)
        for connection in group:
            connection.renew()
        super().__init__(group, settings)

    def do(self, index: int) -> None:
        """Call the method; what it raises once connected is its answer, and not tried again."""
        connection = self.connections[index]
        connection.open()
        try:
            self._values[index] = self._call(connection)
        except Exception as error:
            self._values[index] = error
        self._finished.release()

    def fail(self, index: int, failure: Failure, error: BaseException) -> None:
        """The connection was not made: its exception is the answer."""
        self._values[index] = error
        self._finished.release()

    def outcomes(self) -> list[tuple[HostConnection, Any]]:
        """Wait for all, and pair them with what came of them, in the group's order."""
        for _ in self.connections:
            self._finished.acquire()
        return [(cxn, self._values[index]) for index, cxn in enumerate(self.connections)]
