"""Identities: private keys and the agent's keys, loaded once and shared by all connections."""

import base64
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import paramiko
from paramiko.auth_strategy import AuthSource, AuthStrategy
from paramiko.ssh_exception import BadAuthenticationType, PasswordRequiredException

from ..model import UsageError, reason_of
from ..steps import MAY_BLOCK, Steps, run_to_end
from .failures import Denied, NoAnswer, message_of
from .paramiko_internals import LeanTransport, LockedAgent

log = logging.getLogger("paramgmt_tasks")

#: Tried if nothing names an identity, in ssh's order (ssh_config(5), IdentityFile).
DEFAULT_FILES = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")


class Identities:
    """The keys to offer. Each file is read once however many hosts it is for; safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[tuple[str, str | None], paramiko.PKey | str] = {}
        self._agent: LockedAgent | None = None
        self._offers: dict[tuple[object, ...], list[paramiko.PKey]] = {}

    def load(self, path: str, passphrase: str | None = None) -> paramiko.PKey | str:
        """The private key in `path`, or one line that says why there is none."""
        with self._lock:
            if (path, passphrase) not in self._files:
                key = _read_key(Path(os.path.expanduser(path)), passphrase)
                if isinstance(key, paramiko.PKey):
                    # paramiko would derive the public half again for each host that it is offered to.
                    public = key.asbytes()
                    key.asbytes = lambda: public  # type: ignore[method-assign]
                self._files[path, passphrase] = key
            return self._files[path, passphrase]

    def require(self, path: str) -> None:
        """Make sure that an identity the user named can be used.

        Raises:
            UsageError: it cannot, and the agent does not hold it either.
        """
        key = self.load(path)
        if isinstance(key, str) and not self._held_by_agent([path]):
            raise UsageError(f"identity {path}: {key}")

    def agent_keys(self) -> list[paramiko.PKey]:
        """The keys the agent holds; it is asked once."""
        with self._lock:
            if self._agent is None:
                try:
                    self._agent = LockedAgent()
                except (paramiko.SSHException, OSError) as error:
                    log.warning("ssh-agent: %s", message_of(error))
                    return []
            return list(self._agent.get_keys())

    def _held_by_agent(self, paths: list[str]) -> list[paramiko.PKey]:
        blobs = {blob for path in paths if (blob := _public_blob(Path(os.path.expanduser(path))))}
        return [key for key in self.agent_keys() if key.asbytes() in blobs] if blobs else []

    def offers(
        self,
        files: list[str],
        *,
        only: bool = False,
        passphrase: str | None = None,
        agent: bool = True,
        defaults: bool = True,
    ) -> list[paramiko.PKey]:
        """The keys for one host in the order to try: its own files, the agent's, the default files.

        `only` (IdentitiesOnly) leaves out the agent's keys that are not one of the files.
        """
        case = (tuple(files), only, passphrase, agent, defaults)
        if case not in self._offers:
            own = [self.load(path, passphrase) for path in files]
            held = [] if not agent else self._held_by_agent(files) if only else self.agent_keys()
            rest = [] if files or not defaults else [self.load(path, passphrase) for path in DEFAULT_FILES]
            keys = [key for key in [*own, *held, *rest] if not isinstance(key, str)]
            self._offers[case] = list({key.asbytes(): key for key in keys}.values())
        return self._offers[case]

    def close(self) -> None:
        """Close the connection to the agent."""
        with self._lock:
            if self._agent is not None:
                self._agent.close()


def _read_key(path: Path, passphrase: str | None) -> paramiko.PKey | str:
    try:
        if passphrase is not None:
            return paramiko.PKey.from_path(path, passphrase.encode())  # type: ignore[arg-type]
        return paramiko.PKey.from_path(path)
    except OSError as error:
        return reason_of(error)
    except (PasswordRequiredException, TypeError):
        return "it has a passphrase: add it to ssh-agent with ssh-add"
    except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        return f"not a private key that can be used ({message_of(error)[:80]})"


def _public_blob(path: Path) -> bytes | None:
    try:
        return base64.b64decode(Path(f"{path}.pub").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None


class Authentication(AuthStrategy):
    """Offers the keys, then the password, and tells a refusal from a connection that was closed.

    Raises:
        Denied: the server accepts none of them.
        ConnectionResetError: the server closed the connection before it refused anything.
        NoAnswer: it did not answer before `deadline` (seconds on the monotonic clock).
    """

    def __init__(
        self, username: str, keys: Iterable[paramiko.PKey], password: str | None, deadline: float
    ) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._username = username
        self._keys = keys
        self._password = password
        self._withheld = ""
        self._deadline = deadline

    @property
    def has_password(self) -> bool:
        """Whether a password would be sent."""
        return self._password is not None

    def withhold_password(self, reason: str) -> None:
        """Send no password, for a reason that a refusal then names."""
        if self._password is not None:
            self._password, self._withheld = None, f"; no password is sent: {reason}"

    def get_sources(self) -> Iterator[AuthSource]:
        """Not used: `authenticate` walks the keys itself, to see how each was refused."""
        return iter(())

    def authenticate(self, transport: LeanTransport) -> None:  # type: ignore[override]
        """Authenticate on `transport`, or raise."""
        run_to_end(self.steps(transport))

    def steps(self, transport: LeanTransport) -> Steps[None]:
        """Steps that authenticate on `transport`, or raise."""
        refused: list[str] = []
        for name, offer in self._ways(transport):
            transport.auth_timeout = max(0.1, self._deadline - time.monotonic())
            try:
                further = yield from offer()
            except BadAuthenticationType as error:
                refused.append(f"{name} (the server wants {', '.join(error.allowed_types)})")
                continue
            except paramiko.AuthenticationException:
                if not transport.is_active() and not refused:
                    raise ConnectionResetError("closed during authentication") from None
                if time.monotonic() >= self._deadline:
                    raise NoAnswer("no answer to authentication") from None
                refused.append(name)
                if not transport.is_active():
                    break
                continue
            if not further:
                return
            refused.append(f"{name} alone (the server also wants {', '.join(further)})")
        tried = ", ".join(refused) or "no key to offer"
        raise Denied(f"authentication failed for {self._username}: {tried}{self._withheld}")

    def _ways(self, transport: LeanTransport) -> Iterator[tuple[str, Callable[[], Steps[list[str]]]]]:
        for key in self._keys:
            yield key.get_name(), partial(transport.offer_key, self._username, key)
        if self._password is not None:
            yield "password", partial(self._offer_password, transport, self._password)

    def _offer_password(self, transport: LeanTransport, password: str) -> Steps[list[str]]:
        yield MAY_BLOCK

        def answer(title: str, instructions: str, questions: list[tuple[str, bool]]) -> list[str]:
            """The password, if that is the one question; some servers have a round without any."""
            if len(questions) > 1:
                raise paramiko.SSHException("more questions than for a password")
            return [password] * len(questions)

        try:
            return transport.auth_password(self._username, password, fallback=False)
        except BadAuthenticationType as error:
            if "keyboard-interactive" not in error.allowed_types:
                raise
            # As paramiko's own fallback, which would have the time once more.
            transport.auth_timeout = max(0.1, self._deadline - time.monotonic())
            try:
                return transport.auth_interactive(self._username, answer)
            except paramiko.SSHException:
                raise error from None
