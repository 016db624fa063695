"""The page for people who come from other tools says what is true: both lines of a row do the same.

Both are read from the page, and run on the same servers. Compared is what has happened on each host, and what
was copied from them; of lines that list hosts, which.
"""

import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ClusterShell.NodeSet import NodeSet
from host_oracles import needed
from programs import BIN, in_shell

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/guide/coming-from.md").read_text()
HOSTS = {"web1": "127.9.0.1", "web2": "127.9.0.2", "web3": "127.9.0.3", "db1": "127.9.0.4"}
#: Where the programs of a table come from: packages of PyPI or of Debian.
PACKAGES = {"clush": "ClusterShell", "pdsh": "pdsh", "pssh": "pssh", "Ansible": "ansible-core"}
#: What is the first word of a line, once variables and redirections are left out.
_PROGRAM = re.compile(r"^(?:[A-Z]+=\S+ )*(\S+)")

#: What a host runs for each connection: it has a home of its own, and programs that keep their words.
ENTER = """\
#!/bin/sh
set -- $SSH_CONNECTION
export HOME={folder}/hosts/$3 PATH={folder}/bin:$PATH
cd "$HOME" && exec sh -c "$SSH_ORIGINAL_COMMAND"
"""
RECORDER = """\
#!/bin/sh
echo "${0##*/} $*" >>"$HOME/ran"
echo "${0##*/}"
"""
#: Runs what it is to run, as whom it may be.
SUDO = """\
#!/bin/sh
user=root
while :; do
  case $1 in
    -u) user=$2; shift 2;;
    -p) shift 2;;
    --) shift; break;;
    -*) shift;;
    *) break;;
  esac
done
echo "as $user" >>"$HOME/ran"
exec "$@"
"""
FLEET = "[web]\nweb[1:3]\n[db]\ndb1\n[prod]\nweb[1:2]\n"
PLAY = """\
- hosts: web
  gather_facts: false
  serial: 1
  max_fail_percentage: 0
  tasks:
    - ansible.builtin.command: systemctl restart nginx
"""


@dataclass(frozen=True)
class Row:
    """Their line and ours, of the table below a heading."""

    table: str
    theirs: str
    ours: str

    @property
    def program(self) -> str:
        """Theirs, with which the line begins."""
        found = _PROGRAM.match(self.theirs)
        assert found
        return found[1]


def rows() -> list[Row]:
    """Those of all tables of the page."""
    found = []
    for section in PAGE.split("\n## ")[1:]:
        for line in section.splitlines():
            lines = re.findall(r"`((?:[^`])+)`", line.replace("\\|", "|"))
            if line.startswith("| `"):
                found.append(Row(section.split()[0].strip(","), lines[0], lines[1]))
    return found


ROWS = rows()


@pytest.fixture(scope="module")
def fleet(start_sshd: Callable[..., Any]) -> Any:
    """Servers on which each host has a home of its own."""
    sftp = next(filter(os.path.exists, ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")))
    sshd = start_sshd(
        "MaxStartups 1000",
        f"Subsystem sftp {sftp}",
        "ForceCommand {folder}/enter",
        "AcceptEnv PSSH_*",
    )
    _program(sshd.folder / "enter", ENTER.replace("{folder}", str(sshd.folder)))
    (sshd.folder / "bin").mkdir()
    for name in ("uptime", "systemctl", "pkill", "install"):
        _program(sshd.folder / "bin" / name, RECORDER)
    _program(sshd.folder / "bin/sudo", SUDO)
    return sshd


@pytest.fixture
def here(fleet: Any, tmp_path: Path, blank_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page; `ssh` and the like find the hosts by their names."""
    stanzas = [f"Host {name}\n  HostName {address}" for name, address in HOSTS.items()]
    every = "\n".join(f"  {name} {value}" for name, value in fleet.options().items())
    config = blank_home / ".ssh/config"
    config.parent.mkdir()
    config.write_text("\n".join(stanzas) + f"\nHost *\n{every}\n")
    # OpenSSH's own programs look for it in the home that the machine knows, whatever HOME is.
    for name in ("ssh", "scp", "sftp"):
        path = shutil.which(name)
        _program(tmp_path / "path" / name, f'#!/bin/sh\nexec {path} -F {config} "$@"\n')
    here = tmp_path / "here"
    here.mkdir()
    shutil.copy(ROOT / "tasks.py", here)
    files = {
        "hosts.txt": "\n".join(HOSTS) + "\n",
        "app.conf": "colour = blue\n",
        "install.sh": '#!/bin/sh\nuptime "$(cat name)"\n',
        "fleet.ini": FLEET,
        "site.retry": "web2\ndb1\n",
        "restart.yml": PLAY,
        "groups.conf": "[Main]\ndefault: page\nautodir: $CFGDIR/sources\n",
        "sources/page.yaml": "page: {web: 'web[1-3]', db: db1, prod: 'web[1-2]', all: 'web[1-3],db1'}\n",
    }
    for name, text in files.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text)
    (here / "install.sh").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'path'}:{BIN}:{os.environ['PATH']}",
        "USER": fleet.options()["User"],
        "CLUSTERSHELL_CFGDIR": str(here),
        "PDSH_RCMD_TYPE": "ssh",
        # No connection is to last for longer than the test.
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_PYTHON_INTERPRETER": os.path.realpath(sys.executable),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return here


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def effect(fleet: Any, here: Path, line: str) -> object:
    """What a line does: to each host, and for those that list or copy here, what they print or copy."""
    homes = fleet.folder / "hosts"
    shutil.rmtree(homes, ignore_errors=True)
    for name, address in HOSTS.items():
        (homes / address / "app").mkdir(parents=True)
        (homes / address / "name").write_text(name)
        (homes / address / "app.log").write_text(f"log of {name}\n")
    (here / "logs").mkdir()
    done = in_shell(line, cwd=here)
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    pulled = sorted(path.read_text() for path in _files(here / "logs"))
    shutil.rmtree(here / "logs")
    found: dict[str, Counter[str]] = {}
    for name, address in HOSTS.items():
        home = homes / address
        texts = {str(path.relative_to(home)): path.read_text() for path in _files(home)}
        found[name] = Counter(f"{path}: {text}" for path, text in texts.items())
    lists = any(
        word in line for word in ("rhosts", "rgroups", "--list-hosts", "--graph", "nodeset", "pdsh -q")
    )
    return found, pulled, _listed(done.stdout) if lists else None


def _listed(text: str) -> object:
    """The hosts in a text; of one that has none, such as their count, the text."""
    if text.strip().isdecimal():
        return text.strip()
    return set(NodeSet(",".join(re.findall(r"\b(?:web|db)(?:\d\b|\[[\d,-]+\])", text)), resolver=None))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and ".ansible" not in path.parts]


def test_each_table_has_the_lines_people_know() -> None:
    counts = Counter(row.table for row in ROWS)
    assert set(counts) == set(PACKAGES)
    assert min(counts.values()) >= 12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.theirs)
def test_both_lines_of_a_row_do_the_same(fleet: Any, here: Path, row: Row) -> None:
    needed(row.program, PACKAGES[row.table])
    theirs, ours = effect(fleet, here, row.theirs), effect(fleet, here, row.ours)
    assert ours == theirs
