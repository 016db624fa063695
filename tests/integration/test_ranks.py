"""Ranks on every engine, and programs that need them."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import free_port

from paramgmt_tasks import BenchmarkRun, Fleet, ParallelGroup, Pool, Recipe, RemoteCommand, Role, Settings

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "ranks"


def test_every_operation_knows_the_ranks_in_the_order_of_the_list(
    sshd, engine_settings: Settings, tmp_path: Path
) -> None:
    hosts = [*sshd.hosts(5), sshd.host(1)]
    addresses = ",".join(host.address for host in hosts)
    for rank in range(6):
        (tmp_path / f"source{rank}").write_text(f"file {rank}")
        (tmp_path / f"script{rank}").write_text("#!/bin/sh\necho script ?RANK/?COUNT ?FIRST ?ALL:q $R\n")
        (tmp_path / f"back{rank}").mkdir()
    everyone = f"6 127.1.0.1 {addresses}"
    with Fleet(hosts, engine_settings) as fleet:
        # The later a host is in the list, the sooner it is done.
        finishing = f"n=?RANK; until [ $n -ge 5 ] || [ -e {tmp_path}/done$((n+1)) ]; do sleep 0.02; done; "
        run = fleet.run(f"{finishing} touch {tmp_path}/done$n; echo $n ?COUNT ?FIRST ?ALL")
        assert [result.stdout.decode() for result in run.report()] == [f"{n} {everyone}\n" for n in range(6)]
        env = {"R": "?RANK of ?COUNT", "H": "?HOST"}
        report = fleet.run('echo "$R $H"', env=env, canary=1, batch=2).report()
        assert [result.stdout.decode() for result in report] == [
            f"{n} of 6 {host.entry}\n" for n, host in enumerate(hosts)
        ]
        report = fleet.script(tmp_path / "script?RANK", env={"R": "?RANK"}).report()
        assert [result.stdout.decode() for result in report] == [
            f"script {n}/{everyone} {n}\n" for n in range(6)
        ]
        assert fleet.push(tmp_path / "source?RANK", f"{tmp_path}/there?RANK-?COUNT").ok
        assert fleet.pull(f"{tmp_path}/there?RANK-6", tmp_path / "back?RANK").ok
        assert fleet.local(f"test -e {tmp_path}/back?RANK/there?RANK-?COUNT").report().ok
        assert [host.rank for host in fleet.hosts] == [None] * 6
    for rank in range(6):
        assert (tmp_path / f"back{rank}" / f"there{rank}-6").read_text() == f"file {rank}"


def test_values_are_quoted_for_the_shell_of_a_host(sshd, engine_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("#!/bin/sh\nprintf '<%s>' ?NOTE:q ?NOTE\n")
    notes = ["a  b'$(echo c)", "a  b'$(echo c)", "plain"]
    hosts = [replace(host, variables={"NOTE": note}) for host, note in zip(sshd.hosts(3), notes, strict=True)]
    with Fleet(hosts, engine_settings) as fleet:
        report = fleet.run("printf '<%s>' ?NOTE:q").report()
        assert [result.stdout for result in report] == [b"<a  b'$(echo c)>"] * 2 + [b"<plain>"]
        assert fleet.script(tmp_path / "s").report()[2].stdout == b"<plain><plain>"


def test_a_group_of_connections_has_ranks(sshd) -> None:
    with ParallelGroup(*sshd.hosts(3)) as group:
        report = group.perform(RemoteCommand("echo ?RANK ?COUNT ?FIRST")).report()
    assert [result.stdout for result in report] == [f"{n} 3 127.1.0.1\n".encode() for n in range(3)]


def test_ranks_of_a_recipe_stay_when_a_host_drops_out(start_sshd, settings: Settings, tmp_path: Path) -> None:
    server = start_sshd('ForceCommand cd "$HOME" && exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')
    command = """printf '{"name": "?POINT", "rank": ?RANK, "of": "?COUNT ?FIRST"}\\n' >out-?RANK.jsonl"""
    role = Role("clients", f"grep -x '?RANK ?ALL' c && {command}", config={"c": "?RANK ?ALL\n"})
    recipe = Recipe("drops", roles=(replace(role, results=("out-?RANK.jsonl",)),))
    hosts = [server.host(0, Port="1"), server.host(1), server.host(2)]
    silent = {"note": lambda text: None, "say": lambda text: None}
    with closing(Pool()) as pool:
        run = BenchmarkRun(recipe, {"clients": hosts}, settings, tmp_path, pool, **silent)
        run.push()
        run.configure()
        folder = run.run()
        run.pull(folder)
        samples = run.analyze(folder).samples
    assert [host.entry for host in hosts[:1]] == list(run.dropped_hosts)
    assert [(sample["rank"], sample["of"]) for sample in samples] == [(1, "3 127.1.0.1"), (2, "3 127.1.0.1")]


def session() -> list[tuple[str, list[str]]]:
    """Each `$ …` of the example with the lines it shows below."""
    steps: list[tuple[str, list[str]]] = []
    for line in (EXAMPLE / "README.md").read_text().splitlines():
        if line.startswith("    $ "):
            steps.append((line[6:], []))
        elif line.startswith("    ") and steps and not line.startswith("    inv "):
            steps[-1][1].append(line[4:])
    return steps


def test_what_the_example_shows_comes_on_a_sandbox(tmp_path: Path) -> None:
    pytest.importorskip("asyncssh")
    shutil.copytree(EXAMPLE, tmp_path / "ranks")
    shutil.copy(ROOT / "tasks.py", tmp_path / "ranks")
    (tmp_path / "ranks" / "hostlists").mkdir()
    ports = {"29500": str(free_port()), "29501": str(free_port())}

    def run(command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-c", re.sub("2950[01]", lambda found: ports[found[0]], command)],
            capture_output=True,
            text=True,
            cwd=tmp_path / "ranks",
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            timeout=120,
            check=False,
        )

    steps = session()
    assert len(steps) == 7
    try:
        for command, shown in steps:
            done = run(command)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            missing = [line for line in shown if line not in done.stdout.splitlines()]
            assert not missing, (command, done.stdout)
    finally:
        run("inv sandbox.down")
