"""ssh_config beside OpenSSH: what holds for some hosts in generated files is what `ssh -G` says.

Compared are all options that are honoured and that the installed ssh knows, and whether the files, or what
they say of a host, are refused.
"""

import fnmatch
import os
import pwd
import random
import shlex
import subprocess
from functools import lru_cache
from pathlib import Path

from harness import Violation

from paramgmt_tasks.model import Host, Settings, UsageError, ssh_support
from paramgmt_tasks.model.ssh_values import seconds
from paramgmt_tasks.ssh import config as ssh_config
from paramgmt_tasks.ssh.target import Target, resolve
from paramgmt_tasks.steps import run_to_end

NAME = "ssh-config-oracle"
SECONDS = 60.0

_HOSTS = ("web1", "web2", "WEB1", "db", "x.example.org", "127.0.0.1", "127.1", "fe80::1", "localhost.", "a_b")
_PATTERNS = (*_HOSTS, *("*", "web*", "web?", "!web2", "!*", "*.org", "db,x", "w*b?", "real*", "??"))
_USERS = ("nic", "eve", "root", "a.b")
_LISTS = {
    "ciphers": ("aes128-ctr", "aes256-ctr", "chacha20-poly1305@openssh.com"),
    "macs": ("hmac-sha2-256", "hmac-sha1"),
    "kexalgorithms": ("curve25519-sha256", "diffie-hellman-group14-sha256"),
    "hostkeyalgorithms": ("ssh-ed25519", "rsa-sha2-512"),
    "pubkeyacceptedalgorithms": ("ssh-ed25519", "ssh-rsa"),
    "casignaturealgorithms": ("ssh-ed25519", "rsa-sha2-256"),
}
_VALUES: dict[str, tuple[str, ...]] = {
    "HostName": ("real", "REAL.example", "%h.example.org", "10.0.0.1", "10.1", "%h%%x", "::1"),
    "User": (*_USERS, '"a b"', "x;y", "-x"),
    "Port": ("22", "2222", "022", "ssh", "65535", "0", "abc"),
    "IdentityFile": ("~/.ssh/k1", "/k2", '"/k 3"', "'/k4'", "none", "k\\ 5", "/k2"),
    "CertificateFile": ("/c1", "~/c2", "none"),
    "IdentitiesOnly": ("yes", "no", "YES", "true", "maybe"),
    "IdentityAgent": ("none", "SSH_AUTH_SOCK", "/run/%u/%h", "~/agent", "${ORACLE}/agent", "${UNSET_X}"),
    "ProxyJump": ("j", "u@j:2222", "a,b", "none", "ssh://u@j:22", "j # note", "j:x", "[::1]:22"),
    "ProxyCommand": ("nc %h %p", "none", "NONE", "sh -c 'a \"b\" # c'", "= nc x"),
    "ConnectTimeout": ("5", "1m30s", "none", "2h", "0", "1.5", "5 s"),
    "ConnectionAttempts": ("1", "3", "0x3"),
    "HostKeyAlias": ("alias", "ALIAS", "%h"),
    "StrictHostKeyChecking": ("yes", "no", "ask", "accept-new", "off", "Yes", "new"),
    "UserKnownHostsFile": ("/a", '/a "/b c"', "none", "~/%k ${ORACLE}/x", "%z", "/a none", "/%h/%p/%r/%n/%i"),
    "GlobalKnownHostsFile": ("/g", "/g /h", "none"),
    "HashKnownHosts": ("yes", "no"),
    "ServerAliveInterval": ("0", "30", "1m", "none"),
    "ServerAliveCountMax": ("3", "-1", "1"),
    "TCPKeepAlive": ("yes", "no"),
    "Compression": ("yes", "no", "true"),
    "AddressFamily": ("any", "inet", "INET6"),
    "BindAddress": ("127.0.0.1",),
    "BindInterface": ("lo",),
    "BatchMode": ("yes", "no"),
    "SendEnv": ("LANG LC_*", "A", "-A", "-L*", "B=C"),
    "SetEnv": ("A=1 B=2", 'A="x y"', "C=3", "A", "A=1 A=2"),
    "RequestTTY": ("yes", "no", "force", "auto"),
    "ForwardAgent": ("yes", "no", "true", "$1X"),
    "PasswordAuthentication": ("yes", "no"),
    "PubkeyAuthentication": ("yes", "no", "unbound", "host-bound"),
    "KbdInteractiveAuthentication": ("yes", "no"),
    "ChallengeResponseAuthentication": ("no",),
    "PreferredAuthentications": ("publickey,password", "password"),
    "NumberOfPasswordPrompts": ("1", "3"),
    "GSSAPIAuthentication": ("yes", "no", "x"),
    "GSSAPIDelegateCredentials": ("yes", "no"),
    "RequiredRSASize": ("2048", "3072", "x"),
    "RekeyLimit": ("1G 1h", "512M", "default none", "1x", "none"),
    "IPQoS": ("af11 cs0", "lowdelay", "none", "foo"),
    "KnownHostsCommand": ("/bin/k %H", "none"),
    "ProxyUseFdpass": ("yes", "no"),
    "NoHostAuthenticationForLocalhost": ("yes", "no"),
    "RemoteCommand": ("none", "echo %h", "echo %z"),
    "RevokedHostKeys": ("/r", "none"),
    "CanonicalizeHostname": ("no", "yes", "always"),
    "CanonicalDomains": ("invalid", "invalid. example", "none", ".x", "a..b", "none x"),
    "CanonicalizeMaxDots": ("0", "2"),
    "CanonicalizeFallbackLocal": ("yes", "yes", "no"),
    "CanonicalizePermittedCNAMEs": ("none", "a", "none a:b"),
    "Foo": ("1 2",),
    "BarX": ("x",),
    "ControlPath": ("~/%C", "none"),
    "UpdateHostKeys": ("yes", "no", "ask"),
    "VerifyHostKeyDNS": ("no", "ask"),
    "LogLevel": ("INFO", "debug2", "x"),
    **{ssh_support.ROWS[name].name: () for name in _LISTS},
}
#: Values that are refused, which shall not be in every file.
_BAD = (
    *("abc", "maybe", "1.5", "5 s", "j:x", "/a none", "B=C", "A", "$1X", "x", "1x", "foo", ".x", "a..b"),
    *("none x", "a", "0", "-1", "new", "true", "%z", "echo %z", "${UNSET_X}", "x;y", "-x", "0x3"),
)
_WORDS = {"true": "yes", "false": "no", "off": "no"}


