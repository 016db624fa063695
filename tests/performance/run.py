"""Our product and its peers on the same hosts, in turns: the table that says who is faster."""

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import clients
import fleet as fleets
import measure
import tables
from clients import Client

#: A client that takes more seconds than this in the first round, and so many times as long as the quickest,
#: is not run again: its one figure stands.
SLOW, SLOWER = 10.0, 1.1


@dataclass(frozen=True)
class Workload:
    """What is done on which hosts."""

    name: str
    title: str
    hosts: int
    server: str = "light"
    steps: tuple[tuple[str, ...], ...] = (("run", "whoami"),)
    expected: str = "root"
    refusing: int = 0
    hanging: int = 0
    hashed: int = 0
    #: Hosts at once where the peers' defaults would make waves; None leaves them their defaults.
    fanout: int | None = None
    verifying_only: bool = False
    #: Whether this product's engines are compared, instead of it with its peers.
    engines: bool = False
    #: What is sent: bytes of FOLDER/payload, and how many files of 2 KB are in FOLDER/tree.
    payload: int = 30_000
    files: int = 0
    #: What the hosts have before it begins.
    before: tuple[tuple[str, ...], ...] = ()

    @property
    def working(self) -> int:
        return self.hosts - self.refusing - self.hanging


_RECIPE = (
    ("put", "FOLDER/payload", "payload"),
    ("put", "FOLDER/settings", "settings"),
    ("run", "wc -c < payload"),
    ("run", "cp payload result"),
    ("get", "result", "FOLDER/pulled"),
    ("run", "rm payload settings; whoami"),
)
_PUSH = (("put", "FOLDER/payload", "payload"),)
_PUSH_TREE = (("put", "FOLDER/tree", "."),)
_PULL = (("get", "payload", "FOLDER/pulled"),)
_PULL_TREE = (("get", "tree", "FOLDER/pulled"),)
_MEGABYTE = f"yes {'0123456789abcdef' * 4} | head -n 15385"  # 65 bytes a line


def _on_engines(name: str, title: str, hosts: int, command: str = "whoami") -> Workload:
    return Workload(name, title, hosts, "lean", (("run", command),), engines=True)


def _copying(name: str, title: str, hosts: int, steps: tuple[tuple[str, ...], ...], **given: Any) -> Workload:
    return Workload(name, title, hosts, "sshd", steps, expected="", **given)


WORKLOADS = [
    Workload("start", "whoami on 1 host: what starting up costs", 1),
    Workload("whoami-100", "whoami on 100 hosts", 100),
    Workload("whoami-500", "whoami on 500 hosts", 500),
    Workload("whoami-1000", "whoami on 1000 hosts", 1000),
    Workload("whoami-2000", "whoami on 2000 hosts", 2000),
    Workload("sshd-200", "whoami on 200 hosts of OpenSSH", 200, "sshd"),
    Workload(
        "sleep",
        "sleep 15 on 500 hosts at once",
        500,
        steps=(("run", "sleep 15"),),
        expected="slept",
        fanout=500,
    ),
    Workload(
        "recipe",
        "six steps (push, push, run, run, pull, run) on 100 of OpenSSH",
        100,
        "sshd",
        _RECIPE,
        expected="",
    ),
    Workload(
        "output",
        "1 MB of output from each of 100 hosts of OpenSSH",
        100,
        "sshd",
        (("run", _MEGABYTE),),
        expected="0123456789abcdef",
    ),
    Workload("faults", "whoami on 1000 hosts, 5 % refuse and 1 % hang", 1000, refusing=50, hanging=10),
    Workload(
        "known-hosts",
        "whoami on 500 hosts, 5000 hashed entries in known_hosts",
        500,
        hashed=5000,
        verifying_only=True,
    ),
    Workload("far", "whoami on 500 hosts 50 ms away", 500, "far"),
    _copying("push-8", "push of 50 MB to 8 hosts", 8, _PUSH, payload=50_000_000),
    _copying("push-50", "push of 50 MB to 50 hosts", 50, _PUSH, payload=50_000_000),
    _copying("push-files", "push of a folder of 1000 files of 2 KB to 8 hosts", 8, _PUSH_TREE, files=1000),
    _copying("push-1g", "push of 1 GB to 2 hosts", 2, _PUSH, payload=1_000_000_000),
    _copying("pull-8", "pull of 50 MB from 8 hosts", 8, _PULL, payload=50_000_000, before=_PUSH),
    _copying("pull-50", "pull of 50 MB from 50 hosts", 50, _PULL, payload=50_000_000, before=_PUSH),
    _copying(
        "pull-files",
        "pull of a folder of 1000 files of 2 KB from 8 hosts",
        8,
        _PULL_TREE,
        files=1000,
        before=_PUSH_TREE,
    ),
    _copying("pull-1g", "pull of 1 GB from 2 hosts", 2, _PULL, payload=1_000_000_000, before=_PUSH),
    _on_engines("engines-1000", "engines: whoami on 1000 hosts", 1000),
    _on_engines("engines-10000", "engines: whoami on 10,000 hosts", 10_000),
    _on_engines("engines-output", "engines: 1 MB of output from each of 1000 hosts", 1000, "megabyte"),
]


