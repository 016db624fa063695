"""Options and words of the operation tasks on Invoke's command line.

Invoke's parser takes unquoted options of a command for its own: `inv rcmd -f hosts ls -l` would list the
tasks and run nothing. So options stand before the words, the words that follow `--` belong to the last
task, and anything else is an error that says so.
"""

import inspect
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from invoke import Executor, Exit, Task
from invoke.exceptions import ParseError
from invoke.parser import Argument, Parser, ParserContext, ParseResult
from invoke.program import Program

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Absent(Enum):
    """The value of an option that was not typed. It is told from all that can be typed or given."""

    ABSENT = "absent"


#: Its one member.
ABSENT = Absent.ABSENT


#: Said once, as a line for each opposite would double the help.
OPPOSITES = "Each switch has its opposite, which turns it off: --no-gather, --color."


@dataclass(frozen=True)
class Option:
    """One option of the operation tasks. `kind` is str, bool or list (repeatable).

    `help` says the default in brackets where there is one; `group` is the heading it stands under.
    """

    name: str
    kind: type
    help: str
    short: str = ""
    group: str = ""

    @property
    def flag(self) -> str:
        """The option as it is typed, without its dashes."""
        return self.name.replace("_", "-")

    @property
    def opposite(self) -> str:
        """What turns a switch off, without its dashes: `no-gather`, and `verify` of `no_verify`."""
        return self.flag.removeprefix("no-") if self.flag.startswith("no-") else f"no-{self.flag}"

    @property
    def typed(self) -> str:
        """The option as the help shows it."""
        short, value = (f"-{self.short}" if self.short else ""), ("" if self.kind is bool else "STRING")
        long = f"--{self.flag}={value}" if value else f"--{self.flag}"
        return f"{short} {value}".rstrip() + f", {long}" if short else long


def _arguments(options: Sequence[Option]) -> list[Argument]:
    """The options as Invoke's parser knows them, each switch with its opposite."""
    taken = {option.flag for option in options}
    found: list[Argument] = []
    for option in options:
        found.append(argument := _Given(option))
        if option.kind is bool and option.opposite not in taken:
            found.append(_Opposite(option.opposite, argument))
    return found


class _Given(Argument):
    """An option whose value is ABSENT until it is typed."""

    def __init__(self, option: Option) -> None:
        names = (option.flag, option.short) if option.short else (option.flag,)
        attribute = option.name if option.name != option.flag else None
        super().__init__(names=names, kind=option.kind, help=option.help, attr_name=attribute)
        self.raw_value = None  # Invoke begins a list with an empty one, and then lets `-x` end a line

    def __repr__(self) -> str:
        return f"--{self.names[0]}"  # as an error of Invoke's calls it

    @property
    def value(self) -> Any:
        return self._value if self.got_value else ABSENT

    @value.setter
    def value(self, text: Any) -> None:
        self.set_value(text)

    def set_value(self, value: Any, cast: bool = True) -> None:
        self.raw_value = value
        self._value = [*(self._value or ()), value] if self.kind is list else value

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Given":
        """A copy for another call of the task, as Invoke makes of all options of all tasks: quick."""
        return copy(self)


class _Opposite(Argument):
    """What turns a switch off. Of the two the last one typed holds."""

    def __init__(self, flag: str, switch: Argument) -> None:
        super().__init__(names=(flag,), kind=bool)
        self._switch = switch

    @property
    def value(self) -> Any:
        return ABSENT  # the switch itself has it

    @value.setter
    def value(self, on: Any) -> None:
        self._switch.set_value(not on)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Opposite":
        copied = copy(self)
        copied._switch = deepcopy(self._switch, memo)
        return copied


class _Words(Argument):
    """The words a task works on: one where Invoke finds it, and those after `--`."""

    def __init__(self, name: str, help: str, expected: "_WordsAhead") -> None:
        super().__init__(name=name, kind=str, positional=True, help=help)
        self._expected = expected

    @property
    def value(self) -> Any:
        if self._value is not None:
            return self._value
        return None if self._expected.words else _UniqueWords(self._expected.alone)

    @value.setter
    def value(self, word: str) -> None:
        self.set_value(word)

    def set_value(self, value: Any, cast: bool = True) -> None:
        self.raw_value = value
        self._expected.words -= 1
        self._value = _UniqueWords([value] if self._expected.words else [value, *self._expected.after_last])


class _UniqueWords(list[str]):
    """Words equal to no others: Invoke would drop a task called a second time with the same ones."""

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None


