"""The six classic executables, with ParaMgmt's options, abbreviations and exit statuses; and `paramgmt`.

A script that was written for ParaMgmt 0.3 runs unchanged. What is new here has long options only.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from invoke import Exit
from invoke.program import Program

from .._version import __version__
from ..model import UsageError, escaped
from ..tasks import (
    CHANGED,
    COPY,
    HOSTS,
    OPPOSITES,
    REMOTE,
    RUN,
    TOGETHER,
    UNSAFE_LINKS,
    Option,
    Options,
    log_to_stderr,
    namespace,
    operation_of,
    perform,
    print_hosts,
    stand_in,
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
    "lcmd": ("command", "command and its words; with options behind --"),
    "rcmd": ("command", "command and its words; with options behind --"),
    "rpush": ("file", "local files and folders"),
    "rpull": ("file", "remote files and folders"),
    "rscript": ("script", "local scripts"),
}
_OPTIONS: dict[str, tuple[Option, ...]] = {
    "rhosts": (),
    "lcmd": RUN,
    "rcmd": (*RUN, *REMOTE, TOGETHER),
    "rpush": (*RUN, *REMOTE, *COPY, CHANGED),
    "rpull": (*RUN, *REMOTE, *COPY, UNSAFE_LINKS),
    "rscript": (*RUN, *REMOTE),
}
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
    parser.add_argument("--exclude", action="append", metavar="HOST", help=HOSTS[2].help)
    for option in _OPTIONS[name]:
        flags = _CLASSIC.get(option.name, (f"--{option.flag}",))
        actions = {bool: "store_true", list: "append", str: "store"}
        shown = option.help.replace("%", "%%")
        parser.add_argument(*flags, dest=option.name, help=shown, action=actions[option.kind])
        if option.kind is bool:
            parser.add_argument(
                f"--{option.opposite}", dest=option.name, help=argparse.SUPPRESS, action="store_false"
            )
    if words:
        parser.add_argument("words", nargs="*", default=[], metavar=words, help=words_help)
        parser.epilog = OPPOSITES
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _abbreviated(tokens: Sequence[str], name: str) -> list[str]:
    """Long options of ParaMgmt's in full: one that came since must not make their short forms ambiguous."""
    own = {option.name for option in _OPTIONS[name]}
    classic = ["--hosts", "--hostfile", "--help"] + [
        flags[1] for key, flags in _CLASSIC.items() if key in own
    ]
    known = {f"--{option.flag}" for option in _OPTIONS[name]} | {"--exclude", "--version"}
    known |= {f"--{option.opposite}" for option in _OPTIONS[name]}
    found = []
    for token in tokens:
        flag, equals, value = token.partition("=")
        meant = [each for each in classic if each.startswith(flag)]
        if len(flag) > 2 and token.startswith("--") and flag not in known and len(meant) == 1:
            token = f"{meant[0]}{equals}{value}"
        found.append(token)
    return found


def _parse(parser: argparse.ArgumentParser, name: str, argv: Sequence[str]) -> argparse.Namespace:
    """The words behind `--` are the command's; where some stand before it too, all are, without the `--`."""
    at = list(argv).index("--") if "--" in argv else len(argv)
    given = parser.parse_args(_abbreviated(argv[:at], name))
    if hasattr(given, "words"):
        given.words += argv[at + 1 :]
        if not given.words:
            parser.error(f"no {_WORDS[name][0]}")
    elif argv[at + 1 :]:
        parser.error(f"{argv[at + 1]}: unexpected")
    return given


def _main(name: str, description: str) -> Callable[[], int]:
    def main() -> int:
        stand_in()
        parser = _parser(name, description)
        given = vars(_parse(parser, name, sys.argv[1:]))
        words = given.pop("words", [])
        if "hosts" in given:
            given["hosts"] = [given["hosts"]]
        options = Options(given, {})
        log_to_stderr()
        try:
            if name == "rhosts":
                print_hosts(options)
            else:
                report = perform(options, operation_of(name, words, options))
                return 0 if report.ok else _FAILED
        except UsageError as error:
            print(f"{name}: {escaped(str(error))}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
        except Exit as end:
            if end.message:
                print(end.message, file=sys.stderr)
            return _FAILED if end.code == 1 else int(end.code)
        return 0

    main.__name__ = name
    return main


rhosts = _main("rhosts", "Print each host of the list.")
lcmd = _main("lcmd", "Run a command on this machine, once for each host.")
rcmd = _main("rcmd", "Run a command on each host.")
rpush = _main("rpush", "Copy local files and folders to each host.")
rpull = _main("rpull", "Copy files and folders from each host here.")
rscript = _main("rscript", "Run local scripts on each host, in order, until one fails.")


def paramgmt() -> None:
    """Invoke's program with this package's tasks, for where there is no tasks.py."""
    Program(name="paramgmt", binary="paramgmt", version=__version__, namespace=namespace).run()
