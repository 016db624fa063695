"""What ssh_config says of a command's session: its environment, a terminal, whether there is one at all."""

import os
import shlex
from collections.abc import Mapping
from functools import lru_cache

from ..model import UsageError
from .config_lookup import Options
from .host_patterns import in_list, is_named, names


def environment(options: Options, here: Mapping[str, str] = os.environ) -> list[tuple[bytes, bytes]]:
    """The variables that SendEnv and SetEnv have sent, in ssh's order; those of SendEnv are from `here`.

    >>> environment({"sendenv": ["LC_*", "A"], "setenv": "B=b 'A=two words'"}, {"A": "a", "C": "c"})
    [(b'A', b'a'), (b'B', b'b'), (b'A', b'two words')]

    Raises:
        UsageError: SetEnv has a word that is no assignment.
    """
    if "sendenv" not in options and "setenv" not in options:
        return []
    sent = options.get("sendenv")
    found = [(name, here[name]) for name in _sent(tuple(sent), tuple(here))] if sent else []
    for word in shlex.split(str(options.get("setenv", ""))):
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"SetEnv {word!r}: must be NAME=VALUE")
        found.append((name, value))
    return [(os.fsencode(name), os.fsencode(value)) for name, value in found]


@lru_cache(16)  # most hosts ask for the same
def _sent(words: tuple[str, ...], here: tuple[str, ...]) -> list[str]:
    """The variables that the patterns of SendEnv name; one with `-` takes back earlier ones."""
    patterns: list[str] = []
    for word in words:
        if word.startswith("-"):
            patterns = [each for each in patterns if not in_list(each, word[1:])]
        else:
            patterns.append(word)
    wanted = names(patterns).patterns
    return [name for name in here if is_named(name, wanted)]


def has_terminal(options: Options) -> bool:
    """Whether a command gets a terminal as ssh has it where standard input is none."""
    return str(options.get("requesttty", "")) == "force"


def check_command(options: Options) -> None:
    """Make sure that a command may be run.

    Raises:
        UsageError: ssh would not run it, as the host has another one or another kind of session.
    """
    own = str(options.get("remotecommand", "none"))
    if own.lower() != "none":
        raise UsageError(f"RemoteCommand {own!r}: ssh_config has a command for this host, and runs no other")
    kind = str(options.get("sessiontype", "default"))
    if kind != "default":
        raise UsageError(f"SessionType {kind}: ssh_config has no commands run on this host")