@dataclass
class _WordsAhead:
    """How many words this task will be given before `--`, and whose are those behind it.

    They go with the `after_last` of these words, or are `alone` a call's that has none before `--`.
    Invoke copies a task's arguments for each time it is called; this is shared by the copies.
    """

    words: float = float("inf")
    after_last: Sequence[str] = ()
    alone: Sequence[str] = ()

    def __deepcopy__(self, memo: Any) -> "_WordsAhead":
        return self


class OperationTask(Task[Any], Generic[_P, _R]):
    """An Invoke task with the options of an operation and, where `words` names them, words.

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
            raise TypeError(f"{self.name}() got unexpected options: {', '.join(sorted(unknown))}")
        result: _R = super().__call__(*args, **given)
        return result

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The task's arguments, as Invoke asks for them before it parses the command line."""
        program, expected = _current_program(), _WordsAhead()
        if program is not None and program.args["complete"].value:
            self._leave_to_the_shell(program)
        elif program is not None and self._is_called(program, program.args["help"].value):
            self._show_help(program, program.args["help"].value)
        elif program is not None and self.words:
            expected = self._expect(program)
        elif program is not None:
            self._refuse_unknown(program)
        words = [_Words(self.words, self.words_help, expected)] if self.words else []
        return [*words, *_arguments(self.options)]

    def _expect(self, program: Program) -> _WordsAhead:
        """Read the command line ahead of Invoke, to see which words will be this task's.

        Raises:
            Exit: options after the first word.
        """
        body, dashes, remainder = _split(program.argv[1:])
        calls, at, last = 0, 0, False
        while (start := self._find(body, at)) is not None:
            end = self._end_of_word(program, body[start:])
            if end is None:
                program.core.remainder = ""  # `fab` would run it, on hosts of its own
                return _WordsAhead(calls, alone=remainder)
            calls, at = calls + 1, start + end
            if body[at : at + 1] and body[at].startswith("-"):
                self._refuse(program, body[start], body[at], body[at - 1])
            last = at == len(body)
        if dashes and last:
            program.core.remainder = ""
            return _WordsAhead(calls, after_last=remainder)
        return _WordsAhead()

    def _refuse_unknown(self, program: Program) -> None:
        """Name an option that there is not, which Invoke would take for a task.

        Raises:
            Exit: there is one.
        """
        body, _, _ = _split(program.argv[1:])
        start = self._find(body, 0)
        while start is not None:
            self._end_of_word(program, body[start:])
            start = self._find(body, start + 1)

    def _leave_to_the_shell(self, program: Program) -> None:
        """End a completion without candidates where none of Invoke's are right; then the shell offers files.

        It would offer tasks and options for the values of options, for words, and for what is behind `--`.

        Raises:
            Exit: what is typed is one of these, or in a quote that is still open.
        """
        try:
            body, dashes, command = _split(shlex.split(program.core.remainder))
        except ValueError:
            raise Exit from None
        if command:
            raise Exit
        if dashes:
            return  # or the beginning of an option
        at = 1  # the program's name is first
        while (start := self._find(body, at)) is not None:
            at = start + 1
            try:
                rest = self._parse(program, body[start:]).unparsed
            except ParseError:
                return  # an option without its value: Invoke offers nothing
            if not rest and at < len(body) and (self.words or not body[-1].startswith("-")):
                raise Exit
            if self.words and rest and not rest[0].startswith("-"):
                if len(rest) == 1 or rest[1].startswith("-"):
                    raise Exit
                at = len(body) - len(rest) + 1

    def _find(self, body: list[str], at: int) -> int | None:
        names = {self.name, *self.aliases}
        for position in range(at, len(body)):
            if body[position].rpartition(".")[2].replace("-", "_") in names:
                return position
        return None

    def _end_of_word(self, program: Program, tokens: list[str]) -> int | None:
        """How many tokens lead up to this task's word and with it; None where they end before."""
        name, called = _name(program), tokens[0]
        try:
            result = self._parse(program, tokens)
        except ParseError as error:
            raise Exit(f"{called}: {error}", code=2) from None
        rest = result.unparsed
        if result[0].args["help"].value and self._is_called(program, called):
            self._show_help(program, called)
        # With the word, which is the value of `--user=x` where that is the second one.
        self._refuse_repeated(called, tokens[1 : len(tokens) - len(rest) + 1])
        if own := _of_fabric(program, result[0]):
            raise Exit(
                f"{called}: --{own} here is {name}'s own, for Fabric's connections; "
                f"options of {called} go behind it: see {name} {called} --help",
                code=2,
            )
        if rest and self.words and (own := next(_given(result[0]), None)):
            # Invoke would take it for the word.
            raise Exit(f"{called}: --{own} is {name}'s own: it goes before {called}", code=2)
        if not rest:
            return None
        if rest[0].startswith("-"):
            raise Exit(f"{called}: no option {rest[0]!r}: see {name} {called} --help", code=2)
        return len(tokens) - len(rest) + 1

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

    def _is_called(self, program: Program, name: Any) -> bool:
        """Whether the program knows this task by that name."""
        try:
            return isinstance(name, str) and program.collection[name] is self
        except (AttributeError, KeyError, ValueError):
            return False

    def _show_help(self, program: Program, called: str) -> NoReturn:
        """Print the help of this task, by groups, which Invoke's own does not have.

        Raises:
            Exit: always.
        """
        usage = f"{program.binary} [--core-opts] {called} {'[--options] ' if self.options else ''}"
        word = self.words.rstrip("s").upper()
        print(f"Usage: {usage}{word}".rstrip())
        if word and self.options:
            print(f"       {usage}-- {word} ...")
        print(f"\n{program.leading_indent}{inspect.getdoc(self) or ''}\n")
        if word:
            program.print_columns([(word, self.words_help)])
        groups: dict[str, list[tuple[str, str | None]]] = {}
        for option in self.options:
            groups.setdefault(option.group, []).append((option.typed, option.help))
        if any(option.kind is bool for option in self.options):
            print(f"{program.leading_indent}{OPPOSITES}\n")
        print("Options:\n" if self.options else "Options: none")
        for group, rows in groups.items():
            print(f"{group or 'Its own'}:")
            program.print_columns(rows)
        raise Exit

    def _parse(self, program: Program, tokens: list[str]) -> ParseResult:
        """Parse this task's name and options; what follows them is left `unparsed`."""
        # By another name, as the task's own may be its word.
        context = ParserContext(name=" ", args=_arguments(self.options))
        parser = Parser([context], initial=program.initial_context, ignore_unknown=True)
        return parser.parse_argv([" ", *tokens[1:]])

    def _refuse(self, program: Program, called: str, option: str, word: str) -> NoReturn:
        name = _name(program)
        raise Exit(
            f"{called}: {option!r} follows {word!r}: options of {name} go before it; "
            f"for a {self.words.rstrip('s')} with options write: "
            f"{name} {called} OPTIONS -- {word} {option} …",
            code=2,
        )


