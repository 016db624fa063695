"""The six classic executables, with ParaMgmt's options, abbreviations and exit statuses.

A script that was written for ParaMgmt 0.3 runs unchanged. What is new here has long options only.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn

from invoke import Exit

from .._version import __version__
from ..model import Host
from ..tasks import (
    OPPOSITES,
    OPTIONS,
    Option,
    Options,
    near_option,
    operation_of,
    perform,
    print_hosts,
    usage_errors,
)

#: Options that ParaMgmt has, by their names here, with its own short and long ones.
_CLASSIC = {
    "sequential": ("-s", "--sequential"),
    "no_color": ("-c", "--no_color", "--no-color"),
    "user": ("-u", "--user"),
    "attempts": ("-a", "--attempts"),
    "destination": ("-d", "--destination"),
}
_WORDS = {
    "lcmd": ("command", "command and its words; with options after --"),
    "rcmd": ("command", "command and its words; with options after --"),
    "rpush": ("file", "local files and folders"),
    "rpull": ("file", "remote files and folders"),
    "rscript": ("script", "local scripts"),
}
#: A host failed; ParaMgmt has the status of ssh for that.
_FAILED = 255


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and exit status 2."""
        self.exit(2, f"{self.prog}: {message}: see {self.prog} --help\n")


def _parser(name: str, description: str) -> _Parser:
    words, words_help = _WORDS.get(name, ("", ""))
    usage = f"{name} [options]" + (f" -- {words} [{words} …]" if words else "")
    # Only what is typed is in what is parsed.
    parser = _Parser(prog=name, usage=usage, description=description, argument_default=argparse.SUPPRESS)
    parser.add_argument("-m", "--hosts", dest="machines", nargs="+", metavar="HOST", help="hosts")
    parser.add_argument(
        "-f", "--hostfile", dest="hosts", metavar="FILE", help="file of hosts, - for standard input"
    )
    (exclude,) = (option for option in OPTIONS[name] if option.name == "exclude")
    parser.add_argument("--exclude", action="append", metavar="HOST", help=exclude.help)
    for option in _options(name):
        _add(parser, option)
    if words:
        parser.add_argument("words", nargs="*", default=[], metavar=words, help=words_help)
        parser.epilog = OPPOSITES
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _options(name: str) -> list[Option]:
    """The options of a task but those for hosts, which ParaMgmt's executables call otherwise."""
    if name == "rhosts":
        return []  # those of the task are no part of ParaMgmt
    return [option for option in OPTIONS[name] if option.group != "Hosts"]


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    flags = _CLASSIC.get(option.name, (f"--{option.flag}",))
    action = {bool: "store_true", list: "append", str: "store"}[option.kind]
    parser.add_argument(*flags, dest=option.name, help=option.help.replace("%", "%%"), action=action)
    if option.kind is bool:
        parser.add_argument(
            f"--{option.opposite}", dest=option.name, help=argparse.SUPPRESS, action="store_false"
        )


def _long_names(name: str) -> list[str]:
    """All long options of an executable, without their dashes."""
    own = [flag for option in _options(name) for flag in option.long_names]
    return [*own, "hosts", "hostfile", "exclude", "help", "version"]


def _abbreviated(tokens: Sequence[str], name: str) -> list[str]:
    """Long options of ParaMgmt's in full: one that came since must not make their short forms ambiguous."""
    own = _options(name)
    classic = ["--hosts", "--hostfile", "--help"]
    classic += [flags[1] for key, flags in _CLASSIC.items() if key in {option.name for option in own}]
    known = {"--exclude", "--version"} | {f"--{option.flag}" for option in own}
    known |= {f"--{option.opposite}" for option in own}
    found = []
    for token in tokens:
        flag, equals, value = token.partition("=")
        meant = [each for each in classic if each.startswith(flag)]
        if len(flag) > 2 and token.startswith("--") and flag not in known and len(meant) == 1:
            token = f"{meant[0]}{equals}{value}"
        found.append(token)
    return found


def _parse(parser: argparse.ArgumentParser, name: str, argv: Sequence[str]) -> argparse.Namespace:
    """The words after `--` are the command's; if some are before it too, all are, without the `--`."""
    at = list(argv).index("--") if "--" in argv else len(argv)
    given, unknown = parser.parse_known_args(_abbreviated(argv[:at], name))
    if unknown:
        mistyped = next((token for token in unknown if token.startswith("-")), "")
        near = near_option(mistyped, _long_names(name)) if mistyped else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
    if hasattr(given, "words"):
        given.words += argv[at + 1 :]
        if not given.words:
            parser.error(f"no {_WORDS[name][0]}")
    elif argv[at + 1 :]:
        parser.error(f"{argv[at + 1]}: unexpected")
    return given


def _main(name: str, description: str) -> Callable[[], int]:
    def main() -> int:
        try:
            with usage_errors(name):
                given = vars(_parse(_parser(name, description), name, sys.argv[1:]))
                return _carry_out(name, given.pop("words", []), given)
        except KeyboardInterrupt:
            return 130
        except Exit as end:
            if end.message:
                print(end.message, file=sys.stderr)
            return _FAILED if end.code == 1 else int(end.code)

    main.__name__ = name
    return main


class _ClassicOptions(Options):
    """Options of hosts whose texts are ParaMgmt's."""

    def hosts(self) -> list[Host]:
        """As every Options'."""
        return [replace(host, classic=True) for host in super().hosts()]


def _carry_out(name: str, words: Sequence[str], given: dict[str, object]) -> int:
    """Do what an executable is for, and return its exit status."""
    if "hosts" in given:
        given["hosts"] = [given["hosts"]]
    options = _ClassicOptions(given, {})
    if name == "rhosts":
        print_hosts(options)
        return 0
    report = perform(options, operation_of(name, words, options))
    return 0 if report.ok else _FAILED


rhosts = _main("rhosts", "Print each host of the list.")
lcmd = _main("lcmd", "Run a command on this machine, once for each host.")
rcmd = _main("rcmd", "Run a command on each host.")
rpush = _main("rpush", "Copy local files and folders to each host.")
rpull = _main("rpull", "Copy files and folders from each host here.")
rscript = _main("rscript", "Run local scripts on each host, in order, until one fails.")
