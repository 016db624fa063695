"""Projects of other people: the tasks imported, configured and called there, by `inv` and by `fab`."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import programs
import pytest
from invoke import Collection, Context, Exit, Program, task

from paramgmt_tasks import Pool, namespace
from paramgmt_tasks.tasks import rcmd

BIN = Path(sys.executable).parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hosts(sshd, tmp_path: Path) -> str:
    """A host list in the project's folder."""
    sshd.write_list(tmp_path / "hosts.txt", ["127.1.0.[1-3]"])
    return "hosts.txt"


# -- imported, added, configured and called


def test_single_tasks_are_imported_without_the_others(run: Run, hosts: str, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from paramgmt_tasks.tasks import rcmd, rpush\n")
    listed = [line.split()[0] for line in run("inv", "--list").stdout.splitlines()[1:] if line[2:3].strip()]
    assert listed == ["rcmd", "rpush"]
    done = run("inv", "rcmd", "-f", hosts, "--", "echo", "-n", "x")
    assert (done.returncode, done.stdout.count("stdout:\nx\n")) == (0, 3), done.stderr


def test_the_collection_goes_under_any_name(run: Run, hosts: str, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "from invoke import Collection\nimport paramgmt_tasks\n"
        "ns = Collection()\nns.add_collection(paramgmt_tasks.namespace, 'fleet')\n"
    )
    done = run("inv", "fleet.rcmd", "-f", hosts, "echo a", "fleet.rcmd", "-f", hosts, "--", "echo", "-n", "b")
    assert (done.returncode, done.stderr) == (0, "")
    assert (done.stdout.count("stdout:\na\n"), done.stdout.count("stdout:\nb\n")) == (3, 3)


def test_a_word_may_be_the_name_of_its_task(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from paramgmt_tasks import namespace as ns\n")
    assert run("inv", "rcmd", "-m", "a", "--dry-run", "rcmd").stdout == "rcmd [a]: rcmd\n"


def test_of_the_collections_the_files_and_the_environments_settings_the_last_holds(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "tasks.py").write_text(
        "from invoke import Collection\nimport paramgmt_tasks\n"
        "ns = Collection()\nns.add_collection(paramgmt_tasks.namespace, 'paramgmt')\n"
        "ns.configure({'paramgmt': {'machines': 'web[1-2]', 'user': 'collection', 'destination': '/c'}})\n"
    )
    words = ("paramgmt.rpush", "--dry-run", "f")
    assert run("inv", *words).stdout == (
        "rpush [collection@web1]: f => collection@web1:/c\nrpush [collection@web2]: f => collection@web2:/c\n"
    )
    (tmp_path / "invoke.yaml").write_text("paramgmt: {user: file, machines: [db]}\n")
    assert run("inv", *words).stdout == "rpush [file@db]: f => file@db:/c\n"
    env = {"INVOKE_PARAMGMT_USER": "environment", "INVOKE_PARAMGMT_DESTINATION": "/e"}
    assert run("inv", *words, **env).stdout == "rpush [environment@db]: f => environment@db:/e\n"


def test_tasks_called_from_a_task_share_its_settings_and_its_connections(
    run: Run, sshd, hosts: str, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("content\n")
    (tmp_path / "invoke.yaml").write_text("paramgmt: {hosts: hosts.txt, env: {WHO: nic}}\n")
    (tmp_path / "tasks.py").write_text(
        "from invoke import task\nfrom paramgmt_tasks.tasks import rcmd, rpush\n"
        "@task\ndef deploy(c, code='0'):\n"
        f"    pushed = rpush(c, ['f'], destination='{tmp_path}/to?HOST')\n"
        f"    shown = rcmd(c, 'cat {tmp_path}/to?HOST; echo $WHO; exit ' + code)\n"
        "    print(len(pushed), shown.results[2].stdout.split()[1].decode(), len(shown))\n"
    )
    before = sshd.log.count("Accepted publickey")
    done = run("inv", "deploy")
    assert done.stdout.splitlines()[-1] == "3 nic 3", done.stderr
    assert sshd.log.count("Accepted publickey") - before == 3
    failed = run("inv", "deploy", "--code", "7")
    assert (failed.returncode, failed.stderr) == (1, "failed (3): 127.1.0.[1-3] - return code 7\n")


@pytest.mark.parametrize(
    ("words", "connected"),
    [
        (["rcmd", "true"], 0),
        (["rcmd", "true", "rcmd", "echo"], 0),
        (["rcmd", "true", "then"], 3),
        (["deploy"], 3),
        (["deploy", "rcmd", "true"], 0),
    ],
)
def test_connections_are_kept_as_long_as_a_task_may_follow(
    sshd, hosts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], connected: int
) -> None:
    made: list[Pool] = []

    class Seen(Pool):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            made.append(self)

    monkeypatch.setattr("paramgmt_tasks.engines.Session", Seen)
    monkeypatch.setenv("INVOKE_PARAMGMT_HOSTS", str(tmp_path / hosts))
    deploy = task(lambda c: rcmd(c, "true"), name="deploy")
    then = task(lambda c: None, name="then")
    Program(namespace=Collection(rcmd, deploy, then)).run(["inv", *words], exit=False)
    (pool,) = made
    assert pool.threads.connected() == connected
    pool.close()


def test_tasks_that_call_these_heed_the_environment_without_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "from invoke import task\nfrom paramgmt_tasks.tasks import rcmd\n"
        "@task\ndef hello(c):\n    rcmd(c, 'x', dry_run=True)\n"
    )
    assert run("inv", "hello", INVOKE_PARAMGMT_MACHINES="a").stdout == "rcmd [a]: x\n"


def test_variables_stand_in_the_file_as_a_mapping(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from paramgmt_tasks import namespace as ns\n")
    (tmp_path / "invoke.yaml").write_text("paramgmt: {env: {A: b}}\n")
    assert run("inv", "lcmd", "-m", "a", "echo $A").stdout.splitlines()[2] == "b"


def test_a_number_of_runs_that_is_none_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from paramgmt_tasks import namespace as ns\n")
    done = run("inv", "lcmd", "-m", "a", "true", INVOKE_PARAMGMT_RUNS_KEPT="many")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lcmd: runs_kept many: must be a whole number; 0 keeps none\n"


def test_a_setting_that_there_is_not_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from paramgmt_tasks import namespace as ns\n")
    (tmp_path / "invoke.yaml").write_text("paramgmt: {host: web}\n")
    done = run("inv", "rcmd", "-m", "a", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "rcmd: host, below paramgmt in the configuration: no such setting; did you mean hosts?\n"
    )


# -- several in one process


class Project:
    """A project with settings of its own; `seen` is what each of its runs printed on the hosts."""

    def __init__(self, name: str, **settings: object) -> None:
        self.name = name
        self.seen: list[list[str]] = []

        @task
        def work(c: Context) -> None:
            try:
                report = rcmd(c, "echo $WHO ?HOST")
            except Exit:
                self.seen.append(["failed"])
            else:
                self.seen.append([result.stdout.decode().strip() for result in report])

        collection = Collection(work)
        collection.add_collection(namespace, "paramgmt")
        collection.configure({"paramgmt": settings})
        self._program = Program(name=name, binary_names=[name], namespace=collection)

    def run(self, *words: str) -> None:
        """Run the project's program with these words."""
        self._program.run([self.name, *words], exit=False)


@pytest.fixture
def projects(sshd, tmp_path: Path) -> list[Project]:
    """Three that differ in hosts, environment and user; nobody is let in as `stranger`."""
    sshd.write_list(tmp_path / "hosts.txt", [])
    common = (tmp_path / "hosts.txt").read_text().replace(f"User={sshd.options()['User']} ", "")
    made = []
    for name, addresses in (("a", "[1-3]"), ("b", "[4-5]"), ("stranger", "[6-7]")):
        path = tmp_path / f"{name}.txt"
        path.write_text(f"{common}127.1.0.{addresses}\n")
        user = "stranger" if name == "stranger" else sshd.options()["User"]
        made.append(Project(name, hosts=str(path), user=user, env={"WHO": name}))
    return made


_SEEN = {
    "a": ["a 127.1.0.1", "a 127.1.0.2", "a 127.1.0.3"],
    "b": ["b 127.1.0.4", "b 127.1.0.5"],
    "stranger": ["failed"],
}


def test_projects_in_turns_do_not_disturb_each_other(
    projects: list[Project], sshd, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sshd.log.count("Invalid user stranger")
    for _ in range(3):
        for project in projects:
            project.run("work")
            # With a command line that is not this process's.
            project.run("paramgmt.rcmd", "--dry-run", "--", "echo", "-n", project.name)
    assert {project.name: project.seen for project in projects} == {n: [s] * 3 for n, s in _SEEN.items()}
    assert sshd.log.count("Invalid user stranger") > before
    assert capfd.readouterr().out.count("@127.1.0.4]: echo -n b\n") == 3


def test_projects_at_the_same_time_do_not_disturb_each_other(
    projects: list[Project], capfd: pytest.CaptureFixture[str]
) -> None:
    together = threading.Barrier(len(projects))

    def work(project: Project) -> None:
        for _ in range(5):
            together.wait(60)
            project.run("work")
            project.run("paramgmt.rcmd", "--dry-run", "--", "echo", "-n", project.name)

    threads = [threading.Thread(target=work, args=(project,)) for project in projects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {project.name: project.seen for project in projects} == {n: [s] * 5 for n, s in _SEEN.items()}
    said = capfd.readouterr().out
    for name, host in (("a", 1), ("b", 4), ("stranger", 6)):
        assert said.count(f"@127.1.0.{host}]: echo -n {name}\n") == 5


# -- Fabric's own program


@pytest.fixture
def fabfile(tmp_path: Path) -> Path:
    path = tmp_path / "fabfile.py"
    path.write_text("from paramgmt_tasks import namespace as ns\n")
    return path


def test_fab_lists_the_tasks_too(run: Run, fabfile: Path) -> None:
    listed = run("fab", "--list").stdout
    assert "  rcmd  " in listed
    assert "Run a command on each host." in listed


@pytest.mark.parametrize(
    ("words", "ran"),
    [
        (["rcmd", "--hosts", "hosts.txt", "echo a"], ["echo a"]),
        (["rcmd", "-f", "hosts.txt", "--", "ls", "-l", "/"], ["ls -l /"]),
        (["rcmd", "-f", "hosts.txt", "echo", "--", "-n", "b"], ["echo -n b"]),
        (["lcmd", "-f", "hosts.txt", "echo a", "rcmd", "-f", "hosts.txt", "--", "pwd"], ["echo a", "pwd"]),
    ],
    ids=" ".join,
)
def test_fab_runs_the_tasks_too_and_each_once(run: Run, hosts: str, fabfile: Path, words, ran) -> None:
    done = run("fab", *words)
    assert (done.returncode, done.stderr) == (0, "")
    blocks = [line.partition(": ") for line in done.stdout.splitlines() if "cmd [127.1.0.1]: " in line]
    assert [description for _, _, description in blocks] == ran
    assert done.stdout.count("3 succeeded, 0 failed, 3 total") == len(ran)


def test_fab_configures_the_tasks_by_its_own_file_and_environment(
    run: Run, hosts: str, fabfile: Path, tmp_path: Path
) -> None:
    done = run("fab", "rcmd", "whoami", FABRIC_PARAMGMT_HOSTS=hosts)
    assert done.stdout.splitlines()[-2] == "3 succeeded, 0 failed, 3 total"
    (tmp_path / "fabric.yaml").write_text(f"paramgmt: {{hosts: {hosts}, exclude: '127.1.0.[1-2]'}}\n")
    assert run("fab", "rhosts").stdout == "127.1.0.3\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rcmd", "--dry-run", "x"], "rcmd: no hosts: name a list with --hosts FILE"),
        (["rcmd", "-m", "a", "ls", "-l"], "rcmd: '-l' follows 'ls': options of fab go before it"),
        (["rcmd", "-m", "a", "--bogus", "x"], "rcmd: no option '--bogus': see fab rcmd --help"),
        (["rcmd", "-m", "a", "-w", "x"], "rcmd: --warn-only is fab's own: it goes before rcmd"),
        (["-H", "a,b", "rcmd", "x"], "rcmd: --hosts here is fab's own"),
        (["--hosts", "hosts.txt", "rcmd", "--", "x"], "rcmd: --hosts here is fab's own"),
        (["rhosts", "-H", "a"], "rhosts: --hosts here is fab's own"),
        (["-i", "key", "rcmd", "-m", "a", "x"], "rcmd: --identity here is fab's own"),
        (["rcmd", "-m", "a", "-t", "5", "--", "x"], "rcmd: --connect-timeout here is fab's own"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_of_fab_is_one_line_and_exit_status_2(run: Run, fabfile: Path, words, said) -> None:
    done = run("fab", *words)
    assert done.stderr.startswith(said), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (done.returncode, done.stdout) == (2, "")


def test_what_is_fabs_own_stays_so_beside_the_tasks(run: Run, sshd, hosts: str, tmp_path: Path) -> None:
    options = "".join(f"  {key} {value}\n" for key, value in sshd.options().items())
    (tmp_path / "ssh_config").write_text(f"Host 127.*\n{options}")
    (tmp_path / "fabfile.py").write_text(
        "from fabric import task\nfrom paramgmt_tasks.tasks import rcmd\n"
        "@task\ndef both(c):\n"
        "    c.run('echo by fabric')\n"
        f"    rcmd(c, 'echo by rcmd', hosts=['{hosts}'])\n"
    )
    done = run("fab", "-S", "ssh_config", "-H", "127.1.0.1", "both")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("by fabric\nrcmd [127.1.0.1]: echo by rcmd\nstdout:\nby rcmd\n")
    assert "\n3 succeeded, 0 failed, 3 total\n" in done.stdout
    assert run("fab", "-S", "ssh_config", "-H", "127.1.0.1", "--", "echo", "rcmd").stdout == "rcmd\n"


# -- completion in the shell


@pytest.fixture
def completed(tmp_path: Path) -> Callable[[str], list[str]]:
    """What bash offers for the last word of a line, with the script that the program prints for it."""
    for name in ("tasks.py", "fabfile.py"):
        (tmp_path / name).write_text("from paramgmt_tasks import namespace as ns\n")

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        script = (
            'source <("$1" --print-completion-script bash)\n'
            'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n'
            '[[ $(complete -p "$1") =~ -F\\ ([^ ]+) ]]\n'
            '"${BASH_REMATCH[1]}" "$1" "${@: -1}" "${@: -2:1}"\n'
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = programs.in_shell(script, *words, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return sorted(done.stdout.split())

    return complete


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("inv rc", "rcmd"),
        ("inv benchmark.network.r", "benchmark.network.run"),
        ("inv rcmd --ho", "--host-keys --hosts"),
        ("inv rcmd --bogus x --us", "--user"),
        ("inv rpush --no-ov", "--no-overwrite"),
        ("inv rpush --no-ga", "--no-gather"),
        ("inv rpush --over", "--overwrite"),
        ("inv rcmd --hosts hosts.txt whoami rp", "rpull rpush"),
        ("inv rcmd --hosts hosts.txt whoami rpush --ch", "--changed"),
        ("inv rhosts --hosts hosts.txt rc", "rcmd"),
        ("inv --hid", "--hide"),
        ("paramgmt rp", "rpull rpush"),
        ("paramgmt rpush -f hosts.txt --dest", "--destination"),
        ("fab rp", "rpull rpush"),
        ("fab rcmd --conn", "--connect-timeout"),
    ],
)
def test_bash_completes_tasks_and_their_options(completed, line: str, offered: str) -> None:
    assert completed(line) == offered.split()


@pytest.mark.parametrize("line", ["inv rcmd --", "inv rcmd -s --", "paramgmt rcmd -f hosts.txt -"])
def test_dashes_alone_offer_all_options_of_the_task(completed, line: str) -> None:
    assert {"--hosts", "--sudo", "--together"} <= set(completed(line))
    assert "--changed" not in completed(line)


@pytest.mark.parametrize(
    "line",
    [
        "inv rcmd --hosts r",
        "inv rhosts --hosts r",
        "inv rpush -f hosts.txt r",
        "inv rpush -f hosts.txt rpush -",
        "inv rcmd whoami --ho",
        "inv rcmd -f hosts.txt -- r",
        "inv rcmd -f hosts.txt -- ls --",
        "inv rcmd -f hosts.txt 'r",
        "paramgmt rcmd -f hosts.txt -- ls -",
    ],
)
def test_values_words_and_commands_are_left_to_the_shell(completed, run: Run, line: str) -> None:
    assert completed(line) == []
    words = line.split(" ")
    asked = run(words[0], "--complete", "--", *words)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("shell", "calls"),
    [
        ("zsh", "$(paramgmt ${=collection_arg} --complete -- ${words})"),
        ("fish", "paramgmt --complete -- (commandline --tokenize)"),
    ],
)
def test_paramgmt_prints_scripts_for_other_shells_too(run: Run, shell: str, calls: str) -> None:
    assert calls in run("paramgmt", "--print-completion-script", shell).stdout


def test_completion_is_quick_for_it_does_without_fabric(run: Run) -> None:
    code = (
        "import sys\nfrom paramgmt_tasks.__main__ import paramgmt\n"
        "sys.argv = 'paramgmt --complete -- paramgmt rcmd --ho'.split()\n"
        "try: paramgmt()\nfinally: print({'fabric', 'paramiko', 'ClusterShell'} & set(sys.modules))\n"
    )
    done = run(sys.executable, "-c", code)
    assert done.stdout.startswith("--"), done.stderr
    assert done.stdout.endswith("set()\n")
