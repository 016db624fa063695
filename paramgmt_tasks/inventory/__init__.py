"""Where hosts come from: lists, inventories, groups and the record of runs, and expressions over them."""

from . import offered
from .group_sources import GroupSources
from .host_lists import find_list
from .inventory import Inventory
from .known import Known, named_lists
from .reading import read_inventory, read_list
from .selection import Selection, picked

__all__ = [
    "GroupSources",
    "Inventory",
    "Known",
    "Selection",
    "find_list",
    "named_lists",
    "offered",
    "picked",
    "read_inventory",
    "read_list",
]
