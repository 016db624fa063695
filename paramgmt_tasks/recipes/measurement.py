"""The step `run` of a benchmark: describe the machines, keep the services up, and measure each point."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from ..fleet import Fleet
from ..model import Host, HostResult, Operation, Outcome, Report, fold
from .operations import Operations, why
from .placement import Placement
from .recipe import JsonObject, Point, Recipe, RecipeFailed, Role, busy_before, points
from .result_folder import ResultFolder
from .sweep import Progress, Step, StepFailed, run_steps

#: Hosts with one of these are dropped: another try at each point would cost a connect timeout each.
_GONE = (Outcome.UNREACHABLE, Outcome.DENIED, Outcome.UNTRUSTED)
#: Seconds between two looks whether a service is ready.
_LOOK = 0.1

#: The hosts of a role, with what each is to run as `?COMMAND`.
Commands: TypeAlias = Callable[[Role, str, Mapping[str, object]], list[Host]]
OnProgress: TypeAlias = Callable[[Step | None, Progress, str], None]


class Measurement:
    """Measures the points of a recipe that a folder of results does not have yet."""

    def __init__(
        self, recipe: Recipe, operations: Operations, placement: Placement, commands: Commands
    ) -> None:
        self._recipe, self._operations, self._placement = recipe, operations, placement
        self._commands, self._note = commands, operations.note

    def run(self, folder: ResultFolder, order: str, stop_on_failure: bool, on_progress: OnProgress) -> None:
        """Measure what is left, and describe the machines before and after.

        Raises:
            RecipeFailed: a service is not ready, or no host is left.
            UsageError: results that cannot be written.
        """
        found = self._points_left(folder, order)
        before = self._machines()
        busy = [entry for entry, machine in before.items() if busy_before(machine)]
        if busy:
            self._note(f"warning: busy with something else before the start: {fold(busy)}")
        folder.write_machines({"before": before})
        with self._services() as check:
            steps = [
                Step(point.name, partial(self._measure, point, check), point.parameters, kept=point.run >= 0)
                for point in found
            ]
            try:
                run_steps(
                    steps,
                    folder.points,
                    stop_on_failure=stop_on_failure,
                    on_progress=on_progress,
                    interrupt=self._operations.interrupt,
                )
            finally:
                self._operations.resume()  # what was measured until now can still be pulled
        folder.write_machines({"before": before, "after": self._machines()})

    def _points_left(self, folder: ResultFolder, order: str) -> list[Point]:
        """All points, if some are left: run_steps leaves out those that are done."""
        recipe = self._recipe
        found = points(recipe.parameters, recipe.runs, recipe.warmup, order, folder.plan["seed"])
        done = [folder.points.done(point.name) for point in found if point.run >= 0]
        self._note(f"{'going on in' if any(done) else 'results go to'} {folder.path}")
        if not any(done):
            self._remove_results()
        return [] if all(done) else found  # if nothing is left, there is nothing to warm up for either

    def _remove_results(self) -> None:
        """Remove what an earlier run has left in the folders of roles."""
        for role in self._recipe.roles:
            if role.results:
                hosts = self._commands(role, f"rm -f -- {' '.join(role.results)}", {})
                self._operations.perform("run", hosts, self._placement.operation)

    def _machines(self) -> dict[str, JsonObject]:
        """What machine.py says of each host."""
        found: dict[str, JsonObject] = {}
        for role in self._recipe.roles:
            for result in self._report(self._commands(role, "?PYTHON machine.py", {})):
                try:
                    found[result.host.entry] = json.loads(result.stdout)
                except ValueError:
                    found[result.host.entry] = {"error": why(result)}
        return found

    def _report(self, hosts: Sequence[Host]) -> Report:
        """Run the command of each host, and wait for all."""
        return self._operations.report(hosts, self._placement.operation)

    @contextlib.contextmanager
    def _services(self) -> Iterator[Callable[[], None]]:
        """Keep all services up; what this yields raises StepFailed if one has ended meanwhile."""
        with contextlib.ExitStack() as stack:
            services: list[Service] = []
            for role in self._recipe.roles:
                if role.ready:
                    hosts = self._commands(role, role.command, {})
                    fleet = self._operations.fleet(hosts, fanout=max(1, len(hosts)))
                    service = stack.enter_context(Service(role, fleet, self._placement.operation))
                    services.append(service)
                    waiting = self._commands(role, role.ready, {})
                    self._note(f"{len(waiting)} {role.name} started, waiting until they are ready")
                    service.wait_until_ready(waiting, self._report)

            def check() -> None:
                for service in services:
                    service.check()

            yield check

    def _measure(self, point: Point, check: Callable[[], None]) -> JsonObject:
        """Measure one point on all hosts together: on how many, which failed, and the skew of the starts."""
        check()
        acting = [role for role in self._recipe.roles if not role.ready]
        hosts = [host for role in acting for host in self._commands(role, role.command, point.values)]
        together = self._placement.together and len(hosts) > 1
        report = self._operations.report(
            hosts,
            self._placement.operation,
            together=together,
            fanout=max(1, len(hosts)),
            timeout=max((role.timeout for role in acting if role.timeout), default=None),
        )
        for result in report.failed:
            if result.outcome in _GONE:
                self._operations.dropped[result.host.entry] = why(result)
        failed = {result.host.entry: why(result) for result in report.failed}
        check()
        if len(failed) == len(report):
            raise StepFailed(why(report.failed[0]) if report.failed else "no host is left")
        measured: JsonObject = {"hosts": len(report) - len(failed), "failed": failed}
        if together:
            skew, uncertainty = report.skew()
            measured["skew_ms"] = round(skew * 1e3, 3)
            measured["skew_uncertainty_ms"] = round(uncertainty * 1e3, 3)
        return measured


class Service:
    """A role's command, running on its hosts within a `with` block; with it ends all that it started."""

    def __init__(self, role: Role, fleet: Fleet, operation: Operation) -> None:
        self._role, self._fleet, self._operation = role, fleet, operation
        self._ended: list[HostResult] = []
        self._stopping = False

    def __enter__(self) -> "Service":
        self._run = self._fleet.perform(self._operation)
        self._thread = threading.Thread(target=self._watch, name=f"paramgmt {self._role.name}", daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        for result in self._run:
            if not self._stopping:
                self._ended.append(result)

    def check(self) -> None:
        """Raise StepFailed if the service has ended on a host."""
        for result in self._ended:
            raise StepFailed(f"{self._role.name} ended on {result.host.entry}: {why(result)}")

    def wait_until_ready(self, waiting: Sequence[Host], look: Callable[[Sequence[Host]], Report]) -> None:
        """Wait until a `look` at each of the `waiting` hosts succeeds.

        Raises:
            RecipeFailed: the service has ended, or is not ready in time.
        """
        deadline = time.monotonic() + self._role.ready_timeout
        while waiting:
            try:
                self.check()
            except StepFailed as error:
                raise RecipeFailed(str(error)) from None
            report = look(waiting)
            waiting = [result.host for result in report.failed]
            if waiting and time.monotonic() >= deadline:
                names = fold(host.entry for host in waiting)
                raise RecipeFailed(
                    f"{self._role.name} not ready after {self._role.ready_timeout:g} s: {names}: "
                    f"{why(report.failed[0])}"
                )
            if waiting:
                time.sleep(_LOOK)

    def __exit__(self, *error: object) -> None:
        self._stopping = True
        self._run.cancel()
        self._thread.join(5)
        self._fleet.close()
