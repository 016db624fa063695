import pickle

import pytest

from paramgmt_tasks.model.hosts import Host
from paramgmt_tasks.model.operations import LocalCommand, Pull, Push, RemoteCommand, Script

HOST = Host("nic@web1", "web1", "nic", variables={"PEER": "db1"})


@pytest.mark.parametrize(
    ("operation", "filled", "description"),
    [
        (LocalCommand("mk ?HOST"), LocalCommand("mk nic@web1"), "lcmd [N]: mk nic@web1"),
        (RemoteCommand("ping ?PEER ?X"), RemoteCommand("ping db1 ?X"), "rcmd [N]: ping db1 ?X"),
        (Script(("a?HOST", "b")), Script(("anic@web1", "b")), "rscript [N]: running anic@web1 b"),
        (Push(("?PEER", "g"), "/?HOST"), Push(("db1", "g"), "/nic@web1"), "rpush [N]: db1 g => N:/nic@web1"),
        (Pull(("f",), "r/?PEER"), Pull(("f",), "r/db1"), "rpull [N]: N:f => r/db1"),
        (Pull(("f", "g"), "r"), Pull(("f", "g"), "r"), "rpull [N]: N:{f,g} => r"),
    ],
)
def test_an_operation_is_filled_in_for_a_host_and_described(operation, filled, description) -> None:
    assert operation.on(HOST) == filled
    assert operation.on(HOST).description("N") == description
    assert pickle.loads(pickle.dumps(operation)) == operation


def test_only_transfers_may_be_repeated_in_the_middle() -> None:
    repeatable = [kind.repeatable for kind in (LocalCommand, RemoteCommand, Script, Push, Pull)]
    assert repeatable == [False, False, False, True, True]
