"""Sum a number of each rank, so that all have the sum: with the variables that torchrun gives its processes.

MASTER_ADDR and MASTER_PORT are where rank 0 listens, WORLD_SIZE is how many there are, and RANK which one
this is.
"""

import os
import socket
import time

SECONDS = 30.0
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
master = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])


def joined():
    """A connection to rank 0, which may not listen yet."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            return socket.create_connection(master, SECONDS)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def gathered(number):
    """The sum, at rank 0: once all have come."""
    family = socket.AF_INET6 if ":" in master[0] else socket.AF_INET
    with socket.create_server(master, family=family, backlog=size) as server:
        server.settimeout(SECONDS)
        others = [server.accept()[0].makefile("rw") for _ in range(size - 1)]
    total = number + sum(int(other.readline()) for other in others)
    for other in others:
        with other:
            print(total, file=other)
    return total


def reduced(number):
    """The sum, at any other rank."""
    with joined() as connection, connection.makefile("rw") as stream:
        print(number, file=stream, flush=True)
        return int(stream.readline())


total = reduced(rank + 1) if rank else gathered(rank + 1)
print(f"rank {rank} of {size}: the sum is {total}")
