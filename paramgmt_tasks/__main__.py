"""`python -m paramgmt_tasks`, `paramgmt-tasks` and `paramgmt`: Invoke's program with this package's tasks.

It is for folders without a tasks.py.
"""

from invoke.program import Program

from ._version import __version__
from .tasks import namespace


def main() -> None:
    """Run the tasks that the command line names."""
    _run("paramgmt-tasks")


def paramgmt() -> None:
    """The same by its short name."""
    _run("paramgmt")


def _run(name: str) -> None:
    Program(name=name, binary=name, binary_names=[name], version=__version__, namespace=namespace).run()


if __name__ == "__main__":
    main()
