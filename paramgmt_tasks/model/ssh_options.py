"""Options of ssh_config(5): which there are, and their values as ssh reads them."""

import re
import socket
import sys
from functools import lru_cache

from . import ssh_algorithms
from .errors import UsageError

#: The value of an option: text, or several if it may have several; None if it leaves the option unset.
Value = str | list[str] | None

_LARGEST = 2**31 - 1
_STATES = {
    "addressfamily": "any inet inet6",
    "canonicalizehostname": "yes no always",
    "compression": "yes no",
    "controlmaster": "yes no auto ask autoask",
    "pubkeyauthentication": "yes no unbound host-bound",
    "requesttty": "yes no force auto",
    "sessiontype": "none subsystem default",
    "stricthostkeychecking": "yes no ask off accept-new",
    "tunnel": "yes no ethernet point-to-point",
    "updatehostkeys": "yes no ask",
    "verifyhostkeydns": "yes no ask",
    "warnweakcrypto": "yes no no-pq-kex",
}
#: Every keyword that ssh knows, by the kind of its value.
_KINDS = {
    "flag": """
        batchmode canonicalizefallbacklocal checkhostip clearallforwardings enableescapecommandline
        enablesshkeysign exitonforwardfailure forkafterauthentication forwardx11 forwardx11trusted
        gatewayports gssapiauthentication gssapidelegatecredentials gssapikeyexchange
        gssapirenewalforcesrekey gssapitrustdns hashknownhosts hostbasedauthentication identitiesonly
        kbdinteractiveauthentication nohostauthenticationforlocalhost passwordauthentication
        permitlocalcommand proxyusefdpass stdinnull streamlocalbindunlink tcpkeepalive visualhostkey""",
    "state": " ".join(_STATES),
    "time": "connecttimeout forwardx11timeout serveraliveinterval",
    "number": """
        canonicalizemaxdots connectionattempts numberofpasswordprompts requiredrsasize serveralivecountmax""",
    "port": "port",
    "word": """
        bindaddress bindinterface casignaturealgorithms certificatefile ciphers controlpath controlpersist
        escapechar fingerprinthash forwardagent gssapiclientidentity gssapikexalgorithms
        gssapiserveridentity hostbasedacceptedalgorithms hostkeyalgorithms hostkeyalias
        hostname identityagent identityfile ignoreunknown kbdinteractivedevices kexalgorithms loglevel macs
        pkcs11provider preferredauthentications pubkeyacceptedalgorithms refuseconnection revokedhostkeys
        securitykeyprovider streamlocalbindmask syslogfacility tag tunneldevice user xauthlocation""",
    "words": """
        addkeystoagent canonicaldomains canonicalizepermittedcnames channeltimeout dynamicforward
        globalknownhostsfile host include ipqos localforward logverbose match obscurekeystroketiming
        permitremoteopen rekeylimit remoteforward sendenv setenv userknownhostsfile""",
    "line": "knownhostscommand localcommand proxycommand proxyjump remotecommand versionaddendum",
    # What ssh ignores, whatever the value.
    "ignored": """
        afstokenpassing cipher compressionlevel fallbacktorsh globalknownhostsfile2 kerberosauthentication
        kerberostgtpassing protocol rhostsauthentication rhostsrsaauthentication rsaauthentication
        useprivilegedport userknownhostsfile2 useroaming usersh""",
}
_KIND = {keyword: kind for kind, keywords in _KINDS.items() for keyword in keywords.split()}
if sys.platform == "darwin":
    _KIND["usekeychain"] = "ignored"
_ALIASES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "hostbasedkeytypes": "hostbasedacceptedalgorithms",
    "identityfile2": "identityfile",
    "keepalive": "tcpkeepalive",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "rsaminsize": "requiredrsasize",
    "skeyauthentication": "kbdinteractiveauthentication",
    "smartcarddevice": "pkcs11provider",
    "tisauthentication": "kbdinteractiveauthentication",
}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PIECE = re.compile(r"""(?P<escape>\\["'\\])|(?P<space>[ \t]+)|(?P<quote>["'])|(?P<plain>\\ ?|[^\\ \t"']+)""")
#: What ssh does not allow in the name of a host or a user, since it means something to a shell.
_NO_HOST, _NO_USER = re.compile(r"""['"`$\\;&<>|(){},\s]"""), re.compile(r"""['"`;&<>|(){}]|\s-|\\$""")
_NO_ALIAS = re.compile(r"[*?!#@]")
_LINE = re.compile(r"""(?:"([^"]*)"|([^ \t\r\n"=]+))(?:[ \t\r\n]*=[ \t\r\n]*|[ \t\r\n]+|$)""")


