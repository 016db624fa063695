"""The six operations as Invoke tasks."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeAlias, TypeVar

from invoke import Context

from ..model import Host, LocalCommand, Operation, Pull, Push, RemoteCommand, Report, Script, UsageError
from .command_line import OperationTask
from .invoke_internals import TypedWords
from .listing import chosen, shown
from .notes import note_duplicates, usage_errors
from .option_table import OPTIONS
from .options import Options
from .run_operation import RunFailed, perform
from .session import options_of, session_of
from .streams import write_lines
from .values import switch

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .keywords import CommandOptions, ListingOptions, PullOptions, PushOptions, RemoteOptions, RunOptions

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Words: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def _task(words: str = "", words_help: str = "") -> Callable[[Callable[_P, _R]], OperationTask[_P, _R]]:
    keywords = ("warn",) if words else ()

    def wrap(body: Callable[_P, _R]) -> OperationTask[_P, _R]:
        options = OPTIONS[body.__name__]
        return OperationTask(body, options=options, words=words, words_help=words_help, keywords=keywords)

    return wrap


@_task()
def rhosts(c: Context, **options: "Unpack[ListingOptions]") -> list[Host]:
    """Print each host of the list."""
    with usage_errors("rhosts"):
        return print_hosts(options_of(c, options))


@_task("command", "The command; one with options comes after --")
def lcmd(c: Context, command: str | Sequence[str] = "", **options: "Unpack[RunOptions]") -> Report:
    """Run a command on this machine, once for each host."""
    return _perform(c, "lcmd", options, command)


@_task("command", "The command; one with options comes after --")
def rcmd(c: Context, command: str | Sequence[str] = "", **options: "Unpack[CommandOptions]") -> Report:
    """Run a command on each host."""
    return _perform(c, "rcmd", options, command)


@_task("files", "Local files and folders; several after --")
def rpush(c: Context, files: _Words = (), **options: "Unpack[PushOptions]") -> Report:
    """Copy local files and folders to each host."""
    return _perform(c, "rpush", options, files)


@_task("files", "Remote files and folders; several after --")
def rpull(c: Context, files: _Words = (), **options: "Unpack[PullOptions]") -> Report:
    """Copy files and folders from each host here."""
    return _perform(c, "rpull", options, files)


@_task("scripts", "Local scripts; several after --")
def rscript(c: Context, scripts: _Words = (), **options: "Unpack[RemoteOptions]") -> Report:
    """Run local scripts on each host, in order, until one fails."""
    return _perform(c, "rscript", options, scripts)


def _perform(c: Context, name: str, given: Mapping[str, object], words: _Words) -> Report:
    """Do what a task is for; if hosts failed, `warn` decides whether that is an exception.

    Raises:
        Exit: what is given cannot be used.
        RunFailed: hosts failed and there is no `warn`, or it was interrupted.
    """
    with usage_errors(name):
        warn = given.get("warn")
        warns = bool(c.config.run.warn) if warn is None else switch(f"warn {warn}", warn)
        options = options_of(c, given)
        operation = operation_of(name, words, options)
        report = perform(options, operation, session_of(c), keep=_may_be_followed(words))
    if not (report.ok or warns):
        raise RunFailed(report)
    return report


def _may_be_followed(words: _Words) -> bool:
    """Whether another task may use the connections: not if these words are the last of a command line.

    Whatever else called the task may go on with another one.
    """
    return not (isinstance(words, TypedWords) and words.is_last)


# -- from options to an operation


def print_hosts(options: Options) -> list[Host]:
    """Print the hosts, a line each, or as the options say.

    Raises:
        UsageError: a list that cannot be used, or options that exclude each other.
    """
    form = chosen(options)
    hosts = options.hosts()
    lines = shown(hosts, form)
    note_duplicates(hosts)
    write_lines(lines)
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
    return str(options.text("destination"))


def _line(command: _Words) -> str:
    line = " ".join(_texts(command, "command"))
    if not line.strip():
        raise UsageError("no command: give one in quotes, or after --")
    return line


def _several(words: _Words, what: str) -> tuple[str, ...]:
    names = _texts(words, what) if words != "" else ()
    if not names or not all(names):
        raise UsageError(f"no {what}: name one, or several after --")
    return names


def _texts(words: _Words, what: str) -> tuple[str, ...]:
    """One text or several as several."""
    texts = tuple(words) if isinstance(words, Iterable) and not isinstance(words, str) else (words,)
    if not all(isinstance(text, (str, os.PathLike)) for text in texts):
        raise UsageError(f"{what} {words!r}: must be text, or a list of texts")
    return tuple(map(str, texts))
