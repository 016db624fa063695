"""Echo what one client sends, over any transport: the server of the ping-pong. Python 3.8, nothing else.

    echo_server.py tcp:127.0.0.1:0 | uds:PATH | udp:127.0.0.1:0 | fd:N | pipe:READ,WRITE

Says in a line of JSON where it listens, and at the end what it has echoed and the processor time that took.
Ends with its client, or when its standard input does.
"""

import json
import os
import socket
import sys
import threading
import time

#: Bytes that are read at once: more once so many have come, so that no larger piece is made than is needed.
LEAST, LARGE, MOST = 64, 4096, 1 << 17


def end_with_input():
    """End this process when its standard input ends: whoever has started it is gone."""

    def wait():
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def echo(reader, writer):
    """Echo until the client has gone: bytes, and seconds of processor time since the first came.

    Of the ways to read and write, those of the os module cost least.
    """
    read, write = os.read, os.write
    wanted = LEAST
    piece = read(reader, wanted)
    begun = time.process_time()
    total = 0
    while piece:
        count = len(piece)
        total += count
        sent = write(writer, piece)
        if sent != count:
            write_all(writer, memoryview(piece)[sent:])
        if count == wanted:
            wanted *= 2
            if wanted > LARGE:
                return total + echo_large(reader, writer), time.process_time() - begun
        piece = read(reader, wanted)
    return total, time.process_time() - begun


def echo_large(reader, writer):
    """Echo the rest, by way of a buffer: large pieces cost more to make than that."""
    buffer = bytearray(MOST)
    buffers, view = [buffer], memoryview(buffer)
    readv, write = os.readv, os.write
    total = length = 0
    piece = view[:0]
    count = readv(reader, buffers)
    while count:
        total += count
        if count != length:
            piece, length = view[:count], count
        sent = write(writer, piece)
        if sent != count:
            write_all(writer, piece[sent:])
        count = readv(reader, buffers)
    return total


def echo_datagrams(sock):
    """As echo, until an empty datagram comes."""
    buffer = bytearray(MOST)
    view = memoryview(buffer)
    total = 0
    begun = None
    while True:
        count, peer = sock.recvfrom_into(buffer)
        if begun is None:
            begun = time.process_time()
        if not count:
            return total, time.process_time() - begun
        total += count
        sock.sendto(view[:count], peer)


def say(**facts):
    print(json.dumps(facts), flush=True)


def main(address):
    kind, _, place = address.partition(":")
    runtime = "python " + sys.version.split()[0]
    end_with_input()
    if kind == "udp":
        host, _, port = place.rpartition(":")
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, int(port)))
        say(listening="udp:%s:%d" % sock.getsockname(), runtime=runtime)
        total, cpu = echo_datagrams(sock)
    elif kind == "pipe":
        reader, writer = map(int, place.split(","))
        say(listening=address, runtime=runtime)
        total, cpu = echo(reader, writer)
    else:
        if kind == "fd":
            sock = socket.socket(fileno=int(place))
            say(listening=address, runtime=runtime)
        else:
            if kind == "tcp":
                host, _, port = place.rpartition(":")
                listener = socket.create_server((host, int(port)))
                address = "tcp:%s:%d" % listener.getsockname()[:2]
            else:
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(place)
                listener.listen(1)
            say(listening=address, runtime=runtime)
            sock, _ = listener.accept()
            if kind == "tcp":
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        total, cpu = echo(sock.fileno(), sock.fileno())
    say(bytes=total, cpu=cpu)


def write_all(descriptor, piece):
    """Write all of `piece`."""
    while piece:
        piece = piece[os.write(descriptor, piece) :]


if __name__ == "__main__":
    main(sys.argv[1])
