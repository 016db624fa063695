"""The canonical name of a host, as CanonicalizeHostname has it, and addresses in their usual form."""

import re
import socket

from ..model import UsageError
from .config_lookup import Options
from .config_questions import Answers, CanonicalName, Guesses
from .host_patterns import in_list
from .name_lookup import FAMILIES

#: What may be an address (inet_aton(3)), and what is one in its usual form: most are.
_NUMBER = r"(?:0[xX][0-9a-fA-F]+|[0-9]+)"
_ADDRESS = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{0,3}}|.*:.*", re.DOTALL)
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_USUAL = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}")


def canonical(host: str, found: Options, answers: Answers | Guesses) -> str:
    """The host's canonical name: an address in its usual form, or what CanonicalizeHostname leads to.

    As ssh(1)'s resolve_canonicalize has it: the first of CanonicalDomains that has the host, then what
    CanonicalizePermittedCNAMEs allow that to be an alias of.

    Raises:
        UsageError: none has it, and the name must not be used as it is.
        Unanswered: a name server has to be asked.
    """
    family = FAMILIES[str(found.get("addressfamily", "any"))]
    if _USUAL.fullmatch(host) and family != socket.AF_INET6:
        return host
    if _ADDRESS.fullmatch(host):
        return _plain_address(host, family)
    wanted = found.get("canonicalizehostname", "no")
    if wanted == "no":
        return host
    proxied = any(found.get(key, "none").lower() != "none" for key in ("proxycommand", "proxyjump"))
    if proxied and wanted != "always":
        return host
    names = [host]
    if not host.endswith("."):
        if host.count(".") > int(found.get("canonicalizemaxdots", 1)):
            return _followed(host, found, answers, family)
        names = [
            f"{host}.{one.rstrip('.')}." for one in found.get("canonicaldomains", []) if one.lower() != "none"
        ]
    name, alias_of = _known(names, family, answers)
    if name:
        return _permitted(name.rstrip(".").lower(), alias_of, found)
    if found.get("canonicalizefallbacklocal", "yes") == "no":
        raise UsageError(f"no CanonicalDomains has a host {host!r}, and CanonicalizeFallbackLocal is no")
    return _followed(host, found, answers, family)


def _followed(host: str, found: Options, answers: Answers | Guesses, family: int) -> str:
    """The name as the system's resolver has it, if names may be followed that it is an alias of."""
    if not _rules(found):
        return host
    name, alias_of = _known([host], family, answers)
    return _permitted(host, alias_of, found) if name else host


def _known(names: list[str], family: int, answers: Answers | Guesses) -> tuple[str, str]:
    answer = answers.get(CanonicalName(tuple(names), family)) if names else None
    return answer if isinstance(answer, tuple) else ("", "")


def _permitted(name: str, alias_of: str, found: Options) -> str:
    if alias_of and alias_of != name:
        for source, target in _rules(found):
            if in_list(name, source.lower()) and in_list(alias_of, target.lower()):
                return alias_of
    return name


def _rules(found: Options) -> list[tuple[str, str]]:
    rules = found.get("canonicalizepermittedcnames", [])
    return [(source, target) for source, _, target in (rule.partition(":") for rule in rules) if target]


def _plain_address(host: str, family: int) -> str:
    """An address as getnameinfo(3) writes it, such as 127.0.0.1 for 127.1; as it is if it is none."""
    try:
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        return socket.getnameinfo(found[0][4], socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    except (OSError, UnicodeError):
        return host
