"""What this machine is and how busy it is, in a line of JSON. Python 3.8, nothing else."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time

GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"


def read(path):
    """The text of a file, empty where it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def processor():
    """The processor's name."""
    for line in read("/proc/cpuinfo").splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def first_line(*command):
    """What a program says of itself; nothing where it is not installed."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout.decode(errors="replace").splitlines() or [""])[0].strip()


def main():
    print(
        json.dumps(
            {
                "host": platform.node(),
                "kernel": platform.system() + " " + platform.release(),
                "processor": processor(),
                "cores": os.cpu_count(),
                "governor": read(GOVERNOR) or "unknown",
                "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
                "load": round(os.getloadavg()[0], 2),
                "python": sys.version.split()[0],
                "node": first_line("node", "--version"),
                "iperf3": first_line("iperf3", "--version"),
                "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            }
        )
    )


if __name__ == "__main__":
    main()
