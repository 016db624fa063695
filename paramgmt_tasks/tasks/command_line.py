"""Options and words of the operation tasks on Invoke's command line.

Invoke's parser takes unquoted options of a command for its own: `inv rcmd -f hosts ls -l` would list the
tasks and run nothing. So options stand before the words, the words that follow `--` belong to the last
task, and anything else is an error that says so.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from invoke import Exit, Task
from invoke.exceptions import ParseError
from invoke.parser import Argument, Parser, ParserContext
from invoke.program import Program


@dataclass(frozen=True)
class Option:
    """One option of the operation tasks. `kind` is str, bool or list (repeatable)."""

    name: str
    kind: type
    help: str
    short: str = ""

    def argument(self) -> Argument:
        """The option as Invoke's parser knows it."""
        flag = self.name.replace("_", "-")
        names = (flag, self.short) if self.short else (flag,)
        default = False if self.kind is bool else None
        attribute = self.name if self.name != flag else None
        return Argument(names=names, kind=self.kind, default=default, help=self.help, attr_name=attribute)


class _Words(Argument):
    """The words a task works on: one where Invoke finds it, and those after `--`."""

    def __init__(self, name: str, help: str, expected: "_Expected") -> None:
        super().__init__(name=name, kind=str, positional=True, help=help)
        self._expected = expected

    @property
    def value(self) -> Any:
        if self._value is not None:
            return self._value
        return None if self._expected.words else _OnceEach(self._expected.alone)

    @value.setter
    def value(self, word: str) -> None:
        self.set_value(word)

    def set_value(self, value: Any, cast: bool = True) -> None:
        self.raw_value = value
        self._expected.words -= 1
        self._value = _OnceEach([value] if self._expected.words else [value, *self._expected.after_last])


class _OnceEach(list[str]):
    """Words equal to no others: Invoke would drop a task called a second time with the same ones."""

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None


@dataclass
class _Expected:
    """How many words this task will be given before `--`, and whose are those behind it.

    They go with the `after_last` of these words, or are `alone` a call's that has none before `--`.
    Invoke copies a task's arguments for each time it is called; this is shared by the copies.
    """

    words: float = float("inf")
    after_last: Sequence[str] = ()
    alone: Sequence[str] = ()

    def __deepcopy__(self, memo: Any) -> "_Expected":
        return self


class OperationTask(Task[Any]):
    """An Invoke task with the options of an operation and, where `words` names them, words."""

    def __init__(
        self, body: Callable[..., Any], *, options: Sequence[Option], words: str = "", words_help: str = ""
    ) -> None:
        super().__init__(body, positional=(words,) if words else ())
        self.options = options
        self.words = words
        self.words_help = words_help

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; from Python the words are the first argument after the context."""
        unknown = set(kwargs) - {option.name for option in self.options} - {self.words}
        if unknown:
            raise TypeError(f"{self.name}() got unexpected options: {', '.join(sorted(unknown))}")
        return super().__call__(*args, **kwargs)

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The task's arguments, as Invoke asks for them before it parses the command line."""
        if not self.words:
            self._refuse_unknown(sys.argv[1:])
            return self._arguments(_Expected())
        return self._arguments(self._expect(sys.argv[1:]))

    def _arguments(self, expected: _Expected) -> list[Argument]:
        words = [_Words(self.words, self.words_help, expected)] if self.words else []
        return [*words, *(option.argument() for option in self.options)]

    def _expect(self, argv: list[str]) -> _Expected:
        """Read the command line ahead of Invoke, to see which words will be this task's.

        Raises:
            Exit: options after the first word, or words behind `--` that are not for tasks.
        """
        body, dashes, remainder = _split(argv)
        if dashes and Path(sys.argv[0]).name == "fab" and self._find(body, 0) is not None:
            raise Exit(f"{self.name}: fab runs what is behind -- itself: write it in quotes before", code=2)
        calls, at, last = 0, 0, False
        while (start := self._find(body, at)) is not None:
            end = self._end_of_word(body[start:])
            if end is None:
                return _Expected(calls, alone=remainder)
            calls, at = calls + 1, start + end
            if body[at : at + 1] and body[at].startswith("-"):
                self._refuse(body[at], body[at - 1])
            last = at == len(body)
        if dashes and last:
            return _Expected(calls, after_last=remainder)
        return _Expected()

    def _refuse_unknown(self, argv: list[str]) -> None:
        """Name an option that there is not, which Invoke would take for a task.

        Raises:
            Exit: there is one.
        """
        body, _, _ = _split(argv)
        start = self._find(body, 0)
        while start is not None:
            self._end_of_word(body[start:])
            start = self._find(body, start + 1)

    def _find(self, body: list[str], at: int) -> int | None:
        names = {self.name, *self.aliases}
        for position in range(at, len(body)):
            if body[position].rpartition(".")[2].replace("-", "_") in names:
                return position
        return None

    def _end_of_word(self, tokens: list[str]) -> int | None:
        """How many tokens lead up to this task's word and with it; None where they end before."""
        context = ParserContext(name=tokens[0], args=[option.argument() for option in self.options])
        parser = Parser([context], initial=Program().initial_context, ignore_unknown=True)
        try:
            rest = parser.parse_argv(tokens).unparsed
        except ParseError as error:
            raise Exit(f"{self.name}: {error}", code=2) from None
        if not rest:
            return None
        if rest[0].startswith("-"):
            raise Exit(f"{self.name}: no option {rest[0]!r}: see inv {self.name} --help", code=2)
        return len(tokens) - len(rest) + 1

    def _refuse(self, option: str, word: str) -> NoReturn:
        raise Exit(
            f"{self.name}: {option!r} follows {word!r}: options of inv go before it; "
            f"for a {self.words.rstrip('s')} with options write: "
            f"inv {self.name} OPTIONS -- {word} {option} …",
            code=2,
        )


def _split(argv: list[str]) -> tuple[list[str], bool, list[str]]:
    if "--" not in argv:
        return argv, False, []
    at = argv.index("--")
    return argv[:at], True, argv[at + 1 :]
