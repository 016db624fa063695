"""Run a command once for each line of a host file: launch.py HOSTFILE RANK PORT COMMAND…

What mpirun does once its daemons are up: rank 0 tells the others what to run, and prints what they print. It
is for a network on which everybody is trusted: whoever listens on that port says what is run.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 30.0
hosts = Path(sys.argv[1]).read_text().split()
rank, port, command = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]


def launched(command, number):
    """What the command of one rank prints, and its return code."""
    env = {"OMPI_COMM_WORLD_RANK": str(number), "OMPI_COMM_WORLD_SIZE": str(len(hosts))}
    done = subprocess.run(
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.stdout.decode("utf-8", "replace"), done.returncode


def follow():
    """Run what rank 0 says."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            connection = socket.create_connection((hosts[0], port), SECONDS)
            break
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    with connection, connection.makefile("rw") as stream:
        print(rank, file=stream, flush=True)
        print(json.dumps(launched(json.loads(stream.readline()), rank)), file=stream, flush=True)


def lead():
    """Have all run the command, and print what they print in the order of their ranks."""
    family = socket.AF_INET6 if ":" in hosts[0] else socket.AF_INET
    streams = {}
    with socket.create_server((hosts[0], port), family=family, backlog=len(hosts)) as server:
        server.settimeout(SECONDS)
        while len(streams) < len(hosts) - 1:
            stream = server.accept()[0].makefile("rw")
            streams[int(stream.readline())] = stream
    for stream in streams.values():
        print(json.dumps(command), file=stream, flush=True)
    done = {0: launched(command, 0)}
    for number, stream in streams.items():
        with stream:
            done[number] = json.loads(stream.readline())
    for number, (output, _) in sorted(done.items()):
        for line in output.splitlines():
            print(f"[1,{number}]<stdout>: {line}")
    return max(code for _, code in done.values())


sys.exit(follow() if rank else lead())
