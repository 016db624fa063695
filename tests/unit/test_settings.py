"""Settings say what is wrong with them when they are made, in one line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paramgmt_tasks import Settings, UsageError
from paramgmt_tasks.model.settings import _CHECKS

NOT_ABOVE_0 = [
    0,
    -1,
    0.0,
    float("nan"),
    float("inf"),
    -float("inf"),
    10**400 * -1,
    True,
    False,
    "5",
    [1],
    b"1",
]
NOT_WHOLE = [*NOT_ABOVE_0, None, 1.5, 3.0]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("fanout", NOT_WHOLE, "must be a whole number, 1 or more"),
        ("attempts", NOT_WHOLE, "must be a whole number, 1 or more"),
        ("workers", [value for value in NOT_WHOLE if value is not None], "must be a whole number, 1 or more"),
        ("port", [*NOT_ABOVE_0, 65536, 70000, 22.5], "must be a whole number, from 1 to 65535"),
        ("canary", [-1, 1.5, None, True, False, "1"], "must be a whole number, 0 or more"),
        ("timeout", [*NOT_ABOVE_0, 10**400], "must be a number of seconds above 0; None is without a limit"),
        ("connect_timeout", NOT_ABOVE_0, "must be a number of seconds above 0; None is as ssh_config says"),
        ("limit_rate", NOT_ABOVE_0, "must be a number of bytes a second above 0"),
        ("limit_rate_all", NOT_ABOVE_0, "must be a number of bytes a second above 0"),
        (
            "batch",
            [0, -1, 0.1, "0", "x", "101%", "1\n2", True, [], ""],
            "must be a whole number of hosts, 1 or",
        ),
        ("max_fail", [-1, 0.1, "x", "101%", False, []], "must be a whole number of hosts, or a share"),
        ("host_keys", ["", "x", "STRICT", 1, True], "must be one of strict, accept-new, ignore"),
        ("engine", ["", "x", None, 1, ["threads"]], "must be one of auto, threads, processes, dask"),
        ("user", ["", "-x", "a\nb", 5, True], "user"),
        ("identity", ["", 5, "a\0b", True], "identity"),
        ("jump", ["", 5, ["a"]], "jump"),
        ("scheduler", ["", 5], "scheduler"),
        ("sudo", [0, 1, None, "no", []], "must be True or False"),
        ("tty", [0, 1, None, "no"], "must be True or False"),
        ("become", ["", " ", "a\nb", "a\0", 5], "must"),
        ("run_as", ["", 5], "must"),
        ("run_as", ["-u", "a b;c"], "user name"),
        ("sequential", [0, 1, None, "no"], "must be True or False"),
        ("together", [0, 1, None, "no"], "must be True or False"),
        ("keep", [0, 1, None, "no"], "must be True or False"),
        ("insecure_scheduler", [0, 1, None, "no"], "must be True or False"),
        ("stdin", ["text", 5, bytearray(b"x"), True], "must be bytes"),
        ("password", [5, b"hush", True], "password: must be text"),
        (
            "env",
            ["A=hush", b"A=hush", 5, None, ["A=hush"], [("A", "hush", "x")], [5], ["AB"]],
            "env: must be a mapping",
        ),
        (
            "env",
            [{"": "hush"}, {"A B": "hush"}, {"1A": "hush"}, {"A=": "hush"}, {5: "hush"}, {"Ä": "hush"}],
            "name",
        ),
        ("env", [{"A": None}, {"A": b"hush"}, {"A": ["hush"]}, {"A": True}], "the value of A must be text"),
        ("env", [{"A": "hush\0"}], "the value of A has a NUL"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(name: str, values: list[Any], said: str) -> None:
    for value in values:
        with pytest.raises(UsageError) as raised:
            Settings(**{name: value})
        assert str(raised.value).startswith(name)
        assert said in str(raised.value), value
        assert "\n" not in str(raised.value)
        assert "hush" not in str(raised.value), "it may be a secret"
        with pytest.raises(UsageError):
            replace(Settings(), **{name: value})


def test_what_can_be_used_is() -> None:
    good: dict[str, list[Any]] = {
        "fanout": [1, 10**6],
        "port": [None, 1, 65535],
        "timeout": [None, 0.1, 5],
        "canary": [0, 3],
        "batch": [None, 1, "1", "1%", "0%", "100%"],
        "max_fail": [None, 0, "0", "0%"],
        "host_keys": [None, "strict", "accept-new", "ignore"],
        "stdin": [None, b"", b"x"],
        "password": [None, "", "x y"],
        "sudo": [False, True],
        "become": [None, "sudo", "su", "doas", "pbrun -u {user}"],
        "run_as": [None, "postgres", "DOMAIN\\someone"],
        "tty": [False, True],
    }
    for name, values in good.items():
        for value in values:
            assert getattr(Settings(**{name: value}), name) == value


def test_variables_are_taken_as_a_mapping_or_as_pairs() -> None:
    pairs = (("JOBS", "8"), ("_x", "a b"))
    assert Settings(env={"JOBS": 8, "_x": "a b"}).env == pairs
    assert Settings(env=[["JOBS", "8"], ("_x", "a b")]).env == pairs
    assert replace(Settings(env=pairs), fanout=1).env == pairs
    assert Settings().env == ()
    assert hash(Settings(env={"A": "1"})) == hash(Settings(env=(("A", "1"),)))


def test_files_may_be_paths() -> None:
    assert Settings(identity=Path("~/key"), tls_ca=Path("ca.pem")) == Settings(
        identity="~/key", tls_ca="ca.pem"
    )  # type: ignore[arg-type]


def test_every_setting_has_a_check() -> None:
    assert _CHECKS.keys() == Settings.__dataclass_fields__.keys()


@pytest.mark.parametrize(
    ("given", "way"),
    [
        ({}, ""),
        ({"sudo": True}, "sudo"),
        ({"run_as": "nic"}, "sudo"),
        ({"sudo": True, "become": "su"}, "su"),
        ({"become": "ksu {user} -e", "run_as": "nic"}, "ksu {user} -e"),
    ],
)
def test_any_of_three_settings_makes_it_another_users(given: dict[str, Any], way: str) -> None:
    assert Settings(**given).way == way


def test_a_user_whom_the_command_would_not_become_is_refused() -> None:
    with pytest.raises(UsageError, match=r"run_as 'nic': put .user. into become 'pbrun'"):
        Settings(become="pbrun", run_as="nic")
