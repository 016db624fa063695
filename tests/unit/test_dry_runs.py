"""Invoke's dry run: of all tasks there are, none does anything."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from invoke import Collection, Config, Context

from paramgmt_tasks.tasks import lcmd, namespace

Run = Callable[..., "subprocess.CompletedProcess[str]"]

#: Words for each task, and how what it says begins. What only reads does the same as ever.
CASES: dict[str, tuple[list[str], str]] = {
    "rhosts": (["-m", "127.0.0.1:1"], "127.0.0.1:1\n"),
    "rgroups": (["-f", "grouped"], "@all        1  127.0.0.1:1\n"),
    "lcmd": (["-m", "a", "touch ran"], "lcmd [a]: touch ran\n"),
    "rcmd": (["-m", "127.0.0.1:1", "touch ran"], "rcmd [127.0.0.1:1]: touch ran\n"),
    "rpush": (["-m", "127.0.0.1:1", "kept"], "rpush [127.0.0.1:1]: kept => 127.0.0.1:1:~/\n"),
    "rpull": (["-m", "127.0.0.1:1", "-d", ".", "x"], "rpull [127.0.0.1:1]: 127.0.0.1:1:x => .\n"),
    "rscript": (["-m", "127.0.0.1:1", "kept"], "rscript [127.0.0.1:1]: running kept\n"),
    "runs.list": ([], "20261127-120000-000  ended "),
    "runs.show": ([], "run 20261127-120000-000, ended\n"),
    "demo": ([], "demo: 3 SSH servers on this machine"),
    "sandbox.up": (["--count", "2"], "sandbox.up: 2 SSH servers on this machine"),
    "sandbox.down": ([], "sandbox.down: the SSH servers of the sandbox, its folder and its host list\n"),
    "sandbox.status": ([], "The sandbox is down."),
    "benchmark.compare": (["results/a", "results/a"], "A: results/a\n"),
    **{
        f"benchmark.{name}.{step}": (
            [*hosts, "--results", "results/a"] if step == "analyze" else hosts,
            "analyze: results/a\n" if step == "analyze" else shown,
        )
        for name, hosts, shown in (
            ("network", ["--senders", "one", "--receivers", "two"], ""),
            ("uds-vs-tcp", ["--hosts", "one"], "hosts: 127.0.0.1:1\n"),
        )
        for step in ("all", "build", "push", "configure", "run", "pull", "analyze")
    },
}
#: Runs a program and says on standard error what it did to anything outside of itself.
_WATCHED = """
import json, os, sys
did = []
ACTS = ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.kill",
        "socket.connect", "socket.bind", "socket.getaddrinfo", "os.remove", "os.rename", "os.rmdir",
        "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.utime",
        "shutil.rmtree", "shutil.copyfile", "tempfile.mkdtemp", "tempfile.mkstemp")
def watch(event, args):
    if event in ACTS:
        did.append([event, repr(args[:2])])
    elif event == "open" and isinstance(args[0], str) and args[0] != os.devnull:
        if args[2] & (os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
            did.append([event, args[0]])
sys.argv = json.loads({argv!r})
from {module} import *
sys.addaudithook(watch)
try: {call}
finally:
    sys.stdout.flush()
    print(json.dumps(did), file=sys.stderr)
"""


def _names(collection: Collection, prefix: str = "") -> Iterator[str]:
    """The tasks of a collection and of those below it, as they are called."""
    for name in collection.tasks:
        yield prefix + name
    for name, below in collection.collections.items():
        yield from _names(below, f"{prefix}{name}.")


@pytest.fixture
def world(tmp_path: Path, blank_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with lists, results, a recorded run, and what a sandbox leaves if it was not brought down."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    cwd = tmp_path / "cwd"
    for folder in ("hostlists", ".sandbox/homes", "results/a"):
        (cwd / folder).mkdir(parents=True)
    plan = {"recipe": "r", "parameters": {"size": [1]}, "runs": 2, "hosts": {}, "seed": 1, "metric": "ms"}
    (cwd / "results" / "a" / "plan.json").write_text(json.dumps(plan))
    (cwd / "results" / "a" / "samples.jsonl").write_text('{"size": 1, "ms": 1.0}\n{"size": 1, "ms": 2.0}\n')
    (cwd / "kept").write_text("touch ran\n")
    (cwd / "one").write_text("127.0.0.1:1\n")
    (cwd / "two").write_text("127.0.0.2:1\n")
    (cwd / "grouped").write_text("[web]\n127.0.0.1:1\n")
    (cwd / "hostlists" / "sandbox.txt").write_text("web1\n")
    (cwd / ".sandbox" / "hosts").write_text("web1\n")
    record = tmp_path / "state" / "paramgmt" / "runs" / "20261127-120000-000"
    record.mkdir(parents=True)
    lines: tuple[dict[str, Any], ...] = (
        {"began": "then", "description": "rcmd [?HOST]: x", "options": [{}], "hosts": [["127.0.0.1:1", 0]]},
        {"finished": 0, "outcome": "failed", "reason": "return code 1", "seconds": 1},
        {"ended": 1, "interrupted": False},
    )
    (record / "run.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return tmp_path


def _state(*folders: Path) -> dict[str, object]:
    """All files below folders, with what they hold and when they were changed."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for folder in folders
        for path in folder.rglob("*")
    }


