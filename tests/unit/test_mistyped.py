"""What is mistyped never passes in silence: random mistakes in all that has a name."""

import contextlib
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from invoke import Config, Context, Exit

from paramgmt_tasks import Fleet, RunFailed, Settings, UsageError
from paramgmt_tasks.model.settings import Changes
from paramgmt_tasks.model.ssh_options import keywords, name_of
from paramgmt_tasks.tasks import OPTIONS, lcmd, namespace
from paramgmt_tasks.tasks.option_table import DEFAULTS

Run = Callable[..., "subprocess.CompletedProcess[str]"]

#: How many mistakes are tried where each is quick.
_EACH = 25
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def mistyped(name: str, source: random.Random) -> str:
    """A name with one mistake: a letter dropped, doubled, added or another, or two swapped."""
    chosen = source.choice
    at = source.randrange(len(name))
    before, letter, after = name[:at], name[at], name[at + 1 :]
    return chosen(
        (
            before + after,
            before + letter * 2 + after,
            before + letter + chosen(LETTERS) + after,
            before + chosen(LETTERS) + after,
            before + after[:1] + letter + after[1:],
        )
    )


def mistakes(names: Iterator[str] | Any, known: Any, count: int = _EACH) -> list[tuple[str, str]]:
    """Pairs of a name and of one mistyped that is none of those known."""
    names, found = sorted(names), []
    source = random.Random(" ".join(names))  # so that a failure comes again
    while len(found) < count:
        name = source.choice(names)
        wrong = mistyped(name, source)
        if wrong not in known and wrong.strip("-_") and wrong == wrong.strip("-_"):
            found.append((name, wrong))
    return found


def flags(options: Any) -> set[str]:
    return {flag for option in options for flag in option.long_names}


