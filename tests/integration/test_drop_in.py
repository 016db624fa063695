"""The classic executables and the classic Python API, as ParaMgmt 0.3 has them."""

import io
import sys
from pathlib import Path

import programs
import pytest

from paramgmt_tasks import Controller, Outcome, all_success, parse_file, parse_stream

BIN = Path(sys.executable).parent


@pytest.fixture
def hosts(sshd, tmp_path: Path) -> list[str]:
    names = [host.entry for host in sshd.hosts(4)]
    sshd.write_list(tmp_path / "hosts.txt", names)
    return names


def classic(folder: Path, line: str, name: str, *words: str, stdin: str = "") -> tuple[int, str, str]:
    done = programs.run(name, *line.split(), *words, cwd=folder, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


def test_rhosts_prints_those_given_first(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("a  # comment\n\n b \na\n")
    assert classic(tmp_path, "-m x y -f hosts", "rhosts")[:2] == (0, "x\ny\na\nb\na\n")
    assert classic(tmp_path, "--hosts x --hostf -", "rhosts", stdin="c\n")[:2] == (0, "x\nc\n")


def test_rcmd_prints_blocks_and_ends_with_0(hosts: list[str], tmp_path: Path) -> None:
    code, out, _ = classic(tmp_path, "-f hosts.txt", "rcmd", "--", "echo", "I", "am", "?HOST")
    blocks = [f"rcmd [{name}]: echo I am {name}\nstdout:\nI am {name}\n" for name in hosts]
    assert (code, out) == (0, "".join(blocks) + "4 succeeded, 0 failed, 4 total\n\n")


def test_some_failed_is_255(hosts: list[str], tmp_path: Path) -> None:
    command = f"test ?HOST != {hosts[3]} || (echo some text 1>&2; exit 7)"
    code, out, _ = classic(tmp_path, "-f hosts.txt -s -c -a 2", "rcmd", "--", command)
    assert code == 255
    assert "stderr:\nsome text\nreturn code: 7\nattempts:    1\n" in out
    assert out.endswith(f"3 succeeded, 1 failed, 4 total\n\nFailed hosts:\n{hosts[3]}\n")


@pytest.mark.parametrize(
    ("words", "ran"),
    [
        (["--", "echo", "a", "--", "b"], "echo a -- b"),
        (["echo", "a", "--", "b"], "echo a b"),
        (["echo", "a"], "echo a"),
    ],
)
def test_the_rules_of_the_dashes(tmp_path: Path, words: list[str], ran: str) -> None:
    (tmp_path / "hosts").write_text("h\n")
    code, out, _ = classic(tmp_path, "-f hosts", "lcmd", *words)
    assert (code, out.splitlines()[0]) == (0, f"lcmd [h]: {ran}")


@pytest.mark.parametrize("short", ["--seq", "--s", "--no_c", "--no", "--att=2", "--u=root"])
def test_abbreviations_mean_what_they_did(hosts: list[str], tmp_path: Path, short: str) -> None:
    code, out, err = classic(tmp_path, f"-f hosts.txt {short}", "rcmd", "--", "true")
    assert (code, out.splitlines()[-2]) == (0, "4 succeeded, 0 failed, 4 total"), err


def test_files_go_and_come_with_a_destination(hosts: list[str], sshd, tmp_path: Path) -> None:
    (tmp_path / "f1").write_text("one")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f2").write_text("two")
    (tmp_path / "there").mkdir()
    where = f"-f hosts.txt -d {tmp_path}/there/?HOST"
    assert classic(tmp_path, "-f hosts.txt", "rcmd", "--", f"mkdir {tmp_path}/there/?HOST")[0] == 0
    code, out, _ = classic(tmp_path, where, "rpush", "--", "f1", "d")
    assert code == 0
    assert out.startswith(f"rpush [{hosts[0]}]: f1 d => {hosts[0]}:{tmp_path}/there/{hosts[0]}\n")
    assert classic(tmp_path, "-f hosts.txt", "lcmd", "--", "mkdir", "-p", "res/?HOST")[0] == 0
    sources = [f"{tmp_path}/there/?HOST/{name}" for name in ("f1", "d")]
    code, out, _ = classic(tmp_path, "-f hosts.txt -d res/?HOST", "rpull", "--", *sources)
    assert code == 0
    assert f"rpull [{hosts[0]}]: {hosts[0]}:{{" in out
    for name in hosts:
        assert (tmp_path / "res" / name / "f1").read_text() == "one"
        assert (tmp_path / "res" / name / "d" / "f2").read_text() == "two"


def test_scripts(hosts: list[str], tmp_path: Path) -> None:
    (tmp_path / "s1.sh").write_text('echo "hello ?HOST"')
    (tmp_path / "s2.sh").write_text("echo again\n")
    code, out, _ = classic(tmp_path, "-f hosts.txt", "rscript", "--", "s1.sh", "s2.sh")
    assert code == 0
    first = f"rscript [{hosts[0]}]: running s1.sh s2.sh\nstdout:\nhello {hosts[0]}\nagain\n"
    assert out.startswith(first)


@pytest.mark.parametrize(
    ("line", "name", "message"),
    [
        ("-f hosts.txt", "rcmd", "rcmd: no command"),
        ("-f none.txt", "rhosts", "rhosts: host list none.txt: no such file"),
        ("-f hosts.txt -a 0", "rcmd", "--attempts 0: must be"),
        ("", "rhosts", "rhosts: no hosts"),
        ("-f hosts.txt", "rpush", "rpush: no file"),
        ("--nonsense", "rhosts", "rhosts: unrecognized arguments: --nonsense"),
    ],
)
def test_usage_errors_are_a_line_and_2(hosts, tmp_path: Path, line: str, name: str, message: str) -> None:
    words = ["--", "true"] if "-a" in line else []
    code, out, err = classic(tmp_path, line, name, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_new_options_are_there_too(hosts: list[str], tmp_path: Path) -> None:
    line = "-f hosts.txt --fanout 3 --env A=b --exclude 127.1.0.1 --connect-timeout 5"
    code, out, _ = classic(tmp_path, line, "rcmd", "--", "echo $A")
    assert (code, out.count("stdout:\nb\n")) == (0, 3)


def test_paramgmt_is_inv_without_a_tasks_py(hosts: list[str], tmp_path: Path) -> None:
    code, out, _ = classic(tmp_path, "rcmd --hosts hosts.txt", "paramgmt", "whoami")
    assert (code, out.splitlines()[-2]) == (0, "4 succeeded, 0 failed, 4 total")
    assert "rpush" in classic(tmp_path, "--list", "paramgmt")[1]


def test_a_closed_pipe_ends_quietly(hosts: list[str], tmp_path: Path) -> None:
    done = programs.in_shell("rcmd -f hosts.txt -- seq 1000 | head -1", cwd=tmp_path)
    assert (done.stdout, done.stderr) == (f"rcmd [{hosts[0]}]: seq 1000\n", "")


def test_the_controller(sshd, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch) -> None:
    config = "".join(f"  {key} {value}\n" for key, value in sshd.options().items())
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(f"Host 127.*\n{config}")
    monkeypatch.setenv("HOME", str(tmp_path))
    names = [host.entry for host in sshd.hosts(4)]
    (tmp_path / "list").write_text("".join(f"{name} # a comment\n" for name in names))
    ctl = Controller(hosts=parse_file(str(tmp_path / "list")), user=None, parallel=True, color=False)
    assert parse_stream(io.StringIO("a\n# b\nc\n")) == ["a", "c"]
    results = ctl.remote_command(["echo", "?HOST", "&&", "echo", "more", "1>&2"])
    assert all_success(results)
    assert [(r.host, r.retcode, r.attempts, r.stdout, r.stderr) for r in results] == [
        (name, 0, 1, name, "more") for name in names
    ]
    assert results[0].status(False) == (
        f"rcmd [{names[0]}]: echo {names[0]} && echo more 1>&2\nstdout:\n{names[0]}\nstderr:\nmore"
    )
    assert "4 succeeded, 0 failed, 4 total" in capfd.readouterr().out
    ctl.quiet, ctl.parallel, ctl.attempts = True, False, 1
    assert not all_success(ctl.remote_command(["exit 3"]))
    (tmp_path / "f").write_text("text")
    assert all_success(ctl.remote_push([str(tmp_path / "f")], f"{tmp_path}/there-?HOST"))
    assert all_success(ctl.local_command(["mkdir", "-p", f"{tmp_path}/res/?HOST"]))
    assert all_success(ctl.remote_pull([f"{tmp_path}/there-?HOST"], f"{tmp_path}/res/?HOST"))
    assert (tmp_path / "res" / names[3] / f"there-{names[3]}").read_text() == "text"
    (tmp_path / "s.sh").write_text("echo hi\n")
    assert {r.stdout for r in ctl.remote_script([str(tmp_path / "s.sh")])} == {"hi"}
    ctl.hosts = ["127.0.0.1:1"]
    ctl.ssh_connect_timeout, ctl.ssh_connection_attempts = 1, 1
    (result,) = ctl.remote_command(["true"])
    assert (result.retcode, result.stdout, "refused" in result.stderr) == (255, "", True)
    assert (result.outcome, result.reason, result.ok) == (Outcome.UNREACHABLE, "connection refused", False)
    assert capfd.readouterr().out == ""