def split_line(line: str) -> tuple[str, str]:
    """The keyword of a line, in lower case, and what follows it; both empty if it has none.

    >>> split_line('  Port = 22 # ssh'), split_line("# Port 22")
    (('port', '22 # ssh'), ('', ''))

    Raises:
        UsageError: nothing follows the keyword.
    """
    line = line.partition("\0")[0].rstrip(" \t\r\n\f").lstrip(" \t\r\n")
    if not line or line.startswith("#"):
        return "", ""
    found = _LINE.match(line)
    if not found:
        raise UsageError(f"no keyword in {line[:80]!r}")
    keyword, rest = (found[1] or found[2] or "").lower(), line[found.end() :]
    if not rest:
        raise UsageError(f"no argument after {keyword!r}")
    return keyword, rest


def split_words(text: str) -> list[str]:
    """The words of a value, up to a comment: with quotes and escapes as ssh reads them.

    >>> split_words(r'a "b c"d \\'e # f'), split_words("a#b")
    (['a', 'b cd', "'e"], ['a#b'])

    Raises:
        UsageError: a quote is not closed.
    """
    words: list[str] = []
    word: str | None = None
    quote = ""
    for piece in _PIECE.finditer(text):
        kind, part = piece.lastgroup, piece[0]
        if kind == "space" and not quote:
            words += [] if word is None else [word]
            word = None
            continue
        if word is None and part.startswith("#"):
            return words
        if kind == "quote" and quote in ("", part):
            quote = "" if quote else part
            part = ""
        elif kind == "escape" or (part == "\\ " and not quote):
            part = part[1]
        word = (word or "") + part
    if quote:
        raise UsageError("invalid quotes")
    return words if word is None else [*words, word]


def known(keyword: str) -> str:
    """The name under which ssh has a keyword; empty if it does not know it."""
    keyword = _ALIASES.get(keyword, keyword)
    return keyword if keyword in _KIND else ""


def read(keyword: str, text: str) -> Value:
    """The value of an option that is known, from the rest of its line.

    Raises:
        UsageError: ssh would reject it.
    """
    words = split_words(text)
    kind = _KIND[keyword]
    if kind == "ignored":
        return None
    if kind == "line":
        return hops(text) if keyword == "proxyjump" else text.lstrip(" \t=")
    if not words or "" in words:
        raise UsageError(f"missing argument of {keyword!r}")
    if kind == "words":
        if len(words) > 1 and keyword.endswith("knownhostsfile") and "none" in map(str.lower, words):
            raise UsageError(f"'none' must stand alone after {keyword!r}")
        if keyword == "rekeylimit":
            rekey_limit(words)
        return words
    if len(words) > 1:
        raise UsageError(f"more than one argument after {keyword!r}: {words[1]!r}")
    return _single(keyword, kind, words[0])


@lru_cache(maxsize=4096)
def given(keyword: str, text: str) -> Value:
    """The value of an option that is given alone, as in a host list: `text` is all of it.

    Raises:
        UsageError: it cannot be used.
    """
    keyword = keyword.lower()
    if _KIND[keyword] in ("line", "words"):
        return read(keyword, text)
    if not text:
        raise UsageError(f"missing argument of {keyword!r}")
    value = _single(keyword, _KIND[keyword], text)
    if keyword == "hostkeyalias":
        check_alias(text)
    elif keyword == "user":
        check_user(text)
    elif keyword == "hostname":
        check_host(text.replace("%%", "").replace("%h", "h"))
    return value


