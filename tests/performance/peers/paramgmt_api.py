"""Our product from Python."""

import json
import sys
from pathlib import Path

from paramgmt_tasks import Fleet, Pull, Push, RemoteCommand
from paramgmt_tasks.model.hosts import parse_lines

job = json.loads(Path(sys.argv[1]).read_text())
with open(job["host_list"]) as lines, Fleet(parse_lines(lines, job["host_list"])) as fleet:
    good = {host.entry for host in fleet.hosts}
    for verb, *words in job["steps"]:
        if verb == "run":
            operation = RemoteCommand(words[0])
        elif verb == "put":
            operation = Push((words[0],), words[1])
        else:
            operation = Pull((words[0],), f"{words[1]}/?HOST")
        for result in fleet.perform(operation):
            if not result.ok or (verb == "run" and job["expected"].encode() not in result.stdout):
                good.discard(result.host.entry)
print(json.dumps({"succeeded": len(good)}))
