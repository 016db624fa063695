"""What Invoke's own options, which go before a task, mean to the tasks here: honoured, or refused."""

from typing import Any

import pytest
from invoke import Config, Context

from paramgmt_tasks.tasks.session import options_of


def context(**overrides: Any) -> Context:
    return Context(Config(overrides=overrides))


def test_a_limit_for_commands_is_that_of_the_task(inv) -> None:
    done = inv("-T", "1", "lcmd", "-m", "a", "sleep 100")
    assert (done.returncode, done.stderr) == (1, "timed-out (1): a - timed out after 1 s; ended\n")


def test_what_is_given_to_invoke_holds_unless_the_task_is_given_its_own() -> None:
    c = context(timeouts={"command": 3}, run={"pty": True}, paramgmt={"timeout": 9})
    settings = options_of(c, {}).settings()
    assert (settings.timeout, settings.tty) == (3, True)
    settings = options_of(c, {"timeout": "5", "tty": False}).settings()
    assert (settings.timeout, settings.tty) == (5, False)


def test_a_limit_and_a_terminal_in_a_projects_configuration_are_for_invokes_own_commands() -> None:
    c = Context(Config(defaults={**Config.global_defaults(), "timeouts": {"command": 3}}))
    c.config.load_collection({"run": {"pty": True}})
    settings = options_of(c, {}).settings()
    assert (settings.timeout, settings.tty) == (None, False)


def test_a_limit_that_a_benchmark_would_not_heed_is_refused(inv) -> None:
    done = inv("-T", "5", "benchmark.uds-vs-tcp.build")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "uds-vs-tcp: a limit for commands of Invoke (-T) is none for a benchmark: leave it out\n"
    )


@pytest.mark.parametrize("words", [["rcmd", "-m", "a", "x"], ["rhosts", "-m", "a"]])
def test_a_password_for_commands_of_invoke_is_refused(inv, words: list[str]) -> None:
    done = inv("--prompt-for-sudo-password", *words, stdin="secret\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        f"{words[0]}: --prompt-for-sudo-password is inv's own, for commands of Invoke: "
        "--ask-password is for hosts\n"
    )


def test_echo_and_hide_are_for_commands_of_invoke_and_change_nothing_here(inv) -> None:
    words = ("lcmd", "-m", "a", "echo x")
    plain = inv(*words)
    assert (inv("-e", *words).stdout, inv("--hide", "both", *words).stdout) == (plain.stdout, plain.stdout)
