"""Files that distributions ship, and that well-known tools have users write, are read as ssh reads them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from paramgmt_tasks import Host, Settings
from paramgmt_tasks.ssh import config as ssh_config
from paramgmt_tasks.ssh.config import SSHConfig
from paramgmt_tasks.ssh.target import Target, resolve
from paramgmt_tasks.steps import run_to_end

FILES = Path(__file__).parent / "cases" / "ssh_config"

#: By file and host: what holds, and which options are named as not supported.
EXPECTED: dict[tuple[str, str], tuple[dict[str, object], tuple[str, ...]]] = {
    ("rhel9", "web1"): ({"gssapiauthentication": "yes", "requiredrsasize": "2048"}, ()),
    ("fedora", "a.fedora.example"): ({"ciphers": "aes128-ctr", "requiredrsasize": "2048"}, ()),
    ("fedora", "web1"): ({"ciphers": "aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr"}, ()),
    ("debian12", "web1"): ({"sendenv": ["LANG", "LC_*"], "hashknownhosts": "yes"}, ()),
    ("debian13", "web1"): ({"sendenv": ["LANG", "LC_*", "COLORTERM", "NO_COLOR"]}, ()),
    ("arch", "web1"): ({"hostname": "web1"}, ()),
    ("opensuse", "web1"): ({"forwardx11trusted": "no"}, ()),
    ("macos", "web1"): ({"identityfile": ["HOME/.ssh/id_ed25519"]}, ()),
    ("freeipa", "legacy1"): ({"proxycommand": "/usr/bin/sss_ssh_knownhostsproxy -p 22 legacy1"}, ()),
    ("freeipa", "web1"): (
        {
            "globalknownhostsfile": "/var/lib/sss/pubconf/known_hosts",
            "knownhostscommand": "/usr/bin/sss_ssh_knownhosts %H",
        },
        (),
    ),
    ("teleport", "web1.example.com"): (
        {
            "port": "3022",
            "proxycommand": '"/usr/local/bin/tsh" proxy ssh --cluster=example.com '
            "--proxy=teleport.example.com:443 nic@web1.example.com:3022",
            "certificatefile": ["/home/nic/.tsh/keys/teleport.example.com/nic-ssh/example.com-cert.pub"],
        },
        (),
    ),
    ("teleport", "teleport.example.com"): ({"userknownhostsfile": "/home/nic/.tsh/known_hosts"}, ()),
    ("vault", "db.prod.example.com"): (
        {"user": "nic", "certificatefile": ["HOME/.ssh/signed-db.prod.example.com-cert.pub"]},
        (),
    ),
    ("orbstack", "orb"): (
        {
            "hostname": "127.0.0.1",
            "port": "32222",
            "proxyusefdpass": "yes",
            "proxycommand": "'/Applications/OrbStack.app/Contents/Frameworks/OrbStack Helper.app/Contents/"
            "MacOS/OrbStack Helper' ssh-proxy-fdpass 501",
        },
        (),
    ),
    ("onepassword", "personal"): (
        {
            "hostname": "github.com",
            "identityagent": "HOME/Library/Group Containers/2BUA8C4S2C.com.1password/t/agent.sock",
            "identityfile": ["HOME/.ssh/personal_git.pub"],
        },
        (),
    ),
    ("tailscale", "a.tail.ts.net"): ({"proxycommand": "tailscale nc a.tail.ts.net 22"}, ()),
    ("tailscale", "web1"): ({"hostname": "web1"}, ()),
    ("colima", "colima"): (
        {
            "identityfile": ["/Users/nic/.colima/_lima/_config/user", "/Users/nic/.ssh/id_ed25519"],
            "port": "49166",
            "stricthostkeychecking": "no",
            "nohostauthenticationforlocalhost": "yes",
        },
        (),
    ),
    ("gcloud", "web.europe-west1-b.project"): (
        {"hostname": "34.1.2.3", "hostkeyalias": "compute.1234567890"},
        (),
    ),
    ("vscode", "dev"): (
        {"hostname": "dev.example.com", "serveraliveinterval": "60"},
        ("ForwardX11", "LocalForward"),
    ),
    ("aws", "i-0abc"): (
        {
            "proxycommand": 'sh -c "aws ssm start-session --target i-0abc --document-name '
            "AWS-StartSSHSession --parameters 'portNumber=22'\""
        },
        (),
    ),
}  # fmt: skip
#: What names algorithms that the installed ssh may be too old for.
NEWER = ("fedora",)
#: How `ssh -G` has some values.
WORDS = {"false": "no", "true": "yes"}
#: Options that `ssh -G` shows as they stand in the file.
RAW = ("proxycommand", "identityfile", "certificatefile", "knownhostscommand")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for source in FILES.iterdir():
        path = tmp_path / source.name
        path.write_text(source.read_text().replace("ROOT", str(tmp_path)))
        path.chmod(0o600)
    return tmp_path


def resolved(config: SSHConfig, host: str) -> Target:
    while (target := resolve(Host(host, host, "nic"), Settings(), config, ("me", 22))).question is not None:
        run_to_end(config.answers.wait(target.question, 30.0))
    return target


@pytest.mark.parametrize(("name", "host"), EXPECTED)
def test_files_that_many_have_are_read_as_ssh_reads_them(
    name: str, host: str, files: Path, blank_home: Path
) -> None:
    expected, unsupported = EXPECTED[name, host]
    target = resolved(ssh_config.load(str(files / name), "/none"), host)
    assert target.fault == ""
    found = {keyword: target.options.get(keyword) for keyword in expected}
    home = {keyword: _replaced(value, str(blank_home)) for keyword, value in expected.items()}
    assert found == home
    assert target.unsupported == unsupported
    if name not in NEWER and shutil.which("ssh"):
        said = _ask_ssh(files / name, host)
        for keyword, value in expected.items():
            if keyword not in RAW and "HOME" not in str(value):
                lines = [value] if isinstance(value, str) else value
                assert [WORDS.get(one, one) for one in said[keyword]] == lines, keyword
            assert keyword in said


def _replaced(value: object, home: str) -> object:
    if isinstance(value, list):
        return [one.replace("HOME", home) for one in value]
    return str(value).replace("HOME", home)


def _ask_ssh(path: Path, host: str) -> dict[str, list[str]]:
    words = ["ssh", "-F", path, "-l", "nic", "-G", host]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        said.setdefault(keyword, []).append(value)
    return said


def test_opensuse_has_its_file_below_usr(
    tmp_path: Path, blank_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vendor").write_text("Port 2\n")
    (tmp_path / "vendor").chmod(0o600)
    monkeypatch.setattr(ssh_config, "SYSTEM_FILE", str(tmp_path / "etc"))
    monkeypatch.setattr(ssh_config, "_VENDOR_FILE", str(tmp_path / "vendor"))
    assert ssh_config.load("/none", str(tmp_path / "etc")).find("h")["port"] == "2"
    (tmp_path / "etc").write_text("Port 3\n")
    os.chmod(tmp_path / "etc", 0o600)
    assert ssh_config.load("/none", str(tmp_path / "etc")).find("h")["port"] == "3"
