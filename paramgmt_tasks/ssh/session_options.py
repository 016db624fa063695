"""What ssh_config says of a command's session: its environment, a terminal, whether there is one at all."""

import os
import shlex
from collections.abc import Iterable, Mapping

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
    found = []
    patterns = _patterns(options.get("sendenv", ()))
    if patterns:
        wanted = names(patterns).patterns
        found += [(name, value) for name, value in here.items() if is_named(name, wanted)]
    for word in shlex.split(str(options.get("setenv", ""))):
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"SetEnv {word!r}: must be NAME=VALUE")
        found.append((name, value))
    return [(os.fsencode(name), os.fsencode(value)) for name, value in found]


def _patterns(words: Iterable[str]) -> list[str]:
    """The patterns of SendEnv; one with `-` takes back those before that it matches."""
    patterns: list[str] = []
    for word in words:
        if word.startswith("-"):
            patterns = [each for each in patterns if not in_list(each, word[1:])]
        else:
            patterns.append(word)
    return patterns


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
