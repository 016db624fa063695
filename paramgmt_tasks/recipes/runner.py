"""The cycle that carries out a recipe on hosts: build, push, configure, run, pull, analyze.

It is that of every benchmark of a cluster, composed of the operations that `lcmd`, `rcmd`, `rpush` and
`rpull` are.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..engines import Session
from ..execution import Run
from ..fleet import Fleet
from ..model import (
    Host,
    HostResult,
    LocalCommand,
    Operation,
    Outcome,
    Pull,
    Push,
    RemoteCommand,
    Report,
    Settings,
    UsageError,
    fold,
    one_line,
    reason_of,
    substitute,
)
from . import sweep
from .recipe import PROGRAMS, Recipe, RecipeFailed, Results, Role, busy_before
from .report import plain
from .sweep import Point, Progress, ResultStore, Step, StepFailed, write_whole

#: Where things are on a host, below its user's home.
_THERE = ".paramgmt"
#: What ends a host's part in a benchmark: another try at each point would cost a connect timeout each.
_GONE = (Outcome.UNREACHABLE, Outcome.DENIED, Outcome.UNTRUSTED)
#: What a plan has at least.
_PLANNED = {"recipe", "parameters", "runs", "hosts", "seed"}
#: Seconds between two looks whether a service is ready.
_LOOK = 0.1


class BenchmarkRun:
    """A recipe on hosts, step by step. `note` is told what happens, in lines; `progress` how far a sweep is.

    Hosts on which a step fails are named and left out of those that follow.
    """

    def __init__(
        self,
        recipe: Recipe,
        hosts: Mapping[str, Sequence[Host]],
        settings: Settings,
        root: Path,
        pool: Session,
        *,
        note: Callable[[str], None],
        say: Callable[[str], None] = print,
        progress: Callable[[Step | None, Progress, str], None] = lambda step, progress, error: None,
        python: str = "python3",
    ) -> None:
        self.recipe = recipe
        # One engine for all steps, so that each host is connected once.
        engine = "threads" if settings.engine == "auto" else settings.engine
        self.settings = replace(settings, timeout=None, stdin=None, engine=engine)
        self.root = root
        self.dropped_hosts: dict[str, str] = {}
        #: Where the results of `run` go, once it has begun.
        self.folder: Path | None = None
        self.pool = pool
        self._note, self._say, self._progress = note, say, progress
        self._python = python
        self._current: list[Run] = []
        self._interrupted = False
        self.hosts = {role.name: list(hosts.get(role.name, ())) for role in recipe.roles}
        self.remote = any(hosts.values())
        for role in recipe.roles:
            if not self.hosts[role.name]:
                if self.remote or not role.local:
                    raise UsageError(f"no {role.name}: name their list with --{role.name} FILE")
                self.hosts[role.name] = [Host("localhost", "localhost")]
        variables = recipe.variables(self)
        for role in recipe.roles:
            own = variables.get(role.name) or [{}] * len(self.hosts[role.name])
            self.hosts[role.name] = [
                replace(host, variables={**self._common(role, host), **host.variables, **extra})
                for host, extra in zip(self.hosts[role.name], own, strict=True)
            ]

    def address(self, host: Host) -> str:
        """Where others reach a host: the variable DATA of its line, else as SSH reaches it."""
        if "DATA" in host.variables:
            return host.variables["DATA"]
        return self.pool.threads.address(host, self.settings)

    def _common(self, role: Role, host: Host) -> dict[str, str]:
        place = _place(host.entry)
        if not self.remote:
            folder = str((self.root / "work").absolute())
            python = shlex.quote(self._python)
            return {"PLACE": place, "FOLDER": folder, "PYTHON": python, "ADDRESS": "127.0.0.1"}
        folder = f"{_THERE}/{self.recipe.name}/{place}"
        return {"PLACE": place, "FOLDER": folder, "PYTHON": "python3", "ADDRESS": self.address(host)}

    # -- the operations

    def _run(self, hosts: Sequence[Host], operation: Operation, **settings: Any) -> Run:
        if self._interrupted:
            raise KeyboardInterrupt
        fleet = Fleet(hosts, replace(self.settings, **settings), pool=self.pool)
        run = fleet.perform(operation)
        self._current.append(run)
        return run

    def _report(self, hosts: Sequence[Host], operation: Operation, **settings: Any) -> Report:
        if not hosts:
            return Report([])
        run = self._run(hosts, operation, **settings)
        try:
            return run.report()
        except BaseException:
            run.cancel()
            raise
        finally:
            self._current.remove(run)

    def interrupt(self) -> None:
        """End what is under way; nothing more is begun."""
        self._interrupted = True
        for run in list(self._current):
            run.cancel()

    def _shell(self, role: Role, command: str) -> Report:
        """A command in the folder of each host of a role."""
        return self._report(self.commands(role, command, {}), self.operation())

    def _working(self, role: Role) -> list[Host]:
        return [host for host in self.hosts[role.name] if host.entry not in self.dropped_hosts]

    def _lose(self, step: str, report: Report) -> None:
        """Leave out the hosts that failed.

        Raises:
            RecipeFailed: none is left.
        """
        for result in report.failed:
            self.dropped_hosts[result.host.entry] = f"{step}: {why(result)}"
            self._note(f"{step} failed on {result.host.entry}: {why(result)}")
        if len(report) and len(report.failed) == len(report):
            raise RecipeFailed(f"{step} failed on all hosts: {why(report.failed[0])}")

    # -- the steps

    def build(self) -> None:
        """Run the build command here."""
        if not self.recipe.build:
            return
        self._note(f"build: {self.recipe.build}")
        here = [Host("localhost", "localhost")]
        report = self._report(here, LocalCommand(self.recipe.build))
        for result in report:
            if result.stdout:
                self._note(result.stdout.decode("utf-8", "replace").rstrip())
            if not result.ok:
                raise RecipeFailed(f"build: {why(result)}")

    def push(self) -> None:
        """Push the files of each role to its hosts."""
        for role in self.recipe.roles:
            hosts = self._working(role)
            files = [str(Path(name).expanduser()) for name in (*role.files, str(PROGRAMS / "machine.py"))]
            missing = [name for name in files if not os.path.exists(name)]
            if missing:
                raise UsageError(f"{missing[0]}: no such file or folder here")
            if not self.remote:
                _copy(files, Path(hosts[0].variables["FOLDER"]))
                continue
            self._note(f"push to {len(hosts)} {role.name}: {' '.join(map(os.path.basename, files))}")
            self._lose("push", self._report(hosts, RemoteCommand("mkdir -p -- ?FOLDER")))
            self._lose("push", self._report(self._working(role), Push(tuple(files), "?FOLDER/")))

    def configure(self) -> None:
        """Write the configuration files of each host, and push them."""
        for role in self.recipe.roles:
            if not role.config:
                continue
            hosts = self._working(role)
            with tempfile.TemporaryDirectory(prefix="paramgmt-") as name:
                for host in hosts:
                    folder = Path(name) / host.variables["PLACE"]
                    folder.mkdir(exist_ok=True)
                    for file, text in role.config.items():
                        (folder / file).write_text(substitute(text, host.values), "utf-8")
                if not self.remote:
                    made = [str(Path(name) / hosts[0].variables["PLACE"] / file) for file in role.config]
                    _copy(made, Path(hosts[0].variables["FOLDER"]))
                    continue
                self._note(f"configure {len(hosts)} {role.name}: {' '.join(role.config)}")
                sources = tuple(f"{name}/?PLACE/{file}" for file in role.config)
                self._lose("configure", self._report(hosts, Push(sources, "?FOLDER/")))

    def run(
        self,
        fresh: bool = False,
        order: str = "interleaved",
        seed: int | None = None,
        stop_on_failure: bool = False,
    ) -> Path:
        """Run all points of the sweep, or those that a run broken off has left; the folder of results."""
        folder, plan = self._folder(fresh, order, seed)
        self.folder = folder
        recipe, kept = self.recipe, ResultStore(folder / "points")
        found = sweep.points(recipe.parameters, recipe.runs, recipe.warmup, order, plan["seed"])
        done = [kept.done(point.name) for point in found if point.run >= 0]
        if all(done):
            found = []  # nothing is left to warm up for
        new = not any(done)
        self._note(f"{'results go to' if new else 'going on in'} {folder}")
        if new:
            for role in self.recipe.roles:
                if role.results:
                    globs = " ".join(role.results)
                    self._lose("run", self._shell(role, f"rm -f -- {globs}"))
        machines = {"before": self._machines()}
        busy = [name for name, said in machines["before"].items() if busy_before(said)]
        if busy:
            self._note(f"warning: busy with something else before the start: {fold(busy)}")
        write_whole(folder / "machine.json", json.dumps(machines, indent=1) + "\n")
        with self._services() as check:
            steps = [
                Step(
                    point.name,
                    lambda point=point: self._measure(point, check),  # type: ignore[misc]
                    like=point.parameters,
                    kept=point.run >= 0,
                )
                for point in found
            ]
            try:
                sweep.run_steps(
                    steps,
                    kept,
                    stop_on_failure=stop_on_failure,
                    on_progress=self._progress,
                    interrupt=self.interrupt,
                )
            finally:
                self.go_on()
        machines["after"] = self._machines()
        write_whole(folder / "machine.json", json.dumps(machines, indent=1) + "\n")
        return folder

    def go_on(self) -> None:
        """After an interruption: what was measured until now can still be pulled."""
        self._interrupted = False

    def _folder(self, fresh: bool, order: str, seed: int | None) -> tuple[Path, dict[str, Any]]:
        plan = {
            "recipe": self.recipe.name,
            "parameters": {name: list(values) for name, values in self.recipe.parameters.items()},
            "runs": self.recipe.runs,
            "warmup": self.recipe.warmup,
            "metric": self.recipe.metric,
            "order": order,
            "hosts": {name: [host.entry for host in hosts] for name, hosts in self.hosts.items()},
            "commands": {role.name: role.command for role in self.recipe.roles},
        }
        plan = json.loads(json.dumps(plan))
        if not fresh:
            for folder in reversed(folders(self.root)):
                begun = _plan(folder)
                if (
                    begun is None
                    or {**begun, "seed": None} != {**plan, "seed": None}
                    or seed not in (None, begun["seed"])
                ):
                    continue
                if (folder / "report.html").exists() and not unfinished(folder, plan):
                    continue
                return folder, begun
        plan["seed"] = int(time.time()) if seed is None and order == "random" else seed
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S")
        folder = self.root / stamp
        number = 1
        while folder.exists():
            number += 1
            folder = self.root / f"{stamp}.{number}"
        write_whole(folder / "plan.json", json.dumps(plan, indent=1) + "\n")
        return folder, plan

    def _machines(self) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for role in self.recipe.roles:
            for result in self._shell(role, "?PYTHON machine.py"):
                try:
                    said[result.host.entry] = json.loads(result.stdout)
                except ValueError:
                    said[result.host.entry] = {"error": why(result)}
        return said

    def commands(self, role: Role, text: str, values: Mapping[str, Any]) -> list[Host]:
        """The hosts of a role, with what each is to run as `?COMMAND`."""
        texts = {name: str(value) for name, value in values.items()}
        found = []
        for host in self._working(role):
            command = substitute(text, {**host.values, **texts})
            folder = shlex.quote(host.variables["FOLDER"])
            found.append(
                replace(host, variables={**host.variables, "COMMAND": f"cd {folder} || exit 1\n{command}"})
            )
        return found

    def operation(self) -> Operation:
        """What runs the `commands` of a role."""
        return LocalCommand("?COMMAND") if not self.remote else RemoteCommand("?COMMAND", held=True)

    @contextlib.contextmanager
    def _services(self) -> Iterator[Callable[[], None]]:
        """All services are up; what is given raises StepFailed where one has ended meanwhile."""
        with contextlib.ExitStack() as stack:
            services: list[_Service] = []

            def check() -> None:
                for service in services:
                    service.check()

            for role in self.recipe.roles:
                if role.ready:
                    service = _Service(role, self.commands(role, role.command, {}), self)
                    stack.callback(service.stop)
                    services.append(service)
                    self._await(role, service)
            yield check

    def _await(self, role: Role, service: "_Service") -> None:
        waiting = self.commands(role, role.ready, {})
        self._note(f"{len(waiting)} {role.name} started, waiting until they are ready")
        deadline = time.monotonic() + role.ready_timeout
        while waiting:
            try:
                service.check()
            except StepFailed as error:
                raise RecipeFailed(str(error)) from None
            report = self._report(waiting, self.operation())
            waiting = [result.host for result in report.failed]
            if waiting and time.monotonic() >= deadline:
                names = fold(host.entry for host in waiting)
                raise RecipeFailed(
                    f"{role.name} not ready after {role.ready_timeout:g} s: {names}: {why(report.failed[0])}"
                )
            if waiting:
                time.sleep(_LOOK)

    def _measure(self, point: Point, check: Callable[[], None]) -> dict[str, Any]:
        """One point on all hosts at the same moment: on how many, which failed, and the start skew."""
        check()
        values = {**dict(point.parameters), "POINT": point.name, "RUN": point.run}
        acting = [role for role in self.recipe.roles if not role.ready]
        hosts = [host for role in acting for host in self.commands(role, role.command, values)]
        together = self.remote and len(hosts) > 1
        report = self._report(
            hosts,
            self.operation(),
            together=together,
            fanout=max(1, len(hosts)),
            timeout=max((role.timeout for role in acting if role.timeout), default=None),
        )
        for result in report.failed:
            if result.outcome in _GONE:
                self.dropped_hosts[result.host.entry] = why(result)
        failed = {result.host.entry: why(result) for result in report.failed}
        check()
        if len(failed) == len(report):
            raise StepFailed(why(report.failed[0]) if report.failed else "no host is left")
        said: dict[str, Any] = {"hosts": len(report) - len(failed), "failed": failed}
        if together:
            skew, uncertainty = report.skew()
            said["skew_ms"], said["skew_uncertainty_ms"] = round(skew * 1e3, 3), round(uncertainty * 1e3, 3)
        return said

    def pull(self, folder: Path) -> None:
        """Pull the results of all hosts into `folder`/hosts, a folder for each.

        Raises:
            UsageError: hosts that had no part in its run.
        """
        plan = plan_of(folder)
        for role in self.recipe.roles:
            if not role.results:
                continue
            hosts = self._working(role)
            strangers = {host.entry for host in hosts} - set(plan["hosts"].get(role.name, ()))
            if strangers:
                raise UsageError(f"{folder}: {fold(strangers)} had no part in that run: name its hosts")
            places = {host.variables["PLACE"]: folder / "hosts" / host.variables["PLACE"] for host in hosts}
            try:
                for place in places.values():
                    place.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"{folder}: {reason_of(error)}") from None
            if not self.remote:
                there = Path(hosts[0].variables["FOLDER"])
                found = [str(path) for pattern in role.results for path in there.glob(pattern)]
                _copy(found, next(iter(places.values())))
                continue
            self._note(f"pull from {len(hosts)} {role.name}: {' '.join(role.results)}")
            sources = tuple(f"?FOLDER/{name}" for name in role.results)
            report = self._report(hosts, Pull(sources, f"{folder}/hosts/?PLACE/"))
            for result in report.failed:
                self._note(f"nothing pulled from {result.host.entry}: {why(result)}")

    def analyze(self, folder: Path) -> Results:
        """Read what was pulled, and make tables and charts of it."""
        return analyze(self.recipe, folder, lost=self.dropped_hosts, say=self._say, note=self._note)


def analyze(
    recipe: Recipe,
    folder: Path,
    *,
    lost: Mapping[str, str] = MappingProxyType({}),
    say: Callable[[str], None] = print,
    note: Callable[[str], None] = print,
) -> Results:
    """Read what was pulled into a folder of results, and make tables and charts of it.

    The folder is enough for that: its plan names the hosts. `lost` are those that failed meanwhile, and why.

    Raises:
        UsageError: it is no folder of results.
        RecipeFailed: there are no results in it; nothing is written then.
    """
    results = _read(recipe, folder, lost, say, note)
    if not results.samples:
        first = "".join(f": {what}: {reason}" for what, reason in results.failures[:1])
        raise RecipeFailed(f"no results in {folder}{first}")
    write_whole(folder / "samples.jsonl", "".join(json.dumps(sample) + "\n" for sample in results.samples))
    (recipe.analyze or plain)(results)
    return results


def _read(
    recipe: Recipe,
    folder: Path,
    lost: Mapping[str, str],
    say: Callable[[str], None],
    note: Callable[[str], None],
) -> Results:
    """What is in a folder of results."""
    plan = plan_of(folder)
    samples = []
    for role in recipe.roles:
        for entry in plan["hosts"].get(role.name, ()):
            place = folder / "hosts" / _place(entry)
            for path in sorted({path for pattern in role.results for path in place.glob(pattern)}):
                samples += [{"host": entry, "role": role.name, **sample} for sample in recipe.parse(path)]
    counted = {point.name for point in sweep.points(plan["parameters"], plan["runs"])}
    samples = [sample for sample in samples if sample.get("name") in {None, *counted}]
    kept = ResultStore(folder / "points")
    failures = list(lost.items())
    skews = []
    for name in sorted(counted):
        record = kept.read(name) or {}
        if "error" in record:
            failures.append((name, record["error"]))
        said = record.get("result") or {}
        failures += [(f"{name} on {entry}", text) for entry, text in said.get("failed", {}).items()]
        if "skew_ms" in said:
            skews.append((said["skew_ms"], said["skew_uncertainty_ms"]))
    machines = {}
    with contextlib.suppress(OSError, ValueError):
        machines = json.loads((folder / "machine.json").read_text("utf-8"))
    return Results(recipe, folder, samples, failures, plan, machines, say, note, skews)


class _Service:
    """A role's command, running on its hosts until `stop`."""

    def __init__(self, role: Role, hosts: Sequence[Host], cycle: BenchmarkRun) -> None:
        self._role = role
        self._fleet = Fleet(hosts, replace(cycle.settings, fanout=max(1, len(hosts))), pool=cycle.pool)
        self._run = self._fleet.perform(cycle.operation())
        self._ended: list[HostResult] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._watch, name=f"paramgmt {role.name}", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        for result in self._run:
            if not self._stopping:
                self._ended.append(result)

    def check(self) -> None:
        """Raise StepFailed where it has ended on a host."""
        for result in self._ended:
            raise StepFailed(f"{self._role.name} ended on {result.host.entry}: {why(result)}")

    def stop(self) -> None:
        """End it on all hosts, with all that it has started."""
        self._stopping = True
        self._run.cancel()
        self._thread.join(5)
        self._fleet.close()


