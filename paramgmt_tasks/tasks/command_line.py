"""Options and words of the operation tasks on Invoke's command line.

Invoke's parser takes unquoted options of a command for its own: `inv rcmd -f hosts ls -l` would list the
tasks and run nothing. So options stand before the words, the words that follow `--` belong to the last
task, and anything else is an error that says so.
"""

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from invoke import Executor, Exit, Task
from invoke.exceptions import ParseError
from invoke.parser import Argument, Parser, ParserContext, ParseResult
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
        program, expected = _asking(), _Expected()
        if program is not None and program.args["complete"].value:
            self._leave_to_the_shell(program)
        elif program is not None and self.words:
            expected = self._expect(program)
        elif program is not None:
            self._refuse_unknown(program)
        words = [_Words(self.words, self.words_help, expected)] if self.words else []
        return [*words, *(option.argument() for option in self.options)]

    def _expect(self, program: Program) -> _Expected:
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
                return _Expected(calls, alone=remainder)
            calls, at = calls + 1, start + end
            if body[at : at + 1] and body[at].startswith("-"):
                self._refuse(program, body[start], body[at], body[at - 1])
            last = at == len(body)
        if dashes and last:
            program.core.remainder = ""
            return _Expected(calls, after_last=remainder)
        return _Expected()

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

    def _parse(self, program: Program, tokens: list[str]) -> ParseResult:
        """Parse this task's name and options; what follows them is left `unparsed`."""
        # By another name, as the task's own may be its word.
        context = ParserContext(name=" ", args=[option.argument() for option in self.options])
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


def _asking() -> Program | None:
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
