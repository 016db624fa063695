"""The folder of one run's results: its plan, a file for each point, the machines, and what was pulled.

    plan.json  machine.json  points/POINT.json  hosts/HOST/…

An analysis adds samples, tables, charts and report.html.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from ..model import UsageError, reason_of
from .recipe import JsonObject, points

_PLAN = "plan.json"
#: What a plan has at least.
_PLANNED = {"recipe", "parameters", "runs", "hosts", "seed"}


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, "utf-8")
        os.replace(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise UsageError(f"{path}: {reason_of(error)}") from None


class ResultStore:
    """The results of steps in a folder, a file each, whole or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> JsonObject | None:
        """What is written of a step; None if nothing is."""
        return _read(self.folder / f"{name}.json")

    def done(self, name: str) -> bool:
        """Whether a step succeeded."""
        return "error" not in (self.read(name) or {"error": ""})

    def write(self, name: str, record: JsonObject) -> None:
        """Write down how a step ended.

        Raises:
            UsageError: it cannot be written.
        """
        _write(self.folder / f"{name}.json", record)


class ResultFolder:
    """The results of a run with this plan. Nothing is read or written until it is asked for."""

    def __init__(self, path: Path, plan: JsonObject) -> None:
        self.path, self.plan = path, plan
        self.points = ResultStore(path / "points")

    @classmethod
    def read(cls, path: Path) -> "ResultFolder":
        """The results in a folder.

        Raises:
            UsageError: there are none.
        """
        folder = cls._find(path)
        if folder is None:
            raise UsageError(f"{path}: no results of a run")
        return folder

    @classmethod
    def _find(cls, path: Path) -> "ResultFolder | None":
        plan = _read(path / _PLAN)
        return cls(path, plan) if isinstance(plan, dict) and plan.keys() >= _PLANNED else None

    @classmethod
    def create(cls, root: Path, plan: JsonObject) -> "ResultFolder":
        """A new folder below `root`, named by the time.

        Raises:
            UsageError: it cannot be written.
        """
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S")
        path, number = root / stamp, 1
        while path.exists():
            number += 1
            path = root / f"{stamp}.{number}"
        _write(path / _PLAN, plan)
        return cls(path, plan)

    @classmethod
    def resumable(cls, root: Path, plan: JsonObject, seed: int | None) -> "ResultFolder | None":
        """The newest run of this plan that is not finished; `seed` None is any."""
        for path in reversed(folders(root)):
            folder = cls._find(path)
            if folder is None or {**folder.plan, "seed": None} != {**plan, "seed": None}:
                continue
            if seed in (None, folder.plan["seed"]) and not folder.finished():
                return folder
        return None

    def finished(self) -> bool:
        """Whether all points were tried, and analyzed."""
        return (self.path / "report.html").exists() and not self.unfinished()

    def counted(self) -> list[str]:
        """The names of the points, without those that warm up."""
        return [point.name for point in points(self.plan["parameters"], self.plan["runs"])]

    def unfinished(self) -> int:
        """How many points were not tried yet."""
        return sum(self.points.read(name) is None for name in self.counted())

    def of_host(self, name: str) -> Path:
        """Where a host's files are, by its `folder_name`."""
        return self.path / "hosts" / name

    def machines(self) -> JsonObject:
        """What is known of each host `before` and `after`; nothing if that cannot be read."""
        return _read(self.path / "machine.json") or {}

    def write_machines(self, machines: Mapping[str, JsonObject]) -> None:
        """Write down what is known of each host.

        Raises:
            UsageError: it cannot be written.
        """
        _write(self.path / "machine.json", machines)


def folder_name(entry: str) -> str:
    """The name of a host's folder among those of all hosts.

    >>> folder_name("nic@web1:2222 Port=1")
    'nic_web1_2222_Port_1'
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", entry)


def has_results(folder: Path) -> bool:
    """Whether a folder is that of a run, and not one above such."""
    return (folder / _PLAN).is_file()


def folders(root: Path) -> list[Path]:
    """The folders of results below `root`, the oldest first."""
    return sorted(path for path in root.glob("*") if has_results(path))


def latest(root: Path) -> Path:
    """The last folder of results below `root`, or `root` itself if it is one.

    Raises:
        UsageError: there is none.
    """
    if has_results(root):
        return root
    found = folders(root)
    if not found:
        raise UsageError(f"{root}: no results yet: run the benchmark first")
    return found[-1]


def _read(path: Path) -> JsonObject | None:
    try:
        found: JsonObject = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _write(path: Path, found: Mapping[str, object]) -> None:
    write_whole(path, json.dumps(found, indent=1) + "\n")
