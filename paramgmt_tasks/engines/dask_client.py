"""The client of a Dask cluster: reached only if nobody else can read, or take part, on the way."""

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..model import Settings, UsageError, reason_of

if TYPE_CHECKING:
    from distributed import Client
    from distributed.security import Security

#: Seconds to reach the scheduler.
_CONNECT = 10.0
_ENCRYPTED = ("tls", "wss")


def connect(settings: Settings) -> "Client":
    """Reach the scheduler that the settings name.

    Raises:
        UsageError: there is none, it cannot be reached, or it must not be.
    """
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise UsageError("--engine dask needs dask.distributed: pip install 'paramgmt-tasks[dask]'") from None
    given = settings.scheduler or dask.config.get("scheduler-address", None)
    if not given:
        raise UsageError("--engine dask: name the scheduler with --scheduler tls://HOST:8786, or its file")
    address = _address(given)
    require_encryption(address, "scheduler", settings.insecure_scheduler)
    security = _security(settings, given, address)
    parts = urlsplit(address)
    try:
        # Dask would go on trying where nobody listens.
        socket.create_connection((parts.hostname, parts.port or 8786), _CONNECT).close()
        return Client(address, security=security, timeout=_CONNECT, set_as_default=False, name="paramgmt")
    except Exception as error:
        reason = reason_of(error) if isinstance(error, OSError) and error.errno else text_of(error)
        raise UsageError(f"--scheduler {given}: {reason}") from None


def _security(settings: Settings, given: str, address: str) -> "Security":
    """Dask's Security of the settings' certificates, and of Dask's own configuration."""
    from distributed.security import Security

    files = {
        "tls_ca_file": settings.tls_ca,
        "tls_client_cert": settings.tls_cert,
        "tls_client_key": settings.tls_key,
    }
    for option, path in zip(("--tls-ca", "--tls-cert", "--tls-key"), files.values(), strict=True):
        try:
            if path:
                Path(path).expanduser().read_bytes()
        except OSError as error:
            raise UsageError(f"{option} {path}: {reason_of(error)}") from None
    paths = {name: str(Path(path).expanduser()) for name, path in files.items() if path}
    try:
        security = Security(**paths)
        encrypted = security.get_connection_args("client").get("ssl_context") is not None
    except Exception as error:  # of the ssl module, in many ways
        raise UsageError(f"{', '.join(paths.values())}: cannot be used for TLS: {text_of(error)}") from None
    if urlsplit(address).scheme in _ENCRYPTED and not encrypted:
        raise UsageError(f"--scheduler {given}: TLS needs --tls-ca, --tls-cert and --tls-key")
    return security


def _address(given: str) -> str:
    """The address of a scheduler, which is given itself or in a scheduler file."""
    if "://" in given:
        return given
    try:
        found = json.loads(Path(given).expanduser().read_text())["address"]
    except OSError as error:
        raise UsageError(
            f"--scheduler {given}: {reason_of(error)}: give an address, tls://HOST:PORT, or a scheduler file"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"--scheduler {given}: not a scheduler file of Dask's") from None
    return str(found)


def require_encryption(address: str, what: str, insecure: bool) -> None:
    """Refuse what is not encrypted, unless `insecure`: on this machine too all its users can reach that.

    Raises:
        UsageError: others could read what is sent there, and run what they like as the user of the workers.
    """
    if urlsplit(address).scheme in _ENCRYPTED or insecure:
        return
    raise UsageError(
        f"Dask {what} {address}: others could read what goes there, and run what they like there: "
        "use tls://, or allow it with --insecure-scheduler"
    )


def text_of(error: BaseException) -> str:
    """What an error says, in one line; its type, if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
