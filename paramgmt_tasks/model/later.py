"""Names of a package that are imported when they are first used, so that `inv --list` stays quick."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def later(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A `__getattr__` for `package` (PEP 562): `names` has the names of each module, as `{".run": ["Run"]}`.

    The names of "." are modules themselves.
    """
    where = {name: module for module, those in names.items() for name in those}

    def find(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if where[name] == ".":
            return import_module(f".{name}", package)
        return getattr(import_module(where[name], package), name)

    return find
