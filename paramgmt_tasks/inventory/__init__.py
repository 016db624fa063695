"""Where hosts come from: lists, inventories, groups and the record of runs, and expressions over them."""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from . import offered
    from .group_sources import GroupSources
    from .host_lists import find_list
    from .inventory import Inventory
    from .known import Known
    from .reading import read_inventory, read_list
    from .selection import Selection, picked
else:
    __getattr__ = later(
        __name__,
        {
            ".": ["offered"],
            ".group_sources": ["GroupSources"],
            ".host_lists": ["find_list"],
            ".inventory": ["Inventory"],
            ".known": ["Known"],
            ".reading": ["read_inventory", "read_list"],
            ".selection": ["Selection", "picked"],
        },
    )

__all__ = [
    "GroupSources",
    "Inventory",
    "Known",
    "Selection",
    "find_list",
    "offered",
    "picked",
    "read_inventory",
    "read_list",
]
