"""ssh_config is read as ssh reads it: `ssh -G` says what is right."""

import os
import random
import shutil
import subprocess
from io import StringIO
from pathlib import Path

import fabric
import pytest

from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.ssh import config as ssh_config
from paramgmt_tasks.ssh.config import SSHConfig

#: Texts of ssh_config, and the hosts that are looked up in them; `user@host` is with a user given.
TEXTS = {
    "first value": "User a\nUser b\nHost h\n  User c\n  Port 3\nHost *\n  Port 4\n",
    "patterns": "Host w* !w2\n  Port 2\nHost !h *\n  User u\nHost w? x\n  IdentityFile a\nHost H\n  Port 7\n",
    "comments": "# one\nPort 2201 # two\nUser u #three\n\n  # four\nHost h # x\n  HostKeyAlias a#b\n",
    "forms": 'Port=2201\nUser = \'a b\'\n"HostName" "b"\nHost h\n\tConnectTimeout\t30\r\nBatchMode YES\f\n',
    "escapes": 'User a\\ b\nHostKeyAlias "x\\"y"\nIdentityFile \'a "b" c\'\n',
    "times": "Host h\nConnectTimeout 1m30s\nHost w1\nConnectTimeout none\nHost *\nConnectTimeout 2h\n",
    "services": "Port ssh\nHost h\nUser x\n",
    "octal": "Port 022\n",
    "flags": "ForwardAgent True\nIdentitiesOnly false\nBatchMode TRUE\nStrictHostKeyChecking Off\n",
    "states": "AddressFamily INET\nRequestTTY Force\nCanonicalizeHostname true\nUpdateHostKeys ask\n",
    "agent": "Host w1\n  ForwardAgent no\nHost h\n  ForwardAgent yes\n",
    "identities": 'IdentityFile a\nIdentityFile "b c"\nHost h\nIdentityFile d\nIdentityFile a\n',
    "match": "Match Host h,w*\n  User a\nMatch HOST=w1\n  Port 2\nMatch host = x !user bob # c\n  Port 3\n",
    "match list": "Match host *,!h\n  Port 5\nMatch host H\n  Port 6\nMatch originalhost w1\n  Port 7\n",
    "match user": "Match user bob\n  Port 5\nMatch localuser nobody-else\n  Port 6\nMatch all\n  User bob\n",
    "match user set": "User bob\nMatch user bob\n  Port 5\n",
    "match hostname": "Host h\n  HostName real.net\nMatch host *.net\n  User a\nMatch host h\n  User b\n",
    "match all": "Match all # c\n  User a\nMatch !all\n  Port 2\n",
    "match final all": "Match final all\n  GSSAPIAuthentication yes\n  User last\nHost h\n  User first\n",
    "gssapi": "GSSAPIAuthentication yes\nHost h\nGSSAPIDelegateCredentials YES\nGSSAPITrustDns true\n",
    "bad gssapi": "GSSAPIAuthentication maybe\n",
    "match not final": "Match !final all\n  User a\nMatch canonical\n  User b\n",
    "match final host": "Match final host real\n  Port 5\nHost real\n  User u\nHost h\n  HostName real\n",
    "final by another": "Match host none final\n  Port 5\nHost h.b\n  Port 9\nHost *\n  HostName %h.b\n",
    "canonical": "CanonicalizeHostname yes\nHost h\n  HostName b\nHost b\n  User canonical\n",
    "match exec": 'Match exec "test %h%n = hh"\n  User a\nMatch !exec "test %p = 22"\n  Port 9\n',
    "match exec skipped": 'Match host nobody exec "kill -9 $$"\n  User a\n',
    "jump": "Host h\n  ProxyJump ssh://u@j:22/\nHost w*\nProxyJump j1,u@j2:99 # c\nHost *\nProxyCommand nc\n",
    "jump later": "ProxyCommand nc x # a comment to it\nProxyJump j\n",
    "no jump": "Host h\n  ProxyJump NONE\n  ProxyCommand none\nHost *\n  ProxyJump j\n",
    "ignored": "Protocol 2\nCipher x y\nUseRoaming no\nCompressionLevel 9\nKeepAlive yes\n",
    "ignore unknown": "IgnoreUnknown foo,Bar*\nFoo 1 2\nHost h\n  BARX a\n  Port 3\n",
    "known": "Ciphers aes128-ctr\nSendEnv LANG L*\nSetEnv A=1 B=2\nLocalForward 80 a:80\nRekeyLimit 1G 1h\n",
    "gathered": "SendEnv A B\nHost h\nSendEnv C\n",
    "aliases": "PubkeyAcceptedKeyTypes ssh-rsa\nIdentityFile2 x\nChallengeResponseAuthentication no\n",
    "hostname token": "HostName %h.example.com\nHost h\n  Port 5\n",
    "percent": "HostName %h%%a\n",
    "capitals": "HostName REAL.Example\n",
    "known hosts": 'UserKnownHostsFile /a "/b c" /d\nUserKnownHostsFile /e\n',
    "latin-1": "# M\udcfcnchen\nHost h\n  Port 3\n",
    "nul": "Port 3\0 and more\n",
    "missing includes": 'Include none "no such"\nPort 4\n',
    # what ssh refuses
    "bad port": "Host other\n  Port abc\n",
    "port and more": "Port 22 23\n",
    "port with comment": "Port 22#x\n",
    "port 0": "Port 0\n",
    "port too large": "Port 65536\n",
    "bad time": "Host other\n  ConnectTimeout 1.5\n",
    "negative time": "ConnectTimeout -1\n",
    "time in two words": "ConnectTimeout 30 s\n",
    "bad flag": "Host other\n  BatchMode maybe\n",
    "bad state": "StrictHostKeyChecking new\n",
    "compression": "Compression true\n",
    "bad number": "ServerAliveCountMax 3s\n",
    "negative number": "ServerAliveCountMax -1\n",
    "unknown": "Host other\n  Foo bar\n",
    "unknown later": "Foo bar\nIgnoreUnknown foo\n",
    "second ignore": "IgnoreUnknown a\nIgnoreUnknown foo\nFoo bar\n",
    "mark": "\ufeffPort 2\n",
    "alone": "Port\n",
    "empty": 'User ""\n',
    "empty host": 'Host ""\n',
    "no host": "Host\n",
    "quote": 'User "a\n',
    "quote in a command": "ProxyCommand echo it's\n",
    "bad jump": "ProxyJump j:x\n",
    "empty jump": "ProxyJump a,,b\n",
    "none with more": "UserKnownHostsFile a none\n",
    "criterion": "Match foo bar\n",
    "no criterion": "Match\n",
    "criterion alone": "Match host\n",
    "all with more": "Match all host h\n",
    "more with all": "Match final canonical all\n",
    "host token": "HostName %n\n",
    "killed": 'Match exec "kill -9 $$"\n  User a\n',
}
HOSTS = ("h", "H", "w1", "w2", "x", "bob@h", "real")
#: What is compared, and what it is where `ssh -G` says the default.
COMPARED = {
    "user": "", "hostname": "", "port": "22", "connecttimeout": "none", "forwardagent": "no",
    "identitiesonly": "no", "stricthostkeychecking": "ask", "batchmode": "no", "compression": "no",
    "addressfamily": "any", "requesttty": "auto", "proxyjump": "", "proxycommand": "", "hostkeyalias": "",
    "ciphers": "", "identityfile": "", "sendenv": "", "updatehostkeys": "true",
    "gssapiauthentication": "no", "gssapidelegatecredentials": "no", "gssapitrustdns": "no",
}  # fmt: skip
SSH_WORDS = {"true": "yes", "false": "no", "off": "no"}

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh, from openssh-client")


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    return path


