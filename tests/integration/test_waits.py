"""SIGUSR1 tells which host of a run waits for what, and does nothing else."""

import signal
import subprocess
import sys
from pathlib import Path

from dask_cluster import until

ROOT = Path(__file__).parent.parent.parent


def ask_what_it_waits_for(tmp_path: Path, *words: str) -> str:
    """What an operation says that has begun on two hosts, and waits there for the file `go`."""
    command = f"touch {tmp_path}/begun-?HOST; until test -e {tmp_path}/go; do sleep 0.1; done"
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", "--search-root", str(ROOT), *words, "--fanout", "2", "--", command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        process.send_signal(signal.SIGUSR1)
        said = "".join(process.stderr.readline() for _ in range(4))
    finally:
        (tmp_path / "go").touch()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, ""), out
    return said


def test_a_run_tells_which_host_waits_for_what(sshd, tmp_path: Path) -> None:
    sshd.write_list(tmp_path / "hosts.txt", ["127.1.0.[1-3]"])
    run, hosts, *each = ask_what_it_waits_for(tmp_path, "rcmd", "-f", "hosts.txt").splitlines()
    assert run.startswith("<Run of RemoteCommand(command='touch ")
    assert run.endswith("… on 3 hosts: 3 not finished>")
    assert hosts.startswith("2 of at most 2 hosts under way, 0 of them ready; 0 pausing, 1 not begun; ")
    for number, line in enumerate(each, 1):
        assert line.startswith(f"127.1.0.{number}: waits for the host (descriptor ")
        assert "(try 1, " in line


def test_local_commands_are_worked_on(tmp_path: Path) -> None:
    said = ask_what_it_waits_for(tmp_path, "lcmd", "-m", "a,b").splitlines()
    assert said[2].startswith("a: is being worked on (try 1, ")
    assert said[3].startswith("b: is being worked on (try 1, ")
