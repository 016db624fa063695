"""The script that a user of asyncssh would write: one connection a host, so many at once."""

import asyncio
import json
import os
import sys
from pathlib import Path

import asyncssh

job = json.loads(Path(sys.argv[1]).read_text())


async def work(host: str, port: int, room: asyncio.Semaphore, key: asyncssh.SSHKey) -> bool:
    options = {"username": job["user"], "client_keys": [key], "connect_timeout": 10, "config": None}
    async with room, asyncssh.connect(host, port, known_hosts=job["known_hosts"], **options) as connection:
        for verb, *words in job["steps"]:
            if verb == "run":
                result = await connection.run(words[0], check=True)
                if job["expected"] not in result.stdout:
                    return False
            elif verb == "put":
                await asyncssh.scp(words[0], (connection, words[1]), recurse=True)
            else:
                os.makedirs(f"{words[1]}/{host}", exist_ok=True)
                await asyncssh.scp((connection, words[0]), f"{words[1]}/{host}", recurse=True)
        return True


async def main() -> None:
    room, key = asyncio.Semaphore(job["fanout"] or 100), asyncssh.read_private_key(job["key"])
    tasks = [work(host, port, room, key) for host, port in job["hosts"]]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps({"succeeded": sum(result is True for result in results)}))


asyncio.run(main())
