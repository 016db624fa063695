"""The shell commands of ClusterShell's sources: bounded, and with what they say if they fail.

ClusterShell itself waits for them for ever, and loses what they say.
"""

import re
import time
from collections.abc import Mapping
from string import Template

from ClusterShell.NodeUtils import UpcallGroupSource

from ..model import UsageError, one_line
from .program_output import output_of

#: Seconds that a command may take.
PATIENCE = 30.0
#: What a group that is part of a command may not have.
_UNSAFE = re.compile(r"[^\w.,:=+%~/-]|^-")


class SourceFailed(UsageError):
    """A command of a source failed; its text says all."""


class Commands(UpcallGroupSource):  # type: ignore[misc]
    """A source whose commands are run here, each once."""

    def __init__(self, source: UpcallGroupSource) -> None:
        super().__init__(source.name, source.upcalls.get("map"), cfgdir=source.cfgdir)
        self.upcalls = source.upcalls
        self._printed: dict[str, str | SourceFailed] = {}

    def _upcall_read(self, cmdtpl: str, args: Mapping[str, str]) -> str:
        """What a command prints.

        Raises:
            SourceFailed: it cannot be run, fails, or takes too long; with what it printed.
        """
        group = args.get("GROUP", "")
        if _UNSAFE.search(group):
            raise SourceFailed(f"groups of {self.name}: {group!r} cannot be part of a shell command")
        line = Template(self.upcalls[cmdtpl]).safe_substitute(args)
        if line not in self._printed:
            try:
                self._printed[line] = _run(line, self.cfgdir)
            except UsageError as error:
                self._printed[line] = SourceFailed(f"groups of {self.name}: {error}")
        printed = self._printed[line]
        if isinstance(printed, SourceFailed):
            raise printed
        return printed


def _run(line: str, folder: str) -> str:
    """What a shell command prints.

    Raises:
        UsageError: it cannot be run, fails, or takes too long; with what it printed.
    """
    what, deadline = one_line(line), time.monotonic() + PATIENCE
    printed = output_of(["/bin/sh", "-c", line], what, deadline, folder=folder, patience=PATIENCE)
    if printed.status:
        # Some say on standard output what is wrong.
        remark = one_line(printed.out.decode("utf-8", "replace")) if not printed.remark else ""
        raise UsageError(f"{what}: {printed.failure}" + (f": {remark}" if remark else ""))
    return printed.out.decode("utf-8", "backslashreplace").strip()
