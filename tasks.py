"""Tasks of this project: the product's own, and those that check it."""

import sys

from invoke import Collection, Context, task

from paramgmt_tasks import namespace

ns = Collection.from_module(sys.modules["paramgmt_tasks.tasks"])


def _python(c: Context, arguments: str) -> None:
    c.run(f'"{sys.executable}" -m {arguments}', pty=sys.stdout.isatty(), in_stream=False)


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
def types(c: Context) -> None:
    """Check the types of the package."""
    _python(c, "mypy")


@task(lint, types, test)
def check(c: Context) -> None:
    """Run lint, types and tests: what has to pass before a change lands."""


for development in (test, lint, types, check):
    ns.add_task(development)
ns.configure(namespace.configuration())
