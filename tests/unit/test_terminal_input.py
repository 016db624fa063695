"""How much is sent ahead to a terminal."""

from paramgmt_tasks.ssh.terminal import TerminalInput

LARGEST_PACKET = 256 * 1024
WINDOW = 2 * 2**20


def test_no_more_is_on_its_way_to_openssh_than_a_packet_takes() -> None:
    given, window = TerminalInput("SSH-2.0-OpenSSH_9.2p1 Debian"), WINDOW
    while room := given.room(window):
        window -= len(given.encode(b"\x04" * room))
    sent = WINDOW - window
    assert 96 * 1024 < sent < LARGEST_PACKET
    assert given.room(window + 96 * 1024) > 0  # once it says that so much is written


def test_other_servers_have_their_whole_window_used() -> None:
    given = TerminalInput("SSH-2.0-AsyncSSH_2.18")
    assert given.room(WINDOW) * 3 > WINDOW - 128
    assert given.room(10) == 0
