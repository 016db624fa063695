"""The one place that knows what paramiko and Fabric keep private.

Its users see a transport without a thread, a channel whose waits are steps, a few base classes, and no name
that begins with an underscore. upstream.pyi declares paramiko's, with the signatures they are called by, and
fabric_hooks.py has Fabric's. tests/unit/test_upstream.py fails if a release of either changes one of them, or
a method that is written again here.

Private names, by class:

    paramiko.Transport
        _channel_handler_table _channels _check_banner _cipher_info _enforce_strict_kex _expect_packet
        _expected_packet _filter_algorithm _handler_table _kex_info _key_info _log _mac_info _next_channel
        _parse_disconnect _parse_kex_init _preferred_ciphers _preferred_compression _preferred_kex
        _preferred_keys _preferred_macs _preferred_pubkeys _really_parse_kex_init _send_kex_init
        _send_message _send_user_message _verify_key
    paramiko.Channel
        _check_add_window _event_pending _feed _feed_extended _handle_close _handle_request _request_failed
        _set_transport _set_window _unlink _wait_for_event
    paramiko.auth_handler.AuthHandler
        _handler_table _parse_service_accept _parse_userauth_banner _parse_userauth_failure
        _parse_userauth_info_request _parse_userauth_success
    paramiko.packet.Packetizer
        _trigger_rekey
    paramiko.kex_gex.KexGexSHA256
        _generate_x _parse_kexdh_gex_group
    paramiko.kex_group14.KexGroup14SHA256
        _generate_x
    paramiko.SSHClient
        _transport
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
        active auth_handler authenticated channel_events channels_seen clear_to_send clear_to_send_lock
        completion_event default_max_packet_size default_window_size disabled_algorithms host_key_type
        in_kex kex_engine local_version lock logger packetizer saved_exception server_extensions
    paramiko.Channel
        chanid closed eof_received eof_sent event exit_status in_buffer in_stderr_buffer in_window_size
        in_window_sofar in_window_threshold lock out_max_packet_size out_window_size remote_chanid
        status_event transport
    paramiko.auth_handler.AuthHandler
        auth_method
    paramiko.packet.Packetizer
        REKEY_BYTES REKEY_PACKETS
    paramiko.kex_gex.KexGexSHA256
        hash_algo max_bits min_bits name x
    paramiko.kex_group14.KexGroup14SHA256
        P hash_algo name x
"""

from .algorithms import preferred
from .channel import ExecChannel, OutOfTime
from .fabric_hooks import FabricConfig, FabricGroup, forget_sftp
from .forwarding import ForwardedAgent
from .host_key_types import CA_SIGNATURES, host_key_offer, key_of
from .sftp import Answers, SFTPSession
from .sockets import SocketLike, keep_alive, shut_down
from .transport import LeanTransport, use_transport
from .tunnel import Tunnel
from .userauth import Answer, Question, UserAuth

__all__ = [
    "CA_SIGNATURES",
    "Answer",
    "Answers",
    "ExecChannel",
    "FabricConfig",
    "FabricGroup",
    "ForwardedAgent",
    "LeanTransport",
    "OutOfTime",
    "Question",
    "SFTPSession",
    "SocketLike",
    "Tunnel",
    "UserAuth",
    "forget_sftp",
    "host_key_offer",
    "keep_alive",
    "key_of",
    "preferred",
    "shut_down",
    "use_transport",
]
