"""A command whose variables come over its standard input: nothing is done unless they came whole."""

import shlex
import shutil
import subprocess

import pytest

from paramgmt_tasks.ssh import by_sh
from paramgmt_tasks.ssh.command import with_env


def run(shell: str, text: str, sent: bytes, **more: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [shell, "-c", text],
        input=sent,
        capture_output=True,
        env={"SHELL": shell, "PATH": "/usr/bin:/bin", **more},
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "login"),
    [
        *((name, False) for name in ("dash", "bash", "ksh", "zsh")),
        *((name, True) for name in ("dash", "bash", "ksh", "zsh", "tcsh", "fish")),
    ],
)
@pytest.mark.parametrize("more", [False, True])
def test_nothing_runs_where_the_variables_are_cut_off(name: str, more: bool, login: bool) -> None:
    shell = shutil.which(name)
    if shell is None:
        pytest.skip(f"needs {name}")
    command = "printenv A"
    text, sent = with_env(command, [("B", "x"), ("A", "a 'b' }; c")], more, login)
    whole = run(shell, text, sent)
    assert (whole.returncode, whole.stdout, whole.stderr) == (0, b"a 'b' }; c\n", b"")
    end = sent.rindex(b"}") + 2
    # The shells that are slow to start read the same text: they get some of the cuts, and all near the end.
    for length in range(end) if name == "dash" else (*range(0, end - 6, 5), *range(end - 6, end)):
        cut = run(shell, text, sent[:length])
        assert cut.returncode != 0, length
        assert cut.stdout == b"", length


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("name", ["dash", "bash", "ksh", "zsh", "tcsh", "fish"])
@pytest.mark.parametrize("variable", [("again", ""), ("again", "x"), ("SHELL", "/no/such"), ("again", None)])
def test_any_variable_may_be_given_whatever_there_is_on_the_host(
    name: str, more: bool, variable: tuple[str, str | None]
) -> None:
    shell = shutil.which(name)
    if shell is None:
        pytest.skip(f"needs {name}")
    key, value = variable
    given = [("A", "a")] if value is None else [("A", "a"), (key, value)]
    text, sent = with_env(f"printenv A; printenv {key}", given, more)
    done = run(shell, text, sent, again="its own")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"a\n{'its own' if value is None else value}\n"


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("name", ["dash", "bash", "zsh"])
def test_variables_come_where_startup_files_have_read_some_lines(name: str, more: bool) -> None:
    text, sent = with_env("printenv A", [("A", "a\nb")], more)
    shell = shutil.which(name)
    if shell is None:
        pytest.skip(f"needs {name}")
    done = run(shell, f"read -r x; read -r x; {text}", sent)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\nb\n", b"")


@pytest.mark.parametrize("length", [0, 899, 900, 901, 20_000])
@pytest.mark.parametrize(
    "name", ["sh", "dash", "bash", "ksh", "mksh", "zsh", "csh", "tcsh", "fish", "busybox"]
)
def test_any_login_shell_has_sh_run_a_script_as_it_is(name: str, length: int) -> None:
    shell = shutil.which(name)
    if shell is None:
        pytest.skip(f"needs {name}")
    values = [
        "a  b!!c",
        "it's",
        "\\n \\\\ \\ $x `y` {a,b} * ~ \N{SNOWMAN}",
        "line\nline!",
        "x!\n" * (length // 3),
    ]
    script = f"set -- {shlex.join(values)}\nfor each; do printf '<%s>' \"$each\"; done # !x\nexit 7"
    for text in (script, "printf x; exit 7" + " " * length):
        words = [shell, "sh", "-c"] if name == "busybox" else [shell, "-c"]
        done = subprocess.run([*words, by_sh(text)], capture_output=True, check=False)
        said = "".join(f"<{value}>" for value in values) if text == script else "x"
        assert (done.returncode, done.stdout.decode(), done.stderr) == (7, said, b"")


def test_a_value_is_not_in_the_text() -> None:
    for login in (False, True):
        text, sent = with_env("run it", [("A", "hush")], more=True, login=login)
        assert "hush" not in text
        assert b"hush" in sent
