"""What a task learns from its context: its options with their defaults, and what its call shares."""

import atexit
import difflib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from invoke import Config, Context

from ..model import UsageError
from .asking import ask
from .invoke_internals import goes_before_environment, keep_with, kept_with
from .option_table import DEFAULTS
from .options import Options

if TYPE_CHECKING:
    from ..engines import Session

#: The section of Invoke's configuration.
_SECTION = "paramgmt"
#: How similar to its name another section's is that is mistyped, as by one letter.
_SIMILAR = 0.87
_SESSION = "_paramgmt_session"


def options_of(c: Context, given: Mapping[str, object]) -> Options:
    """What is not given is in the configuration, and what is not there may be in the environment.

    Invoke itself looks there only for what is configured. Were all defaults configured with the collection,
    tasks of other projects that call these would be without them, and a mapping could not replace a None.

    Raises:
        UsageError: a setting that there is not.
    """
    _refuse_mistyped_section(c.config)
    section = c.config.get(_SECTION)
    if section is not None and not hasattr(section, "items"):
        raise UsageError(f"paramgmt in the configuration: {section}: must be settings, such as hosts: web")
    configured: dict[str, object] = dict(section.items()) if section is not None else {}
    environment = _environment(c.config)
    for name in {**configured, **environment}:
        if name not in DEFAULTS:
            near = difflib.get_close_matches(str(name), DEFAULTS, 1)
            meant = f"; did you mean {near[0]}?" if near else ": see the options of inv rcmd --help"
            raise UsageError(f"{name}, below paramgmt in the configuration: no such setting{meant}")
    for name, text in environment.items():
        # To Invoke a text other than 0 is true if a switch is configured, be it `false`.
        is_switch = isinstance(configured.get(name), bool)
        if name not in configured or (is_switch and not goes_before_environment(c.config, _SECTION, name)):
            configured[name] = text
    return Options(_with_invokes_own(c.config, given), configured)


def _with_invokes_own(config: Config, given: Mapping[str, object]) -> Mapping[str, object]:
    """What is given, with what Invoke's own options ask of all commands: `--dry`, `-T` and `--pty`.

    A limit and a terminal in the project's configuration are for Invoke's own commands alone.
    """
    own: dict[str, object] = {}
    if (limit := config.timeouts.command) and goes_before_environment(config, "timeouts", "command"):
        own["timeout"] = limit
    if config.run.pty and goes_before_environment(config, "run", "pty"):
        own["tty"] = True
    return {**own, **given, **({"dry_run": True} if config.run.dry else {})}


def _refuse_mistyped_section(config: Config) -> None:
    """Name a section, in a file or in the environment, that is nearly called as ours is.

    Raises:
        UsageError: there is one.
    """
    before = f"{config.env_prefix or config.prefix}_".upper()
    of_environment = {
        name.removeprefix(before).partition("_")[0].lower(): name
        for name in os.environ
        if name.startswith(before)
    }
    sections = {**of_environment, **{str(name): str(name) for name in config}}
    sections.pop(_SECTION, None)
    for near in difflib.get_close_matches(_SECTION, sections, 1, _SIMILAR):
        raise UsageError(f"{sections[near]}, in the configuration: did you mean {_SECTION}?")


def _environment(config: Config) -> dict[str, str]:
    """The settings in the environment, as they are there."""
    prefix = f"{config.env_prefix or config.prefix}_{_SECTION}_".upper()
    return {
        name.removeprefix(prefix).lower(): text
        for name, text in os.environ.items()
        if name.startswith(prefix)
    }


def session_of(c: Context) -> "Session":
    """The connections of this `inv` call, kept with its configuration, which all its tasks share."""
    from ..engines import Session

    session = kept_with(c.config, _SESSION, Session)
    if session is None:
        session = Session(ask)
        keep_with(c.config, _SESSION, session)
        atexit.register(session.close)
    return session
