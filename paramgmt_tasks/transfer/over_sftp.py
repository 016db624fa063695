"""Push and Pull over SFTP, for hosts without tar or a shell: each file whole or not at all."""

from ..model import CommandStatus, Output, Pull, Push
from ..ssh import HostRun
from .connection_state import ConnectionState
from .sftp_pull import pull
from .sftp_push import push
from .sftp_session import SftpTransfer
from .timeouts import OutOfTime, timed_out


def run(connection: HostRun, operation: Push | Pull, err: Output) -> CommandStatus:
    """Copy what `operation` says; the files that failed are named in `err`.

    Raises:
        OSError, EOFError, paramiko.SSHException: the host was not reached, or the connection broke.
    """
    transfer = SftpTransfer(connection, operation.how, err)
    try:
        for path in list(transfer.left_there):  # by an attempt that broke off
            transfer.remove(path)
        if isinstance(operation, Push):
            push(transfer, operation)
        else:
            pull(transfer, operation)
        connection.transport.bound_writes(None)
    except BaseException as error:
        transfer.sftp.close()
        late = isinstance(error, OutOfTime) or (isinstance(error, TimeoutError) and transfer.is_out_of_time)
        if late and transfer.settings.timeout is not None:
            return timed_out(transfer.settings.timeout)
        raise
    if transfer.settings.way:
        transfer.sftp.close()
    else:
        connection.attached(ConnectionState).sftp_session = transfer.sftp  # the next transfer's
    return transfer.status()
