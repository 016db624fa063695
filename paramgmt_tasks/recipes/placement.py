"""Where a benchmark is done: on hosts, each in a folder of its own, or all of it on this machine."""

import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from ..model import (
    Host,
    LocalCommand,
    Operation,
    Pull,
    Push,
    RemoteCommand,
    UsageError,
    reason_of,
    substitute,
)
from .operations import Operations, why
from .recipe import Role
from .result_folder import ResultFolder, folder_name

#: Where things are on a host, below its user's home.
_BELOW_HOME = ".paramgmt"


class Placement(Protocol):
    """Where roles have their folders, and how files and commands get there."""

    #: What runs the variable COMMAND of each host.
    operation: Operation
    #: Whether hosts start together and the skew of their starts is of interest.
    together: bool

    def variables(self, host: Host) -> dict[str, str]:
        """What every command may name: PLACE, FOLDER, PYTHON and ADDRESS of a host."""

    def push(self, role: Role, hosts: Sequence[Host], files: Sequence[str]) -> None:
        """Copy local files and folders into the folder of each host."""

    def configure(self, role: Role, hosts: Sequence[Host], made: Path) -> None:
        """Copy the configuration files that were made, in a folder for each host, to that host."""

    def pull(self, role: Role, hosts: Sequence[Host], results: ResultFolder) -> None:
        """Copy the results of each host into its folder there, which exists."""


class OnHosts:
    """Each host has a folder for the recipe below its user's home. If a step fails there, it is dropped."""

    operation: Operation = RemoteCommand("?COMMAND", held=True)
    together = True

    def __init__(self, operations: Operations, recipe: str, address: Callable[[Host], str]) -> None:
        self._operations, self._recipe, self._address = operations, recipe, address
        self._note = operations.note

    def variables(self, host: Host) -> dict[str, str]:
        """A folder named by the recipe and the host, the host's python3, and where others reach it."""
        name = folder_name(host.entry)
        folder = f"{_BELOW_HOME}/{self._recipe}/{name}"
        return {"PLACE": name, "FOLDER": folder, "PYTHON": "python3", "ADDRESS": self._address(host)}

    def push(self, role: Role, hosts: Sequence[Host], files: Sequence[str]) -> None:
        """Make the folder of each host, and push the files into it."""
        self._note(f"push to {len(hosts)} {role.name}: {' '.join(map(os.path.basename, files))}")
        self._operations.perform("push", hosts, RemoteCommand("mkdir -p -- ?FOLDER"))
        hosts = self._operations.remaining(hosts)
        self._operations.perform("push", hosts, Push(tuple(files), "?FOLDER/"))

    def configure(self, role: Role, hosts: Sequence[Host], made: Path) -> None:
        """Push to each host what was made for it."""
        self._note(f"configure {len(hosts)} {role.name}: {' '.join(role.config)}")
        sources = tuple(f"{made}/?PLACE/{file}" for file in role.config)
        self._operations.perform("configure", hosts, Push(sources, "?FOLDER/"))

    def pull(self, role: Role, hosts: Sequence[Host], results: ResultFolder) -> None:
        """Pull the results; a host without any is named, and not dropped."""
        self._note(f"pull from {len(hosts)} {role.name}: {' '.join(role.results)}")
        sources = tuple(f"?FOLDER/{name}" for name in role.results)
        report = self._operations.report(hosts, Pull(sources, f"{results.of_host('?PLACE')}/"))
        for result in report.failed:
            self._note(f"nothing pulled from {result.host.entry}: {why(result)}")


class OnThisMachine:
    """Each role is on `localhost` alone, and all share one folder."""

    operation: Operation = LocalCommand("?COMMAND")
    together = False

    def __init__(self, folder: Path, python: str) -> None:
        self._folder, self._python = folder, python

    def variables(self, host: Host) -> dict[str, str]:
        """The one folder, the Python that runs this program, and the loopback address."""
        name, folder, python = folder_name(host.entry), self._folder.absolute(), shlex.quote(self._python)
        return {"PLACE": name, "FOLDER": str(folder), "PYTHON": python, "ADDRESS": "127.0.0.1"}

    def push(self, role: Role, hosts: Sequence[Host], files: Sequence[str]) -> None:
        """Copy the files into the folder."""
        for host in hosts:
            _copy(files, Path(host.variables["FOLDER"]))

    def configure(self, role: Role, hosts: Sequence[Host], made: Path) -> None:
        """Copy what was made into the folder."""
        for host in hosts:
            own = made / host.variables["PLACE"]
            _copy([str(own / file) for file in role.config], Path(host.variables["FOLDER"]))

    def pull(self, role: Role, hosts: Sequence[Host], results: ResultFolder) -> None:
        """Copy the results out of the folder."""
        for host in hosts:
            there = Path(host.variables["FOLDER"])
            patterns = [substitute(pattern, host.values) for pattern in role.results]
            found = [str(path) for pattern in patterns for path in there.glob(pattern)]
            _copy(found, results.of_host(host.variables["PLACE"]))


def _copy(files: Iterable[str], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            if os.path.isdir(name):
                shutil.copytree(name, folder / os.path.basename(name), dirs_exist_ok=True)
            else:
                shutil.copy2(name, folder)
    except OSError as error:
        raise UsageError(f"{folder}: {reason_of(error)}") from None
