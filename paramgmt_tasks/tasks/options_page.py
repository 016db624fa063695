"""The page docs/options.md, made from the definitions of the options.

`python -m paramgmt_tasks.tasks.options_page` prints it.
"""

from collections.abc import Iterator

from .option_table import ALL, CONFIGURED, OPTIONS, Option

_HEAD = """\
# Options

Made by `inv docs` from the options' definitions, `paramgmt_tasks/tasks/option_table.py`: change
them there.

Options of a task go before its words, `inv rcmd --hosts web whoami`; a command with options of its
own goes after `--`. *All* are `rhosts`, `lcmd` and the remote ones, *remote* are `rcmd`, `rpush`,
`rpull` and `rscript`. The default is in brackets. The classic executables have the same options,
but for those of hosts.
"""
_TAIL = """\
## Configuration

The default of each is in the `paramgmt` section of [Invoke's
configuration](https://docs.pyinvoke.org/en/stable/concepts/configuration.html), `invoke.yaml` or an
environment variable:

    paramgmt:
      hosts: web
      user: nic
      fanout: 100

    INVOKE_PARAMGMT_USER=nic inv rcmd whoami

The keys are the options' names with underscores. Only the configuration has `{configured}`:
{configured_help}.

Each switch has its opposite, for where it is configured: `--no-gather`, `--no-sudo`; `--color`,
`--overwrite`, `--verify`. A configured switch is `true`, `yes`, `on`, `1` or `false`, `no`, `off`,
`0`. Before the task, `inv --dry` is a dry run of every task, `inv -T 60` is `--timeout 60`, `inv -p`
is `--tty`, and with `inv -w` hosts that fail do not end the call.

The values of `--env` are on no command line of the hosts, nor in sudo's log: they come over the
connection. `--env KEY` keeps one out of `inv`'s own as well. In `/proc` the same user and root can
still read a command's environment. `?HOST` and other names are replaced in the `VALUE` of
`--env KEY=VALUE`, for each host, and not in what `--env KEY` passes.

## Exit status

0 if all hosts succeeded, 1 if some did not, 2 if something given was wrong (one line says what, and
the remedy), 130 if interrupted. The classic executables end with 255 if a host failed. Ctrl-C
starts nothing more, ends what runs on the hosts, keeps what finished and was printed, and names
what did not; pressed twice it ends at once. `SIGTERM` and `SIGHUP` do the same as one Ctrl-C.
"""


def page() -> str:
    """The page, in Markdown."""
    help = CONFIGURED.help
    tail = _TAIL.format(configured=CONFIGURED.name, configured_help=help[0].lower() + help[1:])
    return "\n".join([_HEAD, *_tables(), tail])


def _tables() -> Iterator[str]:
    for group in dict.fromkeys(option.group for option in ALL.values()):
        yield f"## {group}\n\n| option | for | meaning |\n|---|---|---|"
        yield from (_row(option) for option in ALL.values() if option.group == group)
        yield ""


def _row(option: Option) -> str:
    short = f"`-{option.short}`, " if option.short else ""
    value = "" if option.kind is bool else " …"
    meaning = f"{option.help}. {option.more}" if option.more else option.help
    return f"| {short}`--{option.flag}{value}` | {_tasks(option)} | {meaning} |"


def _tasks(option: Option) -> str:
    """Which tasks have the option."""
    names = [name for name, options in OPTIONS.items() if option in options and name != "rgroups"]
    remote = [name for name in OPTIONS if name not in ("rhosts", "rgroups", "lcmd")]
    called = {
        ("rhosts", "lcmd", *remote): "all",
        ("lcmd", *remote): "all but `rhosts`",
        tuple(remote): "remote",
    }
    tasks = called.get(tuple(names)) or ", ".join(f"`{name}`" for name in names)
    return f"{tasks} and `rgroups`" if option in OPTIONS["rgroups"] else tasks


if __name__ == "__main__":
    print(page(), end="")
