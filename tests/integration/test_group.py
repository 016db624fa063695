"""Fabric's own contract, kept by ParallelGroup."""

import io
import socket

import pytest
from fabric import Connection, ThreadingGroup
from fabric.exceptions import GroupException
from fabric.group import GroupResult
from invoke.exceptions import CommandTimedOut, UnexpectedExit

from paramgmt_tasks import ParallelGroup, Settings
from paramgmt_tasks.ssh.connection import HostConnection


@pytest.fixture
def group(sshd):
    with ParallelGroup(*sshd.hosts(5), settings=Settings(fanout=2)) as group:
        yield group


def test_it_is_a_threading_group_of_connections(group) -> None:
    assert isinstance(group, ThreadingGroup)
    assert [connection.host for connection in group] == [f"127.1.0.{n}" for n in range(1, 6)]
    assert all(isinstance(connection, Connection) for connection in group)


def test_run_gives_a_result_for_each_connection(group) -> None:
    results = group.run("echo out; echo err >&2", hide=True)
    assert isinstance(results, GroupResult)
    assert list(results) == list(group)
    for connection, result in results.items():
        assert (result.stdout, result.stderr, result.exited, result.ok) == ("out\n", "err\n", 0, True)
        assert result.connection is connection


def test_run_raises_with_the_results_where_one_failed(group) -> None:
    with pytest.raises(GroupException) as raised:
        group.run('case "$SSH_CONNECTION" in *" 127.1.0.3 "*) exit 3;; esac', hide=True)
    assert len(raised.value.result.succeeded) == 4
    ((connection, error),) = raised.value.result.failed.items()
    assert connection.host == "127.1.0.3"
    assert isinstance(error, UnexpectedExit)
    assert error.result.exited == 3


def test_a_connection_that_cannot_be_made_is_its_exception(sshd) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        down = f"127.0.0.1:{bound.getsockname()[1]}"
        group = ParallelGroup(down, sshd.host(), settings=Settings(connect_timeout=5, attempts=2))
        with group, pytest.raises(GroupException) as raised:
            group.run("true", hide=True)
    assert isinstance(raised.value.result[group[0]], OSError)
    assert raised.value.result[group[1]].ok


def test_options_of_run(sshd) -> None:
    with HostConnection(sshd.host()) as connection:
        assert connection.run("exit 4", hide=True, warn=True).exited == 4
        assert connection.run("echo $K", hide=True, env={"K": "a 'b'"}).stdout == "a 'b'\n"
        with pytest.raises(CommandTimedOut):
            connection.run("sleep 60", hide=True, timeout=0.5)


def test_what_needs_fabrics_own_runner_gets_it(sshd) -> None:
    with HostConnection(sshd.host()) as connection:
        assert "not a tty" not in connection.run("tty", hide=True, pty=True).stdout
        out = io.StringIO()
        connection.run("echo live", out_stream=out)
        assert out.getvalue() == "live\n"


def test_put_and_get(group, tmp_path) -> None:
    (tmp_path / "f").write_text("text")
    (tmp_path / "there").mkdir()
    for connection in group:
        connection.put(str(tmp_path / "f"), str(tmp_path / "there" / connection.host))
    group.get(str(tmp_path / "f"), f"{tmp_path}/back/{{host}}")
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == [c.host for c in group]
    assert all((tmp_path / "there" / connection.host).read_text() == "text" for connection in group)


def test_connections_of_a_group_do_not_share_their_keyword_arguments(sshd) -> None:
    kwargs = {"key_filename": [sshd.identity]}
    group = ParallelGroup(*sshd.hosts(3), connect_kwargs=kwargs)
    with group:
        assert group.run("true", hide=True).failed == {}
    assert kwargs == {"key_filename": [sshd.identity]}
