"""Recipes: a benchmark as data: who does what, what is varied, and what is made of the results."""

import contextlib
import itertools
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ..model import Host

PROGRAMS = Path(__file__).parent / "programs"
ORDERS = ("interleaved", "random")
#: An object of JSON, as in the files of results: a sample, a plan, what is known of a machine.
JsonObject: TypeAlias = dict[str, Any]
#: The value of each Choice, by its name.
Chosen: TypeAlias = Mapping[str, Any]


class RecipeFailed(Exception):
    """A step failed on all hosts, so that nothing could follow; the text says why."""


@dataclass(frozen=True)
class Role:
    """What some of the hosts do in a benchmark.

    `command` is run in a folder of its own on each of them, for every point of the sweep. With `ready` it is
    a service: it is started before the others, listens once the command `ready` succeeds (within
    `ready_timeout` seconds), and is ended when all is over, whatever happens.

    A command that is no service may take `timeout` seconds; after that it is ended with all it has started.

    `files` are local files and folders that are pushed there, `config` names files and their texts, and
    `results` the files (or patterns) that are pulled. In all texts `?HOST`, a host's own variables, the
    names of the sweep's parameters and what `Recipe.variables` gives are replaced; also `?PYTHON`, `?POINT`
    (the point's name) and `?ADDRESS` (where the host is reached; a variable DATA of its line goes before).
    `?RANK`, `?COUNT`, `?FIRST` and `?ALL` are those within the role, of hosts that are dropped later too.
    The names of results may have `?HOST`, `?RANK` and `?COUNT`.

    If no role has hosts, and all may be `local`, everything is done on this machine.
    """

    name: str
    command: str
    files: tuple[str, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    results: tuple[str, ...] = ()
    ready: str = ""
    ready_timeout: float = 30.0
    timeout: float | None = None
    local: bool = True


@dataclass(frozen=True)
class Choice:
    """An option of a recipe's tasks; one with a default of True or False is a switch."""

    name: str
    default: str | bool
    help: str


def json_lines(path: Path) -> Iterator[JsonObject]:
    """The objects of a file of JSON Lines; of those with one name the last."""
    found: dict[object, JsonObject] = {}
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines()):
        with contextlib.suppress(ValueError):  # the last may be cut off
            sample = json.loads(line)
            if isinstance(sample, dict):
                found[sample.get("name", number)] = sample
    yield from found.values()


class RoleHosts(Protocol):
    """What a recipe can ask about the hosts it runs on."""

    @property
    def hosts(self) -> Mapping[str, Sequence[Host]]:
        """The hosts of each role, by its name."""

    def address(self, host: Host) -> str:
        """Where others reach a host: the variable DATA of its line, else as SSH reaches it."""


@dataclass(frozen=True)
class Point:
    """One run with one choice of the parameters; runs below 0 warm up."""

    parameters: tuple[tuple[str, object], ...]
    run: int

    @property
    def name(self) -> str:
        """The point's name, which is also that of its file.

        >>> Point((("transport", "uds"), ("size", 64)), 3).name
        'transport=uds,size=64,run=3'
        """
        pairs = (*self.parameters, ("run", self.run))
        return ",".join(f"{name}={re.sub(r'[^A-Za-z0-9.+-]', '_', str(value))}" for name, value in pairs)

    @property
    def values(self) -> dict[str, object]:
        """What a command may name: the parameters, POINT and RUN."""
        return {**dict(self.parameters), "POINT": self.name, "RUN": self.run}


def points(
    parameters: Mapping[str, Sequence[object]],
    runs: int,
    warmup: int = 0,
    order: str = "interleaved",
    seed: int | None = None,
) -> list[Point]:
    """Every choice of the parameters, `runs` times, after `warmup` runs that do not count.

    Interleaved, each run goes through all choices, the last parameter changing fastest, so that what changes
    with time touches all alike. In random order the runs are shuffled by `seed`.

    >>> [point.name for point in points({"a": [1, 2]}, 2)]
    ['a=1,run=0', 'a=2,run=0', 'a=1,run=1', 'a=2,run=1']
    """
    choices = [
        tuple(zip(parameters, values, strict=True)) for values in itertools.product(*parameters.values())
    ]
    found = [Point(choice, run) for run in range(-warmup, runs) for choice in choices]
    if order == "random":
        measured = found[len(choices) * warmup :]
        random.Random(seed).shuffle(measured)
        found[len(choices) * warmup :] = measured
    return found


@dataclass(frozen=True)
class Recipe:
    """A benchmark: roles, what is varied, and what is made of the results.

    `build` is a command run here first. Each choice of the `parameters` is run `runs` times, after `warmup`
    runs that do not count. `parse` gives the samples of a pulled file, `analyze` makes tables and charts of
    them, and `metric` names what of a sample it is about. `variables` gives more variables for each host of
    each role, such as its peers. `options` are options of the tasks, and `prepare` returns the recipe that
    they ask for.
    """

    name: str
    roles: tuple[Role, ...]
    description: str = ""
    build: str = ""
    parameters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    runs: int = 1
    warmup: int = 0
    metric: str = ""
    parse: Callable[[Path], Iterable[Mapping[str, object]]] = json_lines
    analyze: "Callable[[Results], None] | None" = None
    variables: Callable[[RoleHosts], Mapping[str, Sequence[Mapping[str, str]]]] = lambda hosts: {}
    options: tuple[Choice, ...] = ()
    prepare: "Callable[[Recipe, Chosen], Recipe]" = lambda recipe, options: recipe


@dataclass
class Results:
    """What a run has brought: the samples, each with its `host` and `role`, and the circumstances.

    `failures` are pairs of what failed and why.
    """

    recipe: Recipe
    folder: Path
    samples: list[JsonObject]
    failures: list[tuple[str, str]]
    plan: JsonObject
    machines: JsonObject
    say: Callable[[str], None]
    note: Callable[[str], None]
    #: Milliseconds between the first and the last start of each run on several hosts, and how uncertain.
    skews: list[tuple[float, float]]


def busy_before(machine: JsonObject) -> bool:
    """Whether a machine had other things to do than what is measured."""
    return bool(machine.get("load", 0) > max(0.5, 0.25 * (machine.get("cores") or 1)))
