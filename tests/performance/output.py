"""What it costs to show much output of many hosts, in each way: `python tests/performance/output.py`."""

import argparse
import sys
import tempfile
from pathlib import Path

import fleet as fleets
import measure
import run

MODES = {
    "blocks": (),
    "as they finish": ("--order", "finished"),
    "gather": ("--gather",),
    "live": ("--live",),
    "json": ("--json",),
    "output-dir, quiet": ("--output-dir", "out", "--quiet"),
}


def main() -> None:
    """Run one command in each mode, and print wall and processor time and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=1_000_000, help="what each host prints")
    given = parser.parse_args()
    workload = run.Workload("output", "", given.hosts, "sshd")
    command = f"yes ?HOST 0123456789abcdef0123456789abcdef | head -c {given.bytes}"
    with tempfile.TemporaryDirectory(prefix="paramgmt-perf-") as name, fleets.servers(Path(name)) as fleet:
        folder = Path(name) / "job"
        job = run.prepare(workload, fleet, folder)
        rcmd = str(Path(sys.executable).parent / "rcmd")
        print(
            f"| {given.hosts} hosts, {given.bytes} bytes each | wall s | CPU s | peak MB |\n|---|---|---|---|"
        )
        for mode, options in MODES.items():
            argv = [rcmd, "-f", job["host_list"], *options, "--", command]
            sample = measure.run(argv, run.environment(folder), folder)
            print(
                f"| {mode} | {sample.wall:.1f} | {sample.cpu:.1f} | {sample.memory / 1e6:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
