"""The engines side by side: `python tests/performance/engines.py`."""

import argparse
import sys
import tempfile
from pathlib import Path

import fleet as fleets
import measure
import run

ENGINES = {"threads": (), "processes": ("--engine", "processes", "--workers", "2")}


def main() -> None:
    """Run two workloads on each engine, in turns, and print wall and processor time and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    rcmd = str(Path(sys.executable).parent / "rcmd")
    workloads = [(f"whoami on {count} hosts", count, "light", "whoami") for count in given.hosts]
    workloads.append(("1 MB of output from each of 100 hosts", 100, "sshd", run._MEGABYTE))
    print("| workload | engine | wall s | CPU s | peak MB, all processes |\n|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="paramgmt-perf-") as name, fleets.servers(Path(name)) as fleet:
        for number, (title, count, server, command) in enumerate(workloads):
            folder = Path(name) / f"job{number}"
            job = run.prepare(run.Workload("engines", "", count, server), fleet, folder)
            for _ in range(given.rounds):
                for engine, options in ENGINES.items():
                    argv = [rcmd, "-f", job["host_list"], *options, "--", command]
                    sample = measure.run(argv, run.environment(folder), folder)
                    assert f"{count} succeeded" in sample.output, sample.output[-2000:]
                    figures = f"{sample.wall:.1f} | {sample.cpu:.1f} | {sample.memory / 1e6:.0f}"
                    print(f"| {title} | {engine} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
