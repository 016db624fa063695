"""Groups of other programs: ClusterShell's configuration, its samples, and entry points of other packages."""

import inspect
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from paramgmt_tasks.inventory import GroupSources, Selection, clustershell_commands
from paramgmt_tasks.model import UsageError

#: What ClusterShell's package installs.
SAMPLE = Path(sysconfig.get_path("data")) / "etc" / "clustershell"
MAIN = "[Main]\ndefault: {default}\nconfdir: $CFGDIR/groups.conf.d\nautodir: $CFGDIR/groups.d\n"

YAML = """
roles:
  web: web[01-04]
  db: "db[1-2],dbmaster"
  both: "@web,@db"
  some: "@both!web02"
  old: "@racks:r1&@web"
  every: "@*"
  lists: [web01, "web[03-04]"]
  none:
racks:
  r1: "web[01-02] db1"
  r2: "web[03-04],db2"
  all: "web[01-04],db[1-2],spare[1-3/2]"
"""


class Folders:
    """Folders of configuration, in place of this machine's; the last one counts most."""

    def __init__(self, base: Path) -> None:
        self.base, self.names = base, ["system", "local", "prefix", "user"]

    def paths(self, name: str) -> list[str]:
        return [str(self.base / folder / name) for folder in self.names]

    def write(self, text: str, path: str = "user/groups.conf") -> Path:
        file = self.base / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def source(self, commands: str, name: str = "own", path: str = "user/groups.conf") -> GroupSources:
        """One source, which is the default one."""
        self.write(MAIN.format(default=name) + f"[{name}]\n{commands}\n", path)
        return GroupSources()

    def sample(self, folder: str) -> Path:
        shutil.copytree(SAMPLE, self.base / folder)
        return self.base / folder


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    made = Folders(tmp_path / "clustershell")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ClusterShell.Defaults.config_paths", made.paths)
    monkeypatch.setattr("paramgmt_tasks.inventory.group_sources.installed", dict)
    return made


@pytest.fixture
def yaml_sources(folders: Folders) -> GroupSources:
    folders.write(MAIN.format(default="roles"))
    folders.write(YAML, "user/groups.d/all.yaml")
    return GroupSources()


def entries(sources: GroupSources, group: str, source: str = "") -> list[str] | None:
    hosts = sources.hosts(source, group)
    return None if hosts is None else [host.entry for host in hosts]


# -- what there is


def test_without_configuration_there_are_no_sources(folders: Folders) -> None:
    sources = GroupSources()
    assert (list(sources.names()), list(sources.groups()), sources.default) == ([], [], "")
    assert sources.hosts("", "*") is None
    assert sources.hosts("", "web") is None
    assert sources.hosts("slurm", "web") is None


def test_groups_of_yaml_files(yaml_sources: GroupSources) -> None:
    assert list(yaml_sources.names()) == ["roles", "racks"]
    assert yaml_sources.default == "roles"
    assert yaml_sources.groups() == sorted(["web", "db", "both", "some", "old", "every", "lists", "none"])
    assert yaml_sources.groups("racks") == ["all", "r1", "r2"]
    assert entries(yaml_sources, "web") == ["web01", "web02", "web03", "web04"]
    assert entries(yaml_sources, "r1", "racks") == ["db1", "web01", "web02"]


def test_groups_within_groups(yaml_sources: GroupSources) -> None:
    assert entries(yaml_sources, "both") == ["db1", "db2", "dbmaster", "web01", "web02", "web03", "web04"]
    assert entries(yaml_sources, "old") == ["web01", "web02"]


def test_an_empty_group_is_one_and_an_unknown_one_is_none(yaml_sources: GroupSources) -> None:
    assert entries(yaml_sources, "none") == []
    assert entries(yaml_sources, "nosuch") is None
    assert entries(yaml_sources, "a b") is None
    assert entries(yaml_sources, "@web") is None
    assert entries(yaml_sources, "web", "nosuch") is None
    assert yaml_sources.groups("nosuch") == ()


def test_all_of_a_source_is_what_it_says_or_the_union_of_its_groups(yaml_sources: GroupSources) -> None:
    assert entries(yaml_sources, "*", "racks") == [
        *("db1", "db2", "spare1", "spare3"),
        *("web01", "web02", "web03", "web04"),
    ]


