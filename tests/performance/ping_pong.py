"""The ping-pong in Python and Node.js beside one in C, interleaved: what the runtime adds.


python tests/performance/ping_pong.py [--packets 20000] [--rounds 7]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PROGRAM = HERE.parent.parent / "paramgmt_tasks" / "recipes" / "programs" / "ping_pong.py"
SIZES = (1, 1000, 16384)


def _pin() -> None:
    os.sched_setaffinity(0, {0})


def main() -> None:
    """Measure, and print the least of each, since noise only adds, and their ratios to C's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    runtimes = ["python", *(["node"] if shutil.which("node") else [])]
    with tempfile.TemporaryDirectory() as name:
        in_c = Path(name) / "ping_pong"
        subprocess.run(["cc", "-O2", "-o", in_c, HERE / "ping_pong.c"], check=True)
        print(f"{'':12} {'C ms':>8}" + "".join(f" {runtime + ' ms':>10} {'/ C':>5}" for runtime in runtimes))
        for transport in ("uds", "tcp"):
            for size in SIZES:
                times: dict[str, list[float]] = {"c": [], **{runtime: [] for runtime in runtimes}}
                for _ in range(given.rounds):
                    words = [str(in_c), transport, str(size), str(given.packets)]
                    done = subprocess.run(words, capture_output=True, check=True, preexec_fn=_pin)
                    times["c"].append(float(done.stdout))
                    for runtime in runtimes:
                        words = [sys.executable, str(PROGRAM), "--runtime", runtime, "--transport", transport]
                        words += ["--size", str(size), "--packets", str(given.packets), "--pin", "0"]
                        done = subprocess.run(words, capture_output=True, check=True)
                        times[runtime].append(json.loads(done.stdout)["ms"])
                least = {name: min(values) for name, values in times.items()}
                line = "".join(
                    f" {least[runtime]:10.1f} {least[runtime] / least['c']:5.2f}" for runtime in runtimes
                )
                print(f"{transport} {size:>8} {least['c']:8.1f}{line}")


if __name__ == "__main__":
    main()
