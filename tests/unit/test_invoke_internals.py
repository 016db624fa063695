"""What we touch of Invoke beyond its documentation is there, and is what we take it for."""

import sys

import pytest
from invoke import Collection, Config, Context, Program, Task, task
from invoke.parser import Argument, ParserContext

from paramgmt_tasks.model import Report
from paramgmt_tasks.tasks import invoke_internals, lcmd, operations, rcmd
from paramgmt_tasks.tasks.invoke_internals import (
    CommandLine,
    TypedWords,
    goes_before_environment,
    keep_with,
    kept_with,
)


class Asking(Task):
    """A task that keeps what it sees of the command line while Invoke asks for its arguments."""

    seen: list[CommandLine | None]

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        self.seen = [*getattr(self, "seen", []), CommandLine.current()]
        return []


def test_a_task_finds_the_program_that_asks_for_its_arguments() -> None:
    asking = Asking(lambda c: None, name="asking")
    program = Program(name="mine", binary="mi[ne]", namespace=Collection(asking))
    program.run(["bin/mine", "--dry", "asking", "--", "a", "b"], exit=False)
    line = asking.seen[0]
    assert line is not None
    assert (line.program_name, line.tokens) == ("mine", ["--dry", "asking", "--", "a", "b"])
    assert (line.completes, line.to_complete, line.help_asked) == (False, "a b", None)
    assert line.usage("asking", "x") == "mi[ne] [--core-opts] asking x"
    assert line.indented("x") == "  x"
    assert line.calls("asking", asking)
    assert not line.calls("asking", rcmd)
    assert not line.calls("nothing", asking)
    assert line.option_of_fabric(ParserContext()) is None
    line.drop_remainder()
    assert program.core.remainder == ""


def test_the_outermost_of_several_programs_is_the_one_that_calls() -> None:
    inner = Asking(lambda c: None, name="inner")
    asking = Program(namespace=Collection(inner))
    outer = task(lambda c: asking.run(["second", "inner"], exit=False), name="outer")
    Program(namespace=Collection(outer)).run(["first", "outer"], exit=False)
    assert inner.seen[0] is not None
    assert inner.seen[0].program_name == "second"


def test_without_a_program_there_is_no_command_line() -> None:
    assert CommandLine.current() is None
    assert next(argument.name for argument in rcmd.get_arguments()) == "command"


def test_what_a_call_shares_is_kept_beside_its_configuration() -> None:
    config = Config()
    assert kept_with(config, "_mine", list) is None
    keep_with(config, "_mine", ["x"])
    assert kept_with(config, "_mine", list) == ["x"]
    assert kept_with(Context(config).config, "_mine", list) == ["x"]
    assert "_mine" not in config
    assert kept_with(Config(), "_mine", list) is None


def test_which_settings_go_before_the_environment() -> None:
    for level in ("_runtime", "_overrides", "_modifications"):
        assert level in vars(Config())
    config = Config(defaults={"paramgmt": {"gather": True}}, overrides={"paramgmt": {"live": True}})
    assert not goes_before_environment(config, "paramgmt", "gather")
    assert goes_before_environment(config, "paramgmt", "live")
    config["paramgmt"]["gather"] = False
    assert goes_before_environment(config, "paramgmt", "gather")


def test_every_name_that_we_touch_is_listed() -> None:
    said = invoke_internals.__doc__ or ""
    program = Program(namespace=Collection())
    program.run(["x"], exit=False)
    for name in ("argv", "args", "core", "collection", "initial_context", "binary", "binary_names"):
        assert f"`{name}`" in said or f"`Program.{name}`" in said
        assert hasattr(program, name)
    assert hasattr(sys, "_getframe")


# -- whether a task may follow


@pytest.mark.parametrize(
    ("words", "keeps"),
    [
        (["lcmd", "x"], [False]),
        (["lcmd", "--", "x", "-y"], [False]),
        (["lcmd", "x", "--", "y"], [False]),
        (["lcmd", "lcmd"], [False]),
        (["lcmd", "x", "lcmd", "x"], [True, False]),
        (["lcmd", "x", "lcmd", "--", "x"], [True, False]),
        (["lcmd", "x", "then"], [True]),
        (["then", "lcmd", "x"], [False]),
        (["deploy"], [True]),
        (["deploy", "lcmd", "x"], [True, False]),
        (["lcmd", "x", "deploy"], [True, True]),
        (["before"], [True]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_connections_are_kept_unless_a_call_is_the_last_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, words: list[str], keeps: list[bool]
) -> None:
    kept: list[bool] = []

    def perform(options: object, operation: object, session: object, keep: bool) -> Report:
        kept.append(keep)
        return Report([])

    monkeypatch.setattr(operations, "perform", perform)
    deploy = task(lambda c: lcmd(c, "true"), name="deploy")
    then = task(lambda c: None, name="then")
    before = task(lambda c: None, name="before", pre=[deploy])
    Program(namespace=Collection(lcmd, deploy, then, before)).run(["inv", *words], exit=False)
    assert kept == keeps


def test_a_task_that_is_followed_by_its_own_post_task_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[bool] = []

    def perform(options: object, operation: object, session: object, keep: bool) -> Report:
        kept.append(keep)
        return Report([])

    monkeypatch.setattr(operations, "perform", perform)
    monkeypatch.setattr(lcmd, "post", [task(lambda c: None, name="then")])
    Program(namespace=Collection(lcmd)).run(["inv", "lcmd", "x"], exit=False)
    assert kept == [True]


def test_words_of_two_calls_are_never_equal() -> None:
    assert TypedWords(["x"], is_last=True) not in [TypedWords(["x"], is_last=True)]
