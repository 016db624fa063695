"""What is offered for the value of an option, as shells ask for it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = "20261127-120000-000"


@pytest.fixture
def offered(
    run: "Callable[..., subprocess.CompletedProcess[str]]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], list[str]]:
    """What is offered for a line, as a shell hands it over, in a folder with lists and a recorded run."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "state" / "paramgmt" / "runs" / RUN).mkdir(parents=True)
    folder = tmp_path / "above" / "here"
    (folder / "hostlists").mkdir(parents=True)
    (tmp_path / "above" / "hostlists").mkdir()
    (folder / "hostlists" / "web.txt").write_text(
        "# all of web\n[prod]\nweb[01-20] Port=22\nnic@db1:22 # c\n* User=x\n"
        "[lab:children]\nprod\n[lab:vars]\nk=v\n"
    )
    (tmp_path / "above" / "hostlists" / "db.txt").write_text("db1\n")
    (folder / "fleet").write_text("[edge]\nedge1\n")
    (folder / "watched").write_text("w1\n")
    (folder / "deep").mkdir()

    def offered(line: str) -> list[str]:
        program, *words = line.split(" ")
        done = run(program, "--complete", "--", program, *words, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return offered


NAMES = {f"@{name}" for name in ("failed", "unstarted", "ok", "unreachable", "lost", "timed-out")}


@pytest.mark.parametrize(
    "line", ["paramgmt rcmd --hosts", "paramgmt rcmd -m a -f", "paramgmt rhosts --hosts"]
)
def test_behind_hosts_are_lists_names_of_runs_and_files(offered, line: str) -> None:
    found = offered(line)
    assert {"web", "db", "fleet", "watched", *NAMES} <= set(found)
    assert not any(":" in name for name in found)
    assert "deep" not in found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # Lists, and then files beside them; without a list the shell offers files by itself.
        ("paramgmt rcmd --hosts we", "web"),
        ("paramgmt rcmd --hosts w", "watched web"),
        ("paramgmt rcmd -f d", "db"),
        ("paramgmt rcmd -f fl", ""),
        ("paramgmt rcmd --hosts=we", "--hosts=web"),
        ("paramgmt rcmd --hosts = we", "web"),  # as bash parts it
        ("paramgmt rcmd -fwe", "-fweb"),
        ("paramgmt rcmd --inventory we", "web"),
        ("paramgmt benchmark.uds-vs-tcp --hosts we", "web"),
        # What is whole, since a blank after it is lost on the way.
        ("paramgmt rcmd --hosts web", ""),
        ("paramgmt rcmd --engine threads", ""),
        # Runs.
        ("paramgmt rcmd --hosts @fai", "@failed"),
        ("paramgmt rcmd --hosts @ fai", "@failed"),
        ("paramgmt rcmd --hosts @failed:", f"@failed:{RUN}"),
        ("paramgmt rcmd --hosts @ failed :", RUN),
        ("paramgmt rcmd --hosts @ failed : 2026", RUN),
        ("paramgmt rcmd --hosts=@fai", "--hosts=@failed"),
        ("paramgmt rcmd --hosts =@ fai", "@failed"),
        # Groups and entries of the lists that are typed.
        ("paramgmt rcmd -f web -l @p", "@prod"),
        ("paramgmt rcmd -f web --limit @ la", "@lab"),
        ("paramgmt rcmd -f web --hosts @p", "@prod"),
        ("paramgmt rcmd --inventory fleet -m e", "edge1"),
        ("paramgmt rcmd --inventory=fleet -m @e", "@edge @error"),
        ("paramgmt rcmd -f web -x w", "web[01-20]"),
        ("paramgmt rcmd -f web -x web[01-20],n", "web[01-20],nic@db1:22"),
        ("paramgmt rcmd -f web -x web[01-20], @ unr", "@unreachable"),
        ("paramgmt rcmd -f web -l '@prod&!@la", "@prod&!@lab"),
        ("paramgmt rcmd -f web -l 'web*^@pr", "web*^@prod"),
        ('paramgmt rcmd -f web -x "@pr', "@prod"),
        ("paramgmt rcmd -m @e", "@error"),
        ("paramgmt rcmd -f none -m @e", "@error"),
        # Choices.
        ("paramgmt rcmd --engine", "auto dask processes threads"),
        ("paramgmt rcmd --engine p", "processes"),
        ("paramgmt rcmd --host-keys", "accept-new ignore strict"),
        ("paramgmt rcmd --order=f", "--order=finished"),
        ("paramgmt rcmd --become", "doas su sudo"),
        ("paramgmt benchmark.network --order r", "random"),
        # The last of several tasks; and what is no value of an option.
        ("paramgmt rcmd -f web whoami rpush -f d", "db"),
        ("paramgmt rcmd --user w", ""),
        ("paramgmt rcmd -f web w", ""),
        ("paramgmt rcmd -f web -- cat w", ""),
        ("paramgmt rcmd -f web 'w", ""),
    ],
)
def test_what_is_typed_is_completed(offered, line: str, expected: str) -> None:
    assert sorted(offered(line)) == expected.split()


