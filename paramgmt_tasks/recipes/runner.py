"""BenchmarkRun: carries out a recipe on hosts: build, push, configure, run, pull, analyze.

Each step is composed of the operations that `lcmd`, `rcmd`, `rpush` and `rpull` are.
"""

import json
import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..engines import Session
from ..model import Host, LocalCommand, Settings, UsageError, fold, ranks, reason_of, substitute
from .analysis import analyze
from .measurement import Measurement
from .operations import Operations, why
from .placement import OnHosts, OnThisMachine, Placement
from .recipe import PROGRAMS, JsonObject, Recipe, RecipeFailed, Results, Role, points
from .result_folder import ResultFolder
from .sweep import Progress, Step


class BenchmarkRun:
    """A recipe on hosts, step by step; without hosts all is done on this machine.

    `note` is called with lines about what happens, `say` with the results, `progress` after each step of the
    sweep. Hosts on which a step fails are named, and dropped from those that follow.

    Raises:
        UsageError: a role without hosts.
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
        self.settings = replace(settings, timeout=None, stdin=None, tty=False, engine=engine)
        self.root = root
        #: Where the results of `run` go, once it has begun.
        self.folder: Path | None = None
        self.pool = pool
        self.remote = any(hosts.values())
        self._note, self._say, self._progress = note, say, progress
        self._operations = Operations(self.settings, pool, note)
        self._placement: Placement
        if self.remote:
            self._placement = OnHosts(self._operations, recipe.name, self.address)
        else:
            self._placement = OnThisMachine(root / "work", python)
        self.hosts = {role.name: self._hosts_of(role, hosts.get(role.name, ())) for role in recipe.roles}
        variables = recipe.variables(self)
        for role in recipe.roles:
            own = variables.get(role.name) or [{}] * len(self.hosts[role.name])
            self.hosts[role.name] = self._with_variables(self.hosts[role.name], own)

    def _hosts_of(self, role: Role, hosts: Sequence[Host]) -> list[Host]:
        if not hosts and (self.remote or not role.local):
            raise UsageError(f"no {role.name}: name their list with --{role.name} FILE")
        return list(hosts) or [Host("localhost", "localhost")]

    def _with_variables(self, hosts: Sequence[Host], own: Sequence[Mapping[str, str]]) -> list[Host]:
        """The hosts of a role with all that its texts may name; `own` is what the recipe gives each of them.

        Ranks are variables too: they stay as they are when hosts are dropped.
        """
        places = [self._placement.variables(host) for host in hosts]
        numbers = ranks([place["ADDRESS"] for place in places])
        return [
            replace(host, variables={**rank.values, **place, **host.variables, **extra})
            for host, rank, place, extra in zip(hosts, numbers, places, own, strict=True)
        ]

    @property
    def dropped_hosts(self) -> dict[str, str]:
        """Why each host that was dropped was, by its entry."""
        return self._operations.dropped

    def address(self, host: Host) -> str:
        """Where others reach a host: the variable DATA of its line, else as SSH reaches it."""
        if "DATA" in host.variables:
            return host.variables["DATA"]
        return self.pool.threads.address(host, self.settings)

    def commands(self, role: Role, text: str, values: Mapping[str, object]) -> list[Host]:
        """The hosts of a role, with what each is to run as `?COMMAND`."""
        texts = {name: str(value) for name, value in values.items()}
        found = []
        for host in self._remaining(role):
            command = substitute(text, {**host.values, **texts}, quoting=True)
            folder = shlex.quote(host.variables["FOLDER"])
            found.append(
                replace(host, variables={**host.variables, "COMMAND": f"cd {folder} || exit 1\n{command}"})
            )
        return found

    def _remaining(self, role: Role) -> list[Host]:
        return self._operations.remaining(self.hosts[role.name])

    def interrupt(self) -> None:
        """End what is under way; nothing more is begun."""
        self._operations.interrupt()

    def go_on(self) -> None:
        """After an interruption: what was measured until now can still be pulled."""
        self._operations.resume()

    # -- the steps

    def build(self) -> None:
        """Run the build command here."""
        if not self.recipe.build:
            return
        self._note(f"build: {self.recipe.build}")
        here = [Host("localhost", "localhost")]
        for result in self._operations.report(here, LocalCommand(self.recipe.build)):
            if result.stdout:
                self._note(result.stdout.decode("utf-8", "replace").rstrip())
            if not result.ok:
                raise RecipeFailed(f"build: {why(result)}")

    def push(self) -> None:
        """Push the files of each role to its hosts."""
        for role in self.recipe.roles:
            files = [str(Path(name).expanduser()) for name in (*role.files, str(PROGRAMS / "machine.py"))]
            missing = [name for name in files if not os.path.exists(name)]
            if missing:
                raise UsageError(f"{missing[0]}: no such file or folder here")
            self._placement.push(role, self._remaining(role), files)

    def configure(self) -> None:
        """Write the configuration files of each host, and push them."""
        for role in self.recipe.roles:
            if not role.config:
                continue
            hosts = self._remaining(role)
            with tempfile.TemporaryDirectory(prefix="paramgmt-") as name:
                for host in hosts:
                    folder = Path(name) / host.variables["PLACE"]
                    folder.mkdir(exist_ok=True)
                    for file, text in role.config.items():
                        (folder / file).write_text(substitute(text, host.values, quoting=True), "utf-8")
                self._placement.configure(role, hosts, Path(name))

    def run(
        self,
        fresh: bool = False,
        order: str = "interleaved",
        seed: int | None = None,
        stop_on_failure: bool = False,
    ) -> Path:
        """Run all points of the sweep, or those that an interrupted run has left; the folder of results."""
        folder = self._result_folder(fresh, order, seed)
        self.folder = folder.path
        measurement = Measurement(self.recipe, self._operations, self._placement, self.commands)
        measurement.run(folder, order, stop_on_failure, self._progress)
        return folder.path

    def pull(self, folder: Path) -> None:
        """Pull the results of all hosts into `folder`/hosts, a folder for each.

        Raises:
            UsageError: hosts that had no part in its run.
        """
        results = ResultFolder.read(folder)
        for role in self.recipe.roles:
            if not role.results:
                continue
            hosts = self._remaining(role)
            strangers = {host.entry for host in hosts} - set(results.plan["hosts"].get(role.name, ()))
            if strangers:
                raise UsageError(f"{folder}: {fold(strangers)} had no part in that run: name its hosts")
            try:
                for host in hosts:
                    results.of_host(host.variables["PLACE"]).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"{folder}: {reason_of(error)}") from None
            self._placement.pull(role, hosts, results)

    def analyze(self, folder: Path) -> Results:
        """Read what was pulled, and make tables and charts of it."""
        return analyze(self.recipe, folder, dropped=self.dropped_hosts, say=self._say, note=self._note)

    def _result_folder(self, fresh: bool, order: str, seed: int | None) -> ResultFolder:
        """The folder of an interrupted run of the same plan, unless `fresh`; else a new one."""
        plan: JsonObject = {
            "recipe": self.recipe.name,
            "parameters": {name: list(values) for name, values in self.recipe.parameters.items()},
            "runs": self.recipe.runs,
            "warmup": self.recipe.warmup,
            "metric": self.recipe.metric,
            "order": order,
            "hosts": {name: [host.entry for host in hosts] for name, hosts in self.hosts.items()},
            "commands": {role.name: role.command for role in self.recipe.roles},
        }
        plan = json.loads(json.dumps(plan))  # as it is read again, with lists for tuples
        begun = None if fresh else ResultFolder.resumable(self.root, plan, seed)
        if begun is not None:
            return begun
        plan["seed"] = int(time.time()) if seed is None and order == "random" else seed
        return ResultFolder.create(self.root, plan)


def planned(run: BenchmarkRun, steps: Sequence[str], order: str, seed: int | None) -> Iterator[str]:
    """What the steps would do, in lines."""
    recipe = run.recipe
    if "build" in steps and recipe.build:
        yield f"build: {recipe.build}"
    for role in recipe.roles:
        yield f"{role.name}: {', '.join(host.entry for host in run.hosts[role.name])}"
        files = {"push": role.files, "configure": role.config, "pull": role.results}
        for step in steps:
            if files.get(step):
                yield f"  {step}: {' '.join(files[step])}"
        if "run" in steps and role.ready:
            yield f"  service: {role.command}"
            yield f"  ready once: {role.ready}"
    if "run" not in steps:
        return
    for point in points(recipe.parameters, recipe.runs, recipe.warmup, order, seed):
        for role in recipe.roles:
            if not role.ready:
                for host in run.commands(role, role.command, point.values):
                    _, _, command = host.variables["COMMAND"].partition("\n")
                    yield f"{point.name}: {host.entry}: {command}"


#: As it was called before.
Cycle = BenchmarkRun
