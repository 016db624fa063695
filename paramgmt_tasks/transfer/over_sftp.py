"""Push and Pull over SFTP, for hosts without tar or a shell: each file whole or not at all."""

from ..model import Output, Pull, Push
from ..ssh import CommandStatus, HostConnection
from .sftp_pull import pull
from .sftp_push import push
from .sftp_session import SftpTransfer
from .timeouts import OutOfTime, timed_out


def run(connection: HostConnection, operation: Push | Pull, err: Output) -> CommandStatus:
    """Copy what `operation` says; the files that failed are named in `err`.

    Raises:
        OSError, EOFError, paramiko.SSHException: the host was not reached, or the connection broke.
    """
    copy = SftpTransfer(connection, operation.how, err)
    try:
        for path in list(copy.left_there):  # by an attempt that broke off
            copy.remove(path)
        if isinstance(operation, Push):
            push(copy, operation)
        else:
            pull(copy, operation)
        connection.transport.bound_writes(None)
    except BaseException as error:
        copy.sftp.close()
        late = isinstance(error, OutOfTime) or (isinstance(error, TimeoutError) and copy.is_out_of_time)
        if late and copy.settings.timeout is not None:
            return timed_out(copy.settings.timeout)
        raise
    if copy.settings.sudo:
        copy.sftp.close()
    else:
        connection.sftp_session = copy.sftp  # the next transfer's
    return copy.status()
