"""Send over TCP to one or more receivers at once, for some seconds. Python 3.8, nothing else.

    net_sender.py --peers NAME=ADDRESS:PORT,… --seconds 10 [--name NAME --output FILE]

Gives a line of JSON for each receiver, and appends them to FILE: the bytes that came there, the seconds they
took by its clock, the rate, and the rates of each half second as seen from here.
"""

import argparse
import json
import socket
import sys
import threading
import time

PIECE = 1 << 17
INTERVAL = 0.5
PATIENCE = 10.0


def send(address, seconds, start, result):
    """Send for some seconds once `start` is set; what came there goes into `result`."""
    host, _, port = address.rpartition(":")
    piece = bytes(PIECE)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as sock:
            sock.settimeout(PATIENCE)
            start.wait()
            begun = mark = time.perf_counter()
            total = marked = 0
            rates = []
            while True:
                total += sock.send(piece)
                now = time.perf_counter()
                if now - mark >= INTERVAL:
                    rates.append((total - marked) * 8e-6 / (now - mark))
                    mark, marked = now, total
                if now - begun >= seconds:
                    break
            sock.shutdown(socket.SHUT_WR)
            with sock.makefile() as answer:
                result.update(json.loads(answer.readline()))
        result["rates_mbit_s"] = [round(rate, 3) for rate in rates]
        result["mbit_per_s"] = result["bytes"] * 8e-6 / max(result["seconds"], 1e-9)
    except (OSError, ValueError) as error:
        result["error"] = getattr(error, "strerror", None) or str(error) or type(error).__name__


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--name", default="")
    parser.add_argument("--output")
    given = parser.parse_args()
    start = threading.Event()
    results, threads = [], []
    for peer in given.peers.split(","):
        name, _, address = peer.partition("=")
        results.append({"name": given.name, "receiver": name})
        thread = threading.Thread(target=send, args=(address, given.seconds, start, results[-1]), daemon=True)
        thread.start()
        threads.append(thread)
    start.set()
    for thread in threads:
        thread.join()
    lines = "".join(json.dumps(result) + "\n" for result in results if "error" not in result)
    if given.output:
        try:
            with open(given.output, "a") as file:
                file.write(lines)
        except OSError as error:
            sys.exit("%s: %s" % (given.output, error.strerror))
    print(lines, end="")
    failed = ["%s: %s" % (result["receiver"], result["error"]) for result in results if "error" in result]
    if failed:
        sys.exit("; ".join(failed))


if __name__ == "__main__":
    main()