def ask_ssh(path: Path, host: str) -> dict[str, list[str]] | None:
    """What `ssh -G` says, None where it refuses."""
    done = subprocess.run(
        ["ssh", "-F", path, "-G", host],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        return None
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


def ask_us(path: Path, host: str) -> dict[str, object] | None:
    user, _, name = host.rpartition("@")
    try:
        return ssh_config.load(str(path), "/none").find(name, {"user": user} if user else {})
    except UsageError:
        return None


@needs_ssh
@pytest.mark.parametrize("title", TEXTS)
def test_what_holds_for_a_host_is_what_ssh_says(title: str, tmp_path: Path) -> None:
    path = write(tmp_path / "config", TEXTS[title])
    for host in HOSTS:
        expected, found = ask_ssh(path, host), ask_us(path, host)
        if expected is None or found is None:
            assert (found, expected) == (None, None), host
            continue
        for key, default in COMPARED.items():
            value = found.get(key, default)
            said = expected.get(key, [default])
            if key == "user":
                value = value or ssh_config.local_user()
            if key in ("identityfile", "sendenv"):
                if key in found:
                    assert value == [os.path.expanduser(one) for one in said], (host, key)
                continue
            if key in ("ciphers", "updatehostkeys") and key not in found:
                continue
            plain = {SSH_WORDS.get(word, word) for word in (str(value), said[0])}
            assert len(plain) == 1, (host, key, value, said)
        if "userknownhostsfile" in found:
            assert str(found["userknownhostsfile"]).replace("'", "") == expected["userknownhostsfile"][0]


@needs_ssh
def test_included_files_hold_where_they_are_included(blank_home: Path, tmp_path: Path) -> None:
    files = {
        "a": "Host w1\n  Port 9\n",
        "b": "Host *\n  User everywhere\nMatch host w2\n  Port 8\n",
        "c d": "IdentityFile c\nHost h\n",
        "one.conf": "HostKeyAlias one\n",
        "two.conf": "Host x\n  HostKeyAlias two\n  Include INNER\n",
        "inner": "ConnectTimeout 7\nHost *\nPort 11\n",
    }
    for name, text in files.items():
        write(tmp_path / name, text.replace("INNER", str(tmp_path / "inner")))
    path = write(
        tmp_path / "config",
        f"Include {tmp_path}/a\nUser u\nHost x\n  Include {tmp_path}/b\n  Port 10\n"
        f'Include "{tmp_path}/c d" {tmp_path}/*.conf {tmp_path}/none\nHost h\n'
        f"  Include {tmp_path}/b\nHost *\n  Port 5\n",
    )
    for host in HOSTS:
        expected, found = ask_ssh(path, host), ask_us(path, host)
        assert expected is not None
        assert found is not None
        for key in ("user", "port", "hostkeyalias", "connecttimeout"):
            default = {"connecttimeout": "none"}.get(key)
            assert found.get(key, default) == expected.get(key, [default])[0], (host, key)


def test_relative_includes_are_in_the_folder_of_the_user_or_the_system(blank_home: Path) -> None:
    (blank_home / ".ssh" / "config.d").mkdir(parents=True)
    write(blank_home / ".ssh" / "config.d" / "a", "Host a\n  Port 1\n")
    write(blank_home / "elsewhere", "Include config.d/*\nInclude ~/.ssh/config.d/none\nPort 2\n")
    config = ssh_config.load("~/elsewhere", "/none")
    assert (config.lookup("a")["port"], config.lookup("b")["port"]) == ("1", "2")


def test_the_systems_file_has_no_home(blank_home: Path) -> None:
    write(blank_home / "system", "Include ~/x\n")
    with pytest.raises(UsageError, match=r"system, line 1: bad path '~/x' to include"):
        ssh_config.load("/none", str(blank_home / "system"))


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "config", f"Include {tmp_path}/config\n")
    with pytest.raises(UsageError, match="line 1: too many files that include each other"):
        ssh_config.load(str(tmp_path / "config"), "/none")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Host a\n  Port\n", "line 2: no argument after 'port'"),
        ("Host a\n  Port abc # x\n", "line 2: bad port 'abc': a number from 1 to 65535"),
        ("\n\nFoo 1\n", "line 3: bad configuration option 'foo'"),
        ("Match foo x\n", "line 1: Match has no criterion 'foo' here"),
        ("ProxyJump = # x\n", "line 1: bad jump host '' in '': [user@]host[:port]"),
        ("ConnectTimeout abc\n", "line 1: bad time 'abc': seconds, or with units as in 1m30s"),
        ("BatchMode ask\n", "line 1: bad value 'ask' of 'batchmode': one of yes, no"),
        ("\ufeffHost a\n", "line 1: bad configuration option '\\ufeffhost'"),
    ],
)
def test_what_ssh_refuses_is_one_line_with_file_and_number(text: str, said: str, tmp_path: Path) -> None:
    write(tmp_path / "config", text)
    with pytest.raises(UsageError) as caught:
        ssh_config.load(str(tmp_path / "config"), "/none")
    assert str(caught.value) == f"ssh_config {tmp_path}/config, {said}"


