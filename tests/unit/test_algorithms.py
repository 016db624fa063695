"""What is offered in a key exchange, held against OpenSSH's client here; and each cipher against itself."""

import hashlib
import hmac
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from paramgmt_tasks.model import ssh_algorithms
from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.ssh.paramiko_internals.algorithms import (
    CIPHER_TABLE,
    CIPHERS,
    KEX,
    KEX_METHODS,
    MAC_TABLE,
    MACS,
    Group14,
    Group16,
    _prime,
)
from paramgmt_tasks.ssh.paramiko_internals.ciphers import AesGcm, ChaChaPoly, PacketKey, WithMac
from paramgmt_tasks.ssh.paramiko_internals.stream import Stream

OPTIONS = {"kexalgorithms": KEX, "ciphers": CIPHERS, "macs": MACS}
TABLES = {"kexalgorithms": KEX_METHODS, "ciphers": CIPHER_TABLE, "macs": MAC_TABLE}
#: What OpenSSH offers and nothing here does: no library has it, and Python is too slow for it.
LEFT_OUT = {
    *("sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com"),
    *("umac-64@openssh.com", "umac-128@openssh.com"),
    *("umac-64-etm@openssh.com", "umac-128-etm@openssh.com"),
}
#: What only newer releases have, of OpenSSH or of the libraries here.
NEWER = {"mlkem768x25519-sha256"}


def ssh(*words: str) -> list[str]:
    """What OpenSSH's client prints; its lines."""
    program = shutil.which("ssh")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI has no ssh: install openssh-client")
        pytest.skip("needs ssh, from the package openssh-client")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.splitlines()


def of_ssh(option: str, *words: str) -> list[str]:
    """The list that `ssh -G` prints for an option."""
    (line,) = [line for line in ssh("-G", "-F", "none", *words, "host") if line.startswith(f"{option} ")]
    return line.split()[1].split(",")


@pytest.mark.parametrize("option", OPTIONS)
def test_what_is_offered_is_what_openssh_offers_in_its_order(option: str) -> None:
    def in_order(names: list[str]) -> list[str]:
        return [name for name in names if "aes" not in name and name not in NEWER]

    theirs = [name for name in of_ssh(option) if name not in LEFT_OUT]
    ours = list(OPTIONS[option])
    assert set(theirs) ^ set(ours) <= NEWER
    assert in_order(theirs) == in_order(ours)


@pytest.mark.parametrize("option", OPTIONS)
def test_whatever_openssh_knows_can_be_asked_for(option: str) -> None:
    kind = {"kexalgorithms": "kex", "ciphers": "cipher", "macs": "mac"}[option]
    theirs = set(ssh("-Q", kind))
    known = set(ssh_algorithms.KNOWN[option].split())
    assert known ^ theirs <= NEWER
    assert known - LEFT_OUT - NEWER <= set(TABLES[option])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ciphers", "+aes128-cbc,3des-cbc"),
        ("ciphers", "-aes*,nonsense"),
        ("ciphers", "^aes256-ctr"),
        ("ciphers", "+arcfour"),
        ("ciphers", "+aes*-cbc"),
        ("macs", "hmac-sha1,umac-64@openssh.com"),
        ("macs", "hmac-sha1,HMAC-MD5"),
        ("macs", "+"),
        ("kexalgorithms", "^curve25519-sha256"),
        ("kexalgorithms", "curve25519-sha256 "),
        ("kexalgorithms", "x"),
    ],
)
def test_a_list_is_refused_if_openssh_refuses_it(option: str, value: str) -> None:
    try:
        ssh("-G", "-F", "none", "-o", f"{option}={value}", "host")
    except subprocess.CalledProcessError:
        with pytest.raises(UsageError, match="ssh knows no"):
            ssh_algorithms.check_names(option, value.strip())
    else:
        ssh_algorithms.check_names(option, value.strip())


def test_groups_are_those_of_the_standard() -> None:
    assert _prime(2048, 124_476) == Group14.P
    assert _prime(4096, 240_904) == paramiko.Transport._kex_info["diffie-hellman-group16-sha512"].P
    assert _prime(8192, 4_743_158).bit_length() == 8192
    exchange = Group16(paramiko.Message())
    exchange._generate_x()
    assert (exchange.P, exchange.x.bit_length()) == (_prime(4096, 240_904), 512)


KEY = bytes(range(64))
AES, FIRST = algorithms.AES(KEY[:16]), bytes(16)