def _watched(
    run: Run,
    cwd: Path,
    *words: str,
    module: str = "paramgmt_tasks.__main__",
    call: str = "paramgmt()",
    **environment: str,
) -> tuple["subprocess.CompletedProcess[str]", list[list[str]]]:
    argv = json.dumps(["paramgmt", *words])
    code = _WATCHED.replace("{module}", module).replace("{argv!r}", repr(argv)).replace("{call}", call)
    done = run(sys.executable, "-c", code, cwd=cwd, **environment)
    *said, did = done.stderr.splitlines()
    done.stderr = "\n".join(said)
    return done, json.loads(did)


def test_every_task_has_its_case() -> None:
    assert set(_names(namespace)) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_dry_run_of_a_task_does_nothing_and_says_what_would_be_done(
    run: Run, world: Path, blank_home: Path, name: str
) -> None:
    words, shown = CASES[name]
    before = _state(world, blank_home)
    done, did = _watched(run, world / "cwd", "--dry", name, *words)
    assert did == []
    assert _state(world, blank_home) == before
    assert done.stdout.startswith(shown), done.stderr


# -- the ways to ask for it, and what stands beside it


@pytest.mark.parametrize("program", ["inv", "fab"])
@pytest.mark.parametrize("way", ["--dry", "-R", "environment", "file"])
@pytest.mark.parametrize("name", ["rcmd", "sandbox.down"])
def test_each_way_to_ask_for_a_dry_run_is_heeded(
    run: Run, world: Path, program: str, way: str, name: str
) -> None:
    cwd, module = world / "cwd", {"inv": "invoke.main", "fab": "fabric.main"}[program]
    (cwd / "tasks.py").write_text("from paramgmt_tasks import namespace as ns\n")
    (cwd / "fabfile.py").write_text("from paramgmt_tasks import namespace as ns\n")
    if way == "file":
        (cwd / {"inv": "invoke.json", "fab": "fabric.json"}[program]).write_text('{"run": {"dry": true}}')
    prefix = {"inv": "INVOKE", "fab": "FABRIC"}[program]
    environment = {f"{prefix}_RUN_DRY": "1"} if way == "environment" else {}
    words, shown = CASES[name]
    before = _state(world)
    asked = [way] if way.startswith("-") else []
    done, did = _watched(run, cwd, *asked, name, *words, module=module, call="program.run()", **environment)
    assert (done.returncode, done.stderr, did) == (0, "", [])
    assert done.stdout.startswith(shown)
    assert _state(world) == before


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["rcmd", "--ask-password", "--ask-passphrase", "--ask-interactive"], "rcmd [a]: touch ran\n"),
        (["rcmd", "--env", "A=b", "--stdin", "kept", "--output-dir", "out"], "rcmd [a]: touch ran\n"),
        (["rcmd", "-f", "@failed"], "rcmd [a]: touch ran\nrcmd [127.0.0.1:1]: touch ran\n"),
        (["rcmd", "--engine", "dask", "--scheduler", "tls://127.0.0.1:1"], "rcmd [a]: touch ran\n"),
        (["rcmd", "--engine", "processes", "--together", "--live"], "rcmd [a]: touch ran\n"),
        (["rcmd", "-v", "--jump", "j", "-o", "ProxyCommand=touch ran"], "rcmd [a]: touch ran\n"),
        (["rpush", "--changed", "--compress"], "rpush [a]: touch ran => a:~/\n"),  # which is no file
        (["rpull", "-d", "new/?HOST"], "rpull [a]: a:touch ran => new/a\n"),
    ],
    ids=" ".join,
)
def test_a_dry_run_does_nothing_whatever_stands_beside_it(
    run: Run, world: Path, words: list[str], shown: str
) -> None:
    before = _state(world)
    for dry in (["--dry", *words], [*words, "--dry-run"]):
        done, did = _watched(run, world / "cwd", *dry, "-m", "a", "touch ran")
        assert (done.returncode, done.stdout, done.stderr, did) == (0, shown, "", [])
    assert _state(world) == before


def test_what_cannot_be_used_is_refused_in_a_dry_run_too(run: Run, world: Path) -> None:
    for words in (["rcmd", "-m", "a", "--env", "UNSET_9", "x"], ["demo", "--count", "0"]):
        done, did = _watched(run, world / "cwd", "--dry", *words)
        assert (done.returncode, done.stdout, did) == (2, "", [])


def test_a_context_that_asks_for_a_dry_run_is_heeded_from_python(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world / "cwd")
    before = _state(world)
    c = Context(Config(overrides={"run": {"dry": True}}))
    assert len(lcmd(c, "touch ran", machines="a", dry_run=False)) == 0
    namespace["sandbox.down"](c)
    namespace["benchmark.uds-vs-tcp"](c, hosts="one")
    assert capsys.readouterr().out.startswith("lcmd [a]: touch ran\nsandbox.down: ")
    assert _state(world) == before