def why(result: HostResult) -> str:
    """Why an operation failed on a host, in a line: the last that the command said, else the reason."""
    if result.outcome is Outcome.FAILED:
        lines = (result.stderr or result.stdout).decode("utf-8", "replace").strip().splitlines()
        if lines:
            return one_line(lines[-1])
    return result.reason or str(result.outcome)


def unfinished(folder: Path, plan: Mapping[str, Any]) -> int:
    """How many points of a run were not come to."""
    kept = ResultStore(folder / "points")
    return sum(kept.read(point.name) is None for point in sweep.points(plan["parameters"], plan["runs"]))


def folders(root: Path) -> list[Path]:
    """The folders of results below `root`, the oldest first."""
    return sorted(path for path in root.glob("*") if (path / "plan.json").is_file())


def plan_of(folder: Path) -> dict[str, Any]:
    """The plan of a folder of results.

    Raises:
        UsageError: it is none.
    """
    plan = _plan(folder)
    if plan is None:
        raise UsageError(f"{folder}: no results of a run")
    return plan


def _place(entry: str) -> str:
    """The name of a host's folder among those of all hosts."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", entry)


def _plan(folder: Path) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads((folder / "plan.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) and plan.keys() >= _PLANNED else None


def _copy(files: Iterable[str], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            if os.path.isdir(name):
                shutil.copytree(name, folder / os.path.basename(name), dirs_exist_ok=True)
            else:
                shutil.copy2(name, folder)
    except OSError as error:
        raise UsageError(f"{folder}: {reason_of(error)}") from None


#: As it was called before.
Cycle = BenchmarkRun
