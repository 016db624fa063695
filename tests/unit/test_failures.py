import errno
import socket

import paramiko
import pytest
from paramiko.ssh_exception import ChannelException, NoValidConnectionsError

from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.model.results import Outcome
from paramgmt_tasks.model.retry import Failure
from paramgmt_tasks.ssh.failures import Classified, Denied, NoAnswer, Untrusted, classify


def banner_error(cause: BaseException) -> paramiko.SSHException:
    try:
        try:
            raise cause
        except BaseException:
            raise paramiko.SSHException("Error reading SSH protocol banner")  # noqa: B904
    except paramiko.SSHException as error:
        return error


REFUSED = NoValidConnectionsError({("h", 22): ConnectionRefusedError(errno.ECONNREFUSED, "x")})


@pytest.mark.parametrize(
    ("error", "outcome", "transient", "congested"),
    [
        (REFUSED, Outcome.UNREACHABLE, True, False),
        (TimeoutError(), Outcome.UNREACHABLE, True, False),
        (NoAnswer("x"), Outcome.UNREACHABLE, True, False),
        (OSError(errno.ENETUNREACH, "x"), Outcome.UNREACHABLE, True, False),
        (ConnectionResetError(errno.ECONNRESET, "x"), Outcome.UNREACHABLE, True, False),
        (EOFError(), Outcome.UNREACHABLE, True, False),
        (banner_error(EOFError()), Outcome.UNREACHABLE, True, True),
        (banner_error(ConnectionResetError()), Outcome.UNREACHABLE, True, True),
        (banner_error(TimeoutError()), Outcome.UNREACHABLE, True, False),
        (paramiko.SSHException("Invalid packet blocking"), Outcome.UNREACHABLE, False, False),
        (ChannelException(2, "refused"), Outcome.UNREACHABLE, True, False),
        (socket.gaierror(socket.EAI_AGAIN, "x"), Outcome.UNREACHABLE, True, False),
        (socket.gaierror(socket.EAI_NONAME, "x"), Outcome.UNREACHABLE, False, False),
        (Denied("x"), Outcome.DENIED, False, False),
        (paramiko.AuthenticationException("x"), Outcome.DENIED, False, False),
        (Untrusted("x"), Outcome.UNTRUSTED, False, False),
        (OSError(errno.EMFILE, "x"), Outcome.ERROR, True, False),
        (FileNotFoundError(errno.ENOENT, "no such file", "k"), Outcome.ERROR, False, False),
        (UsageError("x"), Outcome.ERROR, False, False),
        (ZeroDivisionError("x"), Outcome.ERROR, False, False),
    ],
)
def test_what_an_exception_means(error, outcome, transient, congested) -> None:
    failure = classify(error)
    assert (failure.outcome, failure.transient, failure.congested) == (outcome, transient, congested)
    assert failure.reason
    assert "\n" not in failure.reason


def test_a_refused_connection_is_named_so() -> None:
    assert classify(REFUSED).reason == "connection refused"


def test_a_failure_that_is_known_stays_as_it_is() -> None:
    failure = Failure(Outcome.UNREACHABLE, "jump host b: connection refused", transient=True)
    assert classify(Classified(failure)) is failure
