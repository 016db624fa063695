"""Files over every engine: what is on the hosts, and here, is the same."""

import os
from pathlib import Path

import pytest
from helpers import until
from trees import litter, lying_tar, tree_of

from paramgmt_tasks import Fleet, Outcome, Settings
from paramgmt_tasks.model.operations import Copying, Pull


@pytest.fixture
def settings(engine_settings: Settings) -> Settings:
    return engine_settings


@pytest.fixture(scope="module")
def by_sftp(start_sshd):
    return start_sshd("ForceCommand internal-sftp")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "closed").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "large").write_bytes(os.urandom(700_000))
    for name, mode in (("run", 0o755), ("fixed", 0o444), ("setuid", 0o4755), ("new\nline", 0o600)):
        (folder / name).write_text(name)
        (folder / name).chmod(mode)
    (folder / os.fsdecode(b"not utf-8 \xff")).write_text("x")
    (folder / "closed" / "link").symlink_to("../run")
    (folder / "dangling").symlink_to("no such\nfile")
    (folder / "closed").chmod(0o555)
    return folder


def test_names_modes_links_and_empty_folders_go_out_and_come_back(
    sshd, settings: Settings, tree: Path, tmp_path: Path
) -> None:
    hosts = sshd.hosts(3)
    harmless = {"setuid": (0o755, b"setuid")}  # a host cannot give such a file
    for folder in ("back", "packed"):
        (tmp_path / folder).mkdir()
    with Fleet(hosts, settings) as fleet:
        assert fleet.push(tree, f"{tmp_path}/there-?HOST").ok
        for host in hosts:
            assert tree_of(tmp_path / f"there-{host.entry}") == tree_of(tree)
        assert fleet.pull(f"{tmp_path}/there-?HOST", tmp_path / "back").ok
        assert fleet.pull(f"{tmp_path}/there-?HOST", tmp_path / "packed", Copying(compress=True)).ok
    for host in hosts:
        for folder in ("back", "packed"):
            assert tree_of(tmp_path / folder / f"there-{host.entry}") == tree_of(tree) | harmless
    assert litter(tmp_path) == []


