"""A benchmark of one's own: pages a second of Python's web server, for clients with so many connections."""

from invoke import Collection

from paramgmt_tasks import Recipe, Role, benchmark

PORT = 8765

http = Recipe(
    "http",
    roles=(
        Role(
            "servers",
            f"exec python3 -m http.server {PORT} --bind ?ADDRESS",
            config={"page.html": "<p>Served by ?HOST\n"},
            ready=f"python3 -c 'import socket; socket.create_connection((\"?ADDRESS\", {PORT}))'",
        ),
        Role(
            "clients",
            f"python3 fetch.py http://?SERVER:{PORT}/page.html ?connections ?POINT >> pages.jsonl",
            files=("fetch.py",),
            results=("pages.jsonl",),
        ),
    ),
    parameters={"connections": [1, 4]},
    runs=3,
    variables=lambda cycle: {
        "clients": [{"SERVER": cycle.address(cycle.hosts["servers"][0])} for _ in cycle.hosts["clients"]]
    },
    metric="pages_per_s",
)

ns = Collection(benchmark(http))