def _current_program() -> Program | None:
    """The program that reads its command line: Invoke does not tell tasks, so it is sought among the callers.

    It may be `fab`, or one of several in this process, each with a command line and options of its own.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if isinstance(program := frame.f_locals.get("self"), Program):
            return program
    return None


def is_last_call() -> bool:
    """Whether the operation task that asks is the last that its program calls, so that none follows it.

    Not where something else called the task: that may go on with another one.
    """
    frame: Any = sys._getframe()
    while frame is not None and frame.f_code is not OperationTask.__call__.__code__:
        frame = frame.f_back
    executor = frame and frame.f_back
    program = executor and executor.f_back
    if program is None or program.f_code is not Program.execute.__code__:
        return False
    if executor.f_code is not Executor.execute.__code__:
        return False
    calls, call = executor.f_locals.get("calls"), executor.f_locals.get("call")
    return bool(calls) and calls[-1] is call and all(each is not call for each in calls[:-1])


def _name(program: Program) -> str:
    return program.binary_names[-1]


def _given(context: ParserContext) -> Iterator[str]:
    return (max(argument.names, key=len) for argument in context.args.values() if argument.got_value)


def _of_fabric(program: Program, behind: ParserContext) -> str | None:
    """The option for Fabric's own connections that `fab` was given, if any: no operation would heed it."""
    if "list-agent-keys" not in program.args:
        return None
    own = {"hosts", "identity", "connect-timeout", "ssh-config"}
    own |= {"prompt-for-login-password", "prompt-for-passphrase"}
    return next((name for name in (*_given(program.core[0]), *_given(behind)) if name in own), None)


def _split(argv: list[str]) -> tuple[list[str], bool, list[str]]:
    if "--" not in argv:
        return argv, False, []
    at = argv.index("--")
    return argv[:at], True, argv[at + 1 :]
