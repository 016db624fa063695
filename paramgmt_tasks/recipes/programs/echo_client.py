"""Send packets to an echo server, each when the one before has come back. Python 3.8, nothing else.

    echo_client.py ADDRESS SIZE PACKETS

ADDRESS is as for echo_server.py. Says in a line of JSON how long it took, from the first packet sent to the
last byte received, on a monotonic clock; the processor time; and how long single packets took, of which one
in sixteen is timed.
"""

import json
import os
import socket
import struct
import sys
import threading
import time

SAMPLED = 16
#: Bytes from which a packet is read into a buffer: a large piece costs more to make than that.
LARGE = 4096
#: Seconds after which a datagram counts as lost and is sent again.
LOST = 1.0


def end_with_input():
    """End this process when its standard input ends: whoever has started it is gone."""

    def wait():
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def measure(exchange, count):
    """Exchange so many packets: nanoseconds for all, processor seconds, nanoseconds of those timed."""
    clock = time.perf_counter_ns
    samples = []
    begun_cpu = time.process_time()
    begun = clock()
    for _ in range(count // SAMPLED):
        before = clock()
        exchange(1)
        samples.append(clock() - before)
        exchange(SAMPLED - 1)
    exchange(count % SAMPLED)
    return clock() - begun, time.process_time() - begun_cpu, samples


def stream(reader, writer, packet):
    """A function that exchanges packets over a stream, counting bytes.

    Of the ways to read and write, those of the os module cost least.
    """
    size = len(packet)
    read, write, readv = os.read, os.write, os.readv
    view = memoryview(bytearray(size))
    whole = [view]

    def exchange_large(count):
        for _ in range(count):
            sent = write(writer, packet)
            if sent != size:
                write_all(writer, memoryview(packet)[sent:])
            got = readv(reader, whole)
            while got != size:
                more = readv(reader, [view[got:]])
                if not more:
                    sys.exit("the server closed the connection")
                got += more

    def exchange(count):
        for _ in range(count):
            sent = write(writer, packet)
            if sent != size:
                write_all(writer, memoryview(packet)[sent:])
            got = len(read(reader, size))
            while got != size:
                more = len(read(reader, size - got))
                if not more:
                    sys.exit("the server closed the connection")
                got += more

    return exchange_large if size >= LARGE else exchange


def datagrams(sock, packet, lost):
    """A function that exchanges datagrams; one that is lost is sent again, and counted in `lost`."""
    size = len(packet)
    buffer = bytearray(size)
    seconds = int(LOST)
    timeval = struct.pack("@ll", seconds, int((LOST - seconds) * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)

    def exchange(count):
        for _ in range(count):
            sock.send(packet)
            while True:
                try:
                    if sock.recv_into(buffer) == size:
                        break
                except BlockingIOError:
                    lost.append(1)
                    if len(lost) > 10:
                        sys.exit("the server does not answer")
                    sock.send(packet)

    return exchange


def write_all(descriptor, piece):
    """Write all of `piece`."""
    while piece:
        piece = piece[os.write(descriptor, piece) :]


def connect(address):
    """A socket for an address."""
    kind, _, place = address.partition(":")
    if kind == "fd":
        return socket.socket(fileno=int(place))
    if kind == "uds":
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(place)
        return sock
    host, _, port = place.rpartition(":")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    sock.connect((host, int(port)))
    if kind == "tcp":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def main(address, size, count):
    packet = os.urandom(size)
    lost = []
    nodelay = None
    end_with_input()
    if address.startswith("pipe:"):
        reader, writer = map(int, address[5:].split(","))
        exchange = stream(reader, writer, packet)
    else:
        sock = connect(address)
        if address.startswith("udp:"):
            exchange = datagrams(sock, packet, lost)
        else:
            exchange = stream(sock.fileno(), sock.fileno(), packet)
        if address.startswith("tcp:"):
            nodelay = bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    duration, cpu, samples = measure(exchange, count)
    if address.startswith("udp:"):
        sock.send(b"")
    runtime = "python " + sys.version.split()[0]
    facts = {"ns": duration, "cpu": cpu, "samples": samples, "lost": len(lost), "nodelay": nodelay}
    print(json.dumps(dict(facts, runtime=runtime)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
