"""The options of a recipe's tasks: which there are, and what those mean that a task was called with."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..model import Host, UsageError
from .option_table import HOSTS, REMOTE, Option
from .options import Options
from .values import positive, switch

if TYPE_CHECKING:
    from ..inventory import Selection
    from ..recipes import Recipe

_T = TypeVar("_T")

_SWEEP = (
    Option("fresh", bool, "Start over, also where a run that was broken off could go on"),
    Option(
        "order",
        str,
        "Order of the runs: interleaved (without it) or random",
        choices=("interleaved", "random"),
    ),
    Option("seed", str, "Number that a random order follows"),
    Option("stop_on_failure", bool, "Stop at the first run that fails; without it the rest goes on"),
    Option("results", str, "Folder for the results (results/NAME); for pull and analyze also that of a run"),
    Option("dry_run", bool, "Print what would be run and do nothing"),
)
#: What says which hosts are meant, beside the lists of the roles.
_WHICH = ("inventory", "limit", "exclude")
_NOT_HERE = ("sudo", "tty", "ask_password", "ask_passphrase", "ask_interactive", "verbose")
_REACHING = tuple(option for option in REMOTE if option.name not in _NOT_HERE)


def recipe_options(recipe: "Recipe") -> tuple[Option, ...]:
    """The options of the hosts, of the recipe itself, of the sweep, and of reaching hosts."""
    roles = tuple(
        Option(
            role.name,
            list,
            f"Hosts of the {role.name}: a file, a name in hostlists/, or a @group",
            names="lists",
        )
        for role in recipe.roles
    )
    own = tuple(
        Option(choice.name, type(choice.default) if choice.default is not None else str, choice.help)
        for choice in recipe.options
    )
    known = {option.name for option in (*roles, *own)}
    which = tuple(option for option in HOSTS if option.name in _WHICH and option.name not in known)
    return (*roles, *which, *own, *_SWEEP, *_REACHING)


class RecipeOptions:
    """What a task of a recipe was called with, and the `recipe` that this asks for.

    The constructor and all methods raise UsageError for what cannot be used.
    """

    def __init__(self, recipe: "Recipe", given: Mapping[str, Any]) -> None:
        self._given = given
        choices = {
            choice.name: self.is_on(choice.name, choice.default)
            if isinstance(choice.default, bool)
            else self._get(choice.name, choice.default)
            for choice in recipe.options
        }
        self.recipe = recipe.prepare(recipe, choices)

    def _get(self, name: str, default: _T) -> _T:
        """An option, or its default if it is not given or nothing."""
        value: _T | None = self._given.get(name)
        return default if value is None or value == "" else value

    def is_on(self, name: str, default: bool = False) -> bool:
        """Whether a switch is on."""
        value = self._get(name, default)
        return switch(f"--{name.replace('_', '-')} {value}", value)

    def order(self) -> str:
        """The order of the runs."""
        from ..recipes import ORDERS

        order = self._get("order", "interleaved")
        if order not in ORDERS:
            raise UsageError(f"--order {order}: must be one of {', '.join(ORDERS)}")
        return order

    def seed(self) -> int | None:
        """What a random order follows, if it is given."""
        seed: int | None = self._get("seed", None)
        return None if seed is None else positive(f"--seed {seed}", seed)

    def results(self) -> Path:
        """The folder for results, or that of a run."""
        return Path(self._get("results", Path("results") / self.recipe.name))

    def hosts(self, options: Options) -> dict[str, list[Host]]:
        """The hosts of each role, as far as they are meant; none for a role that has no list."""
        selection = options.selection()
        hosts = {role.name: self._listed(role.name, selection) for role in self.recipe.roles}
        everyone = [host for own in hosts.values() for host in own]
        if not everyone and not (options.is_given("exclude") or options.is_given("limit")):
            return hosts  # all is done here
        for name in ("pick", "first"):  # they may not be dropped: they are to keep hosts out
            if not options.is_given(name) and options[name] is not None:
                raise UsageError(
                    f"{options.value(name).prefix} {options[name]}: is for one list, not for roles"
                )
        kept = {host.entry for host in options.filtered(everyone, selection)}
        left = {role: [host for host in own if host.entry in kept] for role, own in hosts.items()}
        for role, own in left.items():
            if hosts[role] and not own:
                raise UsageError(f"no {role} are left by {options.filters()}")
        return left

    def _listed(self, role: str, selection: "Selection") -> list[Host]:
        lists = self._given.get(role)
        if lists is None:
            return []
        names = lists.split() if isinstance(lists, str) else [str(name) for name in lists]
        hosts = selection.listed(names, f"--{role.replace('_', '-')}", lambda name: "")
        if not hosts:
            raise UsageError(f"no hosts in {' and '.join(names) or f'--{role}'}")
        return hosts