def test_groups_in_an_expression(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.write(MAIN.format(default="roles"))
    folders.write("roles: {web: 'web[1-4]', down: web2}", "user/groups.d/all.yaml")
    hosts = Selection().added(["@web!@down", "@roles:down"], "--machines")
    assert [host.entry for host in hosts] == ["web1", "web3", "web4", "web2"]
    with pytest.raises(UsageError, match=r"no such group \(near: @web\)"):
        Selection().added(["@wbe"], "--machines")


@pytest.mark.parametrize(
    "expression",
    [
        *("@web", "@db", "@both", "@some", "@old", "@lists", "@none", "@roles:web", "@racks:r1", "@racks:*"),
        *("@racks:all", "@local:adm", "@local:nested", "@local:*", "@sp:debug", "@slurmpart:*"),
    ],
)
def test_groups_have_the_hosts_that_cluset_finds(
    expression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the sample's own definition of `local`, edited groups, and Slurm's as it is shipped."""
    folder = tmp_path / "clustershell"
    shutil.copytree(SAMPLE, folder)
    text = (folder / "groups.conf").read_text().replace("/etc/clustershell/", "$CFGDIR/")
    (folder / "groups.conf").write_text(text.replace("default: local", "default: roles"))
    (folder / "groups.d" / "local.cfg").write_text(
        "adm: adm[1-2]\nnested: @adm,@roles:db n1\nall: adm[1-9]\n"
    )
    (folder / "groups.d" / "own.yaml").write_text(YAML.replace('  every: "@*"\n', ""))
    slurm(folder, tmp_path, monkeypatch)
    monkeypatch.setenv("CLUSTERSHELL_CFGDIR", str(folder))
    source, colon, group = expression[1:].partition(":")
    found = entries(GroupSources(), group if colon else source, source if colon else "")
    cluset = Path(sysconfig.get_path("scripts")) / "cluset"
    line = [cluset, "-e", "-S", "\n", expression]
    printed = subprocess.run(line, capture_output=True, text=True, check=True)
    assert found == printed.stdout.split()


def slurm(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's sources as they are shipped, over a program that answers as Slurm's does."""
    example = SAMPLE / "groups.conf.d" / "slurm.conf.example"
    shutil.copy(example, folder / "groups.conf.d" / "slurm.conf")
    program(
        tmp_path / "bin" / "sinfo",
        r"""
        case "$*" in
            *%R:%N*) echo 'batch:n[1-8]'; echo 'debug:n[9-10]' ;;
            *%R*) echo batch; echo debug ;;
            *"-p batch"*) echo 'n[1-8]' ;;
            *"-p debug"*) echo 'n[9-10]' ;;
            *"-p"*) ;;
            *) echo 'n[1-10]' ;;
        esac
        """,
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_slurm_and_genders_as_they_are_shipped(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.sample("user")
    text = (folders.base / "user" / "groups.conf").read_text()
    folders.write(text.replace("/etc/clustershell/", "$CFGDIR/"))
    slurm(folders.base / "user", tmp_path, monkeypatch)
    shutil.copy(
        SAMPLE / "groups.conf.d" / "genders.conf.example", folders.base / "user/groups.conf.d/genders.conf"
    )
    program(
        tmp_path / "bin" / "nodeattr",
        'case "$*" in "-n compute") echo c1; echo c2 ;; "-l") echo compute; echo mgmt ;; esac',
    )
    sources = GroupSources()
    assert {"sp", "slurmpart", "genders"} <= set(sources.names())
    assert "local" not in sources.names()
    assert entries(sources, "debug", "sp") == ["n9", "n10"]
    assert entries(sources, "nosuch", "sp") is None
    assert list(sources.groups("sp")) == ["batch", "debug"]
    assert entries(sources, "compute", "genders") == ["c1", "c2"]
    assert entries(sources, "mgmt", "genders") == []
    assert entries(sources, "nosuch", "genders") is None


# -- samples


def test_nobody_reaches_the_hosts_of_a_sample(folders: Folders) -> None:
    folders.sample("system")
    folders.sample("prefix")
    sources = GroupSources()
    assert list(sources.names()) == []
    assert entries(sources, "compute") is None
    assert entries(sources, "*") is None
    assert entries(sources, "compute", "local") is None
    assert Selection().known.everything() == {}


@pytest.mark.parametrize("added", ["groups.conf.d/other.conf", "groups.d/other.yaml"])
def test_what_is_added_to_a_sample_is_used_without_its_hosts(folders: Folders, added: str) -> None:
    folder = folders.sample("user")
    text = (folder / "groups.conf").read_text().replace("/etc/clustershell", "$CFGDIR")
    (folder / "groups.conf").write_text(text)
    is_yaml = added.endswith("yaml")
    (folder / added).write_text(
        "own: {a: 'n1,@local:compute'}" if is_yaml else "[own]\nmap: echo n1 @local:*\n"
    )
    sources = GroupSources()
    assert list(sources.names()) == ["own"]
    assert sources.default == ""
    assert entries(sources, "a", "own") == ["n1"]
    assert entries(sources, "compute") is None
    assert entries(sources, "compute", "local") is None


def test_edited_groups_of_a_sample_are_used(folders: Folders) -> None:
    folder = folders.sample("user")
    with (folder / "groups.d" / "local.cfg").open("a") as file:
        file.write("mine: n[1-2]\n")
    sources = GroupSources()
    assert entries(sources, "mine") == ["n1", "n2"]
    assert entries(sources, "adm") == ["example0"]  # as cluset, now that it is somebody's


def test_the_older_file_of_groups_is_used(folders: Folders) -> None:
    (folders.sample("user") / "groups").write_text("web: n[1-2]\n")
    assert entries(GroupSources(), "web") == ["n1", "n2"]


def test_a_sample_does_not_hide_the_configuration_of_the_machine(folders: Folders) -> None:
    folders.source("map: [ $GROUP = web ] && echo web1", path="system/groups.conf")
    folders.sample("local")
    folders.sample("prefix")
    sources = GroupSources()
    assert list(sources.names()) == ["own"]
    assert entries(sources, "web") == ["web1"]


def test_the_users_file_adds_to_a_sample(folders: Folders) -> None:
    folders.sample("prefix")
    folders.write("[Main]\ndefault: own\n[own]\nmap: echo n1\n")
    folders.write("other: {a: n2}", "user/groups.d/other.yaml")
    sources = GroupSources()
    assert set(sources.names()) == {"own", "other"}
    assert entries(sources, "a", "other") == ["n2"]


# -- sources that fail


def test_a_failing_source_says_what_it_printed(folders: Folders) -> None:
    sources = folders.source("map: echo no daemon >&2; exit 3\nlist: nosuchprogram --list")
    with pytest.raises(UsageError, match=r"^groups of own: echo no daemon.*: exit status 3: no daemon$"):
        sources.hosts("", "web")
    with pytest.raises(
        UsageError, match=r"groups of own: nosuchprogram --list: exit status 127: .*not found"
    ):
        sources.groups()
    with pytest.raises(UsageError, match="nosuchprogram"):
        sources.hosts("", "*")


def test_a_source_that_fails_for_a_group_that_it_does_not_list_has_none(folders: Folders) -> None:
    sources = folders.source("map: exit 1\nlist: echo web db")
    assert sources.hosts("", "wbe") is None
    with pytest.raises(UsageError, match="exit status 1"):
        sources.hosts("", "web")


def test_a_group_without_hosts_is_one_if_it_is_listed(folders: Folders) -> None:
    sources = folders.source("map: true\nlist: echo web")
    assert (entries(sources, "web"), entries(sources, "wbe")) == ([], None)
    assert entries(folders.source("map: true"), "web") is None


def test_a_failure_within_a_group_is_one(folders: Folders) -> None:
    folders.write("roles: {web: '@own:web,n1'}", "user/groups.d/roles.yaml")
    with pytest.raises(UsageError, match="groups of own: exit 7: exit status 7"):
        folders.source("map: exit 7").hosts("roles", "web")


def test_a_source_that_hangs_is_ended(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustershell_commands, "PATIENCE", 0.05)
    with pytest.raises(UsageError, match="groups of own: sleep 100; true: not done after"):
        folders.source("map: sleep 100; true").hosts("", "web")


def test_what_a_command_leaves_behind_is_not_waited_for(folders: Folders) -> None:
    assert entries(folders.source("map: sleep 3 & echo n1"), "web") == ["n1"]


def test_a_command_runs_in_the_folder_of_its_configuration(folders: Folders) -> None:
    sources = folders.source("map: cat $GROUP.txt\nall: echo no >&1; exit 2")
    folders.write("n[1-2]\n", "user/web.txt")
    assert entries(sources, "web") == ["n1", "n2"]
    with pytest.raises(UsageError, match=r"exit status 2: no$"):
        sources.hosts("", "*")


def test_a_command_is_run_once(folders: Folders, tmp_path: Path) -> None:
    count = tmp_path / "count"
    sources = folders.source(
        f"map: echo $GROUP >> {count}; [ $GROUP = bad ] && exit 1; echo n1\nlist: echo web bad\ncache_time: 0"
    )
    for _ in range(3):
        assert entries(sources, "web") == ["n1"]
        with pytest.raises(UsageError):
            sources.hosts("", "bad")
    assert count.read_text().split() == ["web", "bad"]


@pytest.mark.parametrize("group", ["$(id)", "a;touch", "a'b", "`id`", "-x", "a\\b", "{a}"])
def test_no_group_is_a_shell_command(folders: Folders, tmp_path: Path, group: str) -> None:
    sources = folders.source("map: echo '$GROUP' > ran")
    with pytest.raises(UsageError, match="cannot be part of a shell command"):
        sources.hosts("", group)
    assert not (folders.base / "user" / "ran").exists()


def test_all_of_a_source_that_cannot_tell(folders: Folders) -> None:
    sources = folders.source("map: echo n1")
    assert sources.hosts("", "*") is None
    assert sources.groups() == ()
    with pytest.raises(UsageError, match="groups of own: cannot tell all of its hosts"):
        sources.hosts("own", "*")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("web[1-", "groups of roles: web: .*web\\["),
        ("a/b", "groups of roles: web: 'a/b' is a path"),
        ("@web", "groups of roles: web: groups are within each other"),
        ("'@none:x'", "groups of roles: web: "),
        ("{a: b}", "groups of roles: web: what there is for a group is no text"),
        ("[1, 2]", "groups of roles: web: what there is for a group is no text"),
    ],
)
def test_malformed_groups_are_named(folders: Folders, value: str, why: str) -> None:
    folders.write(MAIN.format(default="roles"))
    folders.write(
        f"roles: {{web: {value if value[0] in '[{' + chr(39) else repr(value)}}}", "user/groups.d/r.yaml"
    )
    with pytest.raises(UsageError, match=why):
        GroupSources().hosts("", "web")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("default: own", "no section headers"),
        ("[Main]\ndefault: nosuch\n", 'Default group source not found: "nosuch"'),
        ("[own]\nlist: echo\n", "No option 'map'"),
        ("[own,own]\nmap: echo\n", "name collision"),
        ("[Main]\nconfdir: 'a\n", "No closing quotation"),
    ],
)
def test_malformed_configuration_is_named(folders: Folders, text: str, why: str) -> None:
    file = folders.write(text)
    with pytest.raises(UsageError, match=rf"ClusterShell's configuration {file}: .*{why}") as caught:
        GroupSources().names()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["user/groups.conf", "user", "user/groups.conf.d/x.conf", "user/groups.d/y.yaml"]
)
def test_what_others_can_write_is_not_used(folders: Folders, path: str) -> None:
    folders.write(MAIN.format(default="x"))
    folders.write("[x]\nmap: echo n1\n", "user/groups.conf.d/x.conf")
    folders.write("y: {web: n1}", "user/groups.d/y.yaml")
    (folders.base / path).chmod(0o777)
    with pytest.raises(
        UsageError, match=rf"{folders.base / path} is not used, as others can write it: chmod"
    ):
        GroupSources().hosts("", "web")


