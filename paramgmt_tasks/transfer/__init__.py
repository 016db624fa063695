"""Files and scripts to and from one host, and to workers on other machines.

over_tar         push and pull as one tar stream: remote_scripts, script_session, shared
over_sftp        the same for hosts without tar or a shell: sftp_session, sftp_push, sftp_pull, sftp_client
tar_writer       the stream of a push: local_tree, sums, install_script
local_files      where files come from and go to: paths, tar_reader, tar_parser, safe_writer, safe_folders
scripts          local scripts as commands
relay            files to and from workers on other machines: relay_messages, relayed_files
"""

from typing import TYPE_CHECKING

from ..model import later

if TYPE_CHECKING:
    from . import over_tar, scripts
    from .local_files import LocalFiles
    from .relay import FileRelay
    from .relay_messages import Delivery, Pulled
    from .relayed_files import FilesOfBatch, RelayedFiles
    from .shared import SharedTransfers
else:
    __getattr__ = later(
        __name__,
        {
            ".": ["over_tar", "scripts"],
            ".local_files": ["LocalFiles"],
            ".relay": ["FileRelay"],
            ".relay_messages": ["Delivery", "Pulled"],
            ".relayed_files": ["FilesOfBatch", "RelayedFiles"],
            ".shared": ["SharedTransfers"],
        },
    )

__all__ = [
    "Delivery",
    "FileRelay",
    "FilesOfBatch",
    "LocalFiles",
    "Pulled",
    "RelayedFiles",
    "SharedTransfers",
    "over_tar",
    "scripts",
]