def prepare(workload: Workload, fleet: fleets.Fleet, folder: Path) -> clients.Job:
    """Write the host lists and configurations that the clients of a workload read."""
    folder.mkdir()
    with (folder / "payload").open("wb") as file:
        for start in range(0, workload.payload, 1_000_000):
            file.write(os.urandom(min(1_000_000, workload.payload - start)))
    (folder / "tree").mkdir()
    for number in range(workload.files):
        (folder / "tree" / f"file{number}").write_bytes(os.urandom(2000))
    (folder / "settings").write_text("threads = 8\n" * 20)
    (folder / "pulled").mkdir()
    names = fleets.addresses(workload.working, workload.refusing, workload.hanging)
    known = fleet.known_hosts(workload.server, names, workload.hashed)
    steps = [[word.replace("FOLDER", str(folder)) for word in step] for step in workload.steps]
    ports = {name: fleet.port(name, workload.server) for name in names}
    common = {
        "User": fleet.user,
        "IdentityFile": str(fleet.identity),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(known),
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "10",
    }
    (folder / "hosts").write_text("".join(f"{name}\n" for name in names))
    host_list = [f"* {' '.join(f'{key}={value}' for key, value in common.items())}"]
    host_list += [f"{name} Port={port}" for name, port in ports.items()]
    (folder / "hosts.txt").write_text("\n".join(host_list) + "\n")
    kinds = {fleets.REFUSING: fleet.refusing, fleets.HANGING: fleet.hanging}
    stanzas = [f"Host 127.{kind}.*\n  Port {port}\n" for kind, port in kinds.items()]
    options = {
        **common,
        "Port": str(getattr(fleet, workload.server)),
        "BatchMode": "yes",
        "LogLevel": "ERROR",
    }
    stanzas.append("Host *\n" + "".join(f"  {key} {value}\n" for key, value in options.items()))
    (folder / "ssh_config").write_text("".join(stanzas))
    return {
        "path": str(folder / "job.json"),
        "hosts": list(ports.items()),
        "host_list": str(folder / "hosts.txt"),
        "plain_list": str(folder / "hosts"),
        "ssh_config": str(folder / "ssh_config"),
        "known_hosts": str(known) if workload.hashed else None,
        "user": fleet.user,
        "key": str(fleet.identity),
        "steps": steps,
        "expected": fleet.user if workload.name == "sshd-200" else workload.expected,
        "fanout": workload.fanout,
    }


