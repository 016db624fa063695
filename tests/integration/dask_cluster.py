"""A Dask cluster as users deploy it: scheduler and workers, each a process, over TLS on loopback."""

import datetime
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
    """A scheduler and its workers, of which each has a nanny that starts another where it dies."""

    def __init__(
        self, folder: Path, workers: int, tls: bool = True, environment: dict[str, str] | None = None
    ):
        self.folder = folder
        self._tls: list[str] = []
        if tls:
            make_certificates(folder)
            self._tls = [
                f"--tls-ca-file={folder / 'ca.pem'}",
                f"--tls-cert={folder / 'cert.pem'}",
                f"--tls-key={folder / 'key.pem'}",
            ]
        self.file = folder / "scheduler.json"
        self._environment = {**os.environ, **(environment or {})}
        self._processes = [
            self._start(
                "scheduler",
                f"--protocol={'tls' if tls else 'tcp'}",
                "--host=127.0.0.1",
                "--port=0",
                "--no-dashboard",
                f"--scheduler-file={self.file}",
            )
        ]
        self._until(self.file.exists)
        time.sleep(0.1)
        self.address = json.loads(self.file.read_text())["address"]
        for _ in range(workers):
            self._processes.append(
                self._start(
                    "worker",
                    self.address,
                    "--host=127.0.0.1",
                    "--nthreads=1",
                    "--no-dashboard",
                    f"--local-directory={folder}",
                )
            )
        self._until(lambda: self.log.count("Registered to") >= workers)

    def _start(self, what: str, *words: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [DASK, what, *words, *self._tls],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )

    def _until(self, done) -> None:
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def settings(self, **more) -> Settings:
        """Settings for this cluster."""
        files = {"tls_ca": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"} if self._tls else {}
        paths = {name: str(self.folder / file) for name, file in files.items()}
        return Settings(engine="dask", scheduler=self.address, **paths, **more)

    def options(self) -> list[str]:
        """The same as options."""
        names = ("ca", "cert", "key") if self._tls else ()
        words = [word for name in names for word in (f"--tls-{name}", str(self.folder / f"{name}.pem"))]
        return ["--engine", "dask", "--scheduler", self.address, *words]

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
