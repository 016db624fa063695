"""A task's options as they were given: from the command line and the configuration to hosts and settings."""

import os
import sys
from collections.abc import Mapping
from typing import cast

from ..inventory import find_list, read_list
from ..model import Changes, Copying, Host, Settings, UsageError, exclude, parse_patterns
from . import asking, values
from .option_table import ALL, DEFAULTS
from .values import Value


class Options:
    """A task's options, each from where it was given: the task's own, the configuration, the default.

    Whatever `given` has wins over what is `configured`, an empty text or None too: that is without the
    option, as if nothing were configured. An empty list of hosts is no hosts.
    """

    def __init__(self, given: Mapping[str, object], configured: Mapping[str, object]) -> None:
        self._given = {name: _read_once(name, value) for name, value in given.items()}
        self._configured = configured

    def __getitem__(self, name: str) -> object:
        value = self._given[name] if name in self._given else self._configured.get(name)
        return DEFAULTS[name] if value is None or value == "" else value

    def is_given(self, name: str) -> bool:
        """Whether the option is the task's own, and not configured."""
        return name in self._given

    def value(self, name: str) -> Value:
        """An option's value, with what errors call it."""
        return Value(name, self[name], self.is_given(name))

    def text(self, name: str) -> str | None:
        """An option's text, or None.

        Raises:
            UsageError: it is something else.
        """
        return values.text(self.value(name))

    def flag(self, name: str) -> bool:
        """Whether an option is on.

        Raises:
            UsageError: it is neither on nor off.
        """
        return values.flag(self.value(name))

    def _texts(self, name: str) -> list[str]:
        """The texts of a repeatable option, a Host as it was written."""
        return [str(item) for item in values.several(self.value(name))]

    # -- hosts

    def hosts(self) -> list[Host]:
        """The hosts, those given inline first, as in ParaMgmt.

        Raises:
            UsageError: a list that cannot be read, a malformed entry, or no host at all.
        """
        files, inline = self._texts("hosts"), values.several(self.value("machines"))
        if self._given.get("machines") is not None and self._given.get("hosts") is None:
            files = []  # machines that are given, be it none, replace a configured list
        if self._is_empty("hosts") and self._given.get("machines") is None:
            inline = []
        found: list[Host] = []
        for machine in inline:
            if isinstance(machine, Host):  # with the variables and options of its line
                found.append(machine)
            else:
                found += parse_patterns([machine], self.value("machines").source)
        for name in files:
            found += read_list(name, _hint(name), self.flag("allow_proxy_command"))
        if not files and not inline:
            raise UsageError("no hosts: name a list with --hosts FILE or hosts with --machines HOST")
        kept = self.without_excluded(found) if found else []
        if not kept:
            sources = " and ".join([*files, *(["--machines"] if inline else [])])
            raise UsageError(f"no hosts in {sources}" + (" after --exclude" if found else ""))
        return kept

    def _is_empty(self, name: str) -> bool:
        """Whether hosts were given, and are none."""
        return self._given.get(name) is not None and not self._texts(name)

    def without_excluded(self, hosts: list[Host]) -> list[Host]:
        """`hosts` without those that are excluded.

        Raises:
            UsageError: an exclusion that meets none of them: what it was to spare would not be spared.
        """
        return exclude(hosts, self._texts("exclude"), self.value("exclude").prefix, _no_list)

    # -- settings

    def settings(self) -> Settings:
        """How the hosts are reached and worked on; asks for a password if one is wanted.

        Raises:
            UsageError: a value that cannot be used.
        """
        given = {
            option.name: option.setting(self.value(option.name)) for option in ALL.values() if option.setting
        }
        if given["engine"] != "dask":
            for name in ("scheduler", "tls_ca", "tls_cert", "tls_key", "insecure_scheduler"):
                if self._given.get(name):
                    raise UsageError(f"--{name.replace('_', '-')} is for --engine dask")
        given["password"] = self._password()
        given["passphrase"] = self._passphrase()
        if given["ask_interactive"] and not self.flag("dry_run"):
            asking.check_terminal("ask-interactive")
        # Settings check each of them.
        return Settings(**cast(Changes, {name: value for name, value in given.items() if value is not None}))

    def _password(self) -> str | None:
        if not self.flag("ask_password") or self.flag("dry_run"):
            return None
        return asking.secret("ask-password", "sudo password: " if self.flag("sudo") else "password: ")

    def _passphrase(self) -> str | None:
        if not self.flag("ask_passphrase") or self.flag("dry_run"):
            return None
        return asking.secret("ask-passphrase", "passphrase of private keys: ")

    def copying(self, changed: bool = False) -> Copying:
        """How files are copied; `changed` is whether there is that option."""
        return Copying(
            verify=not self.flag("no_verify"),
            follow=self.flag("follow"),
            preserve=self.flag("preserve"),
            overwrite=not self.flag("no_overwrite"),
            changed=changed and self.flag("changed"),
            compress=self.flag("compress"),
            verbose=self.flag("verbose"),
            unsafe_links=self.flag("unsafe_links"),
        )

    # -- output

    def color(self) -> bool:
        """Whether to colour: on a terminal, unless the user or NO_COLOR (no-color.org) says otherwise."""
        if self.flag("no_color") or os.environ.get("NO_COLOR"):
            return False
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _read_once(name: str, value: object) -> object:
    """A value as it can be read more than once: a generator as a list."""
    is_list = name in ALL and ALL[name].kind is list
    return list(value) if is_list and values.is_several(value) else value


def _hint(name: str) -> str:
    """What is added if there is no list of that name."""
    if name == "sandbox":
        return "; inv sandbox.up makes it, for this folder and those below"
    return f"; for hosts given here use --machines {name}"


def _no_list(pattern: str) -> str:
    """What is added if hosts were to be excluded by the name of a list."""
    if pattern.startswith("@"):
        return "; hosts of a run cannot be excluded, only be taken: --hosts " + pattern
    if os.path.exists(find_list(pattern)):
        return "; a host list cannot be excluded, only the names of hosts"
    return ""
