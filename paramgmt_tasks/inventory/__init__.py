"""Where hosts come from: lists, inventories, groups and the record of runs, and expressions over them."""

from .group_sources import GroupSources
from .host_lists import find_list
from .inventory import Inventory
from .reading import read_inventory, read_list

__all__ = [
    "GroupSources",
    "Inventory",
    "find_list",
    "read_inventory",
    "read_list",
]
