"""This project's programs, run without the start of an interpreter.

Most of the time of a test that runs `inv` goes into starting Python and importing. Here one process imports
everything, and forks for each run: the program has a process, an environment, streams, signals and an exit
of its own, and is there in a hundredth of a second.

    tests          ── request: words, folder, environment; standard streams ──>  server (imported, one thread)
    tests          <── pid, then the exit status ──────────────────────────────  its child, which forks
                                                                                 the program itself
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: The programs, and where their functions are.
PROGRAMS = {
    "inv": "invoke.main:program.run",
    **{
        name: f"paramgmt_tasks.classic.executables:{name}"
        for name in ("rhosts", "lcmd", "rcmd", "rpush", "rpull", "rscript", "paramgmt")
    },
}
#: What they import on the way.
_IMPORTED = (
    "ClusterShell.NodeSet",
    "fabric",
    "invoke.main",
    "paramgmt_tasks.classic.executables",
    "paramgmt_tasks.fleet",
    "paramgmt_tasks.tasks",
)
_LONGEST_REQUEST = 1 << 20


class ProgramServer:
    """The process that has imported everything; `close` ends it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = f"{self._folder.name}/socket"
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the server of programs has not started")

    def run(
        self, words: "tuple[str, ...]", stdin: str, cwd: Path, env: dict[str, str], timeout: float
    ) -> "subprocess.CompletedProcess[str]":
        """As `subprocess.run` with captured text, of a program that is in PROGRAMS."""
        with (
            tempfile.TemporaryFile() as source,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            socket.socket(socket.AF_UNIX) as server,
        ):
            source.write(stdin.encode())
            source.seek(0)
            server.connect(self._path)
            server.settimeout(timeout)
            request = json.dumps({"words": words, "cwd": str(cwd), "env": env}).encode()
            socket.send_fds(server, [b"%10d" % len(request)], [source.fileno(), out.fileno(), err.fileno()])
            server.sendall(request)
            answer = server.makefile()
            pid = int(answer.readline())
            try:
                status = os.waitstatus_to_exitcode(int(answer.readline()))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(words, timeout) from None
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(words, status, out.read().decode(), err.read().decode())

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=10)
        self._folder.cleanup()


# -- the server's side


def _serve(path: str) -> int:
    """Answer requests until standard input ends; in a program's own process, return its exit status."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # so that programs share the memory
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
        os.write(1, b"ready\n")
        while True:
            ready, _, _ = select.select([0, listener], [], [])
            if listener not in ready:
                return 0
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, _, _ = socket.recv_fds(connection, 10, 3)
    request = b""
    while len(request) < int(length):
        request += connection.recv(_LONGEST_REQUEST)
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        connection.sendall(b"%d\n" % pid)
        connection.sendall(b"%d\n" % os.waitpid(pid, 0)[1])
        os._exit(0)
    connection.close()
    return _become(json.loads(request), streams)


def _become(request: dict[str, Any], streams: list[int]) -> int:
    """Be the program that is asked for."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        errors = "backslashreplace" if name == "stderr" else "strict"
        number = ("stdin", "stdout", "stderr").index(name)
        made = open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    program, *words = request["words"]
    sys.argv = [str(Path(sys.executable).with_name(program)), *words]
    sys.path[0] = str(Path(sys.executable).parent)
    module, _, names = PROGRAMS[program].partition(":")
    function: Any = importlib.import_module(module)
    for name in names.split("."):
        function = getattr(function, name)
    return function()  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[1]))
