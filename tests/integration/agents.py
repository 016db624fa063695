"""Agents for tests: OpenSSH's own, and one of ours that holds the key of a token, or refuses to sign."""

import contextlib
import hashlib
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from helpers import until

from paramgmt_tasks.ssh.agent import read_frame, send_frame

_APPLICATION = "ssh:"


@contextlib.contextmanager
def ssh_agent(path: Path, *keys: Path) -> Iterator[str]:
    """A real agent behind the socket `path`, which lists keys in this order."""
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            until(lambda: not probe.connect_ex(str(path)))
        add = ["ssh-add", "-q", *keys]
        if keys:
            subprocess.run(add, env={"SSH_AUTH_SOCK": str(path), "PATH": "/usr/bin:/bin"}, check=True)
        yield str(path)
    finally:
        process.terminate()
        process.wait(10)


class TokenAgent(socketserver.ThreadingUnixStreamServer):
    """An agent with the key of a FIDO token, whose signatures have what the token adds (PROTOCOL.u2f).

    With `refuses` it lists the key and never signs, as somebody does who does not confirm.
    """

    daemon_threads = True

    def __init__(self, path: Path, refuses: bool = False) -> None:
        super().__init__(str(path), _Questions)
        self._key, self.refuses, self.signed = Ed25519PrivateKey.generate(), refuses, 0
        message = paramiko.Message()
        message.add_string("sk-ssh-ed25519@openssh.com")
        message.add_string(self._key.public_key().public_bytes_raw())
        message.add_string(_APPLICATION)
        self.public = message.asbytes()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, question: bytes) -> bytes:
        """The answer to one question."""
        answer = paramiko.Message()
        if question[0] == 11:
            answer.add_byte(b"\x0c")
            answer.add_int(1)
            answer.add_string(self.public)
            answer.add_string("token")
        elif question[0] == 13 and not self.refuses:
            self.signed += 1
            message = paramiko.Message(question[1:])
            message.get_string()
            data, extra = message.get_string(), struct.pack(">BI", 1, self.signed)
            signed = hashlib.sha256(_APPLICATION.encode()).digest() + extra + hashlib.sha256(data).digest()
            signature = paramiko.Message()
            signature.add_string("sk-ssh-ed25519@openssh.com")
            signature.add_string(self._key.sign(signed))
            answer.add_byte(b"\x0e")
            answer.add_string(signature.asbytes() + extra)
        else:
            answer.add_byte(b"\x05")
        return answer.asbytes()


class _Questions(socketserver.BaseRequestHandler):
    server: TokenAgent

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while question := read_frame(self.request):
                send_frame(self.request, self.server.answer(question))


@contextlib.contextmanager
def token_agent(path: Path, refuses: bool = False) -> Iterator[TokenAgent]:
    """A running TokenAgent."""
    with TokenAgent(path, refuses) as agent:
        yield agent
        agent.shutdown()
