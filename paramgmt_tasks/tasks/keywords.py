"""The options of the operation tasks as keywords from Python, for type checkers.

A type checker reads no table, so they are written out here; tests hold them equal to the definitions.
What is left out is as the configuration says; None, or an empty text, is without the option.
"""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import TypeAlias, TypedDict

from ..model import Host

Lists: TypeAlias = str | PathLike[str] | Iterable[str | PathLike[str]] | None
Hosts: TypeAlias = str | Host | Iterable[str | Host] | None
Text: TypeAlias = str | None
File: TypeAlias = str | PathLike[str] | None
Switch: TypeAlias = bool | None
Number: TypeAlias = int | str | None
Seconds: TypeAlias = float | str | None
Variables: TypeAlias = str | Iterable[str] | Mapping[str, str | int | float] | None


class HostOptions(TypedDict, total=False):
    """The options by which hosts are chosen, which all tasks have that work on hosts."""

    hosts: Lists
    machines: Hosts
    inventory: Lists
    limit: Text
    exclude: Hosts
    pick: Number
    seed: Number
    first: Number
    allow_proxy_command: Switch


class ListingOptions(HostOptions, total=False):
    """The options of `rhosts`."""

    count: Switch
    fold: Switch
    expand: Switch
    variables: Switch
    json: Switch


class GroupOptions(TypedDict, total=False):
    """The options of `rgroups`."""

    hosts: Lists
    inventory: Lists
    allow_proxy_command: Switch
    json: Switch


class RunOptions(HostOptions, total=False):
    """The options of `lcmd`. With `warn` hosts that fail are no exception."""

    warn: Switch
    dry_run: Switch
    sequential: Switch
    fanout: Number
    timeout: Seconds
    env: Variables
    stdin: File
    batch: Number
    canary: Number
    max_fail: Number
    no_color: Switch
    gather: Switch
    diff: Switch
    live: Switch
    json: Switch
    max_output: Number
    output_dir: File
    quiet: Switch
    order: Text


class RemoteOptions(RunOptions, total=False):
    """The options of `rscript`, which all tasks that work on hosts have."""

    user: Text
    attempts: Number
    connect_timeout: Seconds
    port: Number
    identity: File
    jump: Text
    host_keys: Text
    ssh_option: Variables
    sudo: Switch
    run_as: Text
    become: Text
    tty: Switch
    ask_password: Switch
    ask_passphrase: Switch
    ask_interactive: Switch
    verbose: Switch
    engine: Text
    workers: Number
    scheduler: File
    tls_ca: File
    tls_cert: File
    tls_key: File
    insecure_scheduler: Switch


class CommandOptions(RemoteOptions, total=False):
    """The options of `rcmd`."""

    together: Switch


class CopyOptions(RemoteOptions, total=False):
    """The options of files, which `rpush` and `rpull` have."""

    destination: File
    follow: Switch
    preserve: Switch
    no_overwrite: Switch
    no_verify: Switch
    compress: Switch
    limit_rate: Number
    limit_rate_all: Number


class PushOptions(CopyOptions, total=False):
    """The options of `rpush`."""

    changed: Switch


class PullOptions(CopyOptions, total=False):
    """The options of `rpull`."""

    unsafe_links: Switch
