"""Real OpenSSH for the tests: one sshd on 0.0.0.0 is every 127.x.y.z, hundreds of hosts in one process."""

import getpass
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dask_cluster import DaskCluster
from helpers import free_port, listens, start_lasting, until

from paramgmt_tasks import Host, Settings

_SFTP = "Subsystem sftp internal-sftp"


@dataclass
class Sshd:
    """A running sshd, and what is needed to get in."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def home(self) -> Path:
        """The home of every host: they are one machine."""
        return self.folder / "home"

    @property
    def identity(self) -> str:
        return str(self.folder / "id_ed25519")

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def options(self, **changed: str) -> dict[str, str]:
        known = {
            "Port": str(self.port),
            "User": getpass.getuser(),
            "IdentityFile": self.identity,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "StrictHostKeyChecking": "yes",
        }
        return {**known, **changed}

    def host(self, number: int = 1, **changed: str) -> Host:
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        return Host(address, address, options=self.options(**changed))

    def hosts(self, count: int) -> list[Host]:
        return [self.host(number) for number in range(count)]

    def write_list(self, path: Path, lines: list[str]) -> Path:
        options = " ".join(f"{key}={value}" for key, value in self.options().items())
        path.write_text(f"* {options}\n" + "\n".join(lines) + "\n")
        return path


@pytest.fixture(scope="session")
def start_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Sshd]]:
    program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI has no sshd: install openssh-server")
        pytest.skip("needs sshd, from the package openssh-server")
    running = []

    def start(*lines: str) -> Sshd:
        folder = tmp_path_factory.mktemp("sshd")
        (folder / "home").mkdir()
        for name in ("host_key", "id_ed25519"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        port = free_port()
        # Of several lines sshd takes the first.
        environment = [line.removeprefix("SetEnv ") for line in lines if line.startswith("SetEnv ")]
        config = [
            f"Port {port}",
            "ListenAddress 0.0.0.0",
            f"HostKey {folder / 'host_key'}",
            f"AuthorizedKeysFile {folder / 'id_ed25519.pub'}",
            "StrictModes no",
            "UsePAM no",
            "PidFile none",
            *([] if any(line.startswith("Subsystem") for line in lines) else [_SFTP]),
            " ".join(["SetEnv", f"HOME={folder / 'home'}", *environment]),
            *(line.format(folder=folder) for line in lines if not line.startswith("SetEnv ")),
        ]
        (folder / "config").write_text("\n".join(config) + "\n")
        host_key = (folder / "host_key.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.*]:{port} {host_key}")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        process = start_lasting([program, "-D", "-f", folder / "config", "-E", folder / "log"])
        sshd = Sshd(folder, port, process)
        running.append(sshd)
        until(lambda: listens(port), 20, lambda: f"sshd did not start: {sshd.log}")
        return sshd

    yield start
    for sshd in running:
        sshd.process.terminate()
        sshd.process.wait(10)


@pytest.fixture(scope="session")
def sshd(start_sshd: Callable[..., Sshd]) -> Sshd:
    return start_sshd("MaxStartups 1000", "MaxSessions 10")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    pytest.importorskip("distributed", reason="needs dask.distributed, from the extra dask")
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"), workers=2)
    yield cluster
    cluster.stop()


@pytest.fixture(params=["threads", "processes", "dask"])
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def engine_settings(engine: str, request: pytest.FixtureRequest) -> Settings:
    if engine == "dask":
        return request.getfixturevalue("cluster").settings(connect_timeout=20)
    return Settings(engine=engine, workers=2, connect_timeout=20)


@pytest.fixture
def options(engine: str, request: pytest.FixtureRequest) -> list[str]:
    """The same on the command line."""
    if engine == "dask":
        return request.getfixturevalue("cluster").options()
    return ["--engine", engine, "--workers", "2"]


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Any]:
    """Servers that misbehave: see faulty.py."""
    pytest.importorskip("asyncssh", reason="needs asyncssh, from the extra sandbox")
    from faulty import FaultyServers

    (tmp_path / "faulty").mkdir()
    servers = FaultyServers(tmp_path / "faulty")
    yield servers
    servers.close()


@pytest.fixture
def settings() -> Settings:
    return Settings(connect_timeout=20)
