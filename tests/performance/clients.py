"""The clients that are compared, each as the command line of a workload."""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

#: A run's description as the scripts read it; see run.Workload.job.
Job = dict[str, Any]


@dataclass(frozen=True)
class Client:
    """A way to do a workload: its command line, and how many hosts its output says succeeded."""

    name: str
    argv: Callable[[Job], list[str] | None]
    succeeded: Callable[[str, Job], int]
    ours: bool = False
    #: Whether it verifies host keys, without which known_hosts makes no difference.
    verifies: bool = True
    #: Whether it is a command that is called anew for each step.
    steps_apart: bool = False


def script(name: str) -> Callable[[Job], list[str]]:
    """The command line of one of the peers' scripts."""
    return lambda job: [sys.executable, str(HERE / "peers" / f"{name}.py"), job["path"]]


def _from_json(output: str, job: Job) -> int:
    found = re.findall(r'^\{"succeeded": (\d+)\}', output, re.MULTILINE)
    return int(found[-1]) if found else 0


def _inv(job: Job) -> list[str]:
    hosts = ["--hosts", job["host_list"]]
    words: list[str] = []
    for verb, *rest in job["steps"]:
        if verb == "run":
            words += ["rcmd", *hosts, rest[0]]
        else:
            target = rest[1] if verb == "put" else f"{rest[1]}/?HOST"
            words += [{"put": "rpush", "get": "rpull"}[verb], *hosts, "-d", target, rest[0]]
    return [str(Path(sys.executable).parent / "inv"), "--search-root", str(ROOT), *words]


def _from_inv(output: str, job: Job) -> int:
    counts = [int(n) for n in re.findall(r"^(\d+) succeeded, \d+ failed, \d+ total$", output, re.MULTILINE)]
    return min(counts) if len(counts) == len(job["steps"]) else 0


def _lines_of_hosts(output: str, job: Job) -> int:
    """Hosts in front of whose lines what the command prints was seen."""
    if all(verb != "run" for verb, *_ in job["steps"]):
        return len(job["hosts"]) * output.endswith("copied\n")  # clush names only the hosts that fail
    expected = re.escape(job["expected"])
    return len(set(re.findall(rf"^(127\.\S+): .*{expected}", output, re.MULTILINE)))


def _pssh_marks(output: str, job: Job) -> int:
    marks = re.findall(r"^\[\d+\] \S+ (?:\x1b\[\S*?m)?\[?(SUCCESS)", output, re.MULTILINE)
    return len(marks) // len(job["steps"])


def _clush(job: Job) -> list[str] | None:
    base = ["clush", "-n", "-t", "10", "-o", f"-F {job['ssh_config']}"]
    base += ["--hostfile", job["plain_list"], *(["-f", str(job["fanout"])] if job["fanout"] else [])]
    calls = []
    for verb, *words in job["steps"]:
        if verb == "run":
            calls.append([*base, words[0]])
        elif verb == "put":
            calls.append([*base, "--copy", words[0], "--dest", words[1]])
        else:
            calls.append([*base, "--rcopy", words[0], "--dest", words[1]])
    if any(verb == "run" for verb, *_ in job["steps"]):
        return _one_after_the_other(calls)
    return ["/bin/sh", "-c", " && ".join(shlex.join([*call, "-S"]) for call in calls) + " && echo copied"]


def _pdsh(job: Job) -> list[str] | None:
    if any(verb != "run" for verb, *_ in job["steps"]):
        return None  # pdcp needs itself on every host
    fanout = ["-f", str(job["fanout"])] if job["fanout"] else []
    base = ["env", f"PDSH_SSH_ARGS_APPEND=-F {job['ssh_config']}", "pdsh", "-R", "ssh", "-t", "10", *fanout]
    return _one_after_the_other([[*base, "-w", f"^{job['plain_list']}", w[0]] for _, *w in job["steps"]])


def _pssh(job: Job) -> list[str] | None:
    options = ["-h", job["plain_list"], "-t", "0", "-x", f"-F {job['ssh_config']}"]
    options += ["-p", str(job["fanout"])] if job["fanout"] else []
    calls = []
    for verb, *words in job["steps"]:
        if verb == "run":
            calls.append(["parallel-ssh", *options, "-i", words[0]])
        elif verb == "put":
            calls.append(["parallel-scp", "-r", *options, words[0], words[1]])
        else:
            calls.append(["parallel-slurp", "-r", *options, "-L", words[1], words[0], "pulled"])
    return _one_after_the_other(calls)


def _one_after_the_other(calls: list[list[str]]) -> list[str]:
    return calls[0] if len(calls) == 1 else ["/bin/sh", "-c", "; ".join(map(shlex.join, calls))]


def installed() -> list[Client]:
    """Our product and the peers that are there."""
    clients = [
        Client("paramgmt-tasks: inv", _inv, _from_inv, ours=True),
        Client("paramgmt-tasks: Python", script("paramgmt_api"), _from_json, ours=True),
        Client("Fabric ThreadingGroup", script("raw_fabric"), _from_json, verifies=False),
    ]
    if find_spec("asyncssh"):
        clients.append(Client("asyncssh script", script("asyncssh_script"), _from_json))
    if find_spec("pssh"):
        clients.append(Client("parallel-ssh", script("parallel_ssh"), _from_json, verifies=False))
    if shutil.which("ssh"):
        clients.append(Client("ssh in a loop", script("ssh_loop"), _from_json, steps_apart=True))
    for name, program, argv, count in (
        ("clush", "clush", _clush, _lines_of_hosts),
        ("pdsh", "pdsh", _pdsh, _lines_of_hosts),
        ("pssh", "parallel-ssh", _pssh, _pssh_marks),
    ):
        if shutil.which(program, path="/usr/bin"):
            clients.append(Client(name, argv, count, steps_apart=True))
    return clients


def _on_engine(name: str, *options: str) -> Client:
    def argv(job: Job) -> list[str]:
        rcmd = str(Path(sys.executable).parent / "rcmd")
        return [rcmd, "-f", job["host_list"], "--engine", name, *options, "--", job["steps"][0][1]]

    def succeeded(output: str, job: Job) -> int:
        return _from_inv(output[-1000:], job)  # before that stands what all hosts print

    return Client(f"paramgmt rcmd, {name}", argv, succeeded, ours=True)


#: This product on each of its engines; the others are held against the first.
ENGINES = [_on_engine("threads"), _on_engine("processes", "--workers", "2")]

#: What `inv rcmd` on one host is held against.
REFERENCE = Client("import fabric, one handshake", script("one_handshake"), _from_json, verifies=False)


def write_job(job: Job) -> None:
    """Write the job where the scripts find it."""
    Path(job["path"]).write_text(json.dumps(job))
