"""paramiko's classes, whose private names upstream.pyi declares, as far as they are touched here.

paramiko's own types leave them out. tests/unit/test_upstream.py holds paramiko to what is declared.
"""

from paramiko import Channel, SFTPClient, SSHClient, Transport
from paramiko.auth_handler import AuthHandler
from paramiko.kex_gex import KexGexSHA256
from paramiko.kex_group14 import KexGroup14SHA256
from paramiko.packet import Packetizer

PrivateChannel = Channel
PrivateTransport = Transport
PrivateAuthHandler = AuthHandler
PrivatePacketizer = Packetizer
PrivateGroup = KexGroup14SHA256
PrivateGroupExchange = KexGexSHA256
PrivateClient = SSHClient
PrivateSFTPClient = SFTPClient

__all__ = [
    "PrivateAuthHandler",
    "PrivateChannel",
    "PrivateClient",
    "PrivateGroup",
    "PrivateGroupExchange",
    "PrivatePacketizer",
    "PrivateSFTPClient",
    "PrivateTransport",
]
