"""Variables of Ansible that say how a host is reached, as our options; all others are `?NAME`."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping

from ..model import SSH_OPTIONS, Host, UsageError, assignment, parse_entry

#: The option for each variable; of several for one option the last one wins, as with Ansible.
_OPTIONS = {
    "ansible_ssh_host": "HostName",
    "ansible_host": "HostName",
    "ansible_ssh_port": "Port",
    "ansible_port": "Port",
    "ansible_ssh_user": "User",
    "ansible_user": "User",
    "ansible_ssh_private_key_file": "IdentityFile",
    "ansible_private_key_file": "IdentityFile",
}
_ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
_OURS = "ansible_"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def host_of(name: str, variables: Mapping[str, object], source: str) -> Host:
    """The host of this name with its variables, which may be of any kind that JSON has.

    Raises:
        UsageError: the name or a variable cannot be used; begins with `source`.
    """
    try:
        host = parse_entry(name)
        options = dict(_options(variables))
    except UsageError as error:
        raise UsageError(f"{source}: {name!r}: {error}") from None
    own = {
        key: _text(value)
        for key, value in variables.items()
        if _NAME.fullmatch(key) and not key.startswith(_OURS) and key != "HOST"
    }
    return Host(host.entry, host.address, host.user, host.port, own, options)


def _options(variables: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for variable in _ARGUMENTS:
        text = variables.get(variable)
        if isinstance(text, str) and text:
            yield from _of_arguments(text, variable)
    for variable, option in _OPTIONS.items():
        value = variables.get(variable)
        if value is not None and value != "":
            text = _text(value)
            if "{{" in text:
                raise UsageError(f"{variable}={text}: a template, which only playbooks fill in")
            assignment(f"{option}={text}")
            yield option, text


def _of_arguments(text: str, variable: str) -> Iterator[tuple[str, str]]:
    """The options among arguments of ssh."""
    try:
        words = iter(shlex.split(text))
    except ValueError:
        raise UsageError(f"{variable}={text}: unbalanced quotes") from None
    for word in words:
        if word.startswith("-J"):
            yield "ProxyJump", word[2:] or next(words, "")
        elif word.startswith("-o"):
            option, value = assignment(word[2:] or next(words, ""))
            if option in SSH_OPTIONS:
                yield option, value


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