def with_mac(mode: type[modes.CTR] | type[modes.CBC], etm: bool, sends: bool) -> WithMac:
    cipher = Cipher(AES, mode(FIRST))
    engine = cipher.encryptor() if sends else cipher.decryptor()
    return WithMac(engine, 16, hmac.new(KEY, digestmod=hashlib.sha1), 12, etm)


#: Each kind of cipher, for who sends and for who receives.
KINDS: dict[str, Callable[[bool], PacketKey]] = {
    "AES-GCM": lambda sends: AesGcm(AESGCM(KEY[:16]), FIRST[:12]),
    "ChaCha20-Poly1305": lambda sends: ChaChaPoly(KEY),
    "CTR, encrypt then MAC": lambda sends: with_mac(modes.CTR, True, sends),
    "CTR, MAC of the plain packet": lambda sends: with_mac(modes.CTR, False, sends),
    "CBC, MAC of the plain packet": lambda sends: with_mac(modes.CBC, False, sends),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> Callable[[bool], PacketKey]:
    return request.param


@pytest.fixture
def wire() -> Iterator[tuple[Stream, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield Stream(ours), theirs
    ours.close()
    theirs.close()


PAYLOADS = [b"x", bytes(11), bytes(12), b"text" * 10_000, bytes(range(256))]


@pytest.mark.parametrize("looks", [False, True])
def test_what_one_side_seals_the_other_opens(kind, wire, looks: bool) -> None:
    """Also if it has looked whether a packet is there, as often as it likes."""
    stream, theirs = wire
    sender, receiver = kind(True), kind(False)
    for number, payload in enumerate(PAYLOADS):
        sealed = b"".join(sender.seal(number, (payload[:5], payload[5:])))
        assert payload not in sealed or len(payload) == 1
        for cut in (2, 20, len(sealed)):
            part, sealed = sealed[:cut], sealed[cut:]
            theirs.send(part)
            come = stream.held() + len(part)
            stream.deadline = time.monotonic() + 20
            while stream.held() < come:
                stream._fill(come)
            if looks and sealed:
                assert not receiver.holds(number, stream)
        if looks:
            assert receiver.holds(number, stream)
            assert receiver.holds(number, stream)
        packet = receiver.open(number, stream)
        assert packet[1 : len(packet) - packet[0]] == payload
        assert (len(packet) + (4 if isinstance(sender, WithMac) and not sender._apart else 0)) % 8 == 0
        assert packet[0] >= 4
    assert (sender.bytes, sender.packets) == (receiver.bytes, receiver.packets)


@pytest.mark.parametrize("place", [0, 3, 5, 30, -1])
def test_a_bit_that_was_changed_on_the_way_ends_the_connection(kind, wire, place: int) -> None:
    stream, theirs = wire
    sealed = bytearray(b"".join(kind(True).seal(7, (bytes(100),))))
    sealed[place] ^= 64
    theirs.send(sealed)
    theirs.close()
    with pytest.raises((paramiko.SSHException, EOFError)):
        kind(False).open(7, stream)


def test_a_packet_of_another_number_is_none(kind, wire) -> None:
    """AES-GCM counts by itself."""
    stream, theirs = wire
    sender = kind(True)
    first, second = (b"".join(sender.seal(number, (bytes(100),))) for number in (0, 1))
    theirs.send(second + first)
    theirs.close()
    with pytest.raises((paramiko.SSHException, EOFError)):
        kind(False).open(0, stream)


def test_an_old_cryptography_restarts_no_stream(wire) -> None:
    stream, theirs = wire
    sender, receiver = ChaChaPoly(KEY), ChaChaPoly(KEY)
    for part in (receiver._body, receiver._length):
        part._restart = None
    for number in (0, 1):
        theirs.send(b"".join(sender.seal(number, (b"text",))))
        packet = receiver.open(number, stream)
        assert packet[1:5] == b"text"


def test_the_documentation_lists_them() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "security.md").read_text()
    for option, offered in OPTIONS.items():
        (row,) = [line for line in page.splitlines() if line.lower().startswith(f"| `{option}` |")]
        listed = [re.findall("`([^`]+)`", cell) for cell in row.split("|")[2:5]]
        known = ssh_algorithms.KNOWN[option].split()
        asked_for = [name for name in known if name in TABLES[option] and name not in offered]
        assert [name for name in listed[0] if name in TABLES[option]] == list(offered)
        assert listed[1:] == [asked_for, [name for name in known if name in LEFT_OUT]]
