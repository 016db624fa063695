"""One run of the ping-pong: an echo server and its client, over one transport. Python 3.8, nothing else.

    ping_pong.py --transport uds --size 1000 --packets 100000 [--runtime node] [--name NAME --output FILE]

Gives a line of JSON, and appends it to FILE. Whatever ends this ends its server and client too.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TRANSPORTS = ("uds", "tcp", "udp", "socketpair", "pipe")


def end_with_parent():
    """End this process when the one that has started it is gone."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def program(runtime, name):
    """The command line of a program in a runtime."""
    if runtime == "python":
        return [sys.executable, os.path.join(HERE, name + ".py")]
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        sys.exit("node: not installed on this host")
    return [node, os.path.join(HERE, name + ".js")]


def ends(transport, folder):
    """The addresses of both ends, and the descriptors each gets."""
    if transport == "socketpair":
        ours, theirs = socket.socketpair()
        return "fd:%d" % theirs.detach(), "fd:%d" % ours.detach()
    if transport == "pipe":
        (there_read, here_write), (here_read, there_write) = os.pipe(), os.pipe()
        return "pipe:%d,%d" % (there_read, there_write), "pipe:%d,%d" % (here_read, here_write)
    if transport == "uds":
        return "uds:" + os.path.join(folder, "socket"), None
    return transport + ":127.0.0.1:0", None


def descriptors(address):
    kind, _, place = address.partition(":")
    return [int(number) for number in place.split(",")] if kind in ("fd", "pipe") else []


def start(command, core, address, *words):
    """Start a program with an address, on one core unless None; it alone has the descriptors named there."""
    passed = descriptors(address)
    process = subprocess.Popen(
        [*command, address, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=passed,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        universal_newlines=True,
    )
    for descriptor in passed:
        os.close(descriptor)
    return process


def facts_of(process, what):
    """The line that a program says next."""
    line = process.stdout.readline()
    if not line:
        said = process.stderr.read().strip().splitlines()
        sys.exit("%s: %s" % (what, said[-1] if said else "ended without a word"))
    return json.loads(line)


def percentile(ordered, share):
    """The nearest-rank percentile of sorted values."""
    return ordered[max(0, min(len(ordered) - 1, -int(-len(ordered) * share // 1) - 1))]


def run(runtime, transport, size, packets, cores):
    """One run: what is known of it. `cores` are those of the server and the client."""
    load = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="paramgmt-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        there, here = ends(transport, folder)
        server = start(program(runtime, "echo_server"), cores[0], there)
        stack.callback(server.kill)
        listening = facts_of(server, "echo server")
        address = here or listening["listening"]
        client = start(program(runtime, "echo_client"), cores[-1], address, str(size), str(packets))
        stack.callback(client.kill)
        measured = facts_of(client, "echo client")
        served = facts_of(server, "echo server")
    if served["bytes"] < size * packets:
        sys.exit("the server echoed %d of %d bytes" % (served["bytes"], size * packets))
    seconds = measured["ns"] / 1e9
    ordered = sorted(measured["samples"]) or [0]
    return {
        "transport": transport,
        "size": size,
        "packets": packets,
        "runtime": measured["runtime"],
        "ms": measured["ns"] / 1e6,
        "client_cpu_s": measured["cpu"],
        "server_cpu_s": served["cpu"],
        "p50_us": percentile(ordered, 0.5) / 1e3,
        "p99_us": percentile(ordered, 0.99) / 1e3,
        "p99.9_us": percentile(ordered, 0.999) / 1e3,
        "messages_per_s": packets / seconds,
        "mb_per_s": 2 * size * packets / seconds / 1e6,
        "lost": measured["lost"],
        "nodelay": measured["nodelay"],
        "load_before": load,
        "cores": "" if cores[0] is None else ",".join(map(str, cores)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runtime", choices=("python", "node"), default="python")
    parser.add_argument("--transport", choices=TRANSPORTS, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--packets", type=int, required=True)
    parser.add_argument("--pin", default="", help="core of both, or of server and client: 0 or 0,1")
    parser.add_argument("--name", default="")
    parser.add_argument("--output")
    given = parser.parse_args()
    end_with_parent()
    cores = [int(core) for core in given.pin.split(",")] if given.pin else [None]
    sample = dict(name=given.name, **run(given.runtime, given.transport, given.size, given.packets, cores))
    line = json.dumps(sample)
    if given.output:
        try:
            with open(given.output, "a") as file:
                file.write(line + "\n")
        except OSError as error:
            sys.exit("%s: %s" % (given.output, error.strerror))
    print(line)


if __name__ == "__main__":
    main()