def environment(folder: Path) -> dict[str, str]:
    """Nothing of the user's own: no keys, no agent, no configuration."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(home)}


def compare(
    workload: Workload, entrants: list[Client], rounds: int, fleet: fleets.Fleet, folder: Path
) -> list[dict[str, Any]]:
    """Run a workload by each client in turn, `rounds` times, and take the medians."""
    job = prepare(workload, fleet, folder)
    clients.write_job(job)
    if workload.before:
        steps = [[word.replace("FOLDER", str(folder)) for word in step] for step in workload.before]
        clients.write_job({**job, "steps": steps})
        measure.run(clients.script("paramgmt_api")(job), environment(folder), folder)
        clients.write_job(job)
    samples: dict[str, list[tuple[measure.Sample, int]]] = {}
    for number in range(rounds):
        quickest = min((runs[0][0].wall for runs in samples.values() if runs), default=0.0)
        for client in entrants:
            argv = client.argv(job)
            earlier = samples.setdefault(client.name, [])
            slow = earlier and earlier[0][0].wall > max(SLOW, SLOWER * quickest) and not workload.engines
            if argv is None or slow:
                continue
            _clear(workload, fleet, folder)
            sample = measure.run(argv, environment(folder), folder, fleet.pids, workload.engines)
            hosts = client.succeeded(sample.output, job)
            earlier.append((replace(sample, output=""), hosts))
            if hosts < workload.working:
                (folder / f"{client.name.replace(' ', '_')}.output").write_text(sample.output)
            print(
                f"  {number + 1}/{rounds} {client.name:30} {sample.wall:7.2f} s wall {sample.cpu:7.2f} s CPU "
                f"{sample.memory / 1e6:6.0f} MB {hosts:5} hosts {sample.servers:7.2f} s CPU of servers",
                file=sys.stderr,
                flush=True,
            )
    rows = []
    for client in entrants:
        runs = samples[client.name]
        if runs:
            rows.append(
                {
                    "client": client.name,
                    "ours": client.ours,
                    "steps_apart": client.steps_apart,
                    "wall": statistics.median(s.wall for s, _ in runs),
                    "cpu": statistics.median(s.cpu for s, _ in runs),
                    "memory": statistics.median(s.memory for s, _ in runs),
                    "pss": statistics.median(s.pss for s, _ in runs) if workload.engines else None,
                    "servers": statistics.median(s.servers for s, _ in runs),
                    "succeeded": min(hosts for _, hosts in runs),
                    "rounds": len(runs),
                }
            )
    return rows


def _clear(workload: Workload, fleet: fleets.Fleet, folder: Path) -> None:
    """Begin copying with nothing there, and nothing left to be written to the disk for the client before."""
    for pulled in (folder / "pulled").iterdir():
        shutil.rmtree(pulled) if pulled.is_dir() else pulled.unlink()
    if workload.payload > 1_000_000 or workload.files or workload.engines:
        if not workload.before:
            shutil.rmtree(fleet.folder / "homes", ignore_errors=True)
        os.sync()


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    versions = {}
    for name in ("fabric", "invoke", "paramiko", "cryptography", "asyncssh", "parallel-ssh"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    for command in ("ssh -V", "clush --version", "pdsh -V"):
        if shutil.which(command.split()[0]):
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            versions[command.split()[0]] = (done.stdout + done.stderr).splitlines()[0]
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    """Measure what the command line asks for, and write the tables."""
    names = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help=f"workloads, of {', '.join(names)}")
    parser.add_argument("--clients", default="", help="parts of clients' names")
    parser.add_argument("--output", type=Path, default=Path("results/performance"))
    given = parser.parse_args()
    wanted = given.only.split(",") if given.only else names
    unknown = set(wanted) - set(names)
    if unknown or given.rounds < 1:
        parser.error(f"no workload {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    entrants = [
        client
        for client in clients.installed()
        if not given.clients or any(part in client.name for part in given.clients.split(","))
    ]
    given.output.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"machine": machine(), "rounds": given.rounds, "workloads": []}
    with tempfile.TemporaryDirectory(prefix="paramgmt-perf-") as name, fleets.servers(Path(name)) as fleet:
        for workload in WORKLOADS:
            if workload.name not in wanted:
                continue
            print(f"\n{workload.title}", file=sys.stderr)
            those = [c for c in entrants if c.verifies or not workload.verifying_only]
            if workload.engines:
                those = clients.ENGINES
            elif workload.name == "start":
                those = [*those, clients.REFERENCE]
            rows = compare(workload, those, given.rounds, fleet, Path(name) / workload.name)
            report["workloads"].append({**asdict(workload), "rows": rows})
            (given.output / "performance.json").write_text(json.dumps(report, indent=1) + "\n")
    tables.complete(report)
    print(tables.text(report))
    (given.output / "performance.json").write_text(json.dumps(report, indent=1) + "\n")
    (given.output / "performance-tables.md").write_text(tables.markdown(report))
    chart = tables.chart(report, given.output / "performance.svg")
    written = ["performance.json", "performance-tables.md", *(["performance.svg"] if chart else [])]
    print(f"Written to {given.output}: {', '.join(written)}", file=sys.stderr)


if __name__ == "__main__":
    main()
