"""Take what senders send over TCP, and tell each how much it was. Python 3.8, nothing else.

    net_receiver.py --bind ADDRESS --port PORT

Serves until it is ended. At the end of what a sender sends, the answer is a line of JSON: the bytes, and
the seconds from the first to the last.
"""

import argparse
import json
import socket
import sys
import threading
import time

BUFFER = 1 << 18


def serve(sock):
    """Take all that one sender sends."""
    buffer = bytearray(BUFFER)
    total = 0
    begun = ended = None
    with sock:
        try:
            while True:
                count = sock.recv_into(buffer)
                ended = time.perf_counter()
                if begun is None:
                    begun = ended
                if not count:
                    break
                total += count
            sock.sendall(json.dumps({"bytes": total, "seconds": ended - begun}).encode() + b"\n")
        except OSError:
            pass  # the sender has gone, and says so itself


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bind", default="")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    try:
        family = socket.AF_INET6 if ":" in given.bind else socket.AF_INET
        listener = socket.create_server((given.bind, given.port), family=family, backlog=1024)
    except OSError as error:
        sys.exit("cannot listen on %s port %d: %s" % (given.bind or "*", given.port, error.strerror or error))
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main()