#: Long options of Invoke, which it takes wherever they stand.
CORE = "collection command-timeout complete config debug dry echo help hide list list-depth list-format "
CORE += (
    "no-dedupe print-completion-script prompt-for-sudo-password pty search-root version warn-only write-pyc"
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which, at the end, nothing has been run."""
    (tmp_path / "list").write_text("web[1-4]\n")
    (tmp_path / "fleet.ini").write_text("db[1-2]\n")
    yield tmp_path
    assert not (tmp_path / "ran").exists()


# -- options


@pytest.mark.parametrize("task", [*OPTIONS, "benchmark.uds-vs-tcp", "sandbox.up", "demo"])
def test_a_mistyped_option_of_a_task_is_refused_and_named(run: Run, folder: Path, task: str) -> None:
    options = namespace[task].options
    values = {option.flag: [] if option.kind is bool else ["1"] for option in options}
    words = {"rhosts": [], "lcmd": ["touch ran"], "rcmd": ["touch ran"]}.get(task, ["list"])
    known = {*flags(options), *CORE.split()}
    for name, wrong in mistakes(flags(options), known, 4):
        hosts = [] if task not in OPTIONS else ["-f", "list"] if task == "rgroups" else ["-m", "127.0.0.1:1"]
        given = [f"--{wrong}", *values.get(name, [])]
        done = run("paramgmt", task, *hosts, *given, *(words if task in OPTIONS else []))
        assert (done.returncode, done.stdout) == (2, ""), (wrong, done)
        assert f"--{wrong}" in done.stderr, (wrong, done.stderr)
        assert len(done.stderr.splitlines()) == 1
        if len(name) > 4:
            assert "(near: --" in done.stderr, (wrong, done.stderr)


@pytest.mark.parametrize("program", sorted(OPTIONS.keys() - {"rgroups"}))
def test_a_mistyped_option_of_a_classic_executable_is_refused_and_named(
    run: Run, folder: Path, program: str
) -> None:
    own = () if program == "rhosts" else OPTIONS[program]  # the ways to print them are those of the task
    names = flags(option for option in own if option.group != "Hosts") | {"hostfile", "exclude"}
    for name, wrong in mistakes(names, names, 8):
        if any(flag.startswith(wrong) for flag in (*names, "hosts", "no_color", "version", "help")):
            continue  # it abbreviates one, which ParaMgmt allows
        done = run(program, "-m", "127.0.0.1:1", f"--{wrong}=1", "--", "touch", "ran")
        assert (done.returncode, done.stdout) == (2, ""), (wrong, done)
        assert f"--{wrong}" in done.stderr
        assert len(name) < 5 or "(near: --" in done.stderr, (wrong, done.stderr)


def test_a_mistyped_setting_is_refused_and_named_with_what_was_meant(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name, wrong in mistakes(DEFAULTS, DEFAULTS):
        for way in ("file", "environment"):
            configured = {wrong: "1"} if way == "file" else {}
            with pytest.MonkeyPatch.context() as patch:
                if way == "environment":
                    patch.setenv(f"INVOKE_PARAMGMT_{wrong.upper()}", "1")
                with pytest.raises(Exit) as refused:
                    lcmd(Context(Config(overrides={"paramgmt": configured})), "touch ran", machines="a")
            said = str(refused.value.message)
            assert refused.value.code == 2
            assert said.startswith(f"lcmd: {wrong}, below paramgmt in the configuration: no such setting")
            assert len(name) < 5 or "did you mean" in said


def test_a_mistyped_section_is_refused_and_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for _, wrong in mistakes(["paramgmt"], {"paramgmt"}):
        with pytest.raises(Exit) as refused:
            lcmd(Context(Config(overrides={wrong: {"exclude": "a"}})), "touch ran", machines="a")
        assert refused.value.message == f"lcmd: {wrong}, in the configuration: did you mean paramgmt?"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(f"INVOKE_{wrong.upper()}_EXCLUDE", "a")
            with pytest.raises(Exit, match="did you mean paramgmt"):
                lcmd(Context(Config()), "touch ran", machines="a")


def test_sections_of_others_are_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = {"parameters": {}, "params": {"a": 1}, "mgmt": {}, "paramiko": {}, "program": {}}
    assert lcmd(Context(Config(overrides=others)), "true", machines="a").ok


def test_a_mistyped_keyword_is_a_type_error_that_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for task, options in OPTIONS.items():
        names = {option.name for option in options}
        for name, wrong in mistakes(names, names, 5):
            words = [] if task == "rhosts" else ["touch ran"]
            with pytest.raises(TypeError, match=f"unexpected options: {wrong}") as refused:
                namespace[task](Context(), *words, **{"machines": "a", wrong: "1"})
            assert len(name) < 5 or "(near: " in str(refused.value)


def test_a_mistyped_change_of_settings_is_refused(folder: Path) -> None:
    names = set(Changes.__annotations__)
    with Fleet(["a"]) as fleet:
        for _, wrong in mistakes(names, names):
            change: Any = {wrong: 1}
            with pytest.raises(TypeError, match=wrong):
                Settings(**change)
            with pytest.raises(UsageError, match=f"no such setting: {wrong}"):
                fleet.local(f"touch {folder}/ran", **change)


def test_a_mistyped_option_of_ssh_is_refused_and_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    def is_known(name: str) -> bool:
        with contextlib.suppress(UsageError):
            return bool(name_of(name))
        return False

    for _, wrong in mistakes(keywords(), ()):
        if is_known(wrong):
            continue
        with pytest.raises(Exit) as refused:
            namespace["rcmd"](Context(), "touch ran", machines="127.0.0.1:1", ssh_option=[f"{wrong}=1"])
        assert refused.value.code == 2
        assert f"{wrong!r} is no option of ssh_config" in str(refused.value.message)


# -- hosts


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that failed on web1."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    record = tmp_path / "state" / "paramgmt" / "runs" / "20261127-120000-000"
    record.mkdir(parents=True)
    lines: tuple[dict[str, Any], ...] = (
        {"began": "then", "description": "x", "options": [{}], "hosts": [["web1", 0], ["web2", 0]]},
        {"finished": 0, "outcome": "failed", "reason": "return code 1", "seconds": 1},
        {"finished": 1, "outcome": "ok", "reason": "", "seconds": 1},
        {"ended": 1, "interrupted": False},
    )
    (record / "run.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


#: Options with a name that means something, each as it is mistyped behind the list `list`.
MEANT: list[tuple[dict[str, str], str, str]] = [
    ({"exclude": "{}"}, "web1", "--exclude"),
    ({"exclude": "web2,{}"}, "web1", "--exclude"),
    ({"limit": "{}"}, "web1", "--limit"),
    ({"limit": "web*!{}"}, "web1", "--limit"),
    ({"limit": "web*&{}"}, "@failed", "--limit"),
    ({"exclude": "{}"}, "@failed", "--exclude"),
    ({"hosts": "{}"}, "@failed", "--hosts"),
    ({"hosts": "{}"}, "list", ""),
    ({"machines": "{}"}, "@failed", "--machines"),
    ({"machines": "web2!{}"}, "@failed", "--machines"),
    ({"inventory": "{}"}, "fleet.ini", ""),
]


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(("given", "name", "said"), MEANT, ids=str)
def test_a_mistyped_name_of_hosts_is_refused_and_nothing_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], name: str, said: str
) -> None:
    monkeypatch.chdir(folder)
    known = {"web1", "web2", "web3", "web4", "@failed", "list", "fleet.ini"}
    right = {option: text.format(name) for option, text in given.items()}
    with contextlib.suppress(RunFailed):
        lcmd(Context(), "true", **{"hosts": ["list"], **right})
    for _, wrong in mistakes([name], known):
        mark = "@" if name.startswith("@") else ""
        if (mark and not wrong.startswith("@")) or not wrong.strip("@"):
            continue
        options: Any = {option: text.format(wrong) for option, text in given.items()}
        with pytest.raises(Exit) as refused:
            lcmd(Context(), "touch ran", **{"hosts": ["list"], **options})
        message = str(refused.value.message)
        assert (refused.value.code, len(message.splitlines())) == (2, 1), (wrong, message)
        assert wrong in message
        assert said in message


@pytest.mark.parametrize("name", ["limit", "pick", "first", "exclude", "machines", "hosts"])
def test_a_selection_by_a_variable_that_is_not_set_is_not_all_hosts(
    run: Run, folder: Path, name: str
) -> None:
    for given in ([f"--{name}", ""], [f"--{name}="]):
        done = run("paramgmt", "lcmd", "-f", "list", *given, "touch ran")
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done
