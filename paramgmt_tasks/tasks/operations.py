"""The six operations as Invoke tasks."""

import atexit
import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from invoke import Config, Context

from ..model import Host, LocalCommand, Operation, Pull, Push, RemoteCommand, Report, Script, UsageError
from .command_line import OperationTask, Option, is_last_call
from .options import CHANGED, COPY, DEFAULTS, HOSTS, REMOTE, RUN, TOGETHER, UNSAFE_LINKS, Options, switch
from .run_operation import RunFailed, note_duplicates, perform, usage_errors, write_lines

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..engines import Session
    from .keywords import CommandOptions, HostOptions, PullOptions, PushOptions, RemoteOptions, RunOptions

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Words: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_SESSION = "_paramgmt_session"


def _task(
    *options: Option, words: str = "", words_help: str = ""
) -> Callable[[Callable[_P, _R]], OperationTask[_P, _R]]:
    keywords = ("warn",) if words else ()

    def wrap(body: Callable[_P, _R]) -> OperationTask[_P, _R]:
        return OperationTask(body, options=options, words=words, words_help=words_help, keywords=keywords)

    return wrap


@_task(*HOSTS)
def rhosts(c: Context, **options: "Unpack[HostOptions]") -> list[Host]:
    """Print each host of the list."""
    with usage_errors("rhosts"):
        return print_hosts(_options(c, options))


@_task(*HOSTS, *RUN, words="command", words_help="The command; one with options goes behind --")
def lcmd(c: Context, command: str | Sequence[str] = "", **options: "Unpack[RunOptions]") -> Report:
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
def rcmd(c: Context, command: str | Sequence[str] = "", **options: "Unpack[CommandOptions]") -> Report:
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
def rpush(c: Context, files: _Words = (), **options: "Unpack[PushOptions]") -> Report:
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
def rpull(c: Context, files: _Words = (), **options: "Unpack[PullOptions]") -> Report:
    """Copy files and folders from each host here."""
    return _perform(c, "rpull", options, files)


@_task(*HOSTS, *RUN, *REMOTE, words="scripts", words_help="Local scripts; several behind --")
def rscript(c: Context, scripts: _Words = (), **options: "Unpack[RemoteOptions]") -> Report:
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


def operation_of(name: str, words: _Words, options: Options) -> Operation:
    """The operation of a task: what its words and options mean.

    Raises:
        UsageError: no words.
    """
    if name == "lcmd":
        return LocalCommand(_line(words))
    if name == "rcmd":
        return RemoteCommand(_line(words))
    if name == "rscript":
        return Script(_several(words, "scripts"))
    if name == "rpush":
        sources = _several(words, "files to push")
        return Push(sources, _destination(options), options.copying(changed=True))
    return Pull(_several(words, "files to pull"), _destination(options), options.copying())


def _destination(options: Options) -> str:
    return options.text("destination") or str(DEFAULTS["destination"])


def _line(command: _Words) -> str:
    line = " ".join(_texts(command, "command"))
    if not line.strip():
        raise UsageError("no command: give one in quotes, or behind --")
    return line


def _texts(words: _Words, what: str) -> tuple[str, ...]:
    """One text or several as several."""
    texts = tuple(words) if isinstance(words, Iterable) and not isinstance(words, str) else (words,)
    if not all(isinstance(text, (str, os.PathLike)) for text in texts):
        raise UsageError(f"{what} {words!r}: must be text, or a list of texts")
    return tuple(map(str, texts))


def _several(words: _Words, what: str) -> tuple[str, ...]:
    names = _texts(words, what) if words != "" else ()
    if not names or not all(names):
        raise UsageError(f"no {what}: name one, or several behind --")
    return names


def _perform(c: Context, name: str, given: Mapping[str, Any], words: _Words) -> Report:
    """Do what a task is for; where hosts failed, `warn` decides whether that is an exception.

    Raises:
        Exit: what is given cannot be used.
        RunFailed: hosts failed and there is no `warn`, or it was interrupted.
    """
    with usage_errors(name):
        warn = given.get("warn")
        warn = bool(c.config.run.warn) if warn is None else switch(f"warn {warn}", warn)
        options = _options(c, given)
        report = perform(options, operation_of(name, words, options), _pool(c), keep=not is_last_call())
    if not (report.ok or warn):
        raise RunFailed(report)
    return report


# -- what the tasks of one `inv` call share


def _options(c: Context, given: Mapping[str, Any]) -> Options:
    """What is not given is in the configuration, and what is not there may be in the environment.

    Invoke itself looks there only for what is configured. Were all defaults configured with the collection,
    tasks of other projects that call these would be without them, and a mapping could not replace a None.

    Raises:
        UsageError: a setting that there is not.
    """
    section = c.config.get("paramgmt")
    if section is not None and not hasattr(section, "items"):
        raise UsageError(f"paramgmt in the configuration: {section}: must be settings, such as hosts: web")
    configured = dict(section.items()) if section is not None else {}
    environment = _environment(c.config)
    for name in {**configured, **environment}:
        if name not in DEFAULTS:
            near = difflib.get_close_matches(str(name), DEFAULTS, 1)
            meant = f"; did you mean {near[0]}?" if near else ": see the options of inv rcmd --help"
            raise UsageError(f"{name}, below paramgmt in the configuration: no such setting{meant}")
    for name, text in environment.items():
        # To Invoke a text other than 0 is true where a switch is configured, be it `false`.
        if name not in configured or (isinstance(configured[name], bool) and not _later(c.config, name)):
            configured[name] = text
    if c.config.run.dry:
        given = {**given, "dry_run": True}
    return Options(given, configured)


def _environment(config: Config) -> dict[str, str]:
    """The settings in the environment, as they stand there."""
    prefix = f"{config.env_prefix or config.prefix}_PARAMGMT_".upper()
    return {
        name.removeprefix(prefix).lower(): text
        for name, text in os.environ.items()
        if name.startswith(prefix)
    }


def _later(config: Config, name: str) -> bool:
    """Whether a setting stands where it goes before the environment: `inv -f FILE`, or a task's change."""
    levels = (vars(config).get(level) for level in ("_runtime", "_overrides", "_modifications"))
    return any(name in ((level or {}).get("paramgmt") or {}) for level in levels)


def _pool(c: Context) -> "Session":
    """The connections of this `inv` call, kept with its configuration, which all its tasks share."""
    from ..engines import Session

    pool: Session | None = c.config.__dict__.get(_SESSION)
    if pool is None:
        pool = Session()
        c.config.__dict__[_SESSION] = pool
        atexit.register(pool.close)
    return pool