def _single(keyword: str, kind: str, word: str) -> Value:
    if kind in ("flag", "state"):
        value = word.lower()
        if keyword != "compression":
            value = {"true": "yes", "false": "no"}.get(value, value)
        allowed = _STATES.get(keyword, "yes no").split()
        if value not in allowed:
            raise UsageError(f"bad value {word!r} of {keyword!r}: one of {', '.join(allowed)}")
        return value
    if kind == "time":
        return seconds(word)
    if kind == "port":
        return port(word)
    if kind == "number" and not (word.isascii() and word.isdigit() and int(word) <= _LARGEST):
        raise UsageError(f"bad number {word!r} of {keyword!r}")
    if keyword in ssh_algorithms.KNOWN:
        ssh_algorithms.check_names(keyword, word)
    return word


def seconds(text: str) -> str | None:
    """A time as ssh writes it, in seconds; None for `none`.

    >>> seconds("90"), seconds("1m30s"), seconds("none")
    ('90', '90', None)

    Raises:
        UsageError: it is no time.
    """
    if text == "none":
        return None
    parts = re.findall(r"([0-9]{1,10})([smhdw]?)", text.lower())
    total = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if not text or "".join(map("".join, parts)) != text.lower() or total > _LARGEST:
        raise UsageError(f"bad time {text!r}: seconds, or with units as in 1m30s")
    return str(total)


def rekey_limit(words: list[str]) -> tuple[int | None, int | None]:
    """RekeyLimit in bytes and in seconds; None for what it leaves to the cipher, or without a limit.

    >>> rekey_limit(["1G", "1h"]), rekey_limit(["default", "none"]), rekey_limit(["1M"])
    ((1073741824, 3600), (None, None), (1048576, None))

    Raises:
        UsageError: ssh would reject it.
    """
    if len(words) > 2:
        raise UsageError(f"more than a size and a time after 'rekeylimit': {words[2]!r}")
    time = seconds(words[1]) if len(words) > 1 else None
    return ssh_algorithms.size_limit(words[0]), int(time or 0) or None


def port(text: str) -> str:
    """The number of a port that is given by its number or by a service's name.

    Raises:
        UsageError: there is none.
    """
    if text.isascii() and text.isdigit() and 0 < int(text[:9]) < 65536 and len(text) < 10:
        return str(int(text))
    try:
        return str(socket.getservbyname(text, "tcp"))
    except (OSError, ValueError):
        raise UsageError(f"bad port {text!r}: a number from 1 to 65535") from None


def hops(text: str) -> str:
    """The jump hosts of a ProxyJump, as `[user@]host[:port]` with commas between; or `none`.

    Raises:
        UsageError: one of them is malformed.
    """
    words = text.lstrip(" \t=").partition("#")[0].split()
    text = words[0] if words else ""
    parts = []
    for part in text.split(","):
        part = part.removeprefix("ssh://").rstrip("/") if part.startswith("ssh://") else part
        host = part.rpartition("@")[2]
        number = host.rpartition("]")[2] if host.startswith("[") else host[len(host.partition(":")[0]) :]
        if not host or (number and not number.startswith(":")):
            raise UsageError(f"bad jump host {part!r} in {text!r}: [user@]host[:port]")
        if number and number != ":%p":
            port(number[1:])
        parts.append(part)
    return ",".join(parts)


def check_host(name: str) -> None:
    """Make sure that a host may have this name, as ssh does.

    Raises:
        UsageError: it has characters that mean something to a shell, or that no name has.
    """
    if _NO_HOST.search(name) or not name.isprintable() or name.startswith("-") or not name:
        raise UsageError(f"host name {name!r} contains invalid characters")


def check_user(name: str) -> None:
    """Make sure that a user may have this name, as ssh does.

    Raises:
        UsageError: it has characters that mean something to a shell, or that no name has.
    """
    if _NO_USER.search(name) or not name.isprintable() or name.startswith("-") or not name:
        raise UsageError(f"user name {name!r} contains invalid characters")


def check_alias(name: str) -> None:
    """Make sure that a host's key can be recorded under this name, and cannot be mistaken for another host's.

    Raises:
        UsageError: it cannot.
    """
    if _NO_ALIAS.search(name):
        raise UsageError(f"HostKeyAlias {name!r} contains invalid characters")
    check_host(name)
