"""ConnectionState: what transfers keep with a connection, for those that follow over it."""

from .sftp_client import Client


class ConnectionState:
    """What is known of a host by earlier transfers."""

    def __init__(self) -> None:
        #: What the host has said when it was found to have no tar or no shell; None if it was not.
        self.without_tar: str | None = None
        #: The SFTP session of the last transfer, for the next one.
        self.sftp_session: Client | None = None
        #: Temporary files on the host of transfers over SFTP that broke off, which the next one removes.
        self.left_there: set[str] = set()

    def on_discard(self) -> None:
        """The session ends with the connection; the files stay."""
        self.sftp_session = None
