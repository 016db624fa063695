"""All that we touch of Invoke beyond its documentation.

Invoke hands a task neither the program that calls it nor what follows on the command line, and it keeps
nothing that the tasks of one call share. So this module uses, of Invoke 2.2:

- `Program`, found as the local variable `self` of a frame among the callers of `Task.get_arguments`
  (`sys._getframe`, `f_back`, `f_locals`): there is no other way from a task to its program.
- `Program.argv`, `args`, `core`, `collection`, `initial_context`, `binary`, `binary_names`, `leading_indent`
  and `print_columns`: attributes without an underscore that the documentation does not describe.
- `Program.core.remainder`, the words after `--`, also written: Fabric's executor would run them on its hosts.
- `Argument.value`, `got_value`, `set_value` and `raw_value`, overridden as Invoke's parser uses them;
  `Argument.__deepcopy__`, as it copies the arguments of all tasks.
- `ParserContext.args` and `positional` of an `Argument`; `ParseResult.unparsed`.
- `vars(Config)`, which holds what the tasks of one call share, and its levels `_runtime`, `_overrides` and
  `_modifications`: only there can one see whether a setting goes before the environment.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from invoke import Config
from invoke.parser import Argument, Parser, ParserContext, ParseResult
from invoke.program import Program

from .option_table import Option

_T = TypeVar("_T")


# -- the arguments of a task, as Invoke's parser fills them in


class Absent(Enum):
    """The value of an option that was not typed. It differs from all that can be typed or given."""

    ABSENT = "absent"


#: The only member of Absent.
ABSENT = Absent.ABSENT


class _OptionArgument(Argument):
    """An option whose value is ABSENT until it is typed."""

    def __init__(self, option: Option) -> None:
        names = (option.flag, option.short) if option.short else (option.flag,)
        attribute = option.name if option.name != option.flag else None
        super().__init__(names=names, kind=option.kind, help=option.help, attr_name=attribute)
        self.raw_value = None  # Invoke begins a list with an empty one, and then lets `-x` end a line
        self._typed: object = ABSENT

    def __repr__(self) -> str:
        return f"--{self.names[0]}"  # as an error of Invoke's calls it

    @property
    def value(self) -> object:
        return self._typed

    @value.setter
    def value(self, text: object) -> None:
        self.set_value(text)

    @property
    def got_value(self) -> bool:
        return self._typed is not ABSENT

    def set_value(self, value: object, cast: bool = True) -> None:
        self.raw_value = value
        if self.kind is list:
            value = [*self._typed, value] if isinstance(self._typed, list) else [value]
        self._typed = value

    def __deepcopy__(self, memo: dict[int, object]) -> "_OptionArgument":
        """A copy for another call of the task, as Invoke makes of all options of all tasks: quick."""
        return copy(self)


class _Opposite(Argument):
    """What turns a switch off. The last one typed of the two holds."""

    def __init__(self, flag: str, switch: _OptionArgument) -> None:
        super().__init__(names=(flag,), kind=bool)
        self._switch = switch

    @property
    def value(self) -> object:
        return ABSENT  # the switch itself has it

    @value.setter
    def value(self, on: object) -> None:
        self._switch.set_value(not on)

    def __deepcopy__(self, memo: dict[int, object]) -> "_Opposite":
        copied = copy(self)
        copied._switch = deepcopy(self._switch, memo)
        return copied


def option_arguments(options: Sequence[Option]) -> list[Argument]:
    """The options as Invoke's parser knows them, each switch with its opposite."""
    taken = {option.flag for option in options}
    found: list[Argument] = []
    for option in options:
        found.append(argument := _OptionArgument(option))
        if option.kind is bool and option.opposite not in taken:
            found.append(_Opposite(option.opposite, argument))
    return found


class TypedWords(list[str]):
    """The words of one call on the command line; `is_last` if Invoke calls no task after it.

    They equal no others: Invoke would drop a task called a second time with the same words.
    """

    def __init__(self, words: Sequence[str], is_last: bool) -> None:
        super().__init__(words)
        self.is_last = is_last

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None


@dataclass
class WordsAhead:
    """How many `words` before `--` a task will get in its `calls`, and whose the words after `--` are.

    They are `after_last` of its words, or `alone` the words of a call that has none before `--`.
    `ends` is whether the task's last call is the last one of all.
    Invoke copies a task's arguments for each time it is called; the copies share this.
    """

    words: float = float("inf")
    after_last: Sequence[str] = ()
    alone: Sequence[str] | None = None
    ends: bool = False

    def __deepcopy__(self, memo: dict[int, object]) -> "WordsAhead":
        return self


