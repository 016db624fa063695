"""A process of OpenSSH's for each host and step, as ParaMgmt does it: a thread each, a lock for printing."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

job = json.loads(Path(sys.argv[1]).read_text())
options = ["-F", job["ssh_config"]]


def work(host: str) -> bool:
    for verb, *words in job["steps"]:
        if verb == "run":
            argv = ["ssh", *options, host, words[0]]
        elif verb == "put":
            argv = ["scp", "-qr", *options, words[0], f"{host}:{words[1]}"]
        else:
            os.makedirs(f"{words[1]}/{host}", exist_ok=True)
            argv = ["scp", "-qr", *options, f"{host}:{words[0]}", f"{words[1]}/{host}"]
        for _ in range(3):
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode != 255:
                break
        if done.returncode or (verb == "run" and job["expected"] not in done.stdout):
            return False
    return True


hosts = [host for host, _ in job["hosts"]]
with ThreadPoolExecutor(job["fanout"] or 100) as pool:
    print(json.dumps({"succeeded": sum(pool.map(work, hosts))}))
