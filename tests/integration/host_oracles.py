"""What ClusterShell and Ansible take expressions and patterns for, many of them by one process each."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest
from programs import BIN

#: cluset's own main function, once for each expression: the hosts; or None where it fails.
_CLUSET = """
import contextlib, io, json, sys
from ClusterShell.CLI.Nodeset import main
answers = []
for expression in json.load(sys.stdin):
    sys.argv, out = ["cluset", "--autostep=1000000", "-f", "--", expression], io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            main()
        status = 0
    except SystemExit as error:
        status = error.code
    answers.append(None if status else out.getvalue().strip())
json.dump(answers, sys.stdout)
"""

#: What `ansible PATTERN --list-hosts` does with its inventory, pattern and --limit (ansible.cli.CLI).
_ANSIBLE = """
import json, sys
from ansible.cli import CLI
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader()
inventory = InventoryManager(loader=DataLoader(), sources=[sys.argv[1]])
answers = []
for pattern, limit in json.load(sys.stdin):
    inventory.subset(None)
    try:
        answers.append([host.name for host in CLI.get_host_list(inventory, limit, pattern)])
    except AnsibleError as error:
        answers.append(str(error))
json.dump(answers, sys.stdout)
"""


def needed(program: str, package: str) -> str:
    """Where a program is that tests compare with; without it they are skipped, but in CI they fail."""
    beside = BIN / program
    path = str(beside) if os.access(beside, os.X_OK) else shutil.which(program)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"CI has no {program}: install {package}")
        pytest.skip(f"needs {program}, from {package}")
    return path


def cluset(expressions: Sequence[str]) -> list[str | None]:
    """What `cluset -f` prints for each; None where it fails. The environment names its configuration."""
    return _answers(_CLUSET, [], expressions)


def ansible(inventory: str, asked: Sequence[tuple[str, str | None]]) -> list[list[str] | str]:
    """The hosts that Ansible lists for each pattern and `--limit`, or the error."""
    needed("ansible", "ansible-core")
    return _answers(_ANSIBLE, [inventory], asked)


def _answers(program: str, words: list[str], asked: Sequence[object]) -> list:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *words],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
