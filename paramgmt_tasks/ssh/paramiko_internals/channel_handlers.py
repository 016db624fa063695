"""What is done with messages of a channel that paramiko does not handle as is needed here."""

from collections.abc import Mapping

import paramiko
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_REQUEST,
)

from ..allowance import BULK, check_window
from .channel import Data, ExecChannel
from .messages import ChannelHandler, MessageTransport
from .upstream import PrivateChannel


def _on_data(transport: MessageTransport, channel: PrivateChannel, message: paramiko.Message) -> None:
    data: Data = message.get_binary()
    transport.allowance.data(len(data))
    if isinstance(channel, ExecChannel):
        channel.on_data(data)
    else:
        channel._feed(bytes(data))
        check_window(len(channel.in_buffer), channel.in_window_size)


def _on_extended_data(
    transport: MessageTransport, channel: PrivateChannel, message: paramiko.Message
) -> None:
    before = len(channel.in_stderr_buffer)
    channel._feed_extended(message)
    unread = len(channel.in_stderr_buffer)
    transport.allowance.data(unread - before)  # of another kind it is dropped
    check_window(unread, max(BULK, channel.in_window_size))


#: By the number of the message.
HANDLERS: Mapping[int, ChannelHandler] = {
    MSG_CHANNEL_DATA: _on_data,
    MSG_CHANNEL_EXTENDED_DATA: _on_extended_data,
    # By name, which paramiko's table does not: ExecChannel has its own.
    MSG_CHANNEL_REQUEST: lambda _, channel, message: channel._handle_request(message),
    MSG_CHANNEL_CLOSE: lambda _, channel, message: channel._handle_close(message),
    MSG_CHANNEL_FAILURE: lambda _, channel, message: channel._request_failed(message),
}