def test_a_criterion_that_cannot_be_told_never_holds_in_silence(tmp_path: Path) -> None:
    text = "Match host web1 localnetwork 10.0.0.0/8\n  User nic\nHost *\n  Port 2222\n"
    write(tmp_path / "config", text)
    config = ssh_config.load(str(tmp_path / "config"), "/none")
    assert config.find("web2")["port"] == "2222"
    with pytest.raises(UsageError, match="line 1: Match localnetwork cannot be told here"):
        config.find("web1")


def test_a_file_that_others_can_write_is_refused(blank_home: Path) -> None:
    (blank_home / ".ssh").mkdir()
    path = write(blank_home / ".ssh" / "config", "Port 2\n")
    assert ssh_config.load().lookup("a")["port"] == "2"
    path.chmod(0o622)
    with pytest.raises(UsageError, match=r"config: bad owner or permissions \(others can write it\)"):
        ssh_config.load()
    path.chmod(0o600)
    write(blank_home / "included", "Port 3\n").chmod(0o666)
    write(path, "Include ~/included\n")
    with pytest.raises(UsageError, match=r"config, line 1: .*/included: bad owner or permissions"):
        ssh_config.load()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(blank_home: Path) -> None:
    (blank_home / ".ssh").mkdir()
    os.chown(write(blank_home / ".ssh" / "config", "Port 2\n"), 12345, -1)
    with pytest.raises(UsageError, match="it belongs to the user 12345"):
        ssh_config.load()


