"""Fetch a page for a second over so many connections at once: fetch.py URL CONNECTIONS NAME."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

SECONDS = 1.0
url, connections, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
until = time.monotonic() + SECONDS


def fetch(_):
    """Fetch until time is up; how many pages."""
    count = 0
    while time.monotonic() < until:
        urlopen(url).read()
        count += 1
    return count


with ThreadPoolExecutor(connections) as pool:
    pages = sum(pool.map(fetch, range(connections)))
print(json.dumps({"name": name, "connections": connections, "pages_per_s": pages / SECONDS}))
