"""Tasks of this project: the product's own, and those that check it."""

import shlex
import sys
from pathlib import Path

from invoke import Collection, Context, task

import paramgmt_tasks.tasks

ns = Collection.from_module(paramgmt_tasks.tasks)


def _python(c: Context, arguments: str, module: bool = True, **env: str) -> None:
    option = "-m " if module else ""
    c.run(f'"{sys.executable}" {option}{arguments}', pty=sys.stdout.isatty(), in_stream=False, env=env)


def _pytest(c: Context, arguments: str) -> None:
    # Compiled once, also where the environment asks for no such files beside the sources.
    cache = str(Path(__file__).parent / ".pytest_cache" / "compiled")
    _python(c, f"pytest -q {arguments}", PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=cache)


#: Two processes, in each of which a file's tests share their servers.
_IN_PARALLEL = "-n 2 --dist loadfile"
#: Those that need nothing but this machine's Python, and share nothing.
_QUICK = "-n 2 --dist worksteal tests/unit paramgmt_tasks"


@task(
    help={
        "path": "those under a path, such as tests/integration/test_inv.py",
        "k": "those whose names match, as pytest's -k",
        "all": "those too that start servers, and a little of each fuzzer",
    }
)
def test(c: Context, path: str = "", k: str = "", all: bool = False) -> None:
    """Run the quick tests and the examples in docstrings; with --all, everything."""
    chosen = path or (_IN_PARALLEL if all or k else _QUICK)
    _pytest(c, chosen + (f" -k {shlex.quote(k)}" if k else ""))


@task
def coverage(c: Context) -> None:
    """Measure how much of the package all tests run, in their own process and in those they start."""
    _pytest(c, f"{_IN_PARALLEL} --cov --cov-report=term:skip-covered")


@task
def lint(c: Context) -> None:
    """Check style and formatting."""
    _python(c, "ruff check .")
    _python(c, "ruff format --check .")


@task
def docs(c: Context) -> None:
    """Write docs/options.md from the definitions of the options."""
    _python(c, "paramgmt_tasks.tasks.options_page >docs/options.md")


@task
def types(c: Context) -> None:
    """Check the types of the package."""
    _python(c, "mypy")


@task(
    help={
        "rounds": "how many times each client runs, in turns (5)",
        "only": "workloads, of start, whoami-100, …, engines-output: see tests/performance/run.py",
        "clients": "parts of clients' names, such as inv,asyncssh",
        "output": "folder for the tables (results/performance)",
    }
)
def perf(c: Context, rounds: int = 5, only: str = "", clients: str = "", output: str = "") -> None:
    """Measure this product and its peers side by side, and its engines: some 50 minutes for all."""
    given = {"rounds": rounds, "only": only, "clients": clients, "output": output}
    options = [f"--{name} {shlex.quote(str(value))}" for name, value in given.items() if value]
    _python(c, " ".join(["tests/performance/run.py", *options]), module=False)


@task(lint, types)
def check(c: Context) -> None:
    """Run lint, types and all tests: what has to pass before a change lands."""
    test(c, all=True)


for development in (test, lint, types, check, coverage, docs, perf):
    ns.add_task(development)