def test_a_folder_a_device_or_no_file_says_nothing(blank_home: Path) -> None:
    (blank_home / "folder").mkdir()
    write(blank_home / "config", f"Include {blank_home}/folder\nPort 2\n")
    for name in ("~/folder", "/dev/null", "~/none"):
        assert ssh_config.load(name, str(blank_home / "config")).lookup("a") == {"hostname": "a", "port": "2"}


# -- what is given beside it, and what others make of it


def parsed(text: str) -> SSHConfig:
    config = SSHConfig()
    config.parse(StringIO(text))
    return config


def test_tokens_and_variables_are_filled_in(blank_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYS", "/keys")
    config = parsed(
        "Host a\n  Port 23\n  HostName b\n  User u\n  ProxyCommand p %h %n %p %r %% $HOME ${KEYS}\n"
        "  IdentityFile ~/%r@%h\n  IdentityFile ${KEYS}/%n.%p%%\n  UserKnownHostsFile ~/known/%h '%k x'\n"
    )
    found = config.lookup("a")
    assert found["proxycommand"] == "p b a 23 u % $HOME ${KEYS}"
    assert found["identityfile"] == [f"{blank_home}/u@b", "/keys/a.23%"]
    assert found["userknownhostsfile"] == f"{blank_home}/known/b 'a x'"


def test_tokens_are_filled_in_without_asking_for_this_machines_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*arguments: object) -> None:
        raise AssertionError("a DNS look-up")

    monkeypatch.setattr("socket.getfqdn", asked)
    monkeypatch.setattr("socket.getaddrinfo", asked)
    assert parsed("Host a\n  ProxyCommand p %h\n  IdentityFile %l\n").lookup("a")["proxycommand"] == "p a"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("IdentityFile %x", "unknown token %x"),
        ("IdentityFile ${NO_SUCH}", "the environment has no NO_SUCH"),
        ("ProxyCommand nc %d", "unknown token %d"),
        ("ProxyCommand nc %", "unknown token %"),
        ("HostName a$(x)", r"host name 'a\$\(x\)' contains invalid characters"),
        ("User a;b", "user name 'a;b' contains invalid characters"),
        ("HostName -oProxyCommand=x", "contains invalid characters"),
        ("RefuseConnection gone", "RefuseConnection: gone"),
    ],
)
def test_what_is_wrong_for_one_host_is_nothing_to_the_others(line: str, said: str) -> None:
    config = parsed(f"Host bad\n  {line}\nHost *\n  Port 2\n")
    assert config.lookup("good")["port"] == "2"
    with pytest.raises(UsageError, match=said):
        config.lookup("bad")


def test_given_options_come_first_and_are_seen_by_match() -> None:
    config = parsed(
        "Match user bob\n  Port 5\nMatch host real\n  HostKeyAlias alias\n"
        "Host *\n  User x\n  HostName y\n  ProxyJump j\n  IdentityFile a\n"
    )
    given = {"user": "bob", "hostname": "real", "proxycommand": "nc %h %p", "identityfile": "mine"}
    assert config.find("h", given) == {
        **given,
        "port": "5",
        "hostkeyalias": "alias",
        "proxycommand": "nc real 5",
        "identityfile": ["mine"],
    }
    assert "port" not in config.find("h", {"user": "eve"})


def test_the_user_where_nothing_names_one_is_seen_by_match() -> None:
    config = parsed("Match user bob\n  Port 5\n  ProxyCommand nc %r %p\n")
    assert config.find("h", user="bob") == {"hostname": "h", "port": "5", "proxycommand": "nc bob 5"}
    assert config.find("h", user="eve") == {"hostname": "h"}


