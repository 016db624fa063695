"""The least that a command through Fabric can take: its import, one handshake of paramiko's, one command."""

import json
import sys
from pathlib import Path

import fabric  # noqa: F401
import paramiko

job = json.loads(Path(sys.argv[1]).read_text())
[(host, port)] = job["hosts"]
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
key = paramiko.Ed25519Key.from_private_key_file(job["key"])
client.connect(host, port, job["user"], pkey=key, allow_agent=False, look_for_keys=False)
_, stdout, _ = client.exec_command(job["steps"][0][1])
print(json.dumps({"succeeded": int(job["expected"].encode() in stdout.read())}))
client.close()
