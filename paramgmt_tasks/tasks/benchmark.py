"""Benchmarks as Invoke tasks: those of this package, and any recipe of one's own."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Collection, Context, Exit, task

from ..inventory import read_list
from ..model import Host, UsageError, duration, escaped
from .command_line import OperationTask, Option
from .operations import _options, _pool
from .options import HOSTS, REMOTE, Options, positive, switch
from .run_operation import usage_errors, write_lines

if TYPE_CHECKING:
    from ..recipes import BenchmarkRun, Choice, Progress, Recipe, Results, Step

_SWEEP = (
    Option("fresh", bool, "Start over, also where a run that was broken off could go on"),
    Option("order", str, "Order of the runs: interleaved (without it) or random"),
    Option("seed", str, "Number that a random order follows"),
    Option("stop_on_failure", bool, "Stop at the first run that fails; without it the rest goes on"),
    Option("results", str, "Folder for the results (results/NAME); for pull and analyze also that of a run"),
    Option("dry_run", bool, "Print what would be run and do nothing"),
)
_REACHING = tuple(option for option in REMOTE if option.name not in ("sudo", "ask_password", "verbose"))
#: Steps that can be run by themselves, in their order.
STEPS = ("build", "push", "configure", "run", "pull", "analyze")


def benchmark(recipe: "Recipe | Callable[[], Recipe]", name: str = "") -> Collection:
    """An Invoke collection for a recipe: `build push configure run pull analyze`, and all of them as default.

    In a project's tasks.py: `ns.add_collection(benchmark(Recipe("mine", …)))`, then `inv mine`. A function
    that makes the recipe, called once a task is run, keeps `inv --list` quick; it takes a `name`.
    """
    made: list[Recipe] = []

    def get() -> "Recipe":
        if not made:
            made.append(recipe() if callable(recipe) else recipe)
        return made[0]

    called = name or get().name
    collection = Collection(called)
    whole = _RecipeTask(get, STEPS, "All steps: build, push, configure, run, pull, analyze.", called)
    collection.add_task(whole, "all", default=True)
    for step in STEPS:
        collection.add_task(_RecipeTask(get, (step,), _DOCS[step], called), step)
    return collection


_DOCS = {
    "build": "Run the build command here.",
    "push": "Push the files of each role to its hosts.",
    "configure": "Write the configuration files of each host and push them.",
    "run": "Run all that is to be measured; services are started before and ended after.",
    "pull": "Pull the results into a folder for each host.",
    "analyze": "Make tables and charts of the last results, or of those in --results.",
}


class _RecipeTask(OperationTask[..., Any]):
    """One step of a recipe, or several. Its options are known once somebody asks for them."""

    def __init__(
        self, recipe: "Callable[[], Recipe]", steps: Sequence[str], doc: str, collection: str
    ) -> None:
        def body(c: Context, **given: Any) -> Any:
            return _carry_out(c, recipe(), steps, given)

        body.__name__ = steps[0] if len(steps) == 1 else "all"
        body.__doc__ = doc
        self._recipe = recipe
        step = body.__name__
        self._called = [f"{collection}.{step}", *([collection] if step == "all" else [])]
        super().__init__(body, options=())

    @property
    def options(self) -> Sequence[Option]:
        """Those of the hosts, of the sweep and of the recipe."""
        recipe = self._recipe()
        roles = tuple(
            Option(role.name, list, f"Host list of the {role.name}: a file, or a name in hostlists/")
            for role in recipe.roles
        )
        own = tuple(
            Option(choice.name, type(choice.default) if choice.default is not None else str, choice.help)
            for choice in recipe.options
        )
        known = {option.name for option in (*roles, *own)}
        exclude = tuple(option for option in HOSTS if option.name == "exclude" and option.name not in known)
        return (*roles, *exclude, *own, *_SWEEP, *_REACHING)

    @options.setter
    def options(self, value: Sequence[Option]) -> None:
        """Nothing: they follow from the recipe."""

    def _find(self, body: list[str], at: int) -> int | None:
        for position in range(at, len(body)):
            word = body[position].replace("_", "-")
            if any(f".{word}".endswith(f".{name.replace('_', '-')}") for name in self._called):
                return position
        return None


def _carry_out(c: Context, recipe: "Recipe", steps: Sequence[str], given: dict[str, Any]) -> "Results | None":
    name = recipe.name
    with usage_errors(name):
        recipe = recipe.prepare(recipe, {choice.name: _chosen(given, choice) for choice in recipe.options})
        show = _Progress()
        if tuple(steps) == ("analyze",):  # for which the folder is enough
            results = _analyze(c, recipe, given, show)
        else:
            results = _cycle(c, recipe, steps, given, show)
    if results is not None and results.failures:
        raise Exit(code=1)
    return results


def _analyze(c: Context, recipe: "Recipe", given: dict[str, Any], show: "_Progress") -> "Results | None":
    from ..recipes import analyze

    folder = _latest(_root(recipe, given))
    if _options(c, given).flag("dry_run"):
        write_lines([f"analyze: {folder}"])
        return None
    with _failures(recipe):
        return analyze(recipe, folder, note=show.note)


def _cycle(
    c: Context, recipe: "Recipe", steps: Sequence[str], given: dict[str, Any], show: "_Progress"
) -> "Results | None":
    from ..recipes import ORDERS, BenchmarkRun

    options = _options(c, given)
    hosts = _without_excluded(options, {role.name: _hosts(given, role.name) for role in recipe.roles})
    order = _own(given, "order", "interleaved")
    if order not in ORDERS:
        raise UsageError(f"--order {order}: must be one of {', '.join(ORDERS)}")
    seed = _own(given, "seed", None)
    seed = None if seed is None else positive(f"--seed {seed}", seed)
    root, folder = _root(recipe, given), None
    if _is_of_a_run(root):
        if "run" in steps:
            raise UsageError(f"--results {root}: has a run's results already: name the folder above it")
        root, folder = root.parent, root
    cycle = BenchmarkRun(
        recipe,
        hosts,
        options.settings(),
        root,
        _pool(c),
        note=show.note,
        progress=show.tell,
        python=sys.executable,
    )
    if options.flag("dry_run"):
        write_lines(_planned(cycle, steps, order, seed))
        return None
    try:
        with _failures(recipe):
            return _steps(cycle, steps, order, seed, given, folder)
    except KeyboardInterrupt:
        show.close()
        salvaged = _salvage(cycle, pulls="pull" in steps)
        raise Exit(f"{recipe.name}: interrupted{salvaged}", code=130) from None
    finally:
        show.close()


@contextmanager
def _failures(recipe: "Recipe") -> Iterator[None]:
    """What failed on all hosts is one line on standard error and exit status 1."""
    from ..recipes import RecipeFailed, StepFailed

    try:
        yield
    except (RecipeFailed, StepFailed) as error:
        raise Exit(f"{recipe.name}: {error}", code=1) from None


def _steps(
    cycle: "BenchmarkRun",
    steps: Sequence[str],
    order: str,
    seed: int | None,
    given: dict[str, Any],
    folder: Path | None,
) -> "Results | None":
    for step in steps:
        if step == "run":
            fresh, stop = _is_on(given, "fresh"), _is_on(given, "stop_on_failure")
            folder = cycle.run(fresh, order, seed, stop)
        elif step == "pull":
            cycle.pull(folder or _latest(cycle.root))
        elif step == "analyze":
            return cycle.analyze(folder or _latest(cycle.root))
        else:
            getattr(cycle, step)()
    return None


def _root(recipe: "Recipe", given: dict[str, Any]) -> Path:
    return Path(_own(given, "results", Path("results") / recipe.name))


def _is_of_a_run(folder: Path) -> bool:
    return (folder / "plan.json").is_file()


def _latest(root: Path) -> Path:
    """The last folder of results below `root`, or that itself."""
    from ..recipes import folders

    if _is_of_a_run(root):
        return root
    found = folders(root)
    if not found:
        raise UsageError(f"{root}: no results yet: run the benchmark first")
    return found[-1]


def _salvage(cycle: "BenchmarkRun", pulls: bool) -> str:
    """Bring and show what there is until now; what is left, in words."""
    from ..recipes import RecipeFailed, unfinished

    folder = cycle.folder
    if folder is None:
        return ""
    if pulls:
        cycle.go_on()
        try:
            cycle.pull(folder)
            cycle.analyze(folder)
        except (RecipeFailed, UsageError) as error:
            print(f"nothing to show yet: {error}", file=sys.stderr)
    left = unfinished(folder, {"parameters": cycle.recipe.parameters, "runs": cycle.recipe.runs})
    return f"; {left} runs are left: the same command goes on with them" if left else ""


def _own(given: dict[str, Any], name: str, default: Any) -> Any:
    """An option of a benchmark's own, or its default where it is not given or nothing."""
    value = given.get(name)
    return default if value is None or value == "" else value