def test_hosts_with_sftp_only(by_sftp, settings: Settings, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    (source / "sub" / "empty").mkdir(parents=True)
    back.mkdir()
    (source / "large").write_bytes(os.urandom(700_000))
    (source / "sub" / "run").write_text("r")
    (source / "sub" / "run").chmod(0o755)
    hosts = by_sftp.hosts(3)
    for host in hosts:
        (tmp_path / f"there-{host.entry}").mkdir()
    with Fleet(hosts, settings) as fleet:
        assert fleet.push([source, source / "large"], f"{tmp_path}/there-?HOST/").ok
        assert fleet.push(source / "large", f"{tmp_path}/named-?HOST").ok
        assert fleet.pull(f"{tmp_path}/there-?HOST", back).ok
        assert fleet.pull(f"{tmp_path}/named-?HOST", f"{back}/named-?HOST").ok
        (missing,) = {result.reason for result in fleet.pull(f"{tmp_path}/none", back)}
        assert missing == f"{tmp_path}/none: no such file"
    for host in hosts:
        there = tmp_path / f"there-{host.entry}"
        assert tree_of(there / "source") == tree_of(source)
        assert (there / "large").read_bytes() == (source / "large").read_bytes()
        assert tree_of(back / there.name) == tree_of(there)
        assert (back / f"named-{host.entry}").read_bytes() == (source / "large").read_bytes()
    assert litter(tmp_path) == []


def test_a_source_that_one_host_lacks_is_an_error_of_that_host(
    sshd, settings: Settings, tmp_path: Path
) -> None:
    first, second, third = hosts = sshd.hosts(3)
    for host in (first, third):
        (tmp_path / host.entry).write_text(f"of {host.entry}")
    with Fleet(hosts, settings) as fleet:
        report = fleet.push(f"{tmp_path}/?HOST", f"{tmp_path}/there-?HOST")
    assert [result.outcome for result in report] == [Outcome.OK, Outcome.ERROR, Outcome.OK]
    assert report.results[1].reason == f"{tmp_path}/{second.entry}: no such file or folder here"
    assert (tmp_path / f"there-{third.entry}").read_text() == f"of {third.entry}"


def test_what_is_there_is_left_alone_where_so_asked(sshd, settings: Settings, tmp_path: Path) -> None:
    first, second = hosts = sshd.hosts(2)
    (tmp_path / "source").write_text("new")
    old, fresh = (tmp_path / f"there-{host.entry}" for host in hosts)
    old.write_text("old")
    with Fleet(hosts, settings) as fleet:
        report = fleet.push(tmp_path / "source", f"{tmp_path}/there-?HOST", Copying(overwrite=False))
        assert [result.outcome for result in report] == [Outcome.FAILED, Outcome.OK]
        assert "exists already" in report.results[0].reason
        assert (old.read_text(), fresh.read_text()) == ("old", "new")
        report = fleet.push(tmp_path / "source", f"{tmp_path}/there-?HOST", Copying(changed=True))
        assert [result.stdout for result in report] == [
            b"0 of 1 files unchanged\n",
            b"1 of 1 files unchanged\n",
        ]
        assert old.read_text() == "new"
        (tmp_path / f"back-{first.entry}").write_text("old")
        report = fleet.pull(f"{tmp_path}/there-?HOST", f"{tmp_path}/back-?HOST", Copying(overwrite=False))
        assert [result.ok for result in report] == [False, True]
        assert "exists already" in report.results[0].reason
    assert (tmp_path / f"back-{first.entry}").read_text() == "old"
    assert (tmp_path / f"back-{second.entry}").read_text() == "new"


def test_what_cannot_be_sent_is_named_and_the_rest_is_sent(sshd, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source" / "pipe")
    (tmp_path / "source" / "file").write_text("text")
    with Fleet([sshd.host()], settings) as fleet:
        (result,) = fleet.push(tmp_path / "source", f"{tmp_path}/there")
    assert (result.outcome, result.reason) == (Outcome.ERROR, f"{tmp_path}/source/pipe: not a regular file")
    assert tree_of(tmp_path / "there") == {"file": (0o644, b"text")}


def test_a_pull_to_where_nothing_can_be_is_an_error(sshd, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("text")
    with Fleet(sshd.hosts(2), settings) as fleet:
        for destination in (f"{tmp_path}/none/", f"{tmp_path}/source/x"):
            report = fleet.pull(f"{tmp_path}/source", destination)
            assert {result.outcome for result in report} == {Outcome.ERROR}, destination
        assert fleet.run("true").report().ok
    assert sorted(os.listdir(tmp_path)) == ["source"]


def test_a_host_that_sends_what_was_not_asked_for_writes_nothing(
    start_sshd, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "back").mkdir()
    lying = start_sshd(f"SetEnv PATH={lying_tar(tmp_path, '../escaped', 'other')}:/usr/bin:/bin")
    (tmp_path / "wanted").write_text("text")
    with Fleet(lying.hosts(2), settings) as fleet:
        report = fleet.pull(f"{tmp_path}/wanted", tmp_path / "back")
        assert {result.outcome for result in report} == {Outcome.FAILED}
        assert len({result.reason for result in report}) == 1
        assert fleet.run("true").report().ok, "the connections are good"
    assert tree_of(tmp_path / "back") == {}
    assert not (tmp_path / "escaped").exists()


def test_scripts_go_on_until_one_fails(sshd, settings: Settings, tmp_path: Path) -> None:
    hosts = sshd.hosts(3)
    for host in hosts:
        (tmp_path / f"first-{host.entry}").write_text("#!/bin/sh\necho ?HOST; cat\n")
    (tmp_path / "second").write_text(f"#!/bin/sh\ntest ?HOST != {hosts[1].entry} || exit 4\n")
    (tmp_path / "third").write_text("echo third\n")
    paths = [tmp_path / "first-?HOST", tmp_path / "second", tmp_path / "third"]
    with Fleet(hosts, settings) as fleet:
        report = fleet.script(*paths, stdin=b"in\n").report()
        assert [result.stdout.decode() for result in report] == [
            f"{host.entry}\nin\n" + ("" if host is hosts[1] else "third\n") for host in hosts
        ]
        assert [result.return_code for result in report] == [0, 4, 0]
        assert report.results[1].reason == f"{tmp_path}/second: return code 4"
        (tmp_path / f"first-{hosts[2].entry}").unlink()
        report = fleet.script(paths[0]).report()
    assert [result.outcome for result in report] == [Outcome.OK, Outcome.OK, Outcome.ERROR]
    assert report.results[2].reason == f"script {tmp_path}/first-{hosts[2].entry}: no such file or directory"


def test_workers_go_on_after_a_pull_that_was_broken_off(sshd, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(30_000_000))
    (tmp_path / "back").mkdir()
    with Fleet(sshd.hosts(4), settings) as fleet:
        run = fleet.perform(Pull((f"{tmp_path}/source",), f"{tmp_path}/back/?HOST"), limit_rate=20e6)
        until(lambda: os.listdir(tmp_path / "back"))
        run.cancel(0)
        assert {result.outcome for result in run} <= {Outcome.LOST, Outcome.CANCELLED}
        assert fleet.run("true").report().ok
    until(lambda: not litter(tmp_path))
    assert os.listdir(tmp_path / "back") == []


def test_what_could_be_had_over_sftp_stays_where_some_could_not(
    by_sftp, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "there" / "sub").mkdir(parents=True)
    (tmp_path / "there" / "sub" / "file").write_text("text")
    os.mkfifo(tmp_path / "there" / "pipe")
    (tmp_path / "back").mkdir()
    with Fleet(by_sftp.hosts(1), settings) as fleet:
        (result,) = fleet.pull(tmp_path / "there", tmp_path / "back")
    assert (result.outcome, result.reason) == (Outcome.FAILED, f"{tmp_path}/there/pipe: not a regular file")
    assert (tmp_path / "back" / "there" / "sub" / "file").read_text() == "text"
