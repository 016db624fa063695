"""The one place that knows what paramiko and Fabric keep private.

Its users see a transport without a thread, a channel whose waits are steps, a few base classes, and no name
that begins with an underscore. upstream.pyi declares paramiko's, with the signatures they are called by, and
fabric_hooks.py has Fabric's. tests/unit/test_upstream.py fails if a release of either changes one of them, or
a method that is written again here.

Private names, by class:

    paramiko.Transport
        _channel_handler_table _channels _check_banner _cipher_info _enforce_strict_kex _expect_packet
        _expected_packet _filter_algorithm _handler_table _kex_info _log _mac_info _next_channel
        _parse_disconnect _preferred_ciphers _preferred_compression _preferred_kex _preferred_macs
        _preferred_pubkeys _send_kex_init _send_message _send_user_message
    paramiko.Channel
        _check_add_window _event_pending _feed _feed_extended _handle_close _handle_request _set_transport
        _set_window _unlink _wait_for_event
    paramiko.auth_handler.AuthHandler
        _handler_table _parse_service_accept _request_auth
    paramiko.packet.Packetizer
        _trigger_rekey
    paramiko.kex_gex.KexGexSHA256
        _generate_x _parse_kexdh_gex_group
    paramiko.SSHClient
        _transport
    paramiko.Agent
        _send_message
    paramiko.SFTPClient
        _async_request _convert_status _read_all _read_packet _read_response _request; and of the objects that
        it hands answers to: _async_response
    fabric.Config
        _clone_init_kwargs
    fabric.Connection
        _sftp
    fabric.ThreadingGroup
        _do

Attributes without an underscore that paramiko's documentation does not promise:

    paramiko.Transport
        active auth_handler channel_events channels_seen clear_to_send clear_to_send_lock completion_event
        default_max_packet_size default_window_size disabled_algorithms in_kex kex_engine local_version lock
        logger packetizer saved_exception server_extensions
    paramiko.Channel
        chanid closed eof_received eof_sent event exit_status in_buffer in_stderr_buffer in_window_size
        in_window_sofar in_window_threshold lock out_max_packet_size out_window_size remote_chanid
        status_event transport
    paramiko.auth_handler.AuthHandler
        auth_event
    paramiko.packet.Packetizer
        REKEY_BYTES REKEY_PACKETS
    paramiko.kex_gex.KexGexSHA256
        max_bits name x
"""

from .agent import LockedAgent
from .channel import ExecChannel, OutOfTime
from .fabric_hooks import FabricConfig, FabricGroup, forget_sftp
from .sftp import Answers, SFTPSession
from .sockets import SocketLike, keep_alive, shut_down
from .transport import LeanTransport, use_transport
from .tunnel import Tunnel

__all__ = [
    "Answers",
    "ExecChannel",
    "FabricConfig",
    "FabricGroup",
    "LeanTransport",
    "LockedAgent",
    "OutOfTime",
    "SFTPSession",
    "SocketLike",
    "Tunnel",
    "forget_sftp",
    "keep_alive",
    "shut_down",
    "use_transport",
]
