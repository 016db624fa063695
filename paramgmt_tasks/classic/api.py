"""The classic Python API: ParaMgmt's Controller, over the same fleet."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TextIO, TypeVar

from ..display import blocks, shown_on
from ..fleet import Fleet
from ..model import (
    HostResult,
    LocalCommand,
    Operation,
    Pull,
    Push,
    RemoteCommand,
    Report,
    Script,
    Settings,
    parse_lines,
)

_T = TypeVar("_T")


class _Of(Generic[_T]):
    """What a Result has from its HostResult."""

    def __init__(self, read: Callable[[HostResult], _T]) -> None:
        self._read = read

    def __get__(self, result: "Result | None", owner: "type[Result]") -> _T:
        if result is None:
            raise AttributeError("it is known of a result only")
        return self._read(result.result)


@dataclass(frozen=True)
class Result:
    """What happened on one host, as ParaMgmt's results have it, and all that a HostResult has besides.

    `host` is the host as written, `description` the first line of what is printed, `attempts` how often the
    host was tried, and `retcode` the return code, or if there is none that of ssh, 255.
    """

    result: HostResult

    host = _Of(lambda result: result.host.entry)
    description = _Of(lambda result: result.description)
    retcode = _Of(lambda result: result.exit_status)
    attempts = _Of(lambda result: result.attempts)

    index = _Of(lambda result: result.index)
    outcome = _Of(lambda result: result.outcome)
    return_code = _Of(lambda result: result.return_code)
    exit_status = _Of(lambda result: result.exit_status)
    reason = _Of(lambda result: result.reason)
    ok = _Of(lambda result: result.ok)
    out = _Of(lambda result: result.out)
    err = _Of(lambda result: result.err)
    dropped = _Of(lambda result: result.dropped)
    unsupported = _Of(lambda result: result.unsupported)
    seconds = _Of(lambda result: result.seconds)
    started = _Of(lambda result: result.started)
    finished = _Of(lambda result: result.finished)
    requested = _Of(lambda result: result.requested)
    confirmed = _Of(lambda result: result.confirmed)
    facts = _Of(lambda result: result.facts)

    @property
    def stdout(self) -> str:
        """Standard output as text, without the line ends at its end."""
        return self.result.stdout.decode("utf-8", "replace").rstrip("\r\n")

    @property
    def stderr(self) -> str:
        """Standard error as text, and if the host was not reached, why."""
        text = self.result.stderr.decode("utf-8", "replace").rstrip("\r\n")
        return text or ("" if self.result.ok or self.result.return_code else self.result.reason)

    def status(self, color: bool) -> str:
        """The printed block."""
        return "".join(blocks.block(self.result, blocks.painter(color))).rstrip("\n")


class Controller:
    """Hosts, and the operations on all of them. Attributes may be changed between calls.

    `ssh_connect_timeout` are seconds for one of `ssh_connection_attempts` to reach a host; here all tries
    share their product. Nothing is printed if `quiet`.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        user: str | None = None,
        parallel: bool = True,
        quiet: bool = False,
        color: bool = True,
        attempts: int = 3,
    ) -> None:
        self.hosts = list(hosts)
        self.user = user
        self.parallel = parallel
        self.quiet = quiet
        self.color = color
        self.attempts = attempts
        self.ssh_connect_timeout = 2
        self.ssh_connection_attempts = 3

    def local_command(self, words: Sequence[str]) -> list[Result]:
        """Run a command here, once for each host; its words are joined with spaces."""
        return self._perform(LocalCommand(" ".join(words)))

    def remote_command(self, words: Sequence[str]) -> list[Result]:
        """Run a command on each host; its words are joined with spaces."""
        return self._perform(RemoteCommand(" ".join(words)))

    def remote_push(self, sources: Sequence[str], destination: str = "~/") -> list[Result]:
        """Copy local files and folders to each host."""
        return self._perform(Push(tuple(sources), destination))

    def remote_pull(self, sources: Sequence[str], destination: str = "~/") -> list[Result]:
        """Copy files and folders of each host here."""
        return self._perform(Pull(tuple(sources), destination))

    def remote_script(self, paths: Sequence[str]) -> list[Result]:
        """Run local scripts on each host, in order."""
        return self._perform(Script(tuple(paths)))

    def _perform(self, operation: Operation) -> list[Result]:
        settings = Settings(
            user=self.user,
            sequential=not self.parallel,
            attempts=self.attempts,
            connect_timeout=float(self.ssh_connect_timeout * self.ssh_connection_attempts),
        )
        report = Report([])
        if self.hosts:  # ParaMgmt does nothing if there are none
            with Fleet(self.hosts, settings) as fleet:
                fleet.hosts = [replace(host, classic=True) for host in fleet.hosts]
                report = fleet.report(operation)
        if not self.quiet:
            self._print(report)
        return [Result(result) for result in report]

    def _print(self, report: Report) -> None:
        paint, show = blocks.painter(self.color and sys.stdout.isatty()), shown_on(sys.stdout)
        for result in report:
            sys.stdout.writelines(blocks.block(result, paint, show))
        sys.stdout.writelines(f"{line}\n" for line in blocks.summary(report, paint))


def all_success(results: Iterable[Result]) -> bool:
    """Whether every host succeeded."""
    return all(result.result.ok for result in results)


def parse_file(path: str) -> list[str]:
    """The hosts of a file, as written; ranges are expanded.

    Raises:
        OSError: it cannot be read.
        UsageError: a line that cannot be used.
    """
    with open(path, encoding="utf-8") as stream:
        return parse_stream(stream)


def parse_stream(stream: TextIO) -> list[str]:
    """The hosts of an open file, as written; ranges are expanded."""
    return [host.entry for host in parse_lines(stream, getattr(stream, "name", "host list"))]
