"""LocalRun: an operation under way in this process, and the one result of each host."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from ..model import (
    PATIENCE,
    CommandStatus,
    Failure,
    Host,
    HostResult,
    Operation,
    Outcome,
    Output,
    OutputEvent,
    Rollout,
    Room,
    Settings,
    Spool,
    describe,
    unless_not_kept,
)
from ..ssh import Permit
from ..steps import Steps
from .local_command import GRACE
from .run import Amounts, Run
from .scheduler import Attempts, Scheduler

_MAY_HAVE_RUN = "the command may have run"
_INTERRUPTED = "interrupted before it was started"


class HostWork(Protocol):
    """What is done on one host of a run, here or over a connection."""

    host: Host

    @property
    def started(self) -> bool:
        """Whether something may have been started in the last try."""

    @property
    def requested(self) -> float | None:
        """When the last command's start was asked for, in monotonic seconds."""

    @property
    def confirmed(self) -> float | None:
        """When the last command's start was confirmed, in monotonic seconds."""

    def attempt(self, operation: Operation, out: Output, err: Output) -> Steps[CommandStatus]:
        """Try once to do an operation, which is this host's own; raises if nothing came of it."""

    def classify(self, error: BaseException) -> Failure:
        """Why a try failed."""

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Options that ask for something which is not done."""

    def is_verdict(self, error: BaseException) -> bool:
        """Whether an error says by itself how it ended, whatever was started."""

    def retry_delay(self, failure: Failure, error: BaseException, attempts: int) -> float | None:
        """Seconds after which to try again after so many attempts; None if that is of no use."""

    def interrupt(self) -> None:
        """Have what runs end by itself."""

    def kill(self) -> None:
        """Kill what was interrupted and still runs, unless the host does."""

    def abandon(self) -> None:
        """Break off what is done, from any thread."""

    def close_unless_kept(self) -> None:
        """Close what is open and not to be kept."""

    def release(self) -> None:
        """Nothing more is done."""


class Works(Protocol):
    """What is done on each host of a run."""

    @property
    def shared(self) -> Amounts:
        """How much of it are transfers."""

    def on(self, index: int, permit: Permit) -> HostWork:
        """The work on one host, with the permit of its run."""


class LocalRun(Run):
    """A Run in this process. It begins with `start`.

    `on_start` is called with a host's index right before something may be started there; with `live`,
    `events` has also what commands write while they run. `ask` is called with the index of a host that is
    ready to start what is not to be repeated, which then waits for `permit`. `spool` keeps what commands
    write.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        operation: Operation,
        settings: Settings,
        works: Works,
        *,
        on_start: Callable[[int], object] | None = None,
        live: bool = False,
        ask: Callable[[int], object] | None = None,
        spool: Spool | None = None,
    ) -> None:
        super().__init__(len(hosts), operation)
        self.shared = works.shared
        #: Where the outputs are kept.
        self.spool = spool or Spool()
        self._operation, self._settings, self._live = operation, settings, live
        self._rollout = Rollout.of(settings, len(hosts))
        self._halted = ""
        self._cancelled = False
        self._outputs: dict[int, tuple[Output, Output]] = {}
        self._scheduler = Scheduler(self, len(hosts), settings, self._rollout.admitted(0), ask)
        #: The permit of each host, but for what is called before something is started there.
        permit = Permit(
            objection=lambda: self._halted,
            waits=not operation.repeatable and (settings.together or ask is not None),
            on_stall=self._scheduler.stand_in,
            cancelled=lambda: self._cancelled,
        )
        self._works = [
            works.on(index, replace(permit, on_start=partial(on_start, index)) if on_start else permit)
            for index in range(len(hosts))
        ]
        self._releasing = threading.RLock()
        self._in_use = set(range(len(hosts)))

    def start(self) -> "LocalRun":
        """Begin with the hosts."""
        self._scheduler.start()
        return self

    def permit(self, indexes: Sequence[int]) -> None:
        """Let those of these hosts start that have asked."""
        self._scheduler.queue.permit(indexes)

    def under_way(self) -> list[tuple[Host, float]]:
        """The hosts that are being worked on, and since which monotonic second."""
        begun = [(self._works[index].host, self._attempts(index).since) for index in list(self._in_use)]
        return [(host, since) for host, since in begun if since]

    def _attempts(self, index: int) -> Attempts:
        return self._scheduler.attempts[index]

    def describe(self) -> list[str]:
        """Lines that tell how far it is, and which host waits for what."""
        begun = [index for index in list(self._in_use) if self._attempts(index).since]
        return [repr(self), *self._scheduler.describe(lambda index: str(self._works[index].host), begun)]

    # -- ending it early

    def cancel(self, patience: float = PATIENCE) -> None:
        """As every Run's."""
        self._cancelled = True
        self.halt(_INTERRUPTED)
        gently = patience > 0 and not self._operation.repeatable
        self._for_each_in_use(lambda work: work.interrupt() if gently else work.abandon())
        self._scheduler.queue.resume()
        if not self.wait(min(GRACE, patience)):
            self._for_each_in_use(lambda work: work.kill())
            self.wait(patience - GRACE)
        self._for_each_in_use(lambda work: work.abandon())
        self._scheduler.queue.resume()
        for index in set(range(len(self._works))) - self.finished_hosts:
            self._publish_cancelled(index)

    def halt(self, reason: str) -> None:
        """Start nothing on hosts on which nothing was started."""
        self._halted = self._halted or reason
        for index in self._scheduler.queue.stop():
            error = self._attempts(index).last_error
            if error is not None:
                self._publish_failure(index, self._works[index].classify(error), error)
            else:
                self._publish_cancelled(index)
            self.on_end(index)

    def _for_each_in_use(self, action: Callable[[HostWork], object]) -> None:
        """Do something with the hosts in use, none of which is released meanwhile."""
        with self._releasing:
            for index in self._in_use:
                action(self._works[index])

    # -- what the scheduler does with each host

    def attempt(self, index: int) -> Steps[None]:
        """Try once to do the operation on one host, and publish its result."""
        work = self._works[index]
        operation = self._operation.on(work.host)
        out, err = self._open_outputs(index)
        if self._halted:
            self._release(index)
            self._publish(index, Outcome.CANCELLED, self._halted)
            return
        done = yield from work.attempt(operation, out, err)
        self._release(index)
        self._publish(index, done.outcome, done.reason, done.return_code)

    def on_error(self, index: int, error: BaseException) -> float | None:
        """A try has failed: when another one may follow, or why there is no result of the operation."""
        work = self._works[index]
        failure = work.classify(error)
        delay = work.retry_delay(failure, error, self._attempts(index).count)
        if delay is not None and self._may_repeat(work):
            return delay
        self._release(index)
        self._publish_failure(index, failure, error)
        return None

    def _release(self, index: int) -> None:
        """Close the connection, or let others have it, before anybody learns that the host is finished."""
        self._works[index].close_unless_kept()
        self.on_end(index)

    def _may_repeat(self, work: HostWork) -> bool:
        """A transfer may be repeated even if it had begun; nothing if no more is to begin."""
        if self._cancelled or self._halted:
            return False
        return self._operation.repeatable or not work.started

    def on_end(self, index: int) -> None:
        """Nothing more is done on a host."""
        with self._releasing:
            if index not in self._in_use:
                return
            self._in_use.discard(index)
        self._works[index].release()

    # -- results

    def _open_outputs(self, index: int) -> tuple[Output, Output]:
        """Where a host's output goes, and who wants to know of it."""

        def announce() -> None:
            self.publish_output(OutputEvent(self._works[index].host, index, out, err))

        more = announce if self._live else None
        room = Room(self._settings.max_output)
        out, err = (Output(spool=self.spool, on_write=more, room=room) for _ in range(2))
        self._outputs[index] = out, err
        return out, err

    def _publish_failure(self, index: int, failure: Failure, error: BaseException) -> None:
        work = self._works[index]
        if work.is_verdict(error):
            self._publish(index, failure.outcome, failure.reason)
        elif self._cancelled:
            self._publish_cancelled(index)
        elif work.started:
            self._publish(index, *self._broken_off(error))
        else:
            self._publish(index, failure.outcome, failure.reason)

    def _publish_cancelled(self, index: int) -> None:
        if self._works[index].started:
            self._publish(index, Outcome.LOST, f"interrupted; {_MAY_HAVE_RUN}")
        else:
            self._publish(index, Outcome.CANCELLED, self._halted)

    def _broken_off(self, error: BaseException) -> tuple[Outcome, str]:
        silent = isinstance(error, TimeoutError)
        if self._operation.repeatable:
            return Outcome.LOST, "the transfer stalled" if silent else "connection lost in the transfer"
        if silent and self._settings.timeout is not None:
            return Outcome.TIMED_OUT, f"timed out after {self._settings.timeout:g} s; {_MAY_HAVE_RUN}"
        return Outcome.LOST, f"{'no answer' if silent else 'connection lost'}; {_MAY_HAVE_RUN}"

    def _publish(self, index: int, outcome: Outcome, reason: str, return_code: int | None = None) -> None:
        work, attempts = self._works[index], self._attempts(index)
        out, err = self._outputs.pop(index, (Output(), Output()))
        dropped = 0
        if out.room is not None:
            dropped = out.room.dropped
            outcome, reason = unless_not_kept(outcome, reason, out.room.trouble)
        result = HostResult(
            host=work.host,
            index=index,
            description=describe(self._operation, work.host, self._settings.user),
            outcome=outcome,
            return_code=return_code,
            out=out,
            err=err,
            attempts=attempts.count,
            reason=reason,
            started=attempts.since,
            finished=time.monotonic(),
            requested=work.requested,
            confirmed=work.confirmed,
            dropped=dropped,
            unsupported=work.unsupported if attempts.count else (),
        )
        counts = self.publish(result)
        if counts is not None and not self._halted:
            self._go_on(*counts)

    def _go_on(self, finished: int, failed: int) -> None:
        """Let more hosts begin, or no more."""
        objection = self._rollout.objection(finished, failed)
        if objection:
            self.halt(objection)
        else:
            self._scheduler.queue.admit(self._rollout.admitted(finished))
