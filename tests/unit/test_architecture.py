"""Who may import whom: a dozen entries, no circles, and one narrow face for each sub-package."""

import ast
import importlib
import inspect
import re
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "paramgmt_tasks"

#: What each may import. Whoever is not here may be imported by nobody.
MAY_IMPORT = {
    "_version": "",
    "steps": "",
    "model": "steps",
    "sandbox": "model",
    "ssh": "model steps",
    "transfer": "ssh model steps",
    "execution": "transfer ssh model steps",
    "engines": "execution transfer ssh model",
    "history": "model",
    "inventory": "history model",
    "display": "model",
    "fleet": "engines execution model",
    "recipes": "fleet engines execution display model",
    "tasks": "recipes fleet engines execution history inventory display model sandbox",
    "__main__": "tasks _version",
    "classic": "tasks fleet display model _version",
    "__init__": "classic tasks recipes fleet engines execution inventory model _version",
}
#: What runs on hosts by itself knows nothing of the package.
PROGRAMS = PACKAGE / "recipes" / "programs"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PROGRAMS)


def name_of(path: Path) -> str:
    """As `ssh.connection`; a package by its own name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@cache
def syntax(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text())


@cache
def imported(path: Path) -> set[str]:
    """The modules of this package that a module imports, also within functions: `ssh`, `ssh.connection`."""
    inside = path.relative_to(PACKAGE).parts[:-1]
    found = set()
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*inside[: len(inside) - node.level + 1], *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                name = ".".join([*base, alias.name])
                found.add(name if name in NAMES else ".".join(base))
    return found


NAMES = {name_of(path): path for path in MODULES}


def top(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_module_imports_what_it_may_and_by_its_face(name: str) -> None:
    others = {other for other in imported(NAMES[name]) if top(other) != top(name)}
    assert {top(other) for other in others} <= set(MAY_IMPORT[top(name)].split())
    for other in others - {top(other) for other in others}:
        face = importlib.import_module(f"paramgmt_tasks.{top(other)}")
        assert other.partition(".")[2] in face.__all__, f"{other} is not of the face of {top(other)}"


@pytest.mark.parametrize("package", sorted({top(name) for name in NAMES if "." in name}))
def test_no_circle_within(package: str) -> None:
    def below(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join([*path, name])
        for other in imported(NAMES[name]):
            if top(other) == package and other != package:
                below(other, (*path, name))

    for name in NAMES:
        if top(name) == package and name != package:
            below(name, ())


@pytest.mark.parametrize("package", sorted({top(name) for name in NAMES if "." in name} - {"sandbox"}))
def test_a_face_has_what_it_says(package: str) -> None:
    face = importlib.import_module(f"paramgmt_tasks.{package}")
    assert face.__doc__
    for name in face.__all__:
        assert getattr(face, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = face.nothing


#: Outputs too large for memory, whose a file is, and which names the system has.
LOOKS_AROUND = {"model.output", "model.ownership", "model.ssh_options"}


@pytest.mark.parametrize("name", sorted(name for name in NAMES if top(name) == "model"))
def test_the_model_is_pure(name: str) -> None:
    tree = syntax(NAMES[name])
    modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    modules |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level}
    assert not {"fabric", "paramiko", "invoke"} & modules
    if name not in LOOKS_AROUND:
        assert not {"socket", "os", "subprocess", "threading"} & modules


def test_only_the_task_layer_prints() -> None:
    for path in MODULES:
        if top(name_of(path)) not in ("tasks", "classic"):
            calls = [
                n.func.id
                for n in ast.walk(syntax(path))
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


#: The modules that know what these keep private, and how such a name looks.
DOORS = ("ssh.paramiko_internals", "tasks.invoke_internals")
UPSTREAM = ("paramiko", "fabric", "invoke")
PRIVATE = r"_(?!replace|asdict|fields)[a-z]\w*"  # those are what a NamedTuple has for all
OUTSIDE = sorted(name for name in NAMES if not name.startswith(DOORS))


def private_names(kind: type) -> dict[str, str]:
    """What the bases of a class that are theirs have with one underscore in front, and which has it."""
    names = {}
    for base in kind.__mro__:
        if base.__module__.split(".")[0] in UPSTREAM:
            given = re.findall(rf"self\.({PRIVATE})", inspect.getsource(base))
            names |= {
                name: base.__qualname__ for name in (*vars(base), *given) if re.fullmatch(PRIVATE, name)
            }
    return names


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_subclass_touches_what_upstream_keeps_private(name: str) -> None:
    module = importlib.import_module(f"paramgmt_tasks.{name}" if name != "__init__" else "paramgmt_tasks")
    for node in syntax(NAMES[name]).body:
        kind = getattr(module, node.name, None) if isinstance(node, ast.ClassDef) else None
        if not isinstance(kind, type) or kind.__module__ != module.__name__:
            continue
        used = {n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef)}
        used |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        used |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        theirs = private_names(kind)
        found = [f"{private} of {theirs[private]}" for private in used & theirs.keys()]
        assert not found, f"{kind.__qualname__} touches {', '.join(found)}"


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_private_name_is_used_only_where_it_is_made(name: str) -> None:
    tree = syntax(NAMES[name])
    attributes = [(n.attr, ast.unparse(n.value), n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    own = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    own |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    own |= {attribute for attribute, whose, _ in attributes if whose in ("self", "cls")}
    for attribute, whose, node in attributes:
        if re.fullmatch(PRIVATE, attribute) and whose not in sys.stdlib_module_names:
            assert attribute in own, f"line {node.lineno}: {whose}.{attribute}"
