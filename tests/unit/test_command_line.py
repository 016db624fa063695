"""What `inv` does with words and options, where no host is needed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from paramgmt_tasks import Settings

ROOT = Path(__file__).parent.parent.parent


def test_listing_the_tasks_does_not_import_fabric_or_what_it_brings() -> None:
    code = (
        "import sys; sys.argv = ['inv', '--list']\n"
        "from invoke import Program\n"
        "try: Program().run()\n"
        "except SystemExit: pass\n"
        "heavy = {'fabric', 'paramiko', 'asyncssh', 'rich', 'ClusterShell'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "rcmd" in done.stdout


def test_rhosts_prints_a_host_a_line_those_given_inline_first(inv, tmp_path: Path) -> None:
    (tmp_path / "hosts.txt").write_text("10.0.0.[100-102]\n")
    done = inv("rhosts", "-f", "hosts.txt", "-m", "abc.com", "-m", "123.com,x[1-2]")
    assert done.stdout.split() == ["abc.com", "123.com", "x1", "x2", "10.0.0.100", "10.0.0.101", "10.0.0.102"]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_list_named_without_a_path_is_looked_for_in_hostlists(inv, tmp_path: Path) -> None:
    (tmp_path / "hostlists").mkdir()
    (tmp_path / "hostlists" / "web.txt").write_text("web1\n")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert inv("rhosts", "--hosts", "web").stdout == "web1\n"
    assert inv("rhosts", "--hosts", "web", cwd=tmp_path / "deep" / "er").stdout == "web1\n"


def test_a_list_on_standard_input(inv) -> None:
    assert inv("rhosts", "-f", "-", stdin="a # c\n\nb\n").stdout == "a\nb\n"


def test_duplicates_are_kept_with_a_note(inv) -> None:
    done = inv("rhosts", "-m", "a,b,a")
    assert done.stdout == "a\nb\na\n"
    assert done.stderr == "note: a is in the host list 2 times\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rhosts"], "rhosts: no hosts: name a list with --hosts FILE"),
        (["rhosts", "-f", "none.txt"], "rhosts: host list none.txt: no such file"),
        (["rhosts", "-f", "."], "rhosts: host list .: is a directory"),
        (["rhosts", "-f", "empty"], "rhosts: no hosts in empty"),
        (["rhosts", "-m", "a", "-x", "a"], "rhosts: no hosts in --machines after --exclude"),
        (["rhosts", "-f", ""], "rhosts: host list '': must be a file, or the name of one in hostlists/"),
        (["rhosts", "-m", "a[1-"], "rhosts: --machines: malformed range in 'a[1-'"),
        (["rhosts", "-f", "bad"], "rhosts: bad, line 2: '-oProxyCommand=x' begins with '-'"),
        (["rhosts", "-f", "binary"], "rhosts: host list binary: not a text file in UTF-8"),
        (["rcmd", "-m", "a"], "rcmd: no command: give one in quotes, or after --"),
        (["rcmd", "-m", "a", "--"], "rcmd: no command"),
        (["rpush", "-m", "a", "--"], "rpush: no files to push"),
        (["rpush", "-m", "a", "none"], "rpush: none: no such file or folder here"),
        (["rscript", "-m", "a", "--", "bad", "none"], "rscript: none: no such file or folder here"),
        (["rcmd", "-m", "a", "-a", "0", "x"], "rcmd: --attempts 0: must be a whole number, 1 or more"),
        (["rcmd", "-m", "a", "-a", "x", "x"], "rcmd: --attempts x: must be a whole number"),
        (["rcmd", "-m", "a", "--timeout", "-1", "x"], "rcmd: --timeout -1: must be a number of seconds"),
        (["rcmd", "-m", "a", "--timeout", "nan", "x"], "rcmd: --timeout nan: must be"),
        (
            ["rcmd", "-m", "a", "--port", "70000", "x"],
            "rcmd: --port 70000: must be a whole number, from 1 to",
        ),
        (["rcmd", "-m", "a", "--host-keys", "no", "x"], "rcmd: --host-keys 'no': must be one of strict"),
        (["rcmd", "-m", "a", "--env", "1=2", "x"], "rcmd: --env 1: must be KEY=VALUE"),
        (["rcmd", "-m", "a", "--env", "UNSET_9", "x"], "rcmd: --env UNSET_9: is not set here"),
        (["rcmd", "-m", "a", "--stdin", "none", "x"], "rcmd: --stdin none: no such file"),
        (["rcmd", "-m", "a", "--identity", "none", "x"], "rcmd: identity none: no such file"),
        (["rcmd", "-m", "a", "--identity", "bad", "x"], "rcmd: identity bad: not a private key"),
        (["rcmd", "-m", "a", "--jump", "x@", "x"], "rcmd: jump x@: no host name in 'x@'"),
        (["rcmd", "-m", "a", "--user", "a b", "x"], "rcmd: --user 'a b': not a user name"),
        (["rcmd", "-m", "a", "--bogus", "x"], "rcmd: no option '--bogus': see inv rcmd --help"),
        (["rcmd", "-m", "a", "--user", "-s", "x"], "rcmd: Flag --user needed value"),
        (["lcmd", "-m", "a", "ls", "-l"], "lcmd: '-l' follows 'ls'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_status_2(inv, tmp_path: Path, words, said) -> None:
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "bad").write_text("a\n-oProxyCommand=x\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\n")
    done = inv(*words)
    assert done.stderr.startswith(said), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (done.returncode, done.stdout) == (2, "")


def test_a_dry_run_shows_what_each_host_would_get(inv) -> None:
    words = ["--dry-run", "-m", "a", "-m", "nic@b", "-u", "root"]
    assert inv("rcmd", *words, "run ?HOST").stdout == "rcmd [root@a]: run a\nrcmd [nic@b]: run nic@b\n"
    assert inv("rpush", "-m", "a", "--dry-run", "-d", "/t/?HOST", "f").stdout == "rpush [a]: f => a:/t/a\n"
    assert inv("rpush", "-m", "a", "--dry-run", "f").stdout == "rpush [a]: f => a:~/\n"
    assert (
        inv("lcmd", "-m", "a", "--dry-run", "-s", "--", "mk", "-p", "?HOST").stdout == "lcmd [a]: mk -p a\n"
    )


def test_no_password_is_asked_for_a_dry_run(inv) -> None:
    assert inv("rcmd", "-m", "a", "--ask-password", "--dry-run", "x").returncode == 0


def test_help_of_a_task_shows_its_options(inv) -> None:
    for words in (["rcmd", "--help"], ["--help", "rcmd"]):
        done = inv(*words)
        assert done.returncode == 0
        assert "-u STRING, --user=STRING" in done.stdout
        assert "Run a command on each host." in done.stdout


def test_help_has_the_forms_of_a_command_groups_and_defaults(inv) -> None:
    said = inv("rcmd", "--help").stdout
    assert re.match(
        r"Usage: \S+ \[--core-opts\] rcmd \[--options\] COMMAND\n +\S+ .* -- COMMAND \.\.\.\n", said
    )
    groups = re.findall(r"^(\S.*):$", said, flags=re.MULTILINE)
    assert groups == ["Options", "Hosts", "Run", "Output", "Reaching hosts", "Engine"]
    text = " ".join(said.split())
    for known in (
        f"at once ({Settings.fanout})",
        f"is tried ({Settings.attempts})",
        "else 10)",
        "(no limit)",
    ):
        assert known in text
    assert said.count("--no-gather") == 1  # one line speaks of the opposites of all
    assert "Each switch has its opposite, which turns it off: --no-gather, --color." in said


@pytest.mark.parametrize("words", [["rpush", "-h"], ["-h", "rpush"], ["rpush", "-m", "a", "--help"]])
def test_help_is_asked_for_in_each_way_and_runs_nothing(inv, words: list[str]) -> None:
    done = inv(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rpush [--options] -- FILE ..." in done.stdout
    assert "Where the files go (~/)" in done.stdout


def test_help_of_the_other_tasks(inv) -> None:
    assert "How many servers" in inv("sandbox.up", "--help").stdout
    assert "Hosts:" in inv("benchmark.network.run", "--help").stdout
    assert "Hosts of the senders" in inv("--help", "benchmark.network").stdout


def test_a_file_of_host_variables(inv, tmp_path: Path) -> None:
    (tmp_path / "h").write_text("10.0.0.7 PEER=10.0.1.7\n10.0.0.8\n")
    done = inv("rcmd", "-f", "h", "--dry-run", "ping ?PEER")
    assert done.stdout == "rcmd [10.0.0.7]: ping 10.0.1.7\nrcmd [10.0.0.8]: ping ?PEER\n"