class _Files:
    """A generated ssh_config, with what it includes."""

    def __init__(self, rng: random.Random, folder: Path) -> None:
        self._rng, self._folder, self._count = rng, folder, 0
        self._spoilt = rng.random() < 0.12

    def write(self, depth: int = 0) -> Path:
        """Write a file, and those that it includes."""
        self._count += 1
        path = self._folder / f"config{self._count}"
        # Elsewhere ssh has it for the hosts alone for which it holds there; here it is for all.
        lines = [] if depth else [self._line("IgnoreUnknown", "foo,bar*")]
        for _ in range(self._rng.choice((1, 2, 3, 4)) if depth else self._rng.randint(2, 6)):
            lines += self._block(depth, bool(lines))
        ends = self._rng.choice(("\n", "\n", "\n", "\r\n"))
        path.write_bytes(ends.join([*lines, *self._rng.choice(([""], []))]).encode())
        path.chmod(0o600)
        return path

    def _block(self, depth: int, headed: bool) -> list[str]:
        rng = self._rng
        lines = [self._head()] if headed or rng.random() < 0.5 else []
        for _ in range(rng.randint(0, 4)):
            kind = rng.random()
            if kind < 0.08 and depth < 2:
                names = [str(self.write(depth + 1))]
                lines.append(self._line("Include", " ".join(rng.choice((names, [*names, "/none/*"])))))
            elif kind < 0.14:
                lines.append(rng.choice(("", "# note", "\t# User x", " ")))
            else:
                name = rng.choice(tuple(_VALUES))
                lines.append(self._line(name, self._value(name)))
        return lines

    def _value(self, name: str) -> str:
        rng = self._rng
        if name.lower() in _LISTS:
            chosen = rng.sample(_LISTS[name.lower()], rng.choice((1, 2)))
            return rng.choice(("", "", "+", "-", "^")) + ",".join(chosen)
        values = [value for value in _VALUES[name] if self._spoilt or value not in _BAD]
        return rng.choice(values or _VALUES[name])

    def _line(self, name: str, value: str) -> str:
        rng = self._rng
        name = rng.choice((name, name, name.lower(), name.upper(), f'"{name}"'))
        between = rng.choice((" ", " ", " ", "=", " = ", "\t", "  "))
        after = rng.choice(("", "", "", " ", "\t", " # note"))
        if name[0] == '"' and "=" in between:
            between = " "  # after quotes it would be a part of the value
        if value.startswith("=") or "command" in name.lower() or "jump" in name.lower():
            after = ""
        return f"{rng.choice(('', '  ', chr(9)))}{name}{between}{value}{after}"

    def _head(self) -> str:
        rng = self._rng
        if rng.random() < 0.6:
            return self._line("Host", " ".join(rng.choices(_PATTERNS, k=rng.choice((1, 1, 2, 3)))))
        criteria = [rng.choice(("final", "canonical", "!final", "!canonical"))] if rng.random() < 0.2 else []
        number = rng.choice((0, 1, 1, 2))
        criteria += [rng.choice(("", "", "!")) + self._criterion() for _ in range(number)]
        if not criteria or (len(criteria) == 1 and rng.random() < 0.1):
            criteria.append("all")
        return self._line("Match", " ".join(criteria))

    def _criterion(self) -> str:
        rng = self._rng
        name = rng.choice(("host", "host", "originalhost", "user", "user", "localuser", "exec"))
        between = rng.choice((" ", " ", "=", "  "))
        if name == "exec":
            command = rng.choice(
                ("true", "false", "test %h = web1", "test %p = 22", "test %r = nic", "test %n = db")
            )
            return f'{name}{between}"{command}"'
        values = _PATTERNS if "host" in name else (*_USERS, "*", "n*,!nic")
        argument = ",".join(rng.choices(values, k=rng.choice((1, 1, 2))))
        return f"{rng.choice((name, name.upper(), name.title()))}{between}{argument}"


