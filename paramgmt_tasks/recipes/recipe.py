"""Recipes: a benchmark as data: who does what, what is varied, and what is made of the results."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..model import Host

PROGRAMS = Path(__file__).parent / "programs"


class RecipeFailed(Exception):
    """A step of the cycle failed on all hosts, so that nothing could follow; the text says why."""


@dataclass(frozen=True)
class Role:
    """What some of the hosts do in a benchmark.

    `command` is run in a folder of its own on each of them, for every point of the sweep; with `ready` it is
    a service: started before the others, known to listen once the command `ready` succeeds (within
    `ready_timeout` seconds), and ended when all is over, whatever happens.

    A command that is no service may take `timeout` seconds; after that it is ended with all it has started.

    `files` are local files and folders that are pushed there, `config` names files and their texts, and
    `results` the files (or patterns) that are pulled. In all texts `?HOST`, a host's own variables, the
    names of the sweep's parameters and what `Recipe.variables` gives are replaced; also `?PYTHON`, `?POINT`
    (the point's name) and `?ADDRESS` (where the host is reached; a variable DATA of its line goes before).

    Where no role is given hosts, and all may be `local`, everything is done on this machine.
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


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON Lines; of those with one name the last."""
    found: dict[Any, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines()):
        with contextlib.suppress(ValueError):  # the last may be cut off
            sample = json.loads(line)
            if isinstance(sample, dict):
                found[sample.get("name", number)] = sample
    yield from found.values()


class RoleHosts(Protocol):
    """What a recipe is told of the hosts it runs on."""

    @property
    def hosts(self) -> Mapping[str, Sequence[Host]]:
        """The hosts of each role, by its name."""

    def address(self, host: Host) -> str:
        """Where others reach a host: the variable DATA of its line, else as SSH reaches it."""


@dataclass(frozen=True)
class Recipe:
    """A benchmark: roles, what is varied, and what is made of the results.

    `build` is a command run here first. Each choice of the `parameters` is run `runs` times, after `warmup`
    runs that do not count. `parse` gives the samples of a pulled file, `analyze` makes tables and charts of
    them, and `metric` names what of a sample it is about. `variables` gives more variables for each host of
    each role, such as its peers. `options` are options of the tasks, and `prepare` the recipe they ask for.
    """

    name: str
    roles: tuple[Role, ...]
    description: str = ""
    build: str = ""
    parameters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    runs: int = 1
    warmup: int = 0
    metric: str = ""
    parse: Callable[[Path], Iterable[Mapping[str, Any]]] = json_lines
    analyze: "Callable[[Results], None] | None" = None
    variables: Callable[[RoleHosts], Mapping[str, Sequence[Mapping[str, str]]]] = lambda hosts: {}
    options: tuple[Choice, ...] = ()
    prepare: "Callable[[Recipe, Mapping[str, Any]], Recipe]" = lambda recipe, options: recipe


@dataclass
class Results:
    """What a run has brought: the samples, each with its `host` and `role`, and the circumstances.

    `failures` are pairs of what failed and why.
    """

    recipe: Recipe
    folder: Path
    samples: list[dict[str, Any]]
    failures: list[tuple[str, str]]
    plan: dict[str, Any]
    machines: dict[str, Any]
    say: Callable[[str], None]
    note: Callable[[str], None]
    #: Milliseconds between the first and the last start of each run on several hosts, and how uncertain.
    skews: list[tuple[float, float]]


def busy_before(said: Mapping[str, Any]) -> bool:
    """Whether a machine had other things to do than what is measured."""
    return bool(said.get("load", 0) > max(0.5, 0.25 * (said.get("cores") or 1)))
