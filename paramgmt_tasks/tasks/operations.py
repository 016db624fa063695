"""The six operations as Invoke tasks."""

import atexit
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from invoke import Context, Exit

from .. import operations
from ..errors import UsageError
from ..hosts import Host
from ..results import Report
from .command_line import OperationTask, Option, is_last_call
from .options import CHANGED, COPY, DEFAULTS, HOSTS, REMOTE, RUN, TOGETHER, UNSAFE_LINKS, Options
from .perform import note_duplicates, perform, usage_errors, write_lines

if TYPE_CHECKING:
    from ..pool import Pool

_Body = TypeVar("_Body", bound=Callable[..., Any])
_SESSION = "_paramgmt_session"


def _task(*options: Option, words: str = "", words_help: str = "") -> Callable[[_Body], OperationTask]:
    def wrap(body: _Body) -> OperationTask:
        return OperationTask(body, options=options, words=words, words_help=words_help)

    return wrap


@_task(*HOSTS)
def rhosts(c: Context, **options: Any) -> list[Host]:
    """Print each host of the list."""
    with usage_errors("rhosts"):
        return print_hosts(_options(c, options))


@_task(*HOSTS, *RUN, words="command", words_help="The command; one with options goes behind --")
def lcmd(c: Context, command: str | Sequence[str] = "", **options: Any) -> Report:
    """Run a command on this machine, once for each host."""
    return _perform(c, "lcmd", options, command)


@_task(
    *HOSTS,
    *RUN,
    *REMOTE,
    TOGETHER,
    words="command",
    words_help="The command; one with options goes behind --",
)
def rcmd(c: Context, command: str | Sequence[str] = "", **options: Any) -> Report:
    """Run a command on each host."""
    return _perform(c, "rcmd", options, command)


@_task(
    *HOSTS,
    *RUN,
    *REMOTE,
    *COPY,
    CHANGED,
    words="files",
    words_help="Local files and folders; several behind --",
)
def rpush(c: Context, files: str | Sequence[str] = (), **options: Any) -> Report:
    """Copy local files and folders to each host."""
    return _perform(c, "rpush", options, files)


@_task(
    *HOSTS,
    *RUN,
    *REMOTE,
    *COPY,
    UNSAFE_LINKS,
    words="files",
    words_help="Remote files and folders; several behind --",
)
def rpull(c: Context, files: str | Sequence[str] = (), **options: Any) -> Report:
    """Copy files and folders from each host here."""
    return _perform(c, "rpull", options, files)


@_task(*HOSTS, *RUN, *REMOTE, words="scripts", words_help="Local scripts; several behind --")
def rscript(c: Context, scripts: str | Sequence[str] = (), **options: Any) -> Report:
    """Run local scripts on each host, in order, until one fails."""
    return _perform(c, "rscript", options, scripts)


# -- from options to an operation


def print_hosts(options: Options) -> list[Host]:
    """Print the hosts, a line each.

    Raises:
        UsageError: a list that cannot be used.
    """
    hosts = options.hosts()
    note_duplicates(hosts)
    write_lines(host.entry for host in hosts)
    return hosts


def operation_of(name: str, words: str | Sequence[str], options: Options) -> operations.Operation:
    """The operation of a task: what its words and options mean.

    Raises:
        UsageError: no words.
    """
    if name == "lcmd":
        return operations.LocalCommand(_line(words))
    if name == "rcmd":
        return operations.RemoteCommand(_line(words))
    if name == "rscript":
        return operations.Script(_several(words, "scripts"))
    if name == "rpush":
        sources = _several(words, "files to push")
        return operations.Push(sources, options["destination"], options.copying(changed=True))
    return operations.Pull(_several(words, "files to pull"), options["destination"], options.copying())


def _line(command: str | Sequence[str]) -> str:
    line = command if isinstance(command, str) else " ".join(command)
    if not line.strip():
        raise UsageError("no command: give one in quotes, or behind --")
    return line


def _several(words: str | Sequence[str], what: str) -> tuple[str, ...]:
    names = (words,) if isinstance(words, str) and words else tuple(words)
    if not names or not all(names):
        raise UsageError(f"no {what}: name one, or several behind --")
    return names


def _perform(c: Context, name: str, given: dict[str, Any], words: str | Sequence[str]) -> Report:
    with usage_errors(name):
        options = _options(c, given)
        report = perform(options, operation_of(name, words, options), _pool(c), keep=not is_last_call())
    if not report.ok:
        raise Exit(code=1)
    return report


# -- what the tasks of one `inv` call share


def _options(c: Context, given: dict[str, Any]) -> Options:
    """What is not given is in the configuration, and what is not there may be in the environment.

    Invoke itself looks there only for what is configured. Were all defaults configured with the collection,
    tasks of other projects that call these would be without them, and a mapping could not replace a None.

    Raises:
        UsageError: a setting that there is not.
    """
    configured = dict((c.config.get("paramgmt") or {}).items())
    for name in configured.keys() - DEFAULTS.keys():
        known = ", ".join(sorted(DEFAULTS))
        raise UsageError(f"{name}, below paramgmt in the configuration: no such setting; there are {known}")
    missing = {name: default for name, default in DEFAULTS.items() if name not in configured}
    environment = type(c.config)(defaults={"paramgmt": missing}, lazy=True)
    environment.load_shell_env()
    return Options(given, {**environment["paramgmt"], **configured})


def _pool(c: Context) -> "Pool":
    """The connections of this `inv` call, kept with its configuration, which all its tasks share."""
    from ..pool import Pool

    pool: Pool | None = c.config.__dict__.get(_SESSION)
    if pool is None:
        pool = Pool()
        c.config.__dict__[_SESSION] = pool
        atexit.register(pool.close)
    return pool
