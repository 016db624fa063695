"""What is the Dask engine's own: clusters that must not be used, or cannot, and what their workers have."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import programs
import pytest
from dask_cluster import DaskCluster, make_certificates
from helpers import running, until

from paramgmt_tasks import Fleet, Outcome, RemoteCommand, Settings, UsageError

Rcmd = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A cluster without TLS, which has no workers of its own."""
    pytest.importorskip("distributed", reason="needs dask.distributed, from the extra dask")
    cluster = DaskCluster(tmp_path_factory.mktemp("plain"), workers=0, tls=False)
    yield cluster
    cluster.stop()


@pytest.fixture
def rcmd(sshd, tmp_path: Path) -> Rcmd:
    """Run `rcmd` on three hosts, whose command leaves a mark."""
    sshd.write_list(tmp_path / "hosts", [host.entry for host in sshd.hosts(3)])

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return programs.run("rcmd", "-f", "hosts", *words, "--", f"touch {tmp_path}/mark-?HOST", cwd=tmp_path)

    return run


@pytest.fixture
def refused(rcmd: Rcmd, tmp_path: Path) -> Callable[..., str]:
    """What `rcmd` says in its one line where nothing is run."""

    def run(*words: str) -> str:
        done = rcmd(*words)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert list(tmp_path.glob("mark-*")) == []
        (line,) = done.stderr.splitlines()
        return line.removeprefix("rcmd: ")

    return run


# -- clusters that are not used


def test_a_scheduler_has_to_be_named(refused) -> None:
    assert refused("--engine", "dask") == (
        "--engine dask: name the scheduler with --scheduler tls://HOST:8786, or its file"
    )


@pytest.mark.parametrize("words", [[], ["--engine", "threads"]])
def test_a_scheduler_is_for_no_other_engine(refused, words: list[str]) -> None:
    assert refused(*words, "--scheduler", "tls://127.0.0.1:8786") == "--scheduler is for --engine dask"


@pytest.mark.parametrize("machine", ["10.1.2.3", "127.0.0.1", "localhost", "[::1]"])
def test_no_machine_is_even_connected_without_tls(refused, machine: str) -> None:
    # 10.1.2.3 would not answer, and nobody listens here: what tried to connect would say so.
    said = refused("--engine", "dask", "--scheduler", f"tcp://{machine}:8786")
    assert said == (
        f"Dask scheduler tcp://{machine}:8786: others could read what goes there, and run what they like "
        "there: use tls://, or allow it with --insecure-scheduler"
    )


def test_files_that_are_no_scheduler_files(refused, tmp_path: Path) -> None:
    assert refused("--engine", "dask", "--scheduler", "none.json") == (
        "--scheduler none.json: no such file or directory: "
        "give an address, tls://HOST:PORT, or a scheduler file"
    )
    for text in ("{", "[]", '{"type": "Scheduler"}', "\xff"):
        (tmp_path / "wrong.json").write_text(text, encoding="latin-1")
        assert objection(Settings(engine="dask", scheduler=f"{tmp_path}/wrong.json")) == (
            f"--scheduler {tmp_path}/wrong.json: not a scheduler file of Dask's"
        )


def objection(settings: Settings) -> str:
    with Fleet(["a"], settings) as fleet, pytest.raises(UsageError) as refusal:
        fleet.run("true")
    (line,) = str(refusal.value).splitlines()
    return line