def _is_on(given: dict[str, Any], name: str, default: bool = False) -> bool:
    value = _own(given, name, default)
    return switch(f"--{name.replace('_', '-')} {value}", value)


def _chosen(given: dict[str, Any], choice: "Choice") -> Any:
    if isinstance(choice.default, bool):
        return _is_on(given, choice.name, choice.default)
    return _own(given, choice.name, choice.default)


def _hosts(given: dict[str, Any], role: str) -> list[Host]:
    """The hosts of a role: none where it is not given; what is given must have some."""
    lists = given.get(role)
    if lists is None:
        return []
    names = lists.split() if isinstance(lists, str) else [str(name) for name in lists]
    hosts = [host for name in names for host in read_list(name)]
    if not hosts:
        raise UsageError(f"no hosts in {' and '.join(names) or f'--{role}'}")
    return hosts


def _without_excluded(options: Options, hosts: dict[str, list[Host]]) -> dict[str, list[Host]]:
    """The hosts of all roles without those that are excluded."""
    everyone = [host for own in hosts.values() for host in own]
    if not everyone and not options.is_given("exclude"):
        return hosts  # all is done here
    kept = set(options.without_excluded(everyone))
    left = {role: [host for host in own if host in kept] for role, own in hosts.items()}
    for role, own in left.items():
        if hosts[role] and not own:
            raise UsageError(f"no {role} are left by --exclude")
    return left


