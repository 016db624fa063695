"""The six operations as Invoke tasks."""

import atexit
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from invoke import Context, Exit

from .. import operations
from ..display import classic
from ..display.progress import Progress
from ..errors import UsageError
from ..hosts import Host, duplicates
from ..results import HostResult, Report
from .command_line import OperationTask, Option
from .options import CHANGED, COPY, HOSTS, REMOTE, RUN, TOGETHER, Options, color

if TYPE_CHECKING:
    from ..fleet import Pool
    from ..run import Run

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


# -- one operation, from options to exit status


def print_hosts(options: Options) -> list[Host]:
    """Print the hosts, a line each.

    Raises:
        UsageError: a list that cannot be used.
    """
    hosts = options.hosts()
    _note_duplicates(hosts)
    _print(host.entry for host in hosts)
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
        report = perform(options, operation_of(name, words, options), _pool(c))
    if not report.ok:
        raise Exit(code=1)
    return report


def perform(options: Options, operation: operations.Operation, pool: "Pool | None" = None) -> Report:
    """Do an operation on the hosts of the options and show what comes of it.

    Raises:
        UsageError: options that cannot be used, or what is missing here.
        Exit: it was interrupted, or nobody reads standard output any more.
    """
    hosts = options.hosts()
    settings = options.settings()
    _note_duplicates(hosts)
    if options.flag("dry_run"):
        _print(_dry(operation, host, settings.user) for host in hosts)
        return Report([])
    _check_here(operation)
    from ..fleet import Fleet

    with Fleet(hosts, settings, pool=pool) as fleet:
        run = fleet.perform(operation)
        _note_one_place(operation, hosts)
        copies = isinstance(operation, (operations.Push, operations.Pull))
        with _progress(run, len(hosts)) if copies else nullcontext() as progress:
            report, interrupted = _show(run, classic.painter(color(options)), progress)
    if interrupted:
        raise Exit(code=130)
    return report


def _check_here(operation: operations.Operation) -> None:
    """What is missing here for every host is an error of the call, not of each host."""
    if isinstance(operation, (operations.Push, operations.Script)):
        names = operation.sources if isinstance(operation, operations.Push) else operation.paths
        for name in names:
            if "?" not in name and not os.path.exists(os.path.expanduser(name)):
                raise UsageError(f"{name}: no such file or folder here")


def _dry(operation: operations.Operation, host: Host, user: str | None) -> str:
    name = f"{user}@{host.entry}" if user and not host.user and not operation.local else host.entry
    return operation.on(host).description(name)


@contextmanager
def _progress(run: "Run", hosts: int) -> Iterator[Progress | None]:
    """A line that tells how far it is, on a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or not hosts:
        yield None
        return
    progress = Progress(sys.stderr, hosts, lambda: run.shared.moved, run.shared.expected)
    try:
        yield progress
    finally:
        progress.close()


def _show(run: "Run", paint: classic.Painter, progress: Progress | None) -> tuple[Report, bool]:
    """Print each block as soon as it and those before it are there, then the summary and the reasons."""
    results: dict[int, HostResult] = {}
    shown = 0
    with _interruptible(run) as interrupted:
        for result in run:
            results[result.index] = result
            if progress is not None:
                progress.done += 1
            with progress.aside() if progress is not None and shown in results else nullcontext():
                while shown in results:
                    _write(classic.block(results[shown], paint))
                    shown += 1
    report = Report(results.values())
    _print(classic.summary(report, paint))
    for line in classic.reasons(report):
        print(line, file=sys.stderr)
    if run.settings.together:
        print(classic.skew(report), file=sys.stderr)
    return report, interrupted.is_set()


@contextmanager
def _interruptible(run: "Run") -> Iterator[threading.Event]:
    """Ctrl-C cancels the run, and its results go on to come; a second one ends at once."""
    interrupted = threading.Event()

    def interrupt(signum: int, frame: Any) -> None:
        if interrupted.is_set():
            signal.signal(signal.SIGINT, previous)
            raise KeyboardInterrupt
        interrupted.set()
        # Not here: a handler runs in between, and must not wait for a lock that is held.
        threading.Thread(target=run.cancel, daemon=True).start()

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    except BaseException as error:
        run.cancel(patience=0)
        if isinstance(error, KeyboardInterrupt):
            raise Exit(code=130) from None
        raise
    finally:
        signal.signal(signal.SIGINT, previous)


# -- what the tasks of one `inv` call share


def _options(c: Context, given: dict[str, Any]) -> Options:
    return Options(given, c.config.get("paramgmt") or {})


def _pool(c: Context) -> "Pool":
    """The connections of this `inv` call, kept with its configuration, which all its tasks share."""
    from ..fleet import Pool

    pool: Pool | None = c.config.__dict__.get(_SESSION)
    if pool is None:
        pool = Pool()
        c.config.__dict__[_SESSION] = pool
        atexit.register(pool.close)
    return pool


def _note_duplicates(hosts: Sequence[Host]) -> None:
    for entry, count in duplicates(hosts).items():
        print(f"note: {entry} stands {count} times in the host list", file=sys.stderr)


def _note_one_place(operation: operations.Operation, hosts: Sequence[Host]) -> None:
    if not isinstance(operation, operations.Pull) or len(hosts) < 2:
        return
    if len({operation.on(host).destination for host in hosts}) == 1:
        print(
            f"note: all hosts' files go to {operation.destination}, where of those with one name the last "
            "stays; ?HOST in the destination keeps them apart",
            file=sys.stderr,
        )


@contextmanager
def usage_errors(name: str) -> Iterator[None]:
    """Bad input is one line on standard error and exit status 2."""
    log_to_stderr()
    try:
        yield
    except UsageError as error:
        raise Exit(f"{name}: {error}", code=2) from None


def log_to_stderr() -> None:
    """Have warnings go to standard error."""
    log = logging.getLogger("paramgmt_tasks")
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        log.addHandler(handler)
        log.propagate = False


def _print(lines: Iterable[str]) -> None:
    _write(f"{line}\n" for line in lines)


def _write(pieces: Iterable[str]) -> None:
    """Write to standard output, whatever it can encode; where it is closed, end quietly."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        sys.stdout.writelines(pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        # As in the Python manual's note on SIGPIPE: nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Exit(code=141) from None
