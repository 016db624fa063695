"""The options of the operation tasks, each defined once.

From these definitions follow the command line of `inv` and of the classic executables, both helps, the keys
and defaults of the configuration, what Settings get, and docs/options.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..model import Settings
from .values import (
    Reader,
    checked,
    content,
    flag,
    seconds,
    share,
    size,
    ssh_options,
    text,
    user,
    variables,
    whole,
    whole_size,
)

#: Said once, as a line for each opposite would double the help.
OPPOSITES = "Each switch has its opposite, which turns it off: --no-gather, --color."


@dataclass(frozen=True)
class Option:
    """One option. `kind` is str, bool (a switch) or list (repeatable).

    `help` is its line in the help, with the default in brackets if there is one; docs/options.md has `more`.
    `group` is the heading below which the option is listed.
    `default` holds if nobody gives the option. `setting` reads the field of Settings with the option's name
    from the option's value; None from it is the field's own default.
    A shell offers as its value one of `choices`, or `names`: of `lists`, or of `hosts` and groups of them.
    """

    name: str
    kind: type
    help: str
    short: str = ""
    group: str = ""
    more: str = ""
    default: str | None = None
    setting: Reader | None = None
    choices: tuple[str, ...] = ()
    names: Literal["", "lists", "hosts"] = ""

    def __deepcopy__(self, memo: dict[int, object]) -> "Option":
        """Itself, as nothing of it changes: Invoke copies all tasks of a module, with what they have."""
        return self

    @property
    def flag(self) -> str:
        """The option as it is typed, without its dashes."""
        return self.name.replace("_", "-")

    @property
    def opposite(self) -> str:
        """What turns a switch off, without its dashes: `no-gather`, and `verify` of `no_verify`."""
        return self.flag.removeprefix("no-") if self.flag.startswith("no-") else f"no-{self.flag}"

    @property
    def long_names(self) -> tuple[str, ...]:
        """All that is typed for it without its dashes, short names aside."""
        return (self.flag, self.opposite) if self.kind is bool else (self.flag,)

    @property
    def typed(self) -> str:
        """The option as the help shows it."""
        short, value = (f"-{self.short}" if self.short else ""), ("" if self.kind is bool else "STRING")
        long = f"--{self.flag}={value}" if value else f"--{self.flag}"
        return f"{short} {value}".rstrip() + f", {long}" if short else long


def _group(group: str, *options: Option) -> tuple[Option, ...]:
    return tuple(replace(option, group=group) for option in options)


HOSTS = _group(
    "Hosts",
    Option(
        "hosts",
        list,
        "All hosts of a list or inventory: a file, '-' for standard input, a name in hostlists/, "
        "a @group, or @failed of a run (repeatable)",
        "f",
        names="lists",
    ),
    Option(
        "machines",
        list,
        "Hosts given here: an expression such as web[01-20],db or '@web&@prod' (repeatable)",
        "m",
        more="They come before those of lists. See [expressions](guide/hosts.md#expressions).",
        names="hosts",
    ),
    Option(
        "inventory",
        list,
        "Inventory whose hosts and groups are known, and not added by that (repeatable)",
        names="lists",
    ),
    Option(
        "limit",
        str,
        "Of all these, keep only hosts that an expression means: 'web*!@down'",
        "l",
        names="hosts",
    ),
    Option(
        "exclude",
        list,
        "Hosts to leave out: expressions, each part of which must be there (repeatable)",
        "x",
        more="One that meets no host is an error.",
        names="hosts",
    ),
    Option("pick", str, "Keep so many hosts, picked at random"),
    Option("seed", str, "Number that --pick follows, so that it picks the same hosts again"),
    Option("first", str, "Keep the first hosts: a number, or a share such as 10%"),
    Option("allow_proxy_command", bool, "Take ProxyCommands, which run here, from a list on standard input"),
)
#: The ways to print hosts, one of which can be chosen, beside `json`.
_LISTING = _group(
    "Hosts",
    Option("count", bool, "Print how many hosts there are"),
    Option("fold", bool, "Print the hosts as one short text: web[01-20] db1"),
    Option("expand", bool, "Print all hosts on one line, with spaces between them"),
    Option("variables", bool, "Print each host with its variables and options, as a list has them"),
)
_DOING = _group(
    "Run",
    Option("dry_run", bool, "Print what would be done on each host and do nothing"),
    Option("sequential", bool, "One host after the other", "s", setting=flag),
    Option("fanout", str, f"How many hosts are worked on at once ({Settings.fanout})", setting=whole()),
    Option(
        "timeout",
        str,
        "Seconds a command may take on a host (no limit)",
        more="A transfer or all scripts likewise, from the start.",
        setting=seconds,
    ),
    Option(
        "env",
        list,
        "KEY=VALUE in the command's environment, or KEY as it is here (repeatable)",
        setting=variables,
    ),
    Option("stdin", str, "File whose bytes every command gets as standard input (none)", setting=content),
    Option(
        "batch",
        str,
        "Hosts that finish before the next ones begin: a number, or a share such as 10%",
        setting=checked(share),
    ),
    Option(
        "canary",
        str,
        "Hosts that go first; the others begin only if all of those are ok (0: without)",
        setting=whole(least=0),
    ),
    Option(
        "max_fail",
        str,
        "Begin with no more hosts after more than this have failed: a number, or a share (no limit)",
        setting=checked(share),
    ),
)
(_JSON,) = _group("Output", Option("json", bool, "Show each result, host or group as a line of JSON"))
_SHOWING = _group(
    "Output",
    Option("no_color", bool, "No colours, also on a terminal", "c", more="`NO_COLOR` does the same."),
    Option("gather", bool, "Show identical output once, under the hosts that have it"),
    Option("diff", bool, "As --gather, with how each output differs from that of most hosts"),
    Option("live", bool, "Show lines as they come, each with its host"),
    _JSON,
    Option(
        "max_output",
        str,
        "Bytes kept of what each host writes, such as 10M (1G without it)",
        more="The rest is dropped, and a note says so.",
        setting=whole_size,
    ),
    Option(
        "output_dir",
        str,
        "Folder for what each host wrote: HOST.out, HOST.err and results.jsonl",
        more="Only you can read it.",
    ),
    Option("quiet", bool, "Show no results; failed hosts are still named on standard error"),
    Option(
        "order",
        str,
        "Show results as they finish, `finished`, or in the order of the hosts (hosts)",
        choices=("hosts", "finished"),
    ),
)
_RUN = (*_DOING, *_SHOWING)
_REACHING = _group(
    "Reaching hosts",
    Option("user", str, "User to log in as (as ssh has it)", "u", setting=user),
    Option("attempts", str, f"How often a host is tried ({Settings.attempts})", "a", setting=whole()),
    Option(
        "connect_timeout",
        str,
        "Seconds a host may take to be reached, all attempts together (ConnectTimeout, else 10)",
        setting=seconds,
    ),
    Option("port", str, "Port of the SSH server (as ssh has it)", setting=checked(whole())),
    Option("identity", str, "Private key file (as ssh has it)", setting=text),
    Option("jump", str, "Jump host, [user@]host[:port]; several with commas", setting=text),
    Option(
        "host_keys",
        str,
        "Check of host keys: strict, accept-new or ignore (accept-new)",
        more="`strict` accepts known hosts only, `accept-new` also records new ones.",
        setting=checked(text),
        choices=("strict", "accept-new", "ignore"),
    ),
    Option(
        "ssh_option",
        list,
        "Name=Value, an option of ssh_config(5), which comes before those of ssh_config (repeatable)",
        "o",
        more="A host's own line comes first. See [ssh_config](ssh_config.md).",
        setting=ssh_options,
    ),
    Option("sudo", bool, "Run as root by sudo", setting=flag),
    Option("run_as", str, "User to run as, by sudo or as --become says (root)", setting=checked(text)),
    Option(
        "become",
        str,
        "How to run as another user: sudo, su, doas or a command such as 'pbrun -u {user}' (sudo)",
        more="See [commands](guide/commands.md#as-another-user).",
        setting=checked(text),
        choices=("sudo", "su", "doas"),
    ),
    Option("tty", bool, "Run commands on a terminal; both outputs are one then", setting=flag),
    Option(
        "ask_password",
        bool,
        "Ask once for the password: that of --become with --sudo and the like, else for logging in",
    ),
    Option("ask_passphrase", bool, "Ask once for the passphrase of private keys that are encrypted"),
    Option(
        "ask_interactive",
        bool,
        "Ask what servers ask for, such as a second factor: each question once for all hosts",
        more="With the engine `threads`.",
        setting=flag,
    ),
    Option("verbose", bool, "Print more: which engine is used, and each file that is copied", "v"),
)
_ENGINE = _group(
    "Engine",
    Option(
        "engine",
        str,
        "Where hosts are worked on: threads, processes, dask, or auto: one of the first two (auto)",
        more="See [scaling](scaling.md).",
        default="auto",
        setting=checked(text),
        choices=("auto", "threads", "processes", "dask"),
    ),
    Option(
        "workers",
        str,
        "How many processes (one a processor), or workers of a Dask cluster (all)",
        setting=whole(),
    ),
    Option("scheduler", str, "The Dask scheduler: tls://HOST:PORT, or its scheduler file", setting=text),
    Option("tls_ca", str, "File with the certificate authority of the Dask cluster", setting=text),
    Option("tls_cert", str, "File with the certificate for the Dask cluster", setting=text),
    Option("tls_key", str, "File with the key of that certificate", setting=text),
    Option("insecure_scheduler", bool, "Allow a Dask cluster without TLS", setting=flag),
)
REMOTE = (*_REACHING, *_ENGINE)
_COPY = _group(
    "Files",
    Option(
        "destination",
        str,
        "Where the files go (~/)",
        "d",
        more="With the meaning that `scp -r` gives it.",
        default="~/",
    ),
    Option("follow", bool, "Copy what symbolic links point to, not the links"),
    Option("preserve", bool, "Keep the times of files"),
    Option("no_overwrite", bool, "Refuse to replace files that exist"),
    Option("no_verify", bool, "Do not compare SHA-256 sums"),
    Option(
        "compress",
        bool,
        "Compress on the way: zstd if both ends have it, else gzip",
        more="Here zstd is the extra `zstd`.",
    ),
    Option(
        "limit_rate",
        str,
        "Bytes a second to or from each host, such as 500K or 10M (no limit)",
        setting=size(" a second"),
    ),
    Option(
        "limit_rate_all",
        str,
        "Bytes a second of all hosts together (no limit)",
        setting=size(" a second"),
    ),
)
(_TOGETHER,) = _group(
    "Run",
    Option(
        "together",
        bool,
        "Connect to all hosts first, then start on all at once; tells the skew",
        setting=flag,
    ),
)
_CHANGED, _UNSAFE_LINKS = _group(
    "Files",
    Option(
        "changed", bool, "Leave out files that are the same on the host already", more="It says how many."
    ),
    Option(
        "unsafe_links",
        bool,
        "Keep also symbolic links that lead out of what is pulled",
        more="Absolute ones too; here no link is followed either way.",
    ),
)

#: The options of each task, in the order of its help.
OPTIONS: Mapping[str, tuple[Option, ...]] = {
    "rhosts": (*HOSTS, *_LISTING, _JSON),
    "rgroups": (
        *(option for option in HOSTS if option.name in ("hosts", "inventory", "allow_proxy_command")),
        _JSON,
    ),
    "lcmd": (*HOSTS, *_RUN),
    "rcmd": (*HOSTS, *_RUN, *REMOTE, _TOGETHER),
    "rpush": (*HOSTS, *_RUN, *REMOTE, *_COPY, _CHANGED),
    "rpull": (*HOSTS, *_RUN, *REMOTE, *_COPY, _UNSAFE_LINKS),
    "rscript": (*HOSTS, *_RUN, *REMOTE),
}
#: All options, by their names.
ALL = {option.name: option for options in OPTIONS.values() for option in options}
#: What only the configuration has.
CONFIGURED = Option("runs_kept", str, "How many runs are kept in the record, 0 for none")
#: The keys of the `paramgmt` section of Invoke's configuration, with what holds if nobody gives them; None is
#: the default of Settings.
DEFAULTS: Mapping[str, bool | str | None] = {
    option.name: False if option.kind is bool else option.default for option in (*ALL.values(), CONFIGURED)
}