def case(seed: int, folder: Path) -> None:
    """Compare one set of files for some hosts."""
    rng = random.Random(seed)
    # To ssh the home is that of the account, whatever the environment says.
    os.environ["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    os.environ["ORACLE"] = "/oracle"
    os.environ.pop("UNSET_X", None)
    path = _Files(rng, folder).write()
    user = rng.choice((None, None, None, *_USERS[:2]))
    port = rng.choice((None, None, None, 2200))
    asked = _asked(rng)
    hosts = rng.sample(_HOSTS, 3)
    questions = {host: _ask(path, host, user, port, asked) for host in hosts}
    try:
        config = ssh_config.load(str(path), str(folder / "none"))
        settings = Settings(user=user, port=port, ssh_options=asked)
    except UsageError as error:
        config, refused = None, str(error)
    for host in hosts:
        said = _answered(questions[host])
        target = None
        if config is not None:
            target = _resolved(host, settings, config)
            refused = target.fault
        found = None if target is None or target.fault else target
        where = f"{host} (-l {user} -p {port} {asked})"
        if (said is None) != (found is None):
            errors = questions[host].errors
            raise Violation(
                f"{where}: ssh: {errors or 'accepts'}; here: {refused or 'accepted'}\n{_shown(folder)}"
            )
        if said is not None and found is not None:
            different = _differences(said, found)
            if different:
                raise Violation(f"{where}: {'; '.join(different)}\n{_shown(folder)}")


def _asked(rng: random.Random) -> list[tuple[str, str]]:
    options = (
        *(
            ("User", "opt"),
            ("Port", "2300"),
            ("HostName", "real"),
            ("IdentityFile", "/opt"),
            ("ProxyJump", "o"),
        ),
        *(("SendEnv", "OPT"), ("ConnectTimeout", "7"), ("ProxyCommand", "nc opt"), ("compression", "yes")),
    )
    return rng.sample(options, rng.choice((0, 0, 1, 2)))


class _Question:
    def __init__(self, words: list[str]) -> None:
        null = subprocess.DEVNULL
        self.errors = ""
        self.process = subprocess.Popen(words, stdin=null, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _ask(
    path: Path, host: str, user: str | None, port: int | None, asked: list[tuple[str, str]]
) -> _Question:
    words = ["ssh", "-F", str(path), "-G"]
    words += [] if user is None else ["-l", user]
    words += [] if port is None else ["-p", str(port)]
    words += [word for name, value in asked for word in ("-o", f"{name}={value}")]
    return _Question([*words, host])


def _answered(question: _Question) -> dict[str, list[str]] | None:
    out, errors = question.process.communicate(timeout=SECONDS)
    question.errors = " ".join(errors.decode("utf-8", "replace").split())
    if question.process.returncode:
        return None
    said: dict[str, list[str]] = {}
    for line in out.decode("utf-8", "surrogateescape").splitlines():
        keyword, _, value = line.partition(" ")
        said.setdefault(keyword.lower(), []).append(value)
    return said


def _resolved(host: str, settings: Settings, config: ssh_config.SSHConfig) -> Target:
    # -l and -p come before -o, whatever their order, as both are options of their own here.
    entry, login = Host(host, host), (ssh_config.local_user(), 22)
    while (target := resolve(entry, settings, config, login)).question is not None:
        run_to_end(config.answers.wait(target.question, 30.0))
    return target


@lru_cache(maxsize=1)
def _defaults() -> dict[str, list[str]]:
    said = _answered(_ask(Path("/dev/null"), "x", None, None, []))
    assert said is not None
    return said


def _differences(said: dict[str, list[str]], target: Target) -> list[str]:
    found = target.options
    different = []
    ours = {"hostname": target.address, "user": target.user, "port": str(target.port)}
    for keyword, row in ssh_support.ROWS.items():
        if keyword in ssh_support.OF_FILES or row.support is not ssh_support.Support.HONOURED:
            continue
        theirs = said.get(keyword, [])
        if keyword in ours:
            value: list[str] = [ours[keyword]]
        elif keyword in found:
            value = _as_said(keyword, found[keyword])
        elif keyword in _defaults():
            value = _defaults()[keyword]
        else:
            value = []
        if keyword in _SETTLED or (keyword == "proxyusefdpass" and "proxyjump" in found):
            continue
        if keyword == "serveraliveinterval" and found.get("batchmode") == "yes":
            continue  # Debian's ssh has another default then
        if keyword == "sendenv":
            theirs = list(dict.fromkeys(theirs))
        plain, mine = ([_normal(keyword, one, target) for one in lines] for lines in (theirs, value))
        if keyword in _NONE:
            plain, mine = ([one for one in lines if one != "none"] for lines in (plain, mine))
        if plain != mine:
            different.append(f"{keyword}: ssh {plain}, here {mine}")
    return different


#: Of these ssh has the defaults before its second pass; what they lead to is the host's name.
_SETTLED = ("canonicalizehostname", "canonicalizemaxdots", "canonicalizefallbacklocal")
#: Options of which `none` is as if they were not there.
_NONE = (
    *("certificatefile", "knownhostscommand", "proxycommand", "proxyjump", "remotecommand"),
    *("connecttimeout", "revokedhostkeys", "canonicalizepermittedcnames", "canonicaldomains"),
    *("globalknownhostsfile", "userknownhostsfile"),
)


def _as_said(keyword: str, value: object) -> list[str]:
    """A value as `ssh -G` has it: a line for each, and lists of algorithms in full."""
    if isinstance(value, list):
        return [str(one) for one in value]
    text = str(value)
    if keyword in _LISTS:
        return [_assembled(text, _defaults()[keyword][0])]
    if keyword in ("setenv",):
        return shlex.split(text)
    if keyword in (
        "userknownhostsfile",
        "globalknownhostsfile",
        "canonicaldomains",
        "canonicalizepermittedcnames",
    ):
        return [" ".join(word.rstrip(".") if "domains" in keyword else word for word in shlex.split(text))]
    if keyword == "knownhostscommand":
        return [" ".join(shlex.split(text))]
    if keyword == "rekeylimit":
        return [_limit(shlex.split(text))]
    if keyword == "ipqos":
        words = shlex.split(text)
        return [" ".join((words * 2)[:2])]
    return [text]


def _limit(words: list[str]) -> str:
    size, time = (*words, "none")[:2]
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    amount = 0 if size.lower() in ("default", "none") else int(size[:-1]) * units[size[-1].upper()]
    return f"{amount} {seconds(time) or 0}"


def _assembled(text: str, default: str) -> str:
    names = default.split(",")
    if text[0] == "+":
        return ",".join(dict.fromkeys([*names, *text[1:].split(",")]))
    if text[0] == "^":
        return ",".join(dict.fromkeys([*text[1:].split(","), *names]))
    if text[0] == "-":
        patterns = text[1:].split(",")
        return ",".join(name for name in names if not any(fnmatch.fnmatchcase(name, one) for one in patterns))
    return text


def _normal(keyword: str, value: str, target: Target) -> str:
    value = _WORDS.get(value, value)
    if keyword == "connecttimeout" and value == "0":
        return "none"  # no limit of ssh's own
    if keyword == "proxycommand":
        value = value.replace("%h", target.address).replace("%p", str(target.port))
    return os.path.expanduser(value) if keyword in ("identityfile", "certificatefile") else value


def _shown(folder: Path) -> str:
    return "\n".join(f"--- {path}\n{path.read_text()}" for path in sorted(folder.iterdir()))
