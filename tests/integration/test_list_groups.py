"""Lists with groups beside `ansible-inventory`, which reads the same INI files."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from paramgmt_tasks.inventory import ansible
from paramgmt_tasks.inventory.list_groups import parse


def generated(rng: random.Random) -> str:
    """An inventory of which both have to make the same."""
    groups = [f"g{number}" for number in range(rng.randint(1, 5))]
    hosts = ["web1", "web2", "web[03:06]", "db-[a:c]", "m[1:7:3].lan", "alone"]
    lines: list[str] = []

    def assigned() -> list[str]:
        return [f"v{rng.randint(0, 3)}={rng.choice(['1', 'x', 'a-b'])}" for _ in range(rng.randint(0, 2))]

    lines += [" ".join([name, *assigned()]) for name in rng.sample(hosts, rng.randint(0, 2))]
    for group in rng.sample(groups, len(groups)):
        lines.append(f"[{group}]")
        lines += [" ".join([name, *assigned()]) for name in rng.sample(hosts, rng.randint(0, 4))]
    for number, group in enumerate(groups[:-1]):
        children = rng.sample(groups[number + 1 :], rng.randint(0, len(groups) - number - 1))
        lines += [f"[{group}:children]", *children] if children else []
    for group in rng.sample([*groups, "all"], rng.randint(0, 3)):
        lines += [f"[{group}:vars]", *assigned()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(12))
def test_ansible_reads_the_same(seed: int, tmp_path: Path) -> None:
    program = ansible.program()
    if program is None:
        needed = "needs ansible-inventory, from ansible-core"
        pytest.fail(needed) if os.environ.get("CI") else pytest.skip(needed)
    text = generated(random.Random(seed))
    path = tmp_path / "fleet.ini"
    path.write_text(text)
    done = subprocess.run([program, "-i", path, "--list"], capture_output=True, text=True, check=True)
    theirs = ansible.read(path, "fleet").inventory()
    ours = parse(text.split("\n"), "fleet")
    assert {host.entry: dict(host.variables) for host in ours.hosts} == {
        host.entry: dict(host.variables) for host in theirs.hosts
    }
    # Ansible leaves out groups that are empty.
    named = json.loads(done.stdout)
    assert {name: set(ours.groups[name]) for name in named if name != "_meta"} == {
        name: set(entries) for name, entries in theirs.groups.items() if name in named
    }
