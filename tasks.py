"""Tasks of this project: the product's own, and those that check it."""

import shlex
import sys

from invoke import Collection, Context, task

import paramgmt_tasks.tasks

ns = Collection.from_module(paramgmt_tasks.tasks)


def _python(c: Context, arguments: str, module: bool = True) -> None:
    option = "-m " if module else ""
    c.run(f'"{sys.executable}" {option}{arguments}', pty=sys.stdout.isatty(), in_stream=False)


@task
def test(c: Context, path: str = "", k: str = "") -> None:
    """Run the tests: all, those under a path, or those that match -k."""
    _python(c, f"pytest {path}" + (f" -k '{k}'" if k else ""))


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


@task(lint, types, test)
def check(c: Context) -> None:
    """Run lint, types and tests: what has to pass before a change lands."""


for development in (test, lint, types, check, docs, perf):
    ns.add_task(development)
