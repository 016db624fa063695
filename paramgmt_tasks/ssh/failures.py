"""The one place where an exception met before anything was started becomes a failure with a reason."""

import errno
import os
import socket

import paramiko
from paramiko.ssh_exception import (
    BadHostKeyException,
    ChannelException,
    IncompatiblePeer,
    NoValidConnectionsError,
)

from ..model import Failure, Outcome, UsageError, one_line


class Denied(paramiko.AuthenticationException):
    """Every way of authenticating was refused, or sudo was; the text says which were tried."""


class NotStarted(Denied):
    """The server has refused to start a command; the text says so."""


class Untrusted(paramiko.SSHException):
    """The host key is not the known one, or not known though it has to be."""


class NoAnswer(TimeoutError):
    """The host did not answer in time; the text says in which step."""


class Silent(NoAnswer):
    """A host that was reached does not answer any more: questions for a sign of life were in vain."""


class Classified(Exception):
    """A failure that is known already, such as a jump host's for all hosts that it reaches."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def classify(error: BaseException) -> Failure:
    """What `error`, raised while a host was being reached, means for that host and for another try.

    Decided by type, errno and cause, never by a message's text.
    """
    if isinstance(error, Classified):
        return error.failure
    if isinstance(error, (Untrusted, BadHostKeyException)):
        return Failure(Outcome.UNTRUSTED, message_of(error))
    if isinstance(error, paramiko.AuthenticationException):
        return Failure(Outcome.DENIED, message_of(error))
    if isinstance(error, UsageError):
        return Failure(Outcome.ERROR, message_of(error))
    if isinstance(error, (IncompatiblePeer, paramiko.SSHException)):
        return _ssh_failure(error)
    if isinstance(error, EOFError):
        return Failure(Outcome.UNREACHABLE, "connection closed in the handshake", transient=True)
    if isinstance(error, OSError):
        return _os_failure(error)
    return Failure(Outcome.ERROR, f"{type(error).__name__}: {message_of(error)}")


def _ssh_failure(error: paramiko.SSHException) -> Failure:
    if isinstance(error, IncompatiblePeer):
        return Failure(Outcome.UNREACHABLE, f"no common algorithm: {message_of(error)}")
    if isinstance(error, ChannelException):
        return Failure(Outcome.UNREACHABLE, f"channel refused: {error.text}", transient=True)
    cause = error.__cause__ or error.__context__
    if isinstance(cause, TimeoutError):
        return Failure(Outcome.UNREACHABLE, "no answer from the SSH server", transient=True)
    if isinstance(cause, (EOFError, ConnectionError)):
        reason = "connection closed before the SSH banner"
        return Failure(Outcome.UNREACHABLE, reason, transient=True, congested=True)
    return Failure(Outcome.UNREACHABLE, message_of(error))


def _os_failure(error: OSError) -> Failure:
    if isinstance(error, NoValidConnectionsError):
        codes = {getattr(problem, "errno", None) for problem in error.errors.values()}
        reason = ", ".join(os.strerror(code).lower() for code in sorted(filter(None, codes)))
        return Failure(Outcome.UNREACHABLE, reason, transient=True)
    if isinstance(error, socket.gaierror):
        temporary = error.errno == socket.EAI_AGAIN
        reason = "name lookup failed for now" if temporary else "unknown host name"
        return Failure(Outcome.UNREACHABLE, reason, transient=temporary)
    if isinstance(error, NoAnswer):
        return Failure(Outcome.UNREACHABLE, message_of(error), transient=True)
    if isinstance(error, TimeoutError):
        return Failure(Outcome.UNREACHABLE, "connect timeout", transient=True)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        reason = "too many open files here: lower --fanout or raise ulimit -n"
        return Failure(Outcome.ERROR, reason, transient=True)
    if error.filename is not None:
        return Failure(Outcome.ERROR, f"{error.filename}: {error.strerror}")
    reason = os.strerror(error.errno).lower() if error.errno else message_of(error)
    return Failure(Outcome.UNREACHABLE, reason, transient=True)


def message_of(error: BaseException) -> str:
    """The error's text as a reason, its type's name if it has none."""
    return one_line(str(error)) or type(error).__name__
