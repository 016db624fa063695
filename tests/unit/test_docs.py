"""What the documentation says holds: numbers are those of the program, links lead somewhere."""

import ast
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from paramgmt_tasks import Settings, fleet
from paramgmt_tasks.classic import executables
from paramgmt_tasks.engines import dask_actor
from paramgmt_tasks.engines.dask_cluster import CALL_TIMEOUT
from paramgmt_tasks.history import KEPT
from paramgmt_tasks.model import output, ssh_options, ssh_support
from paramgmt_tasks.ssh import allowance, become, termination
from paramgmt_tasks.ssh.connection import CONNECT_TIMEOUT
from paramgmt_tasks.ssh.paramiko_internals import ciphers, message_pump, sockets
from paramgmt_tasks.tasks import OPTIONS, options_page
from paramgmt_tasks.transfer import script_session

ROOT = Path(__file__).parent.parent.parent
WORDS = {1: "one", 2: "two", 3: "three", 60: "a minute"}
MB = 1024 * 1024


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("docs/options.md", f"all attempts together (ConnectTimeout, else {CONNECT_TIMEOUT:.0f})"),
        ("docs/options.md", f"end with {executables._FAILED} if a host failed"),
        ("docs/options.md", f"({Settings.max_output // 10**9}G without it)"),
        ("docs/guide/commands.md", f"how many hosts are worked on at once ({Settings.fanout})"),
        ("docs/guide/commands.md", f"how often a host is tried ({Settings.attempts})"),
        ("docs/guide/commands.md", f"all attempts together (ConnectTimeout, else {CONNECT_TIMEOUT:.0f})"),
        ("docs/guide/commands.md", f"KILL {WORDS[int(termination.GRACE)]} seconds later"),
        ("docs/classic.md", f"exit statuses (0, {executables._FAILED} if a host failed, 2)"),
        ("docs/guide/runs.md", f"The last {KEPT} runs are kept"),
        ("docs/guide/output.md", f"{output.IN_MEMORY // MB} MB a run are kept in memory"),
        ("docs/performance.md", f"kept within {output.IN_MEMORY // MB} MB of memory a run"),
        ("docs/python.md", f"Without it the engine is `{Settings.engine}`"),
        ("docs/scaling.md", f"a process for each {fleet.HOSTS_A_PROCESS} hosts, but no more than processors"),
        ("docs/scaling.md", f"does not answer for {WORDS[int(CALL_TIMEOUT)]} counts as gone"),
        (
            "docs/scaling.md",
            f"pieces of at most {dask_actor._BATCH // MB} MB, with {dask_actor._FULL // MB} MB on their way",
        ),
        ("docs/security.md", f"a packet of more than {ciphers.LARGEST // 1024} KiB"),
        ("docs/security.md", f"more than the window allows ({allowance.BULK // MB} MB)"),
        (
            "docs/security.md",
            f"more than {allowance.USELESS}, and {allowance.USELESS_A_SECOND} more for each second",
        ),
        ("docs/security.md", f"a group of more than {allowance.LARGEST_GROUP} bits"),
        ("docs/security.md", f"have the thread after {message_pump.TURN * 1000:.0f} ms"),
        ("docs/security.md", f"until `--timeout`, without it {sockets.DEAD:.0f} seconds"),
        ("docs/security.md", f"{Settings.max_output // 10**9} GB is kept (`--max-output`)"),
        ("docs/security.md", f"{script_session._MESSAGES // 1024} kB are kept of it"),
        ("docs/security.md", f"{become.TALK // 1024} kB are kept of it"),
        ("CHANGELOG.md", f"{Settings.fanout} hosts are worked on at once by default"),
        ("CHANGELOG.md", f"Output beyond {output.IN_MEMORY // MB} MB a run"),
    ],
)
def test_a_sentence_says_what_the_program_does(file: str, sentence: str) -> None:
    text = " ".join((ROOT / file).read_text().split())
    assert sentence in text


PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"))
)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in PAGES:
        if page.startswith("docs/") and page != "docs/index.md":
            assert f"]({page.removeprefix('docs/')})" in index, page


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_the_architecture_names_what_there_is() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    tree = text.partition("## The tree")[2].partition("Each sub-package")[0]
    named = set(re.findall(r"^ {6}(\w+)/", tree, re.MULTILINE))
    package = ROOT / "paramgmt_tasks"
    assert named == {path.parent.name for path in package.glob("*/__init__.py")}
    for module in set(re.findall(r"`([a-z_]+(?:/[a-z_]+)+)`", text)):
        assert (package / f"{module}.py").exists() or (package / module).is_dir(), module


def test_the_architecture_says_who_may_import_whom() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("## Who may import whom")[2].partition("\n## ")[0]
    said = {}
    for names, may in re.findall(r"^\| (`.*?) \| (.*) \|$", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            said[name] = set(re.findall(r"`(\w+)`", may))
    tree = ast.parse((ROOT / "tests" / "unit" / "test_architecture.py").read_text())
    (rule,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MAY_IMPORT"
    )
    packages = {name: set(may.split()) for name, may in rule.items() if not name.startswith("_")}
    assert said == packages


def test_the_tables_are_those_of_the_figures() -> None:
    path = ROOT / "tests" / "performance" / "tables.py"
    spec = importlib.util.spec_from_file_location("performance_tables", path)
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    report = json.loads((ROOT / "docs" / "performance.json").read_text())
    tables.complete(report)
    assert (ROOT / "docs" / "performance-tables.md").read_text() == tables.markdown(report)


def test_what_settings_say_of_themselves_holds() -> None:
    text = " ".join((Settings.__doc__ or "").split())
    assert f"falls back to ConnectTimeout, then {CONNECT_TIMEOUT:.0f};" in text


# -- options

PAGE = ROOT / "docs" / "options.md"


def test_the_page_of_the_options_is_that_of_their_definitions() -> None:
    assert PAGE.read_text() == options_page.page(), "run: inv docs"


@pytest.mark.parametrize("task", OPTIONS)
def test_a_task_offers_the_options_that_are_documented_for_it_and_no_others(
    inv: "Callable[..., subprocess.CompletedProcess[str]]", task: str
) -> None:
    tables = PAGE.read_text().partition("## Hosts")[2].partition("## Configuration")[0]
    rows = re.findall(r"^\| (.*?) \| (.*?) \| .* \|$", tables, flags=re.MULTILINE)
    remote = task not in ("rhosts", "rgroups", "lcmd")
    those = {
        "all": task != "rgroups",
        "all and `rgroups`": True,
        "all but `rhosts`": task not in ("rhosts", "rgroups"),
        "remote": remote,
    }
    documented = {
        re.search(r"--[a-z-]+", option)[0]  # type: ignore[index]
        for option, tasks in rows
        if those.get(tasks, f"`{task}`" in tasks) and option != "option"
    }
    said = inv("--help", task).stdout.partition("Options:")[2]
    assert set(re.findall(r"^ .*?(--[a-z-]+)", said, flags=re.MULTILINE)) == documented


def test_the_table_of_ssh_config_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "ssh_config.md").read_text()
    told = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", page, re.MULTILINE)
    rows = sorted(ssh_support.ROWS.values(), key=lambda row: row.name.lower())
    assert told == [(row.name, row.support.value, row.why) for row in rows]


def test_the_table_of_ssh_config_has_every_option_that_is_read() -> None:
    assert ssh_support.ROWS.keys() - {"usekeychain"} <= ssh_options.keywords()
    assert all(ssh_support.near(name) == f" (near: {row.name})" for name, row in ssh_support.ROWS.items())


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh, from openssh-client")
def test_the_table_of_ssh_config_has_every_option_of_the_ssh_that_is_here() -> None:
    said = subprocess.run(["ssh", "-G", "x"], capture_output=True, text=True, check=True).stdout
    options = {line.split()[0].lower() for line in said.splitlines()} - {"host"}
    assert options
    assert options <= ssh_support.ROWS.keys()
