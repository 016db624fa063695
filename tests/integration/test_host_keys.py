"""Host keys beside OpenSSH's client: the same files, the same server, and the same verdict."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from paramgmt_tasks import Fleet, Outcome, RemoteCommand, Settings
from paramgmt_tasks.model import HostResult

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(not (SSHD and shutil.which("ssh")), reason="needs OpenSSH's ssh and sshd")

KINDS = ("ed25519", "ecdsa", "rsa")
#: Certificates of the host's keys, by name: key, authority, and options of ssh-keygen.
CERTIFICATES = {
    "good": ("ed25519", "ed25519", "-h -n other,web1"),
    "of_ecdsa": ("ecdsa", "ecdsa", "-h -n web1"),
    "of_rsa": ("rsa", "rsa", "-h -n web1"),
    "sha256": ("ed25519", "rsa", "-h -n web1 -t rsa-sha2-256"),
    "sha1": ("ed25519", "rsa", "-h -n web1 -t ssh-rsa"),
    "everybody": ("ed25519", "ed25519", "-h"),
    "alias": ("ed25519", "ed25519", "-h -n alias -z 7"),
    "wild": ("ed25519", "ed25519", "-h -n web*"),
    "other": ("ed25519", "ed25519", "-h -n web2"),
    "expired": ("ed25519", "ed25519", "-h -n web1 -V 20200101:20200102"),
    "early": ("ed25519", "ed25519", "-h -n web1 -V 20990101:20990102"),
    "user": ("ed25519", "ed25519", "-n web1"),
    "critical": ("ed25519", "ed25519", "-h -n web1 -O critical:sort@example.com=x"),
}


@dataclass
class Lab:
    """Keys, and a server for each connection: it is the other end of a ProxyCommand."""

    folder: Path

    def text(self, template: str) -> str:
        """A text with keys filled in, as `{ed25519}` for a host's and `{ca_rsa}` for an authority's."""
        keys = {path.stem: " ".join(path.read_text().split()[:2]) for path in self.folder.glob("*.pub")}
        return template.format(folder=self.folder, **{n: k for n, k in keys.items() if "-" not in n})

    def server(self, shown: str) -> str:
        """A command that is a server with these keys and certificates."""
        parts = [SSHD, "-i", "-f", f"{self.folder}/sshd_config"]
        for name in shown.split():
            if name in CERTIFICATES:
                parts += ["-h", f"{self.folder}/{CERTIFICATES[name][0]}"]
                parts += ["-o", f"HostCertificate={self.folder}/{name}-cert.pub"]
            elif "=" in name:
                parts += ["-o", name]
            else:
                parts += ["-h", f"{self.folder}/{name}"]
        return " ".join(map(str, parts))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")

    def keygen(*words: object) -> None:
        subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, cwd=folder)

    for name in (*KINDS, *(f"ca_{kind}" for kind in KINDS), "identity_ed25519"):
        keygen("-t", name.rpartition("_")[2], "-N", "", "-f", name)
    for name, (key, authority, options) in CERTIFICATES.items():
        shutil.copy(folder / f"{key}.pub", folder / f"{name}.pub")
        keygen("-s", f"ca_{authority}", "-I", name, *options.split(), f"{name}.pub")
        (folder / f"{name}.pub").unlink()
    forged = (folder / "good-cert.pub").read_text().split()
    forged[1] = f"{forged[1][:-8]}AAAA{forged[1][-4:]}"
    (folder / "forged-cert.pub").write_text(" ".join(forged))
    for name, revoked in {"id": "id: good", "serial": "serial: 5-9", "key": "ed25519", "sha": "hash"}.items():
        spec = folder / f"krl_{name}.spec"
        spec.write_text(f"{revoked}\n")
        if name == "key":
            keygen("-k", "-f", "krl_key", "ed25519.pub")
        elif name == "sha":
            spec.write_text(f"sha256: {(folder / 'ed25519.pub').read_text()}")
            keygen("-k", "-f", "krl_sha", spec)
        else:
            keygen("-k", "-f", f"krl_{name}", "-s", "ca_ed25519.pub", spec)
    (folder / "sshd_config").write_text(
        f"AuthorizedKeysFile {folder / 'identity_ed25519.pub'}\n"
        "StrictModes no\nUsePAM no\nPidFile none\nLogLevel QUIET\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    return Lab(folder)


Connect = Callable[..., HostResult]


@pytest.fixture
def connect(lab: Lab, blank_home: Path) -> Connect:
    """Reaches the host web1 with ssh and here, each with the same known_hosts; the result here.

    ssh's verdict has to be the same, and so has what it records, unless `alone`.
    """

    def connect(shown: str, known: str, config: str = "", alone: bool = False) -> HostResult:
        folder = blank_home / ".ssh"
        folder.mkdir(exist_ok=True)
        text = (
            f"{lab.text(config)}\nHost *\n  ProxyCommand {lab.server(shown)}\n"
            f"  IdentityFile {lab.folder / 'identity_ed25519'}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {folder / 'known'}\n  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking accept-new\n"
        )
        (folder / "config").write_text(text)
        (folder / "known").write_text(lab.text(known))
        command = ["ssh", "-F", folder / "config", "-o", "BatchMode=yes", "web1", "true"]
        theirs = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        recorded = (folder / "known").read_bytes().count(b"\n")

        (folder / "known").write_text(lab.text(known))
        with Fleet(["web1"], Settings(connect_timeout=60)) as fleet:
            (ours,) = fleet.report(RemoteCommand("true"))
        if not alone:
            assert ours.ok is (theirs.returncode == 0), f"{ours.reason}; ssh: {theirs.stderr.decode()}"
            assert (folder / "known").read_bytes().count(b"\n") == recorded
        return ours

    return connect


CA = "@cert-authority * {ca_ed25519}\n"
STRICT = "StrictHostKeyChecking yes"


@pytest.mark.parametrize(
    ("shown", "known"),
    [
        ("good", CA),
        ("good", "@cert-authority other,web? {ca_ed25519} comment\n"),
        ("good", "@cert-authority *,!web2 {ca_rsa}\n@cert-authority * {ca_ed25519}\n"),
        ("good ecdsa rsa", f"web1 {{rsa}}\n{CA}"),
        ("good", "@cert-authority *\t{ca_ed25519}\r\n"),
        ("everybody", CA),
        ("of_ecdsa", "@cert-authority * {ca_ecdsa}\n"),
        ("of_rsa", "@cert-authority * {ca_rsa}\n"),
        ("sha256", "@cert-authority * {ca_rsa}\n"),
        # Not its certificate, but its key is known.
        ("expired", f"{CA}web1 {{ed25519}}\n"),
        ("good", "web1 {ed25519}\n"),
        ("good HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com", "web1 {ed25519}\n"),
    ],
)
def test_a_certified_host_is_known(connect: Connect, shown: str, known: str) -> None:
    result = connect(shown, known, STRICT)
    assert result.ok, result.reason


@pytest.mark.parametrize(
    ("shown", "known", "reason"),
    [
        ("wild", CA, "it is for web*"),
        ("other", CA, "it is for web2"),
        ("expired", CA, "it expired on 2020-01-02"),
        ("early", CA, "it is not valid before 2099-01-01"),
        ("user", CA, "it is not a host's"),
        ("critical", CA, "critical options"),
        ("sha1", "@cert-authority * {ca_rsa}\n", "CASignatureAlgorithms has no ssh-rsa"),
        ("good", "@cert-authority * {ca_rsa}\n", "no @cert-authority is known"),
        ("good", "@cert-authority web2 {ca_ed25519}\n", "not in known_hosts"),
        ("good", "@cert-authority !web1,* {ca_ed25519}\n", "not in known_hosts"),
        ("good", f"@revoked * {{ca_ed25519}}\n{CA}", "the authority of the host certificate is revoked"),
        ("good", f"@revoked * {{ca_ed25519}}\n{CA}web1 {{ed25519}}\n", "is revoked"),
        ("good", f"@revoked web1 {{ed25519}}\n{CA}", "the host key is revoked"),
        ("good", "@cert-authority @x * {ca_ed25519}\n", "not in known_hosts"),
        ("ed25519", CA, "shows no certificate"),
    ],
)
@pytest.mark.parametrize("config", [STRICT, ""], ids=["strict", "accept-new"])
def test_one_that_is_not_certified_is_refused_and_not_recorded(
    connect: Connect, blank_home: Path, shown: str, known: str, reason: str, config: str
) -> None:
    alone = not config and ("@revoked" not in known)  # ssh trusts the key on first use
    result = connect(shown, known, config, alone)
    if alone and "not in known_hosts" in reason:
        assert result.ok, "no authority is known for this host, so that its key is new"
        return
    assert result.outcome is Outcome.UNTRUSTED, result.reason
    assert reason in result.reason
    assert (blank_home / ".ssh" / "known").read_text().count("\n") == known.count("\n")


def test_a_forged_certificate_is_refused_whatever_else_is_known(connect: Connect, lab: Lab) -> None:
    CERTIFICATES["forged"] = ("ed25519", "", "")
    try:
        result = connect("forged", f"{CA}web1 {{ed25519}}\n", alone=True)
    finally:
        del CERTIFICATES["forged"]
    # sshd may refuse to show it; the unit tests have the rest.
    assert result.ok or "not valid" in result.reason


@pytest.mark.parametrize(
    ("shown", "known", "config", "expected"),
    [
        ("alias", CA, "HostKeyAlias alias", ""),
        ("good", CA, "HostKeyAlias alias", "it is for other,web1"),
        ("sha1", "@cert-authority * {ca_rsa}\n", "CASignatureAlgorithms +ssh-rsa", ""),
        ("good", CA, "CASignatureAlgorithms -ssh-ed25519", "CASignatureAlgorithms has no ssh-ed25519"),
        (
            "sha256",
            "@cert-authority * {ca_rsa}\n",
            "CASignatureAlgorithms rsa-sha2-512",
            "has no rsa-sha2-256",
        ),
        ("sha256", "@cert-authority * {ca_rsa}\n", "CASignatureAlgorithms ^ssh-rsa", ""),
        ("ed25519 rsa", "web1 {rsa}\n", "HostKeyAlgorithms rsa-sha2-256", ""),
        ("ed25519 rsa", "web1 {rsa}\n", "HostKeyAlgorithms +ssh-rsa", ""),
        ("ed25519 rsa", "web1 {rsa}\n", "HostKeyAlgorithms -ssh-ed25519*", ""),
        ("ed25519 rsa", "web1 {rsa}\n", "HostKeyAlgorithms ^ssh-ed25519", "has changed"),
        ("rsa HostKeyAlgorithms=ssh-rsa", "web1 {rsa}\n", "HostKeyAlgorithms +ssh-rsa", ""),
        ("rsa HostKeyAlgorithms=ssh-rsa", "web1 {rsa}\n", "", "ssh-rsa"),
        ("good", f"{CA}", "HostKeyAlgorithms -*-cert-*", "shows no certificate"),
        ("rsa", "web1 {rsa}\n", "RequiredRSASize 4096", "RequiredRSASize is 4096"),
        ("ed25519", "web1 {ed25519}\n", "RequiredRSASize 4096", ""),
        ("ed25519", "web1 {ed25519}\n", "RevokedHostKeys {folder}/ed25519.pub", "is revoked by"),
        ("ed25519", "web1 {ed25519}\n", "RevokedHostKeys {folder}/rsa.pub", ""),
        ("ed25519", "web1 {ed25519}\n", "RevokedHostKeys none", ""),
        ("ed25519", "web1 {ed25519}\n", "RevokedHostKeys /no/file", "no such file"),
        ("good", CA, "RevokedHostKeys {folder}/ca_ed25519.pub", "is revoked by"),
        ("good", CA, "RevokedHostKeys {folder}/krl_id", "is revoked by"),
        ("good", CA, "RevokedHostKeys {folder}/krl_serial", ""),
        ("alias", CA, "RevokedHostKeys {folder}/krl_serial\nHostKeyAlias alias", "is revoked by"),
        ("ed25519", "web1 {ed25519}\n", "RevokedHostKeys {folder}/krl_key", "is revoked by"),
        ("ed25519", "web1 {ed25519}\n", "RevokedHostKeys {folder}/krl_sha", "is revoked by"),
        ("ecdsa", "web1 {ecdsa}\n", "RevokedHostKeys {folder}/krl_key", ""),
        ("good", CA, "RevokedHostKeys {folder}/krl_key", "is revoked by"),
        (
            "ed25519",
            "web1 {ed25519}\n",
            "StrictHostKeyChecking no\nRevokedHostKeys {folder}/krl_key",
            "revoked",
        ),
    ],
)
def test_options_of_ssh_config_hold(
    connect: Connect, shown: str, known: str, config: str, expected: str
) -> None:
    strict = "" if "Strict" in config else f"\n{STRICT}"
    result = connect(shown, known, f"{config}{strict}")
    assert result.ok is (expected == ""), result.reason
    assert expected in result.reason


@pytest.mark.parametrize(
    ("shown", "known", "config", "expected"),
    [
        ("ed25519", "web1 {ed25519}\n", "Port 2222", ""),
        ("good", "@cert-authority web1 {ca_ed25519}\n", "Port 2222", ""),
        ("good", "@cert-authority [*]:2222 {ca_ed25519}\n", "Port 2222", ""),
        ("ed25519", "[web1]:2222 {ca_ed25519}\nweb1 {ed25519}\n", "Port 2222", "has changed"),
        ("ed25519", "[web1]:2222 {ed25519}\nweb1 {ca_ed25519}\n", "Port 2222", ""),
        ("ed25519", "web1 {ca_ed25519}\n", "Port 2222", "not in known_hosts"),
        ("ed25519", "web1 {ed25519}\n", "Port 2222\nHostKeyAlias alias", "not in known_hosts"),
        ("ed25519", "[web1]:2222 {ed25519}\n", "", "not in known_hosts"),
        ("ed25519", "WEB1 {ed25519}\r\n", "", ""),
        ("ed25519", "  \t web1 {ed25519}\n", "", ""),
        ("ed25519", "web2,web1 {ed25519} a comment", "", ""),
        ("ed25519", "!web2,web* {ed25519}\n", "", ""),
        ("ed25519", "!web1,web* {ed25519}\n", "", "not in known_hosts"),
        ("ed25519", "#web1 {ed25519}\n\n\nweb1\nweb1 ssh-rsa\nweb1 {rsa}!\n", "", "not in known_hosts"),
        ("ed25519", "@revoked @revoked * {ed25519}\nweb1 {ed25519}\n", "", ""),
        ("ed25519", "@revoked web2 {ed25519}\nweb1 {ed25519}\n", "", ""),
        ("ed25519", "@revoked web* {ed25519}\nweb1 {ed25519}\n", "", "revoked"),
        ("ed25519 rsa", "web1 {rsa}\nweb1 {ecdsa}\n", "", ""),
        ("ed25519", "web1 {rsa}\n", "", "has changed"),
        ("ed25519", "web1 {ca_ed25519}\nweb1 {ed25519}\n", "", ""),
        ("ed25519", "web1 {ca_ed25519}\n", "StrictHostKeyChecking no", ""),
        ("ed25519", "@revoked * {ed25519}\n", "StrictHostKeyChecking no", ""),
    ],
)
def test_lines_of_known_hosts_mean_what_they_mean_to_ssh(
    connect: Connect, shown: str, known: str, config: str, expected: str
) -> None:
    strict = "" if "Strict" in config else f"\n{STRICT}"
    result = connect(shown, known, f"{config}{strict}")
    assert result.ok is (expected == ""), result.reason
    assert expected in result.reason


def test_a_new_host_on_another_port_is_new_even_if_its_name_is_known(connect: Connect) -> None:
    assert connect("ed25519", "web1 {ca_ed25519}\n", "Port 2222").ok


def test_hashed_authorities_and_names_are_known(connect: Connect, lab: Lab, tmp_path: Path) -> None:
    for text, shown in ((CA.replace("*", "web1"), "good"), ("web1 {rsa}\n", "ed25519 rsa")):
        (tmp_path / "known").write_text(lab.text(text))
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", tmp_path / "known"], check=True, capture_output=True)
        assert connect(shown, (tmp_path / "known").read_text(), STRICT).ok


def test_a_changed_key_is_named_with_its_line_and_the_remedy(connect: Connect, blank_home: Path) -> None:
    known = blank_home / ".ssh" / "known"
    result = connect("ed25519", "web2 {rsa}\nweb1 {rsa}\nweb1 {ca_ed25519}\n")
    assert "~/.ssh/known:3 has another" in result.reason
    remedy = result.reason.partition(": ")[2].partition(" (now ssh-ed25519 SHA256:")[0]
    subprocess.run(remedy, shell=True, check=True, capture_output=True)
    assert known.read_text().startswith("web2 ")
    assert known.read_text().count("\n") == 1


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "script"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write


def test_a_command_writes_known_hosts(connect: Connect, script, lab: Lab, tmp_path: Path) -> None:
    log = tmp_path / "log"
    path = script(f'echo "$*" >>{log}; echo "$1 $(cut -d" " -f1,2 {lab.folder}/ed25519.pub)"')
    config = f"Port 2222\nKnownHostsCommand {path} %H %I %t %f %K %k %n %p\n{STRICT}"
    assert connect("ed25519", "", config).ok
    lines = log.read_text().splitlines()
    assert lines[:2] == lines[2:], "it is run as ssh runs it"


def test_what_a_command_writes_decides_which_key_is_asked_for(connect: Connect, script, lab: Lab) -> None:
    path = script(f"cat {lab.folder}/line")
    (lab.folder / "line").write_text(lab.text("web1 {rsa}\n"))
    assert connect("ed25519 rsa", "", f"KnownHostsCommand {path}\n{STRICT}").ok
    (lab.folder / "line").write_text(lab.text(CA))
    assert connect("good rsa", "", f"KnownHostsCommand {path}\n{STRICT}").ok


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo no such host >&2; exit 3", "exit status 3: no such host"),
        ("kill -9 $$", "killed by signal 9"),
    ],
)
def test_a_command_that_fails_is_that_hosts_error(
    connect: Connect, script, command: str, reason: str
) -> None:
    path = script(command)
    result = connect("ed25519", "web1 {ed25519}\n", f"KnownHostsCommand {path} %H")
    assert (result.outcome, reason in result.reason) == (Outcome.ERROR, True), result.reason


def test_a_command_that_is_not_done_in_time_is_that_hosts_error(connect: Connect, script) -> None:
    path = script("exec sleep 600")
    config = f"ConnectTimeout 1\nKnownHostsCommand {path}"
    (Path.home() / ".ssh").mkdir(exist_ok=True)
    (Path.home() / ".ssh" / "config").write_text(f"{config}\nProxyCommand sleep 600\n")
    with Fleet(["web1"], Settings(attempts=1)) as fleet:
        (result,) = fleet.report(RemoteCommand("true"))
    assert not result.ok


def test_a_command_that_is_missing_leaves_what_files_know(connect: Connect) -> None:
    config = "KnownHostsCommand /no/such/program %H"
    assert connect("ed25519", "web1 {ed25519}\n", config).ok
    result = connect("ed25519", "", config, alone=True)
    assert result.outcome is Outcome.UNTRUSTED
    assert "/no/such/program: no such file" in result.reason


def test_what_the_proxy_command_writes_is_read(connect: Connect, script, lab: Lab, tmp_path: Path) -> None:
    known = tmp_path / "by_proxy"
    for line, shown in (("web1 {rsa}", "ed25519 rsa"), (CA.strip(), "good")):
        known.unlink(missing_ok=True)
        path = script(f"echo '{lab.text(line)}' >{known}; exec {lab.server(shown)}")
        assert connect("", "", f"ProxyCommand {path}\nGlobalKnownHostsFile {known}\n{STRICT}").ok


def test_with_several_files_the_first_of_the_users_receives_new_keys(
    connect: Connect, lab: Lab, tmp_path: Path
) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second file", "third"))
    config = f'UserKnownHostsFile {first} "{second}"\nGlobalKnownHostsFile {third}'
    for file in (second, third):
        file.write_text(lab.text("web1 {ed25519}\n"))
        assert connect("ed25519", "", f"{config}\n{STRICT}").ok
        file.unlink()
    assert connect("ed25519", "", config).ok
    assert first.read_text() == lab.text("web1 {ed25519}\n")
    assert not second.exists()
    first.unlink()
    result = connect("ed25519", "", f"UserKnownHostsFile none\nGlobalKnownHostsFile {third}")
    assert "UserKnownHostsFile is none" in result.reason
    assert not third.exists()


def test_new_names_are_hashed_if_asked_for(connect: Connect, blank_home: Path) -> None:
    assert connect("ed25519", "", "HashKnownHosts yes").ok
    assert (blank_home / ".ssh" / "known").read_text().startswith("|1|")


# -- over a socket of this machine


@pytest.mark.parametrize(
    ("line", "options", "trusted"),
    [
        ("[other]:{port} {key}", {"NoHostAuthenticationForLocalhost": "yes"}, True),
        ("[127.1.0.2]:{port} {other}", {"NoHostAuthenticationForLocalhost": "yes"}, True),
        ("", {"NoHostAuthenticationForLocalhost": "yes", "HostKeyAlias": "alias"}, False),
        ("", {"NoHostAuthenticationForLocalhost": "no"}, False),
        ("web1 {key}", {"HostKeyAlias": "web1", "CheckHostIP": "yes"}, True),
    ],
)
def test_localhost_is_exempt_if_asked_for(
    sshd, lab: Lab, tmp_path: Path, line: str, options: dict[str, str], trusted: bool
) -> None:
    key = " ".join((sshd.folder / "host_key.pub").read_text().split()[:2])
    known = tmp_path / "known"
    known.write_text(line.format(port=sshd.port, key=key, other=lab.text("{ed25519}")) + "\n")
    options = {"UserKnownHostsFile": str(known), "GlobalKnownHostsFile": "none", **options}
    words = [word for key, value in sshd.options(**options).items() for word in ("-o", f"{key}={value}")]
    theirs = subprocess.run(["ssh", "-F", "none", *words, "127.1.0.2", "true"], capture_output=True)
    with Fleet([sshd.host(1, **options)], Settings(connect_timeout=60)) as fleet:
        (ours,) = fleet.report(RemoteCommand("true"))
    assert (ours.ok, theirs.returncode == 0) == (trusted, trusted), (ours.reason, theirs.stderr)


def test_a_host_behind_a_proxy_command_is_not_localhost(sshd, tmp_path: Path) -> None:
    program = tmp_path / "pass"
    program.write_text(
        "import socket, sys\n"
        "there = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "socket.send_fds(socket.socket(fileno=1), [b'0'], [there.fileno()])\n"
    )
    options = sshd.options(
        UserKnownHostsFile="none",
        GlobalKnownHostsFile="none",
        StrictHostKeyChecking="yes",
        NoHostAuthenticationForLocalhost="yes",
        ProxyUseFdpass="yes",
        ProxyCommand=f"{sys.executable} {program} %h %p",
    )
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    theirs = subprocess.run(["ssh", "-F", "none", *words, "127.1.0.2", "true"], capture_output=True)
    assert b"Host key verification failed" in theirs.stderr
    with Fleet([sshd.host(1, **options)], Settings(connect_timeout=60)) as fleet:
        (ours,) = fleet.report(RemoteCommand("true"))
    assert ours.outcome is Outcome.UNTRUSTED


def test_a_host_whose_key_has_changed_gets_no_password(sshd, lab: Lab, tmp_path: Path) -> None:
    known = tmp_path / "known"
    options = {"UserKnownHostsFile": str(known), "StrictHostKeyChecking": "no", "IdentityFile": "/none"}
    for line, withheld in ((f"[127.1.0.2]:{sshd.port} {{rsa}}", True), ("other {rsa}", False)):
        known.write_text(lab.text(line) + "\n")
        with Fleet(
            [sshd.host(1, **options)], Settings(password="secret", attempts=1, connect_timeout=60)
        ) as fleet:
            (result,) = fleet.report(RemoteCommand("true"))
        assert result.outcome is Outcome.DENIED
        assert ("no password is sent: the host key has changed" in result.reason) is withheld
        assert (": password" in result.reason) is not withheld


@pytest.mark.parametrize("changed", [True, False])
def test_a_host_whose_key_has_changed_gets_no_password_on_the_way_to_another_user(
    sshd, lab: Lab, tmp_path: Path, changed: bool
) -> None:
    known, seen, asks = tmp_path / "known", tmp_path / "seen", tmp_path / "asks"
    asks.write_text(
        f'#!/bin/sh\nprintf "Password: "\nread -r line || exit 1\necho "$line" >{seen}\nexec "$@"\n'
    )
    asks.chmod(0o700)
    options = {"UserKnownHostsFile": str(known), "StrictHostKeyChecking": "no"}
    known.write_text(lab.text(f"[127.1.0.2]:{sshd.port} {{rsa}}" if changed else "other {rsa}") + "\n")
    # On a connection that was made before the password was needed, too.
    with Fleet([sshd.host(1, **options)], Settings(connect_timeout=60)) as fleet:
        assert fleet.report(RemoteCommand("true")).ok
        (result,) = fleet.report(RemoteCommand("echo ran"), become=str(asks), password="secret")
    assert (result.ok, seen.exists() and "secret" in seen.read_text()) == (not changed, not changed)
    assert ("no password is sent: the host key has changed" in result.reason) is changed


def test_a_group_of_fabric_verifies_in_the_same_way(sshd, lab: Lab, tmp_path: Path) -> None:
    from paramgmt_tasks import ParallelGroup

    known = tmp_path / "known"
    options = {"UserKnownHostsFile": str(known), "GlobalKnownHostsFile": "none"}
    for line, trusted in (
        ("127.1.0.2 {key}", True),
        ("127.1.0.2 {other}", False),
        ("@revoked * {key}", False),
    ):
        key = " ".join((sshd.folder / "host_key.pub").read_text().split()[:2])
        known.write_text(line.format(key=key, other=lab.text("{ed25519}")) + "\n")
        for kwargs in ({}, {"banner_timeout": 30}):  # which paramiko's own connect is used for
            with ParallelGroup(sshd.host(1, **options), connect_kwargs=kwargs) as group:
                (result,) = group.perform(RemoteCommand("true"))
            assert result.ok is trusted, result.reason
            assert trusted or result.outcome is Outcome.UNTRUSTED