# -- other packages


@pytest.fixture
def package(tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a package that adds a source."""
    from paramgmt_tasks.inventory import plugins

    monkeypatch.setattr("paramgmt_tasks.inventory.group_sources.installed", plugins.installed)
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, text: str) -> None:
        module = f"added_{name}"
        info = tmp_path / f"{module}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[paramgmt.inventory]\n{name} = {module}:groups\n")
        (tmp_path / f"{module}.py").write_text(text)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


CLOUD = """
from paramgmt_tasks.model import Host
def groups():
    return {
        "web": ["web[1-2]", "nic@a:22"],
        "db": (Host("db1", "10.0.0.1", variables={"RACK": "b"}, options={"HostKeyAlias": "db"}), "web1"),
        "none": [],
    }
"""


def test_another_package_adds_a_source(package: Callable[[str, str], None]) -> None:
    package("cloud", CLOUD)
    sources = GroupSources()
    assert list(sources.names()) == ["cloud"]
    assert list(sources.groups("cloud")) == ["db", "none", "web"]
    assert entries(sources, "web", "cloud") == ["web1", "web2", "nic@a:22"]
    assert entries(sources, "*", "cloud") == ["web1", "web2", "nic@a:22", "db1"]
    assert (entries(sources, "none", "cloud"), entries(sources, "nosuch", "cloud")) == ([], None)
    hosts = sources.hosts("cloud", "db")
    assert hosts is not None
    assert (hosts[0].variables, hosts[0].options) == ({"RACK": "b"}, {"HostKeyAlias": "db"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import nosuchmodule", "ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("groups = 3", "TypeError"),
        ("def groups(): raise OSError('no network')", "OSError: no network"),
        ("def groups(): raise SystemExit(3)", "SystemExit: 3"),
        ("def groups(): return ['a']", "gives list, no mapping of groups to hosts"),
        ("def groups(): return {'a': 'b'}", "group a: str, no list of hosts"),
        ("def groups(): return {'a': [3]}", "group a: 3: neither the text of an entry nor a Host"),
        ("def groups(): return {'a': ['x y']}", "group a: control characters or white space"),
        ("def groups(): return {3: ['x']}", "a group is called 3"),
    ],
)
def test_a_broken_package_is_named(
    package: Callable[[str, str], None], caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    package("broken", text)
    sources = GroupSources()
    assert list(sources.names()) == ["broken"]
    for _ in range(2):
        with pytest.raises(UsageError, match=f"^groups of broken: added_broken:groups is broken: .*{why}"):
            sources.hosts("broken", "web")
        assert list(sources.groups("broken")) == []
    (warning,) = caplog.records
    assert why in warning.getMessage()


def test_the_configuration_goes_before_a_package(
    package: Callable[[str, str], None], folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    package("own", CLOUD)
    sources = folders.source("map: echo n1")
    assert entries(sources, "web", "own") == ["n1"]
    with caplog.at_level(logging.WARNING, "paramgmt_tasks"):
        assert list(sources.names()) == list(sources.names()) == ["own"]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["groups of own"]


def test_packages_are_looked_for_only_when_they_are_asked_for(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise AssertionError

    monkeypatch.setattr("paramgmt_tasks.inventory.group_sources.installed", fail)
    sources = folders.source("map: echo n1")
    assert entries(sources, "web") == entries(sources, "web", "own") == ["n1"]


# -- what of ClusterShell is not public


def test_clustershell_runs_commands_as_it_is_replaced() -> None:
    from ClusterShell.NodeUtils import GroupResolverConfig, UpcallGroupSource

    class Source(UpcallGroupSource):  # type: ignore[misc]
        def _upcall_read(self, cmdtpl: str, args: Mapping[str, str]) -> str:
            asked.append((cmdtpl, dict(args)))
            return "n1"

    assert list(inspect.signature(UpcallGroupSource._upcall_read).parameters) == ["self", "cmdtpl", "args"]
    asked: list[tuple[str, dict[str, str]]] = []
    source = Source("own", "map", cfgdir="/folder")
    source.upcalls = UpcallGroupSource("own", "show $GROUP", list_upcall="list").upcalls
    assert source.upcalls == {"map": "show $GROUP", "list": "list"}
    assert (source.resolv_map("web"), source.resolv_list()) == ("n1", "n1")
    known = {"CFGDIR": "/folder", "SOURCE": "own"}
    assert asked == [("map", {"GROUP": "web", **known}), ("list", known)]
    assert "self.add_source(UpcallGroupSource" in inspect.getsource(GroupResolverConfig)
