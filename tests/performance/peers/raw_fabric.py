"""Fabric's own ThreadingGroup, as its documentation shows it."""

import json
import os
import sys
from pathlib import Path

from fabric import ThreadingGroup
from fabric.exceptions import GroupException

job = json.loads(Path(sys.argv[1]).read_text())
group = ThreadingGroup(
    *[f"{job['user']}@{host}:{port}" for host, port in job["hosts"]],
    connect_timeout=10,
    connect_kwargs={"key_filename": job["key"], "allow_agent": False, "look_for_keys": False},
)
good = set(group)
for verb, *words in job["steps"]:
    if words[0].endswith("tree"):
        sys.exit("Fabric copies no folders")
    try:
        if verb == "run":
            results = group.run(words[0], hide=True)
        elif verb == "put":
            results = group.put(words[0], words[1])
        else:
            results = group.get(words[0], words[1] + "/{host}/")
    except GroupException as error:
        results = error.result
        good -= set(results.failed)
    if verb == "run" and job["expected"]:
        good &= {c for c, result in results.succeeded.items() if job["expected"] in result.stdout}
print(json.dumps({"succeeded": len(good)}), flush=True)
os._exit(0)  # its threads may hang
