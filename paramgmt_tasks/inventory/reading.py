"""What `--hosts` and `--inventory` name, whatever it is: our own lists, and inventories of others."""

from .host_lists import read_list
from .inventory import Inventory


def read_inventory(name: str, hint: str = "", allow_proxy_command: bool = False) -> Inventory:
    """The hosts and groups of a file, a folder or a program, of `-` for standard input, or of hostlists/.

    `hint` is added to the error if there is no such file. What comes from standard input may run programs
    here, as a ProxyCommand does, only if that is allowed.

    Raises:
        UsageError: it cannot be read, or is not to be trusted.
    """
    return Inventory.of(name, read_list(name, hint, allow_proxy_command))
