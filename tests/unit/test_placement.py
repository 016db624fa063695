"""On this machine; on hosts it is in the integration tests."""

from dataclasses import replace
from pathlib import Path

import pytest

from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.model.hosts import Host
from paramgmt_tasks.recipes.placement import OnThisMachine
from paramgmt_tasks.recipes.recipe import Role
from paramgmt_tasks.recipes.result_folder import ResultFolder

ROLE = Role("hosts", "", config={"a.conf": ""}, results=("*.jsonl", "up"))


def placed(folder: Path) -> tuple[OnThisMachine, list[Host]]:
    here = OnThisMachine(folder, "/opt/my python")
    host = Host("localhost", "localhost")
    return here, [replace(host, variables=here.variables(host))]


def test_what_a_command_may_name_is_quoted_for_a_shell(tmp_path: Path) -> None:
    _, (host,) = placed(tmp_path / "work")
    assert host.variables == {
        "PLACE": "localhost",
        "FOLDER": str(tmp_path / "work"),
        "PYTHON": "'/opt/my python'",
        "ADDRESS": "127.0.0.1",
    }


def test_files_folders_and_configuration_come_into_the_folder_and_results_out(tmp_path: Path) -> None:
    here, hosts = placed(tmp_path / "work")
    (tmp_path / "program.py").write_text("1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("2")
    here.push(ROLE, hosts, [str(tmp_path / "program.py"), str(tmp_path / "data")])
    (tmp_path / "made" / "localhost").mkdir(parents=True)
    (tmp_path / "made" / "localhost" / "a.conf").write_text("3")
    here.configure(ROLE, hosts, tmp_path / "made")
    assert sorted(path.name for path in (tmp_path / "work").rglob("*")) == [
        "a.conf",
        "data",
        "program.py",
        "x",
    ]

    (tmp_path / "work" / "b.jsonl").write_text("4")
    results = ResultFolder(tmp_path / "results", {})
    here.pull(ROLE, hosts, results)
    assert [path.name for path in results.of_host("localhost").iterdir()] == ["b.jsonl"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("in the way")
    here, hosts = placed(tmp_path / "work")
    with pytest.raises(UsageError, match="work: file exists"):
        here.push(ROLE, hosts, [])
