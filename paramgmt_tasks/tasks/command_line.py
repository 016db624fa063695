"""Options and words of the operation tasks on Invoke's command line.

Invoke's parser takes unquoted options of a command for its own: `inv rcmd -f hosts ls -l` would list the
tasks and run nothing. So options go before the words, the words that follow `--` belong to the last
task, and anything else is an error that says so.
"""

import difflib
import inspect
import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from invoke import Exit, Task
from invoke.exceptions import ParseError
from invoke.parser import Argument, ParseResult

from . import completion
from .invoke_internals import (
    ABSENT,
    CommandLine,
    WordsAhead,
    WordsArgument,
    option_arguments,
    options_given,
)
from .option_table import OPPOSITES, Option
from .streams import write_lines

_P = ParamSpec("_P")
_R = TypeVar("_R")


class OperationTask(Task[Any], Generic[_P, _R]):
    """An Invoke task with the options of an operation and, if `words` names them, words.

    `keywords` are more that it takes from Python, and not on the command line.
    """

    def __init__(
        self,
        body: Callable[_P, _R],
        *,
        options: Sequence[Option],
        words: str = "",
        words_help: str = "",
        keywords: Sequence[str] = (),
    ) -> None:
        super().__init__(body, positional=(words,) if words else ())
        self.options = options
        self.words = words
        self.words_help = words_help
        self.keywords = keywords

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run the task; from Python the words are the first argument after the context.

        What was not typed is left out, so that the body knows what was given.
        """
        given: dict[str, Any] = {name: value for name, value in kwargs.items() if value is not ABSENT}
        unknown = set(given) - {option.name for option in self.options} - {self.words, *self.keywords}
        if unknown:
            names = [f"{name}{self._meant(name)}" for name in sorted(unknown)]
            raise TypeError(f"{self.name}() got unexpected options: {', '.join(names)}")
        result: _R = super().__call__(*args, **given)
        return result

    def _meant(self, name: str) -> str:
        """A remark on a keyword that is called like one that there is not."""
        found = difflib.get_close_matches(name, [option.name for option in self.options], 1)
        return f" (near: {found[0]})" if found else ""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The task's arguments, as Invoke asks for them before it parses the command line.

        Raises:
            Exit: the command line cannot be used, help is asked for, or a completion is for the shell.
        """
        line, ahead = CommandLine.current(), WordsAhead()
        if line is None:
            pass
        elif line.completes:
            self._complete(line)
        elif line.calls(line.help_asked, self):
            self._show_help(line, str(line.help_asked))
        elif self.words:
            ahead = self._read_ahead(line)
        else:
            self._refuse_unknown(line)
        words = [WordsArgument(self.words, self.words_help, ahead)] if self.words else []
        return [*words, *option_arguments(self.options)]

    # -- reading the command line ahead of Invoke

    def _read_ahead(self, line: CommandLine) -> WordsAhead:
        """Which words will be this task's.

        Raises:
            Exit: options after the first word.
        """
        body, dashes, after = _split(line.tokens)
        calls, at, is_last = 0, 0, False
        while (start := self._find(body, at)) is not None:
            end = self._end_of_word(line, body[start:])
            if end is None:
                line.drop_remainder()
                return WordsAhead(calls, alone=after, ends=not self.post)
            calls, at = calls + 1, start + end
            if body[at : at + 1] and body[at].startswith("-"):
                self._refuse(line, body[start], body[at], body[at - 1])
            is_last = at == len(body)
        if not is_last:
            return WordsAhead()
        if dashes:
            line.drop_remainder()
        return WordsAhead(calls, after_last=after, ends=not self.post)

    def _refuse_unknown(self, line: CommandLine) -> None:
        """Name an option that there is not, which Invoke would take for a task.

        Raises:
            Exit: there is one.
        """
        body, _, _ = _split(line.tokens)
        start = self._find(body, 0)
        while start is not None:
            self._end_of_word(line, body[start:])
            start = self._find(body, start + 1)

    def _complete(self, line: CommandLine) -> None:
        """Offer values of options, and end a completion without candidates if none of Invoke's are right.

        Then the shell offers files. Invoke would offer tasks and options for the values of options, for
        words, and for what follows `--`.

        Raises:
            Exit: what is typed is one of these, or in a quote that is still open.
        """
        body, dashes, command = _split(_unquoted(line.to_complete))
        if command:
            raise Exit
        if dashes:
            return  # or the beginning of an option
        body, kept = completion.joined(body)
        at = 1  # the program's name is first
        while (start := self._find(body, at)) is not None:
            at = start + 1
            try:
                rest = line.parse(body[start:], self.options).unparsed
            except ParseError:  # an option without its value: Invoke offers nothing
                rest = []
            if not rest and at < len(body):
                self._offer(line, body[start:], kept)
                if self.words or not body[-1].startswith("-"):
                    raise Exit
            if self.words and rest and not rest[0].startswith("-"):
                if len(rest) == 1 or rest[1].startswith("-"):
                    raise Exit
                at = len(body) - len(rest) + 1

    def _offer(self, line: CommandLine, words: Sequence[str], kept: int) -> None:
        """Print what the value of an option that is being typed may become.

        Raises:
            Exit: there is something.
        """
        found = completion.candidates(self.options, words, kept, line.configured)
        if found:
            write_lines(found)
            raise Exit

    def _find(self, body: list[str], at: int) -> int | None:
        """Where this task is called next."""
        names = {self.name, *self.aliases}
        for position in range(at, len(body)):
            if body[position].rpartition(".")[2].replace("-", "_") in names:
                return position
        return None

    def _end_of_word(self, line: CommandLine, tokens: list[str]) -> int | None:
        """How many tokens lead up to this task's word and with it; None if they end before.

        Raises:
            Exit: help is asked for, or an option that the task does not have or cannot use so.
        """
        called = tokens[0]
        try:
            result = line.parse(tokens, self.options)
        except ParseError as error:
            raise Exit(f"{called}: {error}", code=2) from None
        if result[0].args["help"].value and line.calls(called, self):
            self._show_help(line, called)
        rest = result.unparsed
        # With the word, which is the value of `--user=x` if that is the second one.
        self._refuse_repeated(called, tokens[1 : len(tokens) - len(rest) + 1])
        self._refuse_of_others(line, called, result)
        if not rest:
            return None
        if rest[0].startswith("-"):
            near = self._near(rest[0])
            raise Exit(
                f"{called}: no option {rest[0]!r}{near}: see {line.program_name} {called} --help", code=2
            )
        return len(tokens) - len(rest) + 1

    def _near(self, token: str) -> str:
        """A remark on an option that is called like one that there is not."""
        return near_option(token, (name for option in self.options for name in option.long_names))

    def _refuse_of_others(self, line: CommandLine, called: str, result: ParseResult) -> None:
        """Name an option of the program's own that no operation would heed, or that goes before the task.

        Raises:
            Exit: there is one.
        """
        name = line.program_name
        if line.asks_for_sudo_password:
            raise Exit(
                f"{called}: --prompt-for-sudo-password is {name}'s own, for commands of Invoke: "
                "--ask-password is for hosts",
                code=2,
            )
        if own := line.option_of_fabric(result[0]):
            raise Exit(
                f"{called}: --{own} here is {name}'s own, for Fabric's connections; "
                f"options of {called} go after it: see {name} {called} --help",
                code=2,
            )
        if result.unparsed and self.words and (own := next(options_given(result[0]), None)):
            # Invoke would take it for the word.
            raise Exit(f"{called}: --{own} is {name}'s own: it goes before {called}", code=2)

    def _refuse_repeated(self, called: str, tokens: Sequence[str]) -> None:
        """Name an option with one value that is typed twice: Invoke would take the second for a word.

        Raises:
            Exit: there is one, or one that may be repeated and is without a value.
        """
        options = {f"--{option.flag}": option for option in self.options}
        options |= {f"-{option.short}": option for option in self.options if option.short}
        seen: set[str] = set()
        for token, following in zip(tokens, [*tokens[1:], None], strict=False):
            flag = token.partition("=")[0] if token.startswith("--") else token[:2]
            option = options.get(flag)
            if option is None or option.kind is bool:
                continue
            if option.kind is list and token == flag and (following is None or following in options):
                raise Exit(f"{called}: {flag} needs a value", code=2)
            if option.kind is str and option.name in seen:
                raise Exit(f"{called}: {flag} is given twice", code=2)
            seen.add(option.name)

    def _refuse(self, line: CommandLine, called: str, option: str, word: str) -> NoReturn:
        name = line.program_name
        raise Exit(
            f"{called}: {option!r} follows {word!r}: options of {name} go before it; "
            f"for a {self.words.rstrip('s')} with options write: "
            f"{name} {called} OPTIONS -- {word} {option} …",
            code=2,
        )

    # -- help

    def _show_help(self, line: CommandLine, called: str) -> NoReturn:
        """Print the help of this task, by groups, which Invoke's own does not have.

        Raises:
            Exit: always.
        """
        options, word = "[--options] " if self.options else "", self.words.rstrip("s").upper()
        print(f"Usage: {line.usage(called, options + word)}")
        if word and self.options:
            print(f"       {line.usage(called, options)} -- {word} ...")
        print(f"\n{line.indented(inspect.getdoc(self) or '')}\n")
        if word:
            line.print_columns([(word, self.words_help)])
        groups: dict[str, list[tuple[str, str | None]]] = {}
        for option in self.options:
            groups.setdefault(option.group, []).append((option.typed, option.help))
        if any(option.kind is bool for option in self.options):
            print(f"{line.indented(OPPOSITES)}\n")
        print("Options:\n" if self.options else "Options: none")
        for group, rows in groups.items():
            print(f"{group or 'Its own'}:")
            line.print_columns(rows)
        raise Exit


def _unquoted(text: str) -> list[str]:
    """The words of a command line, of which the last one may be in a quote that is still open."""
    for closing in ("", "'", '"'):
        with suppress(ValueError):
            return shlex.split(text + closing)
    return ["", "--", ""]  # nothing of which more is known


def near_option(token: str, flags: Iterable[str]) -> str:
    """A remark on which of `flags`, without their dashes, was meant by one that is none of them.

    >>> near_option("--fanuot=3", ["fanout", "first"]), near_option("-z", ["zone"])
    (' (near: --fanout)', '')
    """
    found = difflib.get_close_matches(token.partition("=")[0].lstrip("-").replace("_", "-"), flags, 1)
    return f" (near: --{found[0]})" if found else ""


def _split(argv: list[str]) -> tuple[list[str], bool, list[str]]:
    """What is before `--`, whether that is there, and what follows it."""
    if "--" not in argv:
        return argv, False, []
    at = argv.index("--")
    return argv[:at], True, argv[at + 1 :]
