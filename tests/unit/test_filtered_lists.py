"""A list that is filtered stays as it was written: its order, duplicates, variables and options."""

import os
from pathlib import Path

import pytest
from ClusterShell.NodeSet import NodeSet
from hypothesis import assume, given
from hypothesis import strategies as st

from paramgmt_tasks.inventory import read_inventory
from paramgmt_tasks.model import Host
from paramgmt_tasks.tasks import Options

NAMES = [f"{letter}{number}" for letter in "ab" for number in range(1, 6)]
#: A host of a list, with what it may have, from line to line another.
LINES = st.builds(
    lambda name, user, port, settings: f"{user}{name}{port} {settings}",
    st.sampled_from(NAMES),
    st.sampled_from(["", "nic@"]),
    st.sampled_from(["", ":2222"]),
    st.sampled_from(["", "RACK=b", "Port=22 PEER=x", "HostName=10.0.0.1", "rack=a ProxyJump=j # and so on"]),
)
TERMS = st.one_of(
    st.sampled_from(NAMES),
    st.builds("{}[{}-{}]".format, st.sampled_from("ab"), st.integers(1, 2), st.integers(3, 5)),
    st.builds(",".join, st.lists(st.sampled_from(NAMES), min_size=2, max_size=3)),
)
EXPRESSIONS = st.builds(
    lambda first, more: first + "".join(map("".join, more)),
    TERMS,
    st.lists(st.tuples(st.sampled_from([",", " , ", "&", "!", " ! ", "^"]), TERMS), max_size=3),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists")


@given(lines=st.lists(LINES, min_size=1, max_size=12), limit=EXPRESSIONS, exclude=EXPRESSIONS)
def test_a_filtered_list_is_the_list_with_lines_left_out(
    folder: Path, lines: list[str], limit: str, exclude: str
) -> None:
    """All names are in it once more at its end, so that no part of an expression means nothing."""
    path = folder / f"{os.getpid()}.txt"
    path.write_text("\n".join([*lines, *NAMES]) + "\n")
    hosts = list(read_inventory(str(path)).hosts)
    kept, left_out = _meant(limit), _meant(exclude)
    expected = [host for host in hosts if host.address in kept and host.address not in left_out]
    assume(kept and left_out and expected)
    found = Options({"hosts": [str(path)], "limit": limit, "exclude": [exclude]}, {}).hosts()
    # Equal in everything: entry, address, user, port, variables and options.
    assert found == expected
    assert [_all_of(host) for host in found] == [_all_of(host) for host in expected]


def _meant(expression: str) -> set[str]:
    return set(NodeSet(expression, resolver=None))


def _all_of(host: Host) -> tuple[object, ...]:
    return host.entry, host.user, host.port, list(host.variables.items()), list(host.options.items())
