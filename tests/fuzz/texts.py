"""Files that are read: known_hosts, ssh_config, host lists and the record of runs.

None of what is in them makes anything but UsageError, of one line.
"""

import base64
import contextlib
import importlib
import json
import logging
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from harness import Violation
from invoke import Context, Exit

from paramgmt_tasks.history import Journal, past_runs, run_folders
from paramgmt_tasks.inventory import Selection
from paramgmt_tasks.model import hosts
from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.model.hosts import Host
from paramgmt_tasks.model.operations import RemoteCommand
from paramgmt_tasks.model.results import HostResult, Outcome
from paramgmt_tasks.model.settings import Settings
from paramgmt_tasks.ssh import config as ssh_config
from paramgmt_tasks.ssh.connection import HostConnection
from paramgmt_tasks.ssh.known_hosts import KnownHosts, KnownHostsFile
from paramgmt_tasks.ssh.shared import SharedResources

# Not by `from`: the package has the collection of these tasks under the name of their module.
_runs = importlib.import_module("paramgmt_tasks.tasks.runs")

SECONDS = 20.0
SLOW = 5.0
_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
_NAMES = (
    *(
        "web1",
        "web2",
        "*",
        "web*",
        "!web1",
        "?eb1",
        "[web1]:2222",
        "127.0.0.1",
        "::1",
        "fe80::1%eth0",
        "WEB1",
        "",
    ),
    *(
        "a,b",
        "|1|x|y",
        "|1|AAAA|AAAA",
        "|1||",
        "[",
        "]",
        "[[",
        "web[1-3]",
        "web[1-",
        "web[3-1]",
        "web[01-2/0]",
        "-x",
    ),
    *(
        "a$(x)",
        "a;b",
        "ü",
        "\x9b2J",
        "a\x00b",
        "%h",
        "%%",
        "%",
        "~",
        "x" * 3000,
        "@",
        "a@",
        "@b",
        "u@h:22",
        "h:0",
    ),
    *(
        "h:99999",
        "h:x",
        "[::1]:22",
        "[::1",
        "::1]:2",
        "n[1-99999999]",
        "n[1-3]x[1-9999999]",
        "{1..3}",
        "#",
        "\\",
    ),
)
_VALUES = (
    *_NAMES,
    *("yes", "no", "none", "abc", "22", "-1", "0", "99999999999999999999", "30s", "1h", "1.5", "nan", "inf"),
    *(
        '"',
        "'",
        '"a b"',
        "a b c",
        "true",
        "all",
        "final all",
        "exec true",
        'exec "',
        "host",
        "host web1 user",
        "canonical",
    ),
    *("%h.%d", "${HOME}", "${X", "nc %h %p", "|", "user@h:22,b", "SHA256:x", "ssh-rsa,+x", "^", "accept-new"),
)


def _spoilt(rng: random.Random, text: str) -> str:
    """A text, some of it changed."""
    for _ in range(rng.choice((0, 0, 1, 1, 3))):
        at = rng.randrange(len(text) + 1)
        how = rng.randrange(5)
        if how == 0:
            text = text[:at]
        elif how == 1:
            text = (
                text[:at]
                + rng.choice(("\0", "\n", "\t", "\r", '"', "'", "\\", " ", "\x85", "\u2028", "=", "é"))
                + text[at:]
            )
        elif how == 2:
            text = text[:at] + text[at + rng.randint(1, 9) :]
        elif how == 3:
            text = text[:at] + text[at : at + 40] * 2 + text[at + 40 :]
        else:
            text = text[:at] + chr(rng.choice((rng.randrange(256), rng.randrange(0x300)))) + text[at:]
    return text


def _bytes(rng: random.Random, text: str) -> bytes:
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if data and rng.random() < 0.1:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


@contextlib.contextmanager
def _only_usage_errors() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if not str(error).isprintable():
            raise Violation(f"an error of more than one printable line: {str(error)!r:.200}") from None


def known_hosts(seed: int, folder: Path) -> None:
    def read(*paths: Path) -> KnownHosts:
        return KnownHosts([KnownHostsFile(path) for path in paths])

    rng = random.Random(seed)
    lines = []
    for _ in range(rng.randint(0, 8)):
        marker = rng.choice(("", "", "", "@revoked ", "@cert-authority ", "@x "))
        kind = rng.choice(("ssh-ed25519", "ssh-rsa", "x", ""))
        lines.append(
            f"{marker}{rng.choice(_NAMES)} {kind} {rng.choice((_KEY, _KEY[:-1], 'x', '', '===='))} note"
        )
    path = folder / "known_hosts"
    path.write_bytes(_bytes(rng, _spoilt(rng, "\n".join(lines) + rng.choice(("", "\n")))))
    known, hashed = read(path, folder / "none"), rng.random() < 0.3
    for name in rng.sample(_NAMES, 6):
        known.types(name)
        known.search(name)
        known.find(name, b"key")
        known.authorities(name)
        known.revoked(name)
        before = read(path).types("never-named")
        known.add(name, "ssh-ed25519", base64.b64decode(_KEY), hashed)
        if read(path).types("never-named") != before:
            raise Violation(
                f"what was recorded for {name!r} holds for another host: {path.read_text()[-100:]!r}"
            )
    known.refresh()


