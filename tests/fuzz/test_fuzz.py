"""A little of each fuzzer, of the faults and of the hostile fleet: see run.py for more."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import harness
import hostile
import pytest

#: How many cases of each, from this seed on. The first of `tar` are the known ways to do harm.
CASES = {
    "tar": 400,
    "ssh": 8,
    "sftp": 6,
    "known-hosts": 300,
    "ssh-config": 300,
    "host-list": 300,
    "record": 300,
    "faults": 4,
}
#: How many configurations are compared with OpenSSH's reading of them, each for some hosts.
CONFIGURATIONS = 500
SEED = 0


@pytest.fixture(scope="module")
def hunts() -> Iterator[dict[str, Future[harness.Hunt]]]:
    """All of them at once: most of the time they wait for what stalls."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        hunting = {name: pool.submit(harness.hunt, name, SEED, cases, 60) for name, cases in CASES.items()}
        yield hunting


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_violated(hunts: dict[str, Future[harness.Hunt]], name: str) -> None:
    hunt = hunts[name].result()
    assert hunt.done, "no case was finished"
    assert not hunt.findings, "\n".join(str(finding)[:1500] for finding in hunt.findings[:5])


def test_ssh_config_is_read_as_openssh_reads_it() -> None:
    hunt = harness.hunt("ssh-config-oracle", SEED, CONFIGURATIONS, 120)  # alone: it is never idle
    assert hunt.done == CONFIGURATIONS
    assert not hunt.findings, "\n".join(str(finding)[:1500] for finding in hunt.findings[:5])


@pytest.mark.parametrize(
    ("operation", "engine"),
    [*((operation, "threads") for operation in hostile.OPERATIONS), ("rcmd", "processes")],
)
def test_hostile_hosts_harm_neither_the_others_nor_this_machine(
    fleet: hostile.Hosts, operation: str, engine: str
) -> None:
    cost = fleet.perform(operation, engine, good=40, hostile=20, seconds=60)
    assert not cost.wrong


@pytest.fixture(scope="module")
def fleet() -> Iterator[hostile.Hosts]:
    # Every third kind: all of them are what hostile.py is for.
    with hostile.fleet(list(hostile.KINDS)[::3]) as hosts:
        yield hosts


def test_a_case_is_told_with_the_command_that_repeats_it(tmp_path: Path) -> None:
    finding = harness.Finding("tar", 7, "something")
    assert finding.command.endswith("tests/fuzz/run.py --only tar --seed 7 --cases 1")
    again = [
        sys.executable,
        str(harness.HERE / "run.py"),
        "--only",
        "known-hosts",
        "--seed",
        "7",
        "--cases",
        "1",
    ]
    done = subprocess.run(again, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.startswith("known-hosts: 1 cases from seed 7 ")