def test_a_command_of_match_exec_is_run_once_for_all_hosts(tmp_path: Path) -> None:
    config = parsed(
        f'Match exec "echo x >>{tmp_path}/same"\n  Port 5\nMatch exec "echo %h >>{tmp_path}/each"\n  User u\n'
    )
    for host in ("a", "b", "a", "b", "c"):
        assert config.lookup(host)["port"] == "5"
    assert (tmp_path / "same").read_text() == "x\n"
    assert (tmp_path / "each").read_text() == "a\nb\nc\n"


def test_a_command_of_match_exec_that_cannot_be_run_fails_its_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/no/such/shell")
    config = parsed('Match originalhost a exec "true"\n  Port 5\n')
    assert config.lookup("b") == {"hostname": "b"}
    with pytest.raises(UsageError, match="ssh_config ssh_config, line 1: Match exec: no such file"):
        config.lookup("a")


def test_the_stanza_of_the_canonical_name_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(name: str, *_: object) -> list[object]:
        if name != "w.b.example.":
            raise OSError
        return []

    monkeypatch.setattr("socket.getaddrinfo", known)
    text = "CanonicalizeHostname yes\nCanonicalDomains a.example b.example\nHost *.b.example\n  Port 5\n"
    assert parsed(text).lookup("W")["hostname"] == "w.b.example"
    assert parsed(text).lookup("w")["port"] == "5"
    assert parsed(text).lookup("x.y.z")["hostname"] == "x.y.z"
    with pytest.raises(UsageError, match="no CanonicalDomains has a host 'x'"):
        parsed("CanonicalizeFallbackLocal no\n" + text).lookup("x")


@pytest.mark.parametrize(
    ("value", "forwards"),
    [("yes", True), ("true", True), ("no", False), ("/other/agent", False), ("$SSH_AUTH_SOCK", True)],
)
def test_fabric_can_use_what_is_found(value: str, forwards: bool) -> None:
    config = parsed(
        f"Host a\n  ForwardAgent {value}\n  Port 022\n  ConnectTimeout 1m\n  ProxyJump none\n  User u\n"
        "Host b\n  ConnectTimeout none\nHost c\n  ConnectTimeout 0\n"
    )
    connection = fabric.Connection("a", config=fabric.Config(ssh_config=config))
    assert (connection.port, connection.connect_timeout, connection.user) == (22, 60, "u")
    assert (connection.forward_agent, connection.gateway) == (forwards, None)
    for host in ("b", "c"):
        assert fabric.Connection(host, config=fabric.Config(ssh_config=config)).connect_timeout is None


def test_it_is_made_as_paramiko_makes_its_own(tmp_path: Path) -> None:
    write(tmp_path / "config", "Host a b*\n  Port 5\nHost c d\n  Port 6\n")
    for config in (
        SSHConfig.from_path(str(tmp_path / "config")),
        SSHConfig.from_text((tmp_path / "config").read_text()),
    ):
        assert config.lookup("b2").as_int("port") == 5
        assert config.get_hostnames() == {"c", "d"}


def test_ten_thousand_hosts_ask_for_what_names_them_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parsed("".join(f"Host n{i}\n  Port {i + 1}\n" for i in range(1000)) + "Host n*\n  User u\n")
    asked = 0
    before = ssh_config.is_named

    def counted(*arguments: object) -> bool:
        nonlocal asked
        asked += 1
        return before(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ssh_config, "is_named", counted)
    for number in range(10_000):
        assert config.lookup(f"n{number}").get("port") == (str(number + 1) if number < 1000 else None)
    assert asked == 11_000


def test_no_text_makes_anything_but_an_error_of_one_line() -> None:
    some = random.Random(15)
    words = """
        Host Match all final tagged host= ! a* Include Port 22 ConnectTimeout 1m " ' \\ # = % %h ${ } User x
        IgnoreUnknown * ? ProxyJump j:1, ssh:// [::1] CanonicalizeHostname yes ForwardAgent IdentityFile
        ~nobody/x HostName Tag , -"""
    parts = [*words.split(), *"   \t\n\n\n\0\r\f\udcff\u2028"]
    refused = 0
    for _ in range(3000):
        text = "".join(some.choices(parts, k=some.randrange(40)))
        said = ""
        try:
            parsed(text).find("a", {"user": "u"})
        except UsageError as error:
            said = str(error)
            refused += 1
        assert len(said.splitlines()) <= 1, text
    assert 0 < refused < 3000
