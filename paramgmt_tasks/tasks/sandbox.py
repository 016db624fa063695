"""The sandbox, and a demonstration on it, as Invoke tasks."""

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from invoke import Collection, Context, Exit

from .command_line import OperationTask
from .notes import usage_errors
from .operations import lcmd, rcmd, rhosts, rpull, rpush, rscript
from .option_table import Option
from .session import options_of
from .values import positive

if TYPE_CHECKING:
    from ..sandbox import Sandbox
    from .keywords import HostOptions

_P = ParamSpec("_P")
_R = TypeVar("_R")

_SCRIPT = """\
#!/bin/sh
echo "hello $(whoami)@?HOST, how are you?"
"""


def _sandbox() -> "Sandbox":
    from ..sandbox import Sandbox

    return Sandbox(_project() / ".sandbox")


def _project() -> Path:
    """The nearest folder with `hostlists/`, here or above; else this one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "hostlists").is_dir()), here)


def _list() -> Path:
    return _project() / "hostlists" / "sandbox.txt"


_COUNT = Option("count", str, "How many servers")


def _task(*options: Option) -> Callable[[Callable[_P, _R]], OperationTask[_P, _R]]:
    return lambda body: OperationTask(body, options=options)


@_task(_COUNT)
def up(c: Context, count: str = "8") -> None:
    """Start a fleet of SSH servers on this machine, as the host list `sandbox`."""
    with usage_errors("sandbox.up"):
        servers = positive(f"--count {count}", count)
        if c.config.run.dry:
            print(f"sandbox.up: {servers} SSH servers on this machine, as the host list {_list()}")
            return
        sandbox = _sandbox()
        sandbox.up(servers)
        _list().parent.mkdir(exist_ok=True)
        shutil.copyfile(sandbox.hosts, _list())
    print(f"{count} servers are up. Try:  inv rcmd --hosts sandbox whoami")


@_task()
def down(c: Context) -> None:
    """Stop the fleet and remove all that is its own."""
    if c.config.run.dry:
        print("sandbox.down: the SSH servers of the sandbox, its folder and its host list")
        return
    with usage_errors("sandbox.down"):
        was_up = _sandbox().down()
    _list().unlink(missing_ok=True)
    print("The sandbox is down." if was_up else "The sandbox was not up.")


@_task()
def status(c: Context) -> None:
    """Say whether the fleet is up; exit status 1 where it is not."""
    sandbox = _sandbox()
    pid = sandbox.pid()
    if pid is None:
        print("The sandbox is down. Start it:  inv sandbox.up")
        raise Exit(code=1)
    count = sum("Port=" in line for line in sandbox.hosts.read_text().splitlines())
    print(f"The sandbox is up: {count} servers, process {pid}, homes in {sandbox.folder / 'homes'}")


sandbox = Collection("sandbox", up, down, status)


@_task(_COUNT)
def demo(c: Context, count: str = "3") -> None:
    """Show each operation on a fleet of SSH servers brought up for it, and take it down."""
    import tempfile

    from ..sandbox import Sandbox

    with usage_errors("demo"):
        servers = positive(f"--count {count}", count)
    if c.config.run.dry:
        print(f"demo: {servers} SSH servers on this machine, each operation on them, and their end")
        return
    with usage_errors("demo"), tempfile.TemporaryDirectory(prefix="paramgmt-demo-") as folder:
        unrecorded = _unrecorded(c)
        fleet = Sandbox(Path(folder) / "fleet")
        before = os.getcwd()
        try:
            print(f"Bringing up {servers} SSH servers on this machine...", flush=True)
            fleet.up(servers)
            os.chdir(folder)
            _play(unrecorded, fleet.hosts)
        finally:
            os.chdir(before)
            fleet.down()
    print("All of it succeeded, and the servers are gone. A fleet to try things on:  inv sandbox.up")


def _unrecorded(c: Context) -> Context:
    """The same configuration, but what is done with it does not go to the user's record of runs.

    Raises:
        UsageError: settings that cannot be used.
    """
    options_of(c, {})  # looks at all settings
    config = c.config.clone()
    config.update({"paramgmt": {"runs_kept": 0}})
    return Context(config)


def _play(c: Context, host_list: Path) -> None:
    hosts: HostOptions = {"hosts": [host_list], "exclude": []}
    Path("f1.txt").write_text("some text\n")
    Path("s1.sh").write_text(_SCRIPT)
    _show("rhosts")
    rhosts(c, **hosts)
    _show("rcmd", "whoami")
    rcmd(c, "whoami", **hosts)
    _show("rcmd", "echo some text 1>&2")
    rcmd(c, "echo some text 1>&2", **hosts)
    _show("rpush", "f1.txt", "-d", "f2.txt")
    rpush(c, "f1.txt", destination="f2.txt", **hosts)
    _show("lcmd", "mkdir -p res/?HOST")
    lcmd(c, "mkdir -p res/?HOST", **hosts)
    _show("rpull", "f2.txt", "-d", "res/?HOST")
    rpull(c, "f2.txt", destination="res/?HOST", **hosts)
    _show("rscript", "s1.sh")
    rscript(c, "s1.sh", **hosts)


def _show(name: str, *words: str) -> None:
    options = " ".join(shlex.quote(word) for word in words[1:])
    word = f" {shlex.quote(words[0])}" if words else ""
    print(f"\n$ inv {name} --hosts sandbox{' ' if options else ''}{options}{word}", flush=True)
