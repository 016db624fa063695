"""A task's options as they were given: from the command line and the configuration to hosts and settings."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from ..model import Changes, Copying, Host, Settings, UsageError
from . import asking, values
from .notes import note
from .option_table import ALL, DEFAULTS
from .values import Value

if TYPE_CHECKING:
    from ..inventory import Selection


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
            UsageError: a list that cannot be read, an expression that cannot be used, or no host at all.
        """
        files, inline = self._texts("hosts"), values.several(self.value("machines"))
        if self._given.get("machines") is not None and self._given.get("hosts") is None:
            files = []  # machines that are given, be it none, replace a configured list
        if self._is_empty("hosts") and self._given.get("machines") is None:
            inline = []
        if not files and not inline:
            raise UsageError("no hosts: name a list with --hosts FILE or hosts with --machines HOST")
        selection, prefix = self.selection(), self.value("hosts").prefix
        listed = selection.listed(files, prefix, _hint, self.flag("allow_proxy_command"))
        found = [*selection.added(inline, self.value("machines").prefix, listed), *listed]
        kept = self._some(self.filtered(found, selection)) if found else []
        if not kept:
            sources = " and ".join([*files, *(["--machines"] if inline else [])])
            raise UsageError(f"no hosts in {sources}" + (f" after {self.filters()}" if found else ""))
        return kept

    def _is_empty(self, name: str) -> bool:
        """Whether hosts were given, and are none."""
        return self._given.get(name) is not None and not self._texts(name)

    def selection(self) -> "Selection":
        """What finds hosts, with the inventories.

        Raises:
            UsageError: one of those cannot be read.
        """
        from ..inventory import Selection

        return Selection(self._texts("inventory"), note)

    def filtered(self, hosts: list[Host], selection: "Selection") -> list[Host]:
        """Those of `hosts` that --limit and --exclude leave, in their order.

        Raises:
            UsageError: a filter cannot be used, or meets none: what it was to spare would not be spared.
        """
        for name in ("limit", "pick", "first"):
            if self._given.get(name) == "":  # such as of a variable that is not set
                raise UsageError(f"{self.value(name).prefix} '': means no host: leave it out for all hosts")
        kept, limit = hosts, self.text("limit")
        if limit is not None:
            kept = selection.limited(hosts, limit, self.value("limit").prefix)
        spared = selection.without(hosts, self._texts("exclude"), self.value("exclude").prefix)
        if len(spared) < len(hosts):
            entries = {host.entry for host in spared}
            kept = [host for host in kept if host.entry in entries]
        return kept

    def _some(self, hosts: list[Host]) -> list[Host]:
        """Those that --pick or --first keeps."""
        pick, first, seed = (self.value(name) for name in ("pick", "first", "seed"))
        if pick.is_own != first.is_own:  # then what is configured is replaced
            pick, first = (value if value.is_own else replace(value, given=None) for value in (pick, first))
        number, followed = values.whole()(pick), values.whole(least=0)(seed)
        if number is not None and first.given is not None:
            raise UsageError(f"{pick.shown(number)} and {first.shown(first.given)}: one of the two")
        if followed is not None and number is None:
            raise UsageError(f"{seed.shown(followed)} is for --pick")
        if number is not None:
            from ..inventory import picked

            return picked(hosts, number, followed)
        return hosts[: values.part(first, len(hosts))]

    def filters(self) -> str:
        """The options by which hosts are left out, to be named."""
        return " and ".join(f"--{name}" for name in ("limit", "exclude") if self[name])

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
        given["ssh_options"] = given.pop("ssh_option")
        # Settings check each of them.
        settings = Settings(
            **cast(Changes, {name: value for name, value in given.items() if value is not None})
        )
        if settings.ask_interactive and not self.flag("dry_run"):
            asking.check_terminal("ask-interactive")
        return replace(settings, password=self._password(settings.way), passphrase=self._passphrase())

    def _password(self, way: str) -> str | None:
        if not self.flag("ask_password") or self.flag("dry_run"):
            return None
        return asking.secret("ask-password", f"{way.split()[0]} password: " if way else "password: ")

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
