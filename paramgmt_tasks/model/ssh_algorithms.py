"""What ssh_config(5) may say about algorithms and keys' lives, and the names that OpenSSH knows."""

import re

from .errors import UsageError

#: What `ssh -Q kex`, `ssh -Q cipher` and `ssh -Q mac` print, of OpenSSH 9.2 to 10.
KNOWN = {
    "kexalgorithms": """
        diffie-hellman-group1-sha1 diffie-hellman-group14-sha1 diffie-hellman-group14-sha256
        diffie-hellman-group16-sha512 diffie-hellman-group18-sha512 diffie-hellman-group-exchange-sha1
        diffie-hellman-group-exchange-sha256 ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521
        curve25519-sha256 curve25519-sha256@libssh.org sntrup761x25519-sha512
        sntrup761x25519-sha512@openssh.com mlkem768x25519-sha256""",
    "ciphers": """
        3des-cbc aes128-cbc aes192-cbc aes256-cbc aes128-ctr aes192-ctr aes256-ctr aes128-gcm@openssh.com
        aes256-gcm@openssh.com chacha20-poly1305@openssh.com""",
    "macs": """
        hmac-sha1 hmac-sha1-96 hmac-sha2-256 hmac-sha2-512 hmac-md5 hmac-md5-96 umac-64@openssh.com
        umac-128@openssh.com hmac-sha1-etm@openssh.com hmac-sha1-96-etm@openssh.com
        hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com hmac-md5-etm@openssh.com
        hmac-md5-96-etm@openssh.com umac-64-etm@openssh.com umac-128-etm@openssh.com""",
}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([kmgtpe]?)", re.ASCII | re.IGNORECASE)
_SMALLEST = 16


def check_names(keyword: str, value: str) -> None:
    """Make sure that ssh knows the algorithms that a list names; those to leave out it does not look at.

    Raises:
        UsageError: it knows one of them not.
    """
    if value.startswith("-"):
        return
    known = KNOWN[keyword].split()
    for name in value.removeprefix("+").removeprefix("^").split(","):
        if name not in known:
            raise UsageError(f"bad value {value!r} of {keyword!r}: ssh knows no {name!r}")


def size_limit(word: str) -> int | None:
    """The first word of RekeyLimit, in bytes; None for `default`.

    >>> size_limit("1.5k"), size_limit("1G"), size_limit("default")
    (1536, 1073741824, None)

    Raises:
        UsageError: ssh would reject it.
    """
    if word == "default":
        return None
    parts = _SIZE.fullmatch(word)
    if not parts:
        raise UsageError(f"bad size {word!r}: default, or bytes as in 512M")
    size = int(float(parts[1]) * 1024 ** " kmgtpe".index(parts[2].lower() or " "))
    if 0 < size < _SMALLEST:
        raise UsageError(f"bad size {word!r}: at least {_SMALLEST} bytes")
    return size or None
