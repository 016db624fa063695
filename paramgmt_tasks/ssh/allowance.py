"""How much a host may send beside data: messages, key exchanges, extensions and questions."""

import re
import time

import paramiko
from paramiko.common import MSG_KEXINIT

#: Messages that serve nothing which a host may send, and how many more for each second.
USELESS, USELESS_A_SECOND = 1000, 100
#: How many of them go with one of data: some servers send one that hides its length.
_WITH_DATA = 4
#: Bytes of a channel that may be on their way when many are to come; with 16 MB sshd spends five times the
#: processor time on moving what it has not sent yet.
BULK = 4 * 1024 * 1024
#: Bits of the largest group that a host may choose: what paramiko takes, 8192, costs this thread seconds.
LARGEST_GROUP = 4096
#: Numbers of the messages of a key exchange method (RFC 4250, section 4.1.2).
KEX_METHOD = range(30, 50)
#: Bytes of a message that begins a key exchange, what RFC 4253, section 6.1, has for a packet; and of one of
#: its method, the largest of which has a key and a signature of 16384 bits: paramiko takes time for its
#: numbers that grows with the square of their length.
_LARGEST_KEXINIT, _LARGEST_KEX = 35_000, 16 * 1024
#: Key exchanges after little, and how many more for each second; one does not count if that many bytes went
#: before it, and more before one of those that take 50 ms and longer. (OpenSSH asks after 33 kB if its
#: RekeyLimit is 256 bytes.)
_EXCHANGES, _EXCHANGES_A_SECOND, _WORTH_A_KEY, _WORTH_A_SLOW_KEY = 10, 1, 32 * 1024, 16 * 1024 * 1024
_SLOW = "diffie-hellman-"
#: Extensions that a host may have (RFC 8308, section 2.5), and questions that it may ask at once.
_EXTENSIONS, _PROMPTS = 1024, 64
#: The name of a signal as RFC 4254, section 6.10, has it.
_SIGNAL = re.compile(r"[A-Z0-9@.-]{1,32}", re.ASCII)


class Allowance:
    """Counts what one host sends; each method raises paramiko.SSHException if it is too much."""

    def __init__(self) -> None:
        self._useless, self._since = 0, time.monotonic()
        self._exchanges, self._begun, self._sent_before = 0, self._since, 0
        #: Whether the keys in use are of an exchange that takes long.
        self._slow = False
        #: Bytes that came for channels which were closed before.
        self._late: dict[int, int] = {}

    def serve(self) -> None:
        """Something is asked or sent, which may be followed by messages that are no data."""
        self._useless, self._since = 0, time.monotonic()

    def no_data(self) -> None:
        """A message has come that is no data; what serves the work at hand is followed by `serve`."""
        self._useless += 1
        if self._useless <= USELESS:
            return
        if self._useless > USELESS + USELESS_A_SECOND * (time.monotonic() - self._since):
            raise paramiko.SSHException("a flood of messages that serve nothing")

    def data(self, size: int) -> None:
        """A message with `size` bytes of data has come: it pays for some others, unless it is empty."""
        if not size:
            self.no_data()
        elif self._useless > 0:
            self._useless -= _WITH_DATA

    def late_data(self, channel: int, size: int) -> None:
        """Data has come for a channel that is closed here, which may have been on its way then."""
        self.data(size)
        self._late[channel] = self._late.get(channel, 0) + size
        if self._late[channel] > BULK:
            raise paramiko.SSHException("more data for a channel that is closed than the window allows")

    def key_exchange(self, kind: int, message: paramiko.Message) -> None:
        """A message of a key exchange has come."""
        size = message.packet.getbuffer().nbytes
        if size > (_LARGEST_KEXINIT if kind == MSG_KEXINIT else _LARGEST_KEX):
            raise paramiko.SSHException(f"{size} bytes in a message of the key exchange")

    def new_keys(self, received: int, sent: int, ours: bool) -> None:
        """The host wants new keys after `received` bytes under those in use, and all that was sent to it.

        It counts only if the exchange is not `ours`, which the host only agrees to.
        """
        since, self._sent_before = sent - self._sent_before, sent
        if ours or received + since >= (_WORTH_A_SLOW_KEY if self._slow else _WORTH_A_KEY):
            return
        self._exchanges += 1
        if self._exchanges > _EXCHANGES + _EXCHANGES_A_SECOND * (time.monotonic() - self._begun):
            raise paramiko.SSHException("new keys over and over")

    def method(self, name: str) -> None:
        """The key exchange that is under way is of this method."""
        self._slow = name.startswith(_SLOW)


def check_window(unread: int, window: int) -> None:
    """Make sure that no more of a channel is unread than its window allows.

    Raises:
        paramiko.SSHException: more is.
    """
    if unread > window:
        raise paramiko.SSHException("more data than the window allows")


def check_prompts(message: paramiko.Message) -> None:
    """Make sure that a host asks few questions: paramiko asks as many as the message says.

    Raises:
        paramiko.SSHException: they are too many.
    """
    position = message.packet.tell()
    for _ in ("name", "instruction", "language"):
        message.get_string()
    count = message.get_int()
    if count > _PROMPTS:
        raise paramiko.SSHException(f"{count} questions at once")
    message.packet.seek(position)


def extensions(message: paramiko.Message) -> dict[str, bytes]:
    """What a message of extensions says: paramiko counts as far as the message says, also after its end.

    Raises:
        paramiko.SSHException: they are too many.
    """
    count = message.get_int()
    if count > _EXTENSIONS:
        raise paramiko.SSHException(f"{count} extensions in one message")
    end = message.packet.getbuffer().nbytes
    found: dict[str, bytes] = {}
    while count and message.packet.tell() < end:
        count -= 1
        name = message.get_string().decode("utf-8", "replace")
        found[name] = message.get_string()
    return found


def signal_name(name: bytes) -> str:
    """The name of the signal that has ended a command, as a host sends it."""
    text = name.decode("ascii", "replace")
    return text if _SIGNAL.fullmatch(text) else "of a name that is none"