def test_lists_of_the_configuration_are_known(offered, tmp_path: Path) -> None:
    here = tmp_path / "above" / "here"
    (here / "tasks.py").write_text("from paramgmt_tasks import namespace as ns\n")
    (here / "invoke.json").write_text(json.dumps({"paramgmt": {"hosts": "web", "inventory": ["fleet"]}}))
    assert sorted(offered("inv rcmd -m @e")) == ["@edge", "@error"]
    assert offered("inv rcmd -x web") == ["web[01-20]"]
    assert offered("inv rcmd -f fleet -x web") == []


def test_nothing_is_run_and_nothing_that_a_shell_would_expand_is_offered(offered, tmp_path: Path) -> None:
    here = tmp_path / "above" / "here"
    (here / "program").write_text("#!/bin/sh\ntouch ran\necho program1\n")
    (here / "program").chmod(0o755)
    for name in ("x$(touch ran)", "x`touch ran`", "x;y", "x y", "x*", "x'", "x\\"):
        (here / "hostlists" / f"{name}.txt").write_text("a\n")
    (here / "fleet").write_text("x$(touch,ran)\nxy\n[x$(touch)]\n")
    assert offered("paramgmt rcmd --hosts x") == []
    assert offered("paramgmt rcmd --inventory program -m p") == []
    assert offered("paramgmt rcmd --inventory fleet -m x") == ["xy"]
    assert offered("paramgmt rcmd -m $(touch,ran),@fa") == []
    assert not (here / "ran").exists()


def test_of_a_long_list_as_much_is_offered_as_can_be_read_at_once(offered, tmp_path: Path) -> None:
    here = tmp_path / "above" / "here"
    (here / "many").write_text("".join(f"host{number}\n" for number in range(20000)))
    assert len(offered("paramgmt rcmd -f many -x h")) == 1000
    (here / "huge").write_text("host\n" + "#\n" * 1_000_000)
    assert offered("paramgmt rcmd -f huge -x h") == []


def test_lists_that_cannot_be_read_are_passed_over(offered, tmp_path: Path) -> None:
    here = tmp_path / "above" / "here"
    (here / "binary").write_bytes(b"\xff\xfe\x00\n")
    (tmp_path / "above" / "hostlists" / "db.txt").chmod(0o666)
    for name in ("binary", "db", "deep", "none"):
        assert offered(f"paramgmt rcmd -f {name} -x d") == []


def test_a_completion_that_nobody_reads_to_its_end_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("from paramgmt_tasks import namespace as ns\n")
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "invoke", "--complete", "--", "inv", "rcmd", "--engine"]
    with open(writing, "wb") as closed:
        done = subprocess.run(words, cwd=tmp_path, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""
