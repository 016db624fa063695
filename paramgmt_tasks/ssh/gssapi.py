"""GSSAPI: logging in with a Kerberos ticket, by the method gssapi-with-mic (RFC 4462, section 3).

The library is an extra, and is imported only once a server offers the method and there is a ticket cache.
"""

import contextlib
import importlib.util
import os
import re
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

from ..model import one_line
from ..steps import MAY_BLOCK, Steps
from .config_lookup import Found
from .paramiko_internals import Answer, UserAuth

METHOD = "gssapi-with-mic"
#: Kerberos 5 (RFC 1964), in DER.
_KERBEROS = bytes.fromhex("06092a864886f712010202")
_ROUNDS = 16
_EXTRA = "it needs the extra gssapi: pip install 'paramgmt-tasks[gssapi]'"
_NO_TICKET = "there is no Kerberos ticket: kinit gets one"
#: What is a file or a folder; other caches are the kernel's, or another program's.
_FILE = re.compile(r"(?:(?:FILE|WRFILE|DIR|SCC):)?:?(/.*)")
_DEFAULT_CACHE = re.compile(r"^\s*default_ccache_name\s*=\s*(\S+)", re.MULTILINE)


class TicketFailure(Exception):
    """No login with a ticket; the text says why."""


class Context(Protocol):
    """What the library keeps of one login."""

    @property
    def complete(self) -> bool:
        """Whether nothing more has to come."""

    def step(self, token: bytes | None = None) -> bytes | None:
        """What is to be sent after what has come."""

    def get_signature(self, message: bytes) -> bytes:
        """By which the server sees who has sent a message."""


class Tickets:
    """How a login with a ticket goes for one host, as the GSSAPI options of ssh_config(5) have it.

    `missing` says why there can be none; it is empty if it may be tried.
    """

    def __init__(self, address: str, options: Found) -> None:
        self._address = address
        self._server = str(options.get("gssapiserveridentity") or "")
        self._client = str(options.get("gssapiclientidentity") or "")
        self._delegates = options.is_yes("gssapidelegatecredentials")
        self._asks_dns = options.is_yes("gssapitrustdns")
        self.missing = _missing()

    def log_in(self, auth: UserAuth) -> Steps[Answer]:
        """Log in with a ticket.

        Raises:
            TicketFailure: there is none for this host, or the server's answers are none.
            NoAnswer, EOFError, OSError, paramiko.SSHException: as UserAuth's methods.
        """
        yield MAY_BLOCK  # the library, a name server and the key distribution centre are asked
        context = self._context(self._server_name(auth))
        token = context.step(None)
        answer = yield from auth.gssapi(_KERBEROS)
        for _ in range(_ROUNDS):
            if not answer.more:
                return answer
            if answer.token is not None:
                yield MAY_BLOCK
                token = context.step(answer.token)
            if context.complete:
                return (yield from auth.finish_gssapi(token, context.get_signature(auth.to_authenticate())))
            if token is None:
                break
            answer = yield from auth.gssapi_token(token)
        raise TicketFailure("the server goes on asking")

    def _server_name(self, auth: UserAuth) -> str:
        if self._server or not self._asks_dns:
            return self._server or self._address
        try:
            return socket.getnameinfo(auth.peer(), socket.NI_NAMEREQD)[0]
        except (OSError, TypeError):  # it has none, or is reached through something that is no socket
            return self._address

    def _context(self, server: str) -> Context:
        try:
            import gssapi
            from gssapi.raw.misc import GSSError
        except ImportError as error:
            raise TicketFailure(f"the extra gssapi does not work here: {one_line(str(error))}") from None
        flags = gssapi.RequirementFlag
        wanted = flags.mutual_authentication | flags.integrity
        if self._delegates:
            wanted |= flags.delegate_to_peer
        try:
            credentials = None
            if self._client:
                name = gssapi.Name(self._client, gssapi.NameType.user)
                credentials = gssapi.Credentials(name=name, usage="initiate")
            context: Context = gssapi.SecurityContext(
                name=gssapi.Name(f"host@{server}", gssapi.NameType.hostbased_service),
                creds=credentials,
                flags=wanted,
                mech=gssapi.MechType.kerberos,
                usage="initiate",
            )
        except GSSError as error:
            raise TicketFailure(_said(error)) from None
        return _Context(context, GSSError)


class _Context:
    """One of the library's, with its errors as what they mean here."""

    def __init__(self, context: Context, error: type[Exception]) -> None:
        self._context, self._error = context, error

    @property
    def complete(self) -> bool:
        return self._context.complete

    def step(self, token: bytes | None = None) -> bytes | None:
        with self._failures():
            return self._context.step(token)

    def get_signature(self, message: bytes) -> bytes:
        with self._failures():
            return self._context.get_signature(message)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise TicketFailure(_said(error)) from None


def _said(error: Exception) -> str:
    """What Kerberos says, without what GSSAPI says around it.

    >>> _said(Exception("Major (1): Unspecified. , Minor (2): No Kerberos credentials available"))
    'No Kerberos credentials available'
    """
    return one_line(re.sub(r".*Minor \(\d+\): ", "", str(error)))


def _missing() -> str:
    if not _is_installed():
        return _EXTRA
    name = os.environ.get("KRB5CCNAME") or _default_cache(os.environ.get("KRB5_CONFIG", "/etc/krb5.conf"))
    found = _FILE.fullmatch(name)
    return "" if found is None or os.path.exists(found[1]) else _NO_TICKET


@cache
def _is_installed() -> bool:
    return importlib.util.find_spec("gssapi") is not None


@cache
def _default_cache(configuration: str) -> str:
    """The name of the cache that holds unless the environment names one (krb5.conf(5))."""
    files = [Path(file) for file in configuration.split(":")]
    for file in [*files, *sorted(Path("/etc/krb5.conf.d").glob("*"))]:
        try:
            found = _DEFAULT_CACHE.search(file.read_text("utf-8", "replace"))
        except OSError:
            continue
        if found:
            return found[1].replace("%{uid}", str(os.getuid()))
    return f"/tmp/krb5cc_{os.getuid()}"
