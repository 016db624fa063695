"""parallel-ssh's client on libssh2, with its defaults."""

import json
import sys
from pathlib import Path

from pssh.clients import ParallelSSHClient
from pssh.config import HostConfig

job = json.loads(Path(sys.argv[1]).read_text())
client = ParallelSSHClient(
    [host for host, _ in job["hosts"]],
    user=job["user"],
    pkey=job["key"],
    pool_size=job["fanout"] or 100,
    timeout=10 if not job["fanout"] else None,
    host_config=[HostConfig(port=port) for _, port in job["hosts"]],
)
failed = set()


def _target(words: list[str]) -> str:
    return Path(words[0]).name if words[1] == "." else words[1]


for verb, *words in job["steps"]:
    if verb == "run":
        for output in client.run_command(words[0], stop_on_errors=False):
            expected = job["expected"].encode() or b""
            text = b"" if output.exception else "\n".join(output.stdout).encode()
            if output.exception or expected not in text:
                failed.add(output.host)
    elif verb == "put":
        import gevent

        gevent.joinall(client.copy_file(words[0], _target(words), recurse=True), raise_error=True)
    else:
        import gevent

        gevent.joinall(
            client.copy_remote_file(words[0], f"{words[1]}/{words[0]}", recurse=True), raise_error=True
        )
print(json.dumps({"succeeded": len(job["hosts"]) - len(failed)}))
