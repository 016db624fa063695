"""Variables of Ansible that say how a host is reached, as our options; the others are `?NAME`.

The names are those of Ansible's connection plugin `ssh`, and the older ones that it still takes.
"""

import json
import logging
import re
import shlex
from collections.abc import Iterator, Mapping

from ..model import SSH_OPTIONS, Host, UsageError, escaped, fold, parse_entry, ssh_options

log = logging.getLogger("paramgmt_tasks")

#: The option for each variable. Of several for one option the last one wins, as with Ansible.
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
#: Arguments of ssh; the last of these that names an option wins.
_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
#: The options that are letters there, all others that have a value, and those that change nothing here.
_LETTERS = {"J": "ProxyJump", "i": "IdentityFile", "l": "User", "p": "Port"}
_VALUED, _WITHOUT_MEANING = "BbcDEeFILmOQRSWw", "Cqvn"
#: Of ssh's multiplexing, which Ansible asks for and which is not needed here.
_MULTIPLEXING = ("ControlMaster", "ControlPath", "ControlPersist")
_CONNECTIONS = ("ssh", "smart", "paramiko", "paramiko_ssh", "libssh", "ansible.netcommon.libssh")
_SECRET = re.compile(r"ansible_\w*(pass|password|passphrase|_pin)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class LeftOut:
    """What of an inventory has no meaning here, told once for all its hosts."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._hosts: dict[str, list[str]] = {}

    def add(self, what: str, host: str) -> None:
        """Keep that something of a host is left out."""
        self._hosts.setdefault(what, []).append(host)

    def tell(self) -> None:
        """Warn of all, a line each."""
        for what, hosts in self._hosts.items():
            log.warning("%s: %s: %s", self._source, escaped(what), fold(hosts))


def host_of(name: str, variables: Mapping[str, object], source: str, left_out: LeftOut) -> Host:
    """The host of this name with its variables, which may be of any kind that JSON has.

    An option that is a template stays one: no host is called so, and the host's result says it.

    Raises:
        UsageError: the name cannot be used; begins with `source`.
    """
    try:
        host = parse_entry(name)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None
    texts = dict(_texts(name, variables, left_out))
    connection = texts.get("ansible_connection", "ssh")
    if connection not in _CONNECTIONS:
        left_out.add(f"ansible_connection={connection} is not done here, only ssh", name)
    options: dict[str, str] = {}
    for variable in _ARGUMENTS:
        options.update(_of_arguments(variable, texts.pop(variable, ""), name, left_out))
    for variable, option in _OPTIONS.items():
        if text := texts.pop(variable, ""):
            options[option] = text
    return Host(host.entry, host.address, host.user, host.port, texts, options)


def _texts(name: str, variables: Mapping[str, object], left_out: LeftOut) -> Iterator[tuple[str, str]]:
    """The variables as text, but for secrets, which would stand in commands and in the record of runs."""
    for key, value in variables.items():
        if _SECRET.fullmatch(key):
            left_out.add(f"{key} is not used: give --ask-password, or keys", name)
        elif isinstance(value, Mapping) and "__ansible_vault" in value:
            left_out.add(f"{key} is encrypted, and left out", name)
        elif key == "HOST" or not _NAME.fullmatch(key):
            left_out.add(f"the variable {key} is left out: ?{key} cannot be its name", name)
        elif isinstance(value, str):
            yield key, value
        elif value is None:
            yield key, ""
        elif isinstance(value, (bool, int, float)):
            yield key, str(value)  # True, as Ansible prints it
        else:
            yield key, json.dumps(value, ensure_ascii=False)


def _of_arguments(variable: str, text: str, name: str, left_out: LeftOut) -> Iterator[tuple[str, str]]:
    """The options among arguments of ssh; of several with one name the first holds, as ssh has it."""
    try:
        words = iter(shlex.split(text))
    except ValueError:
        left_out.add(f"{variable} has unbalanced quotes, and is left out", name)
        return
    found: dict[str, str] = {}
    for word in words:
        letter = word[1:2] if word.startswith("-") else ""
        has_value = bool(letter) and letter in f"o{_VALUED}{''.join(_LETTERS)}"
        value = (word[2:] or next(words, "")) if has_value else ""
        try:
            option, value = (
                ssh_options.assignment(value) if letter == "o" else (_LETTERS.get(letter, ""), value)
            )
        except UsageError as error:
            left_out.add(f"-o {value} in {variable} is left out: {error}", name)
            continue
        if option in SSH_OPTIONS and option not in _MULTIPLEXING:
            found.setdefault(option, value)
        elif not option and (has_value or word.strip(_WITHOUT_MEANING) != "-"):
            left_out.add(f"{word} in {variable} has no meaning here", name)
    yield from found.items()
