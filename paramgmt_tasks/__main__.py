"""`python -m paramgmt_tasks`, `paramgmt-tasks` and `paramgmt`: Invoke's program with this package's tasks.

It is for folders without a tasks.py.
"""

import os
import sys

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
    program = Program(name=name, binary=name, binary_names=[name], version=__version__, namespace=namespace)
    try:
        try:
            program.run()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # nobody reads the rest of the list of tasks, which Invoke prints by itself
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
