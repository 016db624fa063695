"""ssh_config, read once and looked up by index."""

import getpass
import glob
import os
import re
import socket
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import paramiko

from .errors import UsageError

USER_FILE = "~/.ssh/config"
SYSTEM_FILE = "/etc/ssh/ssh_config"


class IndexedSSHConfig(paramiko.SSHConfig):
    """paramiko's SSHConfig with an index of the literal `Host` names.

    paramiko tries every stanza twice for each host: O(stanzas x hosts). Here only the stanzas that name
    the host literally, have a wildcard, or are `Match` are tried.
    """

    _config: list[dict[str, Any]]

    def index(self) -> None:
        """Index what has been parsed; to be called after the last `parse`."""
        self._literal: dict[str, list[int]] = {}
        self._general: list[int] = []
        for position, stanza in enumerate(self._config):
            names = stanza.get("host", ["*"])
            if not stanza["config"]:
                continue
            if any(character in name for name in names for character in "*?![]"):
                self._general.append(position)
            else:
                for name in names:
                    self._literal.setdefault(name, []).append(position)

    def lookup(self, hostname: str) -> paramiko.SSHConfigDict:
        """The options for `hostname`; see paramiko.SSHConfig.lookup."""
        wanted = sorted(self._general + self._literal.get(hostname, []))
        if not wanted:
            return paramiko.SSHConfigDict({"hostname": hostname})
        small = _QuickTokens()
        small._config = [self._config[position] for position in wanted]
        return small.lookup(hostname)


class _QuickTokens(paramiko.SSHConfig):
    _config: list[dict[str, Any]]

    def _tokenize(self, config: Any, target_hostname: str, key: str, value: str) -> str:
        # paramiko looks this machine's own name up in DNS for each value, even where no token asks for it.
        if "%l" in value or "%C" in value:
            return str(super()._tokenize(config, target_hostname, key, value))  # type: ignore[misc]
        if "%" not in value or key not in self.TOKENS_BY_CONFIG_KEY:
            return value
        user = getpass.getuser()
        tokens = {
            "%%": "%",
            "%d": os.path.expanduser("~"),
            "%h": target_hostname if key == "hostname" else config.get("hostname", target_hostname),
            "%L": socket.gethostname().split(".")[0],
            "%n": target_hostname,
            "%p": str(config.get("port", 22)),
            "%r": config.get("user", user),
            "%u": user,
        }
        return re.sub("%.", lambda match: tokens.get(match[0], match[0]), value)


def load(user_file: str = USER_FILE, system_file: str = SYSTEM_FILE) -> IndexedSSHConfig:
    """The user's and the system's ssh_config, `Include` followed.

    Raises:
        UsageError: a file that cannot be read or parsed.
    """
    config = IndexedSSHConfig()
    for name in (user_file, system_file):
        path = Path(name).expanduser()
        try:
            if path.is_file():
                config.parse(StringIO("\n".join(_lines(path, path.parent))))
        except (paramiko.ConfigParseError, OSError, UnicodeDecodeError) as error:
            raise UsageError(f"ssh_config {path}: {error}") from None
    config.index()
    return config


def _lines(path: Path, base: Path, depth: int = 0) -> Iterator[str]:
    for line in path.read_text().splitlines():
        words = line.replace("=", " ", 1).split()
        if words and words[0].lower() == "include" and depth < 16:
            for pattern in words[1:]:
                full = os.path.join(base, os.path.expanduser(pattern.strip('"')))
                for name in sorted(glob.glob(full)):
                    yield from _lines(Path(name), base, depth + 1)
        else:
            yield line
