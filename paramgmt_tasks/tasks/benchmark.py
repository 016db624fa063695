"""Benchmarks as Invoke tasks: those of this package, and any recipe of one's own."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from invoke import Collection, Context, Exit, task

from ..display import StatusLine
from ..model import UsageError, duration, escaped
from .command_line import OperationTask
from .notes import usage_errors
from .option_table import Option
from .options import Options
from .recipe_options import RecipeOptions, recipe_options
from .session import options_of, session_of
from .streams import write_lines

if TYPE_CHECKING:
    from ..engines import Session
    from ..recipes import BenchmarkRun, Progress, Recipe, Results, Step

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


class _RecipeTask(OperationTask[..., "Results | None"]):
    """One step of a recipe, or several. Its options are known once somebody asks for them."""

    def __init__(
        self, recipe: "Callable[[], Recipe]", steps: Sequence[str], doc: str, collection: str
    ) -> None:
        def body(c: Context, **given: object) -> "Results | None":
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
        return recipe_options(self._recipe())

    @options.setter
    def options(self, value: Sequence[Option]) -> None:
        """Nothing: they follow from the recipe."""

    def _find(self, body: list[str], at: int) -> int | None:
        for position in range(at, len(body)):
            word = body[position].replace("_", "-")
            if any(f".{word}".endswith(f".{name.replace('_', '-')}") for name in self._called):
                return position
        return None


# -- the steps


def _carry_out(
    c: Context, recipe: "Recipe", steps: Sequence[str], given: dict[str, object]
) -> "Results | None":
    """Do the steps; if something failed on a host, that is exit status 1."""
    with usage_errors(recipe.name):
        asked = RecipeOptions(recipe, given)
        options = options_of(c, given)
        if options.is_given("timeout") and "timeout" not in given:
            raise UsageError("a limit for commands of Invoke (-T) is none for a benchmark: leave it out")
        progress = _SweepProgress(sys.stderr)
        if tuple(steps) == ("analyze",):  # for which the folder is enough
            results = _analyze(asked, options, progress)
        else:
            results = _run(asked, steps, options, session_of(c), progress)
    if results is not None and results.failures:
        raise Exit(code=1)
    return results


def _analyze(asked: RecipeOptions, options: Options, progress: "_SweepProgress") -> "Results | None":
    from ..recipes import analyze, latest

    folder = latest(asked.results())
    if options.flag("dry_run"):
        write_lines([f"analyze: {folder}"])
        return None
    with _failures(asked.recipe):
        return analyze(asked.recipe, folder, note=progress.note)


def _run(
    asked: RecipeOptions,
    steps: Sequence[str],
    options: Options,
    session: "Session",
    progress: "_SweepProgress",
) -> "Results | None":
    from ..recipes import BenchmarkRun, has_results, planned

    hosts, order, seed = asked.hosts(options), asked.order(), asked.seed()
    root, folder = asked.results(), None
    if has_results(root):
        if "run" in steps:
            raise UsageError(f"--results {root}: has a run's results already: name the folder above it")
        root, folder = root.parent, root
    run = BenchmarkRun(
        asked.recipe,
        hosts,
        options.settings(),
        root,
        session,
        note=progress.note,
        progress=progress.show,
        python=sys.executable,
    )
    if options.flag("dry_run"):
        write_lines(planned(run, steps, order, seed))
        return None
    try:
        with _failures(asked.recipe):
            return _steps(run, steps, asked, folder)
    except KeyboardInterrupt:
        progress.close()
        raise Exit(f"{asked.recipe.name}: interrupted{_salvaged(run, steps)}", code=130) from None
    finally:
        progress.close()


@contextmanager
def _failures(recipe: "Recipe") -> Iterator[None]:
    """What failed on all hosts is one line on standard error and exit status 1."""
    from ..recipes import RecipeFailed, StepFailed

    try:
        yield
    except (RecipeFailed, StepFailed) as error:
        raise Exit(f"{recipe.name}: {error}", code=1) from None


def _steps(
    run: "BenchmarkRun", steps: Sequence[str], asked: RecipeOptions, folder: Path | None
) -> "Results | None":
    from ..recipes import latest

    for step in steps:
        if step == "run":
            fresh, stop = asked.is_on("fresh"), asked.is_on("stop_on_failure")
            folder = run.run(fresh, asked.order(), asked.seed(), stop)
        elif step == "pull":
            run.pull(folder or latest(run.root))
        elif step == "analyze":
            return run.analyze(folder or latest(run.root))
        else:
            getattr(run, step)()
    return None


def _salvaged(run: "BenchmarkRun", steps: Sequence[str]) -> str:
    """Pull and show what there is until now, if that is asked for; what is left, in words."""
    from ..recipes import RecipeFailed, ResultFolder

    if run.folder is None:
        return ""
    if "pull" in steps:
        try:
            run.pull(run.folder)
            run.analyze(run.folder)
        except (RecipeFailed, UsageError) as error:
            print(f"nothing to show yet: {error}", file=sys.stderr)
    left = ResultFolder.read(run.folder).unfinished()
    return f"; {left} runs are left: the same command goes on with them" if left else ""


# -- progress


class _SweepProgress:
    """How far a sweep is: a line that is redrawn on a terminal, else a line for each tenth of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = StatusLine(stream) if stream.isatty() else None
        self._tenths = 0

    def note(self, text: str) -> None:
        """Write a line about something that happened."""
        self.close()
        print(text, file=self._stream, flush=True)

    def show(self, step: "Step | None", progress: "Progress", error: str) -> None:
        """Show how far it is after a step; before the first one, what was done already."""
        if step is None:
            if progress.found:
                self.note(f"{progress.found} of {progress.total} runs are done already")
            return
        if error:
            self.note(f"{step.name}: failed: {escaped(error)}")
        left = "" if progress.left is None else f", {duration(progress.left)} left"
        failed = f", {progress.failed} failed" if progress.failed else ""
        text = f"{progress.done}/{progress.total} runs{failed}{left}: {step.name}"
        tenths = progress.done * 10 // max(1, progress.total)
        if self._line is not None:
            self._line.draw(text)
        elif tenths > self._tenths:
            self._tenths = tenths
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Remove the line that is redrawn."""
        if self._line is not None:
            self._line.erase()


# -- the tasks


def _uds_vs_tcp() -> "Recipe":
    from ..recipes import UDS_VS_TCP

    return UDS_VS_TCP


def _network() -> "Recipe":
    from ..recipes import NETWORK

    return NETWORK


@task(
    positional=["a", "b"],
    help={
        "a": "Folder of results",
        "b": "Folder of results",
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