_OPTIONS = (
    *(
        "HostName",
        "User",
        "Port",
        "IdentityFile",
        "ProxyJump",
        "ProxyCommand",
        "ConnectTimeout",
        "Include",
        "Match",
    ),
    *(
        "StrictHostKeyChecking",
        "UserKnownHostsFile",
        "HostKeyAlias",
        "IdentitiesOnly",
        "ForwardAgent",
        "Host",
    ),
    *(
        "CanonicalizeHostname",
        "CanonicalDomains",
        "CanonicalizeMaxDots",
        "HashKnownHosts",
        "SendEnv",
        "SetEnv",
    ),
    *("CertificateFile", "PubkeyAcceptedAlgorithms", "ServerAliveInterval", "AddressFamily", "Tag", "x", ""),
)


def config(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    text = ""
    for _ in range(rng.randint(0, 12)):
        keyword, between = rng.choice(_OPTIONS), rng.choice((" ", " ", "=", " = ", "\t", ""))
        keyword = rng.choice((keyword, keyword, keyword.lower(), keyword.upper()))
        value = rng.choice(_VALUES)
        if keyword.lower() == "match" and "exec" in value:
            value = value.replace("true", "exit 1")
        text += f"{rng.choice(('', '  '))}{keyword}{between}{value}{rng.choice(('', '', ' # note'))}\n"
    path = Path.home() / ".ssh" / "config"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(_bytes(rng, _spoilt(rng, text)))
    with _only_usage_errors():
        loaded = ssh_config.load(str(path), str(folder / "none"))
        for name in ("web1", "WEB1", "127.0.0.1"):
            loaded.lookup(name)
    with _only_usage_errors():
        resources = SharedResources()
        HostConnection(Host("web1", "web1"), settings=Settings(), resources=resources)
        resources.close()


def host_list(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    lines = []
    for _ in range(rng.randint(0, 6)):
        words = [rng.choice(_NAMES)]
        for _ in range(rng.choice((0, 0, 1, 3))):
            key = rng.choice((*_OPTIONS, "HOST", "RACK", "1x", "A B", "ü"))
            words.append(f"{key}{rng.choice(('=', '=', '', ' = '))}{rng.choice(_VALUES)}")
        lines.append(rng.choice((" ", " ", "\t", ",")).join(words))
    text = _spoilt(rng, "\n".join(lines))
    began = time.monotonic()
    read: list[Host] = []
    with _only_usage_errors():
        read = hosts.parse_lines(text.split("\n"), "list")
    with _only_usage_errors():
        Selection().added(rng.sample(_NAMES, 2), "-m")
    hosts.fold(host.entry for host in read[:2000])
    with _only_usage_errors():
        Selection().without(read[:2000], rng.sample(_NAMES, 1), "-x")
    if time.monotonic() - began > SLOW:
        raise Violation(f"slow: {time.monotonic() - began:.1f} s for {len(read)} hosts")


def record(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    os.environ["XDG_STATE_HOME"] = str(folder)
    some = [Host(f"web{n}", f"web{n}", variables={"A": "b"} if n % 2 else {}) for n in range(5)]
    for _ in range(rng.choice((1, 2))):
        written = Journal(RemoteCommand("uptime"), some, Settings(timeout=3))
        for index, host in enumerate(some):
            outcome = rng.choice(list(Outcome))
            reason = "" if outcome is Outcome.OK else "why"
            written.finished(
                HostResult(host, index, "rcmd", outcome, reason=reason, started=1.0, finished=2.0)
            )
        written.end(interrupted=False)
    name = run_folders.identifiers()[-1]
    path = run_folders.root() / name / "run.jsonl"
    lines = path.read_text().splitlines()
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(len(lines))
        lines[at] = _other(rng, lines[at])
    path.write_bytes(_bytes(rng, _spoilt(rng, "\n".join(lines) + "\n")))
    with _only_usage_errors():
        for past in past_runs.all_runs():
            past.of(past_runs.FAILED)
            for index in range(len(past.hosts)):
                past.outcome(index), past.reason(index)
    with _only_usage_errors():
        past_runs.read()
    with _only_usage_errors():
        past_runs.select(f"@{rng.choice(('failed', 'ok', 'unstarted', 'lost', 'x'))}")
    with contextlib.suppress(Exit):
        _runs.listing(Context())
    with contextlib.suppress(Exit):
        _runs.show(Context(), [name])


_THINGS = (
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "",
    "x",
    "\n",
    [],
    {},
    [1],
    {"a": 1},
    "ok",
    "\x1b[2J",
    [["web1", 0]],
)


def _other(rng: random.Random, line: str) -> str:
    """A line of the record with something else at one of its places."""
    if rng.random() < 0.2:
        return json.dumps(rng.choice(_THINGS))
    said = json.loads(line)
    here = said
    while isinstance(here, (dict, list)) and here:
        key = rng.choice(list(here) if isinstance(here, dict) else range(len(here)))
        if not isinstance(here[key], (dict, list)) or not here[key] or rng.random() < 0.3:
            if isinstance(here, dict) and rng.random() < 0.3:
                del here[key]
            else:
                here[key] = rng.choice(_THINGS)
            break
        here = here[key]
    return json.dumps(said)


logging.getLogger("paramgmt_tasks").addHandler(logging.NullHandler())
CASES = {"known-hosts": known_hosts, "ssh-config": config, "host-list": host_list, "record": record}