def _planned(cycle: "BenchmarkRun", steps: Sequence[str], order: str, seed: int | None) -> Iterator[str]:
    """What the steps would do, in lines."""
    from ..recipes import points

    recipe = cycle.recipe
    if "build" in steps and recipe.build:
        yield f"build: {recipe.build}"
    for role in recipe.roles:
        entries = ", ".join(host.entry for host in cycle.hosts[role.name])
        yield f"{role.name}: {entries}"
        told = {"push": role.files, "configure": role.config, "pull": role.results}
        for step in steps:
            if told.get(step):
                yield f"  {step}: {' '.join(told[step])}"
        if "run" in steps and role.ready:
            yield f"  service: {role.command}"
            yield f"  ready once: {role.ready}"
    if "run" not in steps:
        return
    acting = [role for role in recipe.roles if not role.ready]
    for point in points(recipe.parameters, recipe.runs, recipe.warmup, order, seed):
        values = {**dict(point.parameters), "POINT": point.name, "RUN": point.run}
        for role in acting:
            for host in cycle.commands(role, role.command, values):
                _, _, command = host.variables["COMMAND"].partition("\n")
                yield f"{point.name}: {host.entry}: {command}"


class _Progress:
    """How far it is, on standard error: a line that is redrawn on a terminal, else one in ten."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._drawn = False
        self._told = 0

    def note(self, text: str) -> None:
        """Something that happened."""
        self._erase()
        print(text, file=sys.stderr, flush=True)

    def tell(self, step: "Step | None", progress: "Progress", error: str) -> None:
        """A step of the sweep is done."""
        if step is None:
            if progress.found:
                self.note(f"{progress.found} of {progress.total} runs are done already")
            return
        if error:
            self.note(f"{step.name}: failed: {escaped(error)}")
        left = "" if progress.left is None else f", {duration(progress.left)} left"
        failed = f", {progress.failed} failed" if progress.failed else ""
        line = f"{progress.done}/{progress.total} runs{failed}{left}: {step.name}"
        tenth = progress.done * 10 // max(1, progress.total)
        if self._terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
            self._drawn = True
        elif tenth > self._told:
            self._told = tenth
            print(line, file=sys.stderr, flush=True)

    def _erase(self) -> None:
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr)
            self._drawn = False

    def close(self) -> None:
        """Take the line away."""
        self._erase()


def _uds_vs_tcp() -> "Recipe":
    from ..recipes import UDS_VS_TCP

    return UDS_VS_TCP


def _network() -> "Recipe":
    from ..recipes import NETWORK

    return NETWORK


@task(
    positional=["a", "b"],
    help={
        "a": "OutputFolder of results",
        "b": "OutputFolder of results",
        "metric": "Column of samples.csv (what the benchmark is about)",
    },
)
def compare(c: Context, a: str, b: str, metric: str = "") -> None:
    """Put two folders of results side by side: is the difference beyond noise?"""
    from ..recipes import compare as compared

    with usage_errors("compare"):
        print(compared(Path(a), Path(b), metric))


collection = Collection("benchmark", compare)
collection.add_collection(benchmark(_network, "network"))
collection.add_collection(benchmark(_uds_vs_tcp, "uds-vs-tcp"))
