"""Programs as tests run them: this project's own without the start of an interpreter.

Most of the time of a test that runs `inv` goes into starting Python and importing. Here one process imports
everything, and forks for each run: the program has a process, an environment, streams and an exit of its own,
and is there in a hundredth of a second. Signals are for tests that start a program by `subprocess`.

    tests          ── request: words, folder, environment; standard streams ──>  server (imported, one thread)
    tests          <── pid, then the exit status ──────────────────────────────  its child, which forks
                                                                                 the program itself
"""

import atexit
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
import threading
from pathlib import Path
from typing import Any

from helpers import start_lasting

#: The programs, and where their functions are.
PROGRAMS = {
    "inv": "invoke.main:program.run",
    "fab": "fabric.main:program.run",
    "paramgmt": "paramgmt_tasks.__main__:paramgmt",
    **{
        name: f"paramgmt_tasks.classic.executables:{name}"
        for name in ("rhosts", "lcmd", "rcmd", "rpush", "rpull", "rscript")
    },
}
#: What they import on the way.
_IMPORTED = (
    "ClusterShell.NodeSet",
    "distributed",
    "fabric.main",
    "invoke.main",
    "matplotlib.figure",
    "paramgmt_tasks.classic.executables",
    "paramgmt_tasks.fleet",
    "paramgmt_tasks.tasks",
)
#: Where those that are installed with this project are.
BIN = Path(sys.executable).parent
_LONGEST_REQUEST = 1 << 20

_server: "_Server | None" = None


def run(
    *words: "str | Path", cwd: Path, stdin: str = "", timeout: float = 120, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a program and capture its text; those that are installed with this one are found first."""
    global _server
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment}
    texts = tuple(map(str, words))
    if texts[0] in PROGRAMS and not measures_coverage():
        _server = _server or _Server()
        return _server.run(texts, stdin, cwd, env, timeout)
    return subprocess.run(
        texts, input=stdin, capture_output=True, text=True, cwd=cwd, env=env, timeout=timeout, check=False
    )


def measures_coverage() -> bool:
    """Whether coverage is measured, which begins with an interpreter."""
    return "COVERAGE_PROCESS_CONFIG" in os.environ or "COVERAGE_PROCESS_START" in os.environ


def in_shell(line: str, *words: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of bash in which this project's programs are found; `words` are its $1 and so on."""
    global _server
    path = f"{BIN}:{os.environ['PATH']}"
    if not measures_coverage():
        _server = _server or _Server()
        path = f"{_server.folder}:{path}"
    return run("bash", "-c", line, "bash", *words, cwd=cwd, **{"PATH": path, **environment})


def close() -> None:
    """End what has been started for `run`."""
    global _server
    if _server is not None:
        _server.close()
        _server = None


class _Server:
    """The process that has imported everything; `close` ends it."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        #: Has the programs under their names, for shells.
        self.folder = Path(self._temporary.name)
        self._path = f"{self.folder}/.socket"
        client = Path(__file__).with_name("program_client.py").read_text()
        for name in PROGRAMS:
            (self.folder / name).write_text(f"#!{sys.executable} -IS\n{client}")
            (self.folder / name).chmod(0o755)
        self._process = start_lasting(
            [sys.executable, __file__, self._path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # matplotlib makes folders at home, which is not to be that of the first test.
            env={**os.environ, "HOME": self._temporary.name},
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the server of programs has not started")

    def run(
        self, words: tuple[str, ...], stdin: str, cwd: Path, env: dict[str, str], timeout: float
    ) -> "subprocess.CompletedProcess[str]":
        """As the function `run`."""
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
            streams = [source.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(server, [b"%10d012" % len(request)], streams)
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
        self._temporary.cleanup()


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
    header, received, _, _ = socket.recv_fds(connection, 13, 3)
    request = b""
    while len(request) < int(header[:10]):
        request += connection.recv(_LONGEST_REQUEST)
    pid = os.fork()
    if pid:
        for stream in received:
            os.close(stream)
        connection.sendall(b"%d\n" % pid)
        connection.sendall(b"%d\n" % os.waitpid(pid, 0)[1])
        os._exit(0)
    connection.close()
    numbers = [int(number) for number in header[10:].decode().strip()]
    return _become(json.loads(request), dict(zip(numbers, received, strict=True)))


def _become(request: dict[str, Any], streams: dict[int, int]) -> int:
    """Be the program that is asked for; of the standard streams those that are not there are closed."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = None
        if number in streams:
            os.dup2(streams[number], number)
            os.close(streams[number])
            errors = "backslashreplace" if name == "stderr" else "strict"
            stream = open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        else:
            os.close(number)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    program, *words = request["words"]
    sys.argv = [str(Path(sys.executable).with_name(program)), *words]
    sys.path[0] = str(Path(sys.executable).parent)
    module, _, names = PROGRAMS[program].partition(":")
    function: Any = importlib.import_module(module)
    for name in names.split("."):
        function = getattr(function, name)
    return function()  # type: ignore[no-any-return]


def _main() -> None:
    """Serve; in a program's own process, end as an interpreter does, but for taking all modules to pieces."""
    status = 1
    try:
        status = _serve(sys.argv[1])
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        status = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError as error:
            status = 120
            if stream is not sys.stderr:
                print(f"Exception ignored: {error}", file=sys.stderr)
    os._exit(status or 0)


if __name__ == "__main__":
    _main()