class WordsArgument(Argument):
    """The words a task works on: the one that Invoke finds, and those after `--`."""

    def __init__(self, name: str, help: str, ahead: WordsAhead) -> None:
        super().__init__(name=name, kind=str, positional=True, help=help)
        self._ahead = ahead
        self._typed: TypedWords | None = None

    @property
    def value(self) -> TypedWords | None:
        """The words, or None as long as Invoke has to find one."""
        if self._typed is not None or self._ahead.words or self._ahead.alone is None:
            return self._typed
        return TypedWords(self._ahead.alone, self._ahead.ends)

    @value.setter
    def value(self, word: str) -> None:
        self.set_value(word)

    @property
    def got_value(self) -> bool:
        """Whether Invoke has found a word."""
        return self._typed is not None

    def set_value(self, value: str, cast: bool = True) -> None:
        """Set the word that Invoke has found, with those after `--` if they belong to it."""
        self.raw_value, ahead = value, self._ahead
        ahead.words -= 1
        if ahead.words:
            self._typed = TypedWords([value], is_last=False)
        else:
            self._typed = TypedWords([value, *ahead.after_last], ahead.ends and ahead.alone is None)


# -- the program that reads its command line


class CommandLine:
    """The command line of an Invoke program, which may be `inv`, `fab` or a project's own."""

    def __init__(self, program: Program) -> None:
        self._program = program

    @classmethod
    def current(cls) -> "CommandLine | None":
        """That of the program that calls, the outermost one; None if none does.

        Several programs may run in one process, each with a command line and options of its own.
        """
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            if isinstance(program := frame.f_locals.get("self"), Program):
                return cls(program)
        return None

    @property
    def program_name(self) -> str:
        """The program's name, as it is typed."""
        return self._program.binary_names[-1]

    @property
    def tokens(self) -> list[str]:
        """All that is typed after the program's name."""
        return self._program.argv[1:]

    @property
    def completes(self) -> bool:
        """Whether the shell asks for completions."""
        return bool(self._program.args["complete"].value)

    @property
    def to_complete(self) -> str:
        """What is typed so far, when the shell asks for completions."""
        return str(self._program.core.remainder)

    @property
    def configured(self) -> Mapping[str, Sequence[str]]:
        """The lists of the configuration, by the options that they are for, as far as files have them."""
        section = self._program.config.get("paramgmt")
        settings = section if isinstance(section, Mapping) or hasattr(section, "items") else {}
        return {
            str(name): value.split() if isinstance(value, str) else [str(each) for each in value]
            for name, value in settings.items()
            if isinstance(value, (str, list))
        }

    @property
    def help_asked(self) -> object:
        """The task whose help is asked for by `--help TASK`, if any."""
        return self._program.args["help"].value

    def calls(self, name: object, task: object) -> bool:
        """Whether the program knows the task by that name."""
        try:
            return isinstance(name, str) and self._program.collection[name] is task
        except (AttributeError, KeyError, ValueError):
            return False

    def parse(self, tokens: Sequence[str], options: Sequence[Option]) -> ParseResult:
        """Parse a task's name and its options; what follows them is left `unparsed`.

        Raises:
            ParseError: an option without its value.
        """
        # By another name, as the task's own may be its word.
        context = ParserContext(name=" ", args=option_arguments(options))
        parser = Parser([context], initial=self._program.initial_context, ignore_unknown=True)
        return parser.parse_argv([" ", *tokens[1:]])

    def drop_remainder(self) -> None:
        """Have the words after `--` be this task's alone: `fab` would run them, on hosts of its own."""
        self._program.core.remainder = ""

    @property
    def asks_for_sudo_password(self) -> bool:
        """Whether Invoke has asked for a password of its own."""
        return bool(self._program.args["prompt-for-sudo-password"].value)

    def option_of_fabric(self, after: ParserContext) -> str | None:
        """The option for Fabric's own connections that `fab` was given, if any: no operation would heed it.

        It may come before the task, or `after` it.
        """
        if "list-agent-keys" not in self._program.args:
            return None
        own = {"hosts", "identity", "connect-timeout", "ssh-config"}
        own |= {"prompt-for-login-password", "prompt-for-passphrase"}
        given = (*options_given(self._program.core[0]), *options_given(after))
        return next((name for name in given if name in own), None)

    def usage(self, called: str, rest: str) -> str:
        """The line that says how a task is called."""
        return f"{self._program.binary} [--core-opts] {called} {rest}".rstrip()

    def indented(self, text: str) -> str:
        """A paragraph of a help."""
        return f"{self._program.leading_indent}{text}"

    def print_columns(self, rows: Sequence[tuple[str, str | None]]) -> None:
        """Print names and their help side by side."""
        self._program.print_columns(rows)


def options_given(context: ParserContext) -> Iterator[str]:
    """The options that a context was given, by their long names."""
    return (max(argument.names, key=len) for argument in context.args.values() if argument.got_value)


# -- the configuration of one call


def kept_with(config: Config, name: str, kind: type[_T]) -> _T | None:
    """What `keep_with` has kept, if anything."""
    kept = vars(config).get(name)
    return kept if isinstance(kept, kind) else None


def keep_with(config: Config, name: str, value: object) -> None:
    """Keep something with the configuration that all tasks of a call share, and not in it."""
    vars(config)[name] = value


def goes_before_environment(config: Config, section: str, name: str) -> bool:
    """Whether a setting goes before the environment: by `inv -f FILE`, or as a task has changed it."""
    for level in ("_runtime", "_overrides", "_modifications"):
        settings = (vars(config).get(level) or {}).get(section)
        if isinstance(settings, Mapping) and name in settings:
            return True
    return False