def test_certificates_of_another_authority(refused, cluster: DaskCluster, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    others = ["--tls-ca", "ca.pem", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]
    at = f"--scheduler {cluster.address}: "
    assert "TLS certificate does not match" in refused(*cluster.options()[:4], *others).removeprefix(at)
    # It is the cluster's, and not the client's, in whose name somebody comes.
    mine = {name: f"{tmp_path}/{name[4:]}.pem" for name in ("tls_cert", "tls_key")}
    assert objection(replace(cluster.settings(), **mine)).startswith(at)


def test_certificates_that_are_none(cluster: DaskCluster, tmp_path: Path) -> None:
    good = cluster.settings()
    (tmp_path / "wrong.pem").write_text("x")
    assert objection(replace(good, tls_ca=None, tls_cert=None, tls_key=None)) == (
        f"--scheduler {cluster.address}: TLS needs --tls-ca, --tls-cert and --tls-key"
    )
    assert objection(replace(good, tls_key="none.pem")) == "--tls-key none.pem: no such file or directory"
    assert "wrong.pem: cannot be used for TLS: " in objection(replace(good, tls_key=f"{tmp_path}/wrong.pem"))


def test_nobody_listens(refused) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    words = ["--engine", "dask", "--insecure-scheduler", "--scheduler", address]
    assert refused(*words) == f"--scheduler {address}: connection refused"


def test_a_cluster_has_no_workers(refused, plain: DaskCluster) -> None:
    assert refused(*plain.options()) == "the Dask cluster has no workers: start some with dask worker"


def test_a_worker_has_another_version(refused, plain: DaskCluster, tmp_path: Path) -> None:
    (tmp_path / "other" / "paramgmt_tasks").mkdir(parents=True)
    (tmp_path / "other" / "paramgmt_tasks" / "__init__.py").write_text('__version__ = "0.0.9"\n')
    with plain.worker(PYTHONPATH=str(tmp_path / "other")):
        said = refused(*plain.options())
    assert said.startswith("Dask worker tcp://127.0.0.1:")
    assert ": paramgmt-tasks 0.0.9 there, " in said


def test_a_plain_cluster_of_this_machine_by_its_file(rcmd: Rcmd, plain: DaskCluster, tmp_path: Path) -> None:
    with plain.worker():
        done = rcmd("--engine", "dask", "--insecure-scheduler", "--scheduler", str(plain.file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 succeeded, 0 failed, 3 total" in done.stdout
    assert len(list(tmp_path.glob("mark-*"))) == 3


# -- what workers have


def test_an_identity_is_the_workers(sshd, cluster: DaskCluster, tmp_path: Path) -> None:
    shutil.copy(sshd.identity, cluster.home / "key")
    hosts = sshd.hosts(4)
    for host in hosts:
        del host.options["IdentityFile"]
    locked = cluster.home / "locked"
    shutil.copy(sshd.identity, locked)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", locked], check=True)
    with Fleet(hosts, cluster.settings(identity="~/locked", passphrase="secret")) as fleet:
        assert fleet.run("true").report().ok
    with Fleet(hosts, cluster.settings(identity="~/key")) as fleet:
        assert not Path("~/key").expanduser().exists(), "there is none here"
        assert fleet.run("true").report().ok
        shutil.copy(sshd.identity, Path("~/other").expanduser())
        report = fleet.run("true", identity="~/other").report()
        assert {(result.outcome, result.reason) for result in report} == {
            (Outcome.ERROR, "identity ~/other: no such file or directory")
        }
        assert fleet.run("true").report().ok


def test_a_caller_that_raises_where_a_host_starts_is_no_reason_to_wait_for_ever(
    sshd, cluster: DaskCluster, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(index: int) -> None:
        raise OSError("no more")

    with Fleet(sshd.hosts(3), cluster.settings()) as fleet:
        report = fleet.perform(RemoteCommand("true"), on_start=refuse).report()
        assert {result.outcome for result in report} <= {Outcome.LOST, Outcome.ERROR}
        assert "cannot be handled: no more" in caplog.text
        assert fleet.run("true").report().ok


# -- from the command line


@pytest.fixture
def words(sshd, cluster: DaskCluster, tmp_path: Path) -> list[str | Path]:
    sshd.write_list(tmp_path / "hosts", ["127.1.0.[1-40]"])
    return [programs.BIN / "rcmd", "-f", "hosts", *cluster.options()]


def test_some_hosts_first(words, tmp_path: Path) -> None:
    rolling = ["--canary", "2", "--batch", "5", "--max-fail", "1"]
    done = programs.run(
        "rcmd",
        *words[1:],
        *rolling,
        "--",
        f"touch {tmp_path}/mark-?HOST; case ?HOST in *.[34]) exit 3;; esac",
        cwd=tmp_path,
    )
    assert done.returncode == 255
    assert "failed (2): 127.1.0.[3-4] - return code 3" in done.stderr
    assert "not started: 2 hosts failed, more than 1" in done.stderr
    marks = {path.name for path in tmp_path.glob("mark-*")}
    assert {f"mark-127.1.0.{number}" for number in range(1, 5)} <= marks
    assert len(marks) <= 7


def test_ctrl_c_ends_what_runs_on_the_hosts(words, tmp_path: Path) -> None:
    nap = f"7{os.getpid()}"
    process = subprocess.Popen(
        [*words, "--fanout", "10", "--", f"touch {tmp_path}/mark-?HOST; sleep {nap}"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(list(tmp_path.glob("mark-*"))) == 10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "lost (10): 127.1.0.[1-10] - interrupted; ended on the host" in err
    assert "cancelled (30): 127.1.0.[11-40] - " in err
    assert not running(f"sleep {nap}")
    assert len(list(tmp_path.glob("mark-*"))) == 10


def test_a_client_that_is_killed_has_a_record_of_all_that_was_started(inv, words, tmp_path: Path) -> None:
    marks, go = tmp_path / "marks", tmp_path / "go"
    marks.mkdir()
    command = f"echo ran >>{marks}/?HOST; until [ -e {go} ]; do sleep 0.1; done"
    with subprocess.Popen(
        [*words, "--fanout", "16", "--", command], cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as process:
        until(lambda: len(list(marks.iterdir())) == 16)
        process.kill()
    go.touch()
    done = inv("rcmd", "--hosts", "@unstarted", f"echo ran >>{marks}/?HOST")
    assert "24 succeeded, 0 failed, 24 total" in done.stdout, done.stderr
    assert sorted(path.name for path in marks.iterdir()) == sorted(f"127.1.0.{n}" for n in range(1, 41))
    assert {path.read_text() for path in marks.iterdir()} == {"ran\n"}, "none ran twice"


def test_which_engine_is_told(words, tmp_path: Path) -> None:
    done = programs.run("rcmd", *words[1:], "--verbose", "--", "true", cwd=tmp_path)
    assert done.stderr == "INFO: engine: dask, 2 workers\n"
