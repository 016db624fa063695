"""A Dask cluster as users deploy it: scheduler and workers, each a process, over TLS on loopback."""

import datetime
import ipaddress
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from helpers import children, command_line, kill, start_lasting, until

from paramgmt_tasks import Settings

DASK = Path(sys.executable).parent / "dask"


def make_certificates(folder: Path) -> None:
    """A CA, and a certificate of it for all."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "paramgmt test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    for key, file in zip(keys, ("ca", "cert"), strict=True):
        subject = name if file == "ca" else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=file == "ca", path_length=None), critical=True)
            .add_extension(alternatives, critical=False)
            .sign(keys[0], hashes.SHA256())
        )
        (folder / f"{file}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        keys[1].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "key.pem").chmod(0o600)


class DaskCluster:
    """A scheduler and its workers, of which each has a nanny that starts another where it dies.

    They have a home of their own, `home`.
    """

    def __init__(self, folder: Path, workers: int, tls: bool = True) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir()
        self._tls: list[str] = []
        if tls:
            make_certificates(folder)
            self._tls = [
                f"--tls-ca-file={folder / 'ca.pem'}",
                f"--tls-cert={folder / 'cert.pem'}",
                f"--tls-key={folder / 'key.pem'}",
            ]
        self.file = folder / "scheduler.json"
        self._nannies: list[subprocess.Popen[bytes]] = []
        self._registered = 0
        self._scheduler = self._start(
            "scheduler",
            f"--protocol={'tls' if tls else 'tcp'}",
            "--host=127.0.0.1",
            "--port=0",
            "--no-dashboard",
            f"--scheduler-file={self.file}",
        )
        self._until(lambda: self.file.exists() and self.file.read_text().endswith("}"))
        self.address = json.loads(self.file.read_text())["address"]
        for _ in range(workers):
            self._start_worker()
        self.settle()

    def _start(self, what: str, *words: str, **environment: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return start_lasting(
                [DASK, what, *words, *self._tls],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(self.home), "TMPDIR": str(self.home), **environment},
            )

    def _start_worker(self, **environment: str) -> "subprocess.Popen[bytes]":
        words = ["--host=127.0.0.1", "--nthreads=1", "--no-dashboard", f"--local-directory={self.folder}"]
        nanny = self._start("worker", self.address, *words, **environment)
        self._nannies.append(nanny)
        self._registered += 1
        return nanny

    def settle(self) -> None:
        """Wait until all workers are there, those that were killed started again."""
        self._until(lambda: self.log.count("Registered to") >= self._registered)

    @contextmanager
    def worker(self, **environment: str) -> Iterator[None]:
        """One worker more meanwhile."""
        nanny = self._start_worker(**environment)
        self.settle()
        yield
        removed = self.log.count("Remove worker")
        self._kill(nanny)
        self._until(lambda: self.log.count("Remove worker") > removed)

    def _until(self, done: Callable[[], object]) -> None:
        until(done, 60, lambda: self.log)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def pids(self) -> list[int]:
        """The workers' own, each that of a child of its nanny."""
        return [pid for nanny in self._nannies for pid in self._workers(nanny)]

    def _workers(self, nanny: "subprocess.Popen[bytes]") -> list[int]:
        return [pid for pid in children(nanny.pid) if "spawn_main" in command_line(pid)]

    def kill(self, *pids: int) -> None:
        """Kill workers, which their nannies then start again."""
        self._registered += len(pids)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def _kill(self, nanny: "subprocess.Popen[bytes]") -> None:
        """Kill a worker and its nanny; they would take their time to end."""
        workers = self._workers(nanny)
        nanny.kill()
        nanny.wait()
        kill(workers)
        self._nannies.remove(nanny)

    def settings(self, **more: Any) -> Settings:
        """Settings for this cluster."""
        files = {"tls_ca": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"} if self._tls else {}
        paths = {name: str(self.folder / file) for name, file in files.items()}
        return Settings(
            engine="dask", scheduler=self.address, insecure_scheduler=not self._tls, **paths, **more
        )

    def options(self) -> list[str]:
        """The same as options."""
        names = ("ca", "cert", "key") if self._tls else ()
        words = [word for name in names for word in (f"--tls-{name}", str(self.folder / f"{name}.pem"))]
        words += [] if self._tls else ["--insecure-scheduler"]
        return ["--engine", "dask", "--scheduler", self.address, *words]

    def stop(self) -> None:
        for nanny in list(self._nannies):
            self._kill(nanny)
        self._scheduler.kill()
        self._scheduler.wait()
