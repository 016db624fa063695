"""Imports run downward: no module knows one above it."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "paramgmt_tasks"

#: From the top down; modules on one line do not know each other unless the order within it allows it.
ORDER = """
    executables __init__ tasks lists journal recipes controller display
    fleet
    cluster office processes worker
    pool
    threads
    split
    group
    run
    schedule
    transfer courier
    files
    sftp script local codec remote archive unpack local_files sftp_client
    connection
    command
    ending
    trust
    transport proxy
    packets
    stream
    gate allowance identities known_hosts ssh_config ssh_lookup ownership
    waiting wire
    failures
    retry operations arrivals
    results
    hosts output rolling
    settings
    ssh_options substitution
    errors private
""".split()  # noqa: SIM905
PURE = {"results", "operations", "hosts", "substitution", "retry", "rolling", "settings", "errors"}
#: What runs on hosts by itself knows nothing of the package.
PROGRAMS = PACKAGE / "recipes" / "programs"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PROGRAMS)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms of this package that a module imports, also within functions."""
    depth = len(path.relative_to(PACKAGE).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found.update(name.split(".")[0] for name in names)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward(path: Path) -> None:
    own = room(path)
    if own == "sandbox":
        assert imported(path) <= {"errors"}
    elif own == "display":
        assert imported(path) <= {"errors", "hosts", "output", "private", "results"}
    elif own not in ("executables", "__init__", "tasks"):
        allowed = set(ORDER[ORDER.index(own) + 1 :])
        assert imported(path) <= allowed


@pytest.mark.parametrize("name", sorted(PURE))
def test_the_core_is_pure(name: str) -> None:
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    modules |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level}
    assert not {"fabric", "paramiko", "invoke", "socket", "os", "subprocess", "threading", "sys"} & modules


def test_only_the_task_layer_prints() -> None:
    for path in MODULES:
        if room(path) not in ("tasks", "executables"):
            calls = [
                n.func.id
                for n in ast.walk(ast.parse(path.read_text()))
                if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
            ]
            assert "print" not in calls, path


def test_the_public_names_exist() -> None:
    import paramgmt_tasks

    for name in paramgmt_tasks.__all__:
        assert getattr(paramgmt_tasks, name) is not None


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.name)
def test_programs_for_hosts_need_python_3_8_and_its_own_modules_only(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    imports = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert set(imports) <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
