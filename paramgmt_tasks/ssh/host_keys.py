"""Host keys: which are accepted, which recorded, and which refused. As sshconnect.c of OpenSSH has it.

In one thing this is stricter: a host for which known_hosts names an authority (@cert-authority) is never
trusted on first use.
"""

import ipaddress
import os
import shlex
import socket
from collections.abc import Iterable
from pathlib import Path

from ..model import UsageError
from ..steps import MAY_BLOCK, Steps
from .certificate_format import BadCertificate
from .failures import Untrusted
from .host_certificate import Certificate, ShownKey, fingerprint
from .known_hosts import Entry, KnownHosts
from .known_hosts_command import KnownHostsCommand
from .paramiko_internals import CA_SIGNATURES, LeanTransport, SocketLike, host_key_offer, preferred
from .revocation import Unreadable, revoked_keys
from .target import Target

_TRUST = {"yes": "strict", "ask": "strict", "no": "ignore", "off": "ignore", "accept-new": "accept-new"}
_LEAST_RSA = 1024
_INET = (socket.AF_INET, socket.AF_INET6)


def checking_mode(asked: str | None, configured: str | None) -> str:
    """How host keys are checked: as asked, else as StrictHostKeyChecking says, else `accept-new`.

    `ask` is `strict`: there is nobody to ask.

    Raises:
        UsageError: StrictHostKeyChecking has a value that ssh does not know either.
    """
    if asked:
        return asked
    try:
        return _TRUST[(configured or "accept-new").lower()]
    except KeyError:
        raise UsageError(f"StrictHostKeyChecking {configured!r} is not known") from None


class RetryWithKnownTypes(Exception):
    """The host showed a key of a type other than those known for it: ask it for one of those first."""


class HostKeyVerifier:
    """Verifies the key of one host, over one connection or a second one.

    `mode` is `strict`, `accept-new` or `ignore`. With `ignore` what RevokedHostKeys and RequiredRSASize
    exclude is refused nevertheless, as with ssh; see `distrust` for the rest.
    """

    def __init__(self, target: Target, known: KnownHosts, mode: str) -> None:
        self._known, self._mode, self._options, self._port = known, mode, target.options, target.port
        self._names, self._address = target.host_key_names, target.address
        self._is_proxied = bool(target.proxy_command)
        command = str(target.options.get("knownhostscommand", "none"))
        self._command = None if command.lower() == "none" else KnownHostsCommand(command)
        self._ordering = known
        self._types: frozenset[str] = frozenset()
        self._certified = self._is_second = False
        self._sock: SocketLike | None = None

    def prepare(self, deadline: float) -> Steps[None]:
        """Ask KnownHostsCommand for what decides which keys the host is asked for.

        Raises:
            UsageError: it fails.
        """
        if self._command is not None and self._mode != "ignore":
            yield MAY_BLOCK
            name = self._address.lower()
            self._ordering = self._known.having(self._command.lines(name, "ORDER", None, deadline))

    def transport(self, sock: SocketLike, **options: object) -> LeanTransport:
        """A transport that asks for what can be verified first.

        Raises:
            UsageError: HostKeyAlgorithms has nothing that can be used here.
        """
        transport, self._sock = LeanTransport(sock, **options), sock
        for name in self._names:
            self._types = self._types or self._ordering.types(name)
            self._certified = self._certified or bool(self._ordering.authorities(name))
        wanted = str(self._options.get("hostkeyalgorithms", ""))
        transport.offer_host_keys(host_key_offer(wanted, self._types, self._certified))
        return transport

    def verify(self, transport: LeanTransport, deadline: float) -> Steps[None]:
        """Accept the key that the host has shown, and record it if it is new.

        Raises:
            Untrusted: it is not to be trusted.
            RetryWithKnownTypes: another key of the host may be.
            UsageError: KnownHostsCommand fails.
        """
        shown = self._shown(transport)
        if self._mode == "ignore" or self._is_exempt():
            return
        known = self._known
        if self._command is not None:
            yield MAY_BLOCK
            known = known.having(self._command.lines(self._names[0], "HOSTNAME", shown, deadline))
        refusal = self._refusal(shown, known)
        if refusal is None:
            yield from self._check_address(shown, known, deadline)
        else:
            self._accept_new(shown, known, refusal)

    def distrust(self, transport: LeanTransport) -> str:
        """Why the host must not be sent a password or reach an agent; empty if it may.

        Only `ignore` lets such a host be connected at all (ssh_config(5), StrictHostKeyChecking).

        Raises:
            RetryWithKnownTypes: another key of the host may be trusted.
        """
        if self._mode == "ignore" and not self._is_exempt():
            try:
                self._refusal(self._shown(transport), self._known)
            except Untrusted as error:
                return str(error)
        return ""

    def doubts(self, transport: LeanTransport) -> str:
        """As `distrust`, once no other key can be asked for."""
        try:
            return self.distrust(transport)
        except RetryWithKnownTypes:
            return "the host has shown a key of another type than those that are known"

    # -- what holds for every key

    def _shown(self, transport: LeanTransport) -> ShownKey:
        """The key that is shown, if it is one that may be shown at all."""
        try:
            shown = ShownKey.of(transport.shown_host_key)
            if shown.certificate is not None:
                shown.certificate.check_signature()
        except BadCertificate as error:
            raise Untrusted(f"the host certificate is not valid: {error}") from None
        if shown.key_type == "ssh-rsa":
            bits = transport.get_remote_server_key().get_bits()
            least = max(_LEAST_RSA, int(self._options.get("requiredrsasize", _LEAST_RSA)))
            if bits < least:
                raise Untrusted(f"the host key has {bits} bits, and RequiredRSASize is {least}")
        file = str(self._options.get("revokedhostkeys", "none"))
        if file.lower() != "none":
            try:
                if revoked_keys(Path(os.path.expanduser(file))).revokes(shown):
                    raise Untrusted(f"the host key is revoked by {file}")
            except Unreadable as error:
                raise Untrusted(str(error)) from None
        return shown

    def _is_exempt(self) -> bool:
        """Whether NoHostAuthenticationForLocalhost holds."""
        if not self._options.is_yes("nohostauthenticationforlocalhost") or "hostkeyalias" in self._options:
            return False
        address = self._peer()
        return address is not None and address.is_loopback

    # -- what is known

    def _refusal(self, shown: ShownKey, known: KnownHosts) -> str | None:
        """None if the key is known; if it is new, why its certificate is not accepted, or nothing.

        Raises:
            Untrusted: it is revoked, or another key is known.
            RetryWithKnownTypes: another key is known, and the host may have it too.
        """
        refusal = self._known_by(shown, known)
        if refusal is not None and known.refresh():  # a ProxyCommand may have written it
            refusal = self._known_by(shown, known)
        if refusal is None:
            return None
        others = known.search(self._names[0])
        if others:
            if not any(shown.key_type == entry.key_type for entry in others):
                self._retry(types=[entry.key_type for entry in others])
            raise Untrusted(self._changed(shown, others))
        return refusal

    def _known_by(self, shown: ShownKey, known: KnownHosts) -> str | None:
        """As `_refusal`, by the keys that are the very one."""
        refusal = ""
        if shown.certificate is not None:
            for name in self._names:
                self._check_revoked(shown, known.revoked(name))
            refusal = self._certificate_refusal(shown.certificate, self._authorities(known))
            if not refusal:
                return None
        for name in self._names:
            self._check_revoked(shown, known.revoked(name))
            if known.find(name, shown.blob) is not None:
                # Without a port, an entry is for hosts of which none has the port (ssh(1)).
                return None if name == self._names[0] or not known.search(self._names[0]) else refusal
        return refusal

    def _authorities(self, known: KnownHosts) -> list[Entry]:
        return [entry for name in self._names for entry in known.authorities(name)]

    def _check_revoked(self, shown: ShownKey, revoked: Iterable[Entry]) -> None:
        for entry in revoked:
            if entry.blob == shown.blob:
                raise Untrusted(f"the host key is revoked: {entry.where}")
            if shown.certificate is not None and entry.blob == shown.certificate.authority:
                raise Untrusted(f"the authority of the host certificate is revoked: {entry.where}")

    def _certificate_refusal(self, certificate: Certificate, authorities: Iterable[Entry]) -> str:
        if all(entry.blob != certificate.authority for entry in authorities):
            return f"no @cert-authority is known for it with {fingerprint(certificate.authority)}"
        wanted = str(self._options.get("casignaturealgorithms", ""))
        signatures = (
            preferred(wanted, CA_SIGNATURES, [*CA_SIGNATURES, "ssh-rsa"]) if wanted else CA_SIGNATURES
        )
        name = str(self._options.get("hostkeyalias") or self._address.lower())
        return certificate.refusal(name, signatures)

    # -- what is new

    def _accept_new(self, shown: ShownKey, known: KnownHosts, refusal: str) -> None:
        authorities = self._authorities(known)
        if authorities and shown.certificate is None:
            self._retry(certified=True)
        said = f"its certificate is not accepted: {refusal}; " if refusal else ""
        if authorities:
            said = said or f"it shows no certificate of the authority in {authorities[0].where}; "
            raise Untrusted(f"{said}its key is not in known_hosts")
        if self._command is not None and self._command.fault:
            raise Untrusted(f"the host key is not in known_hosts; {self._command.fault}")
        if self._mode == "strict":
            remedy = "(--host-keys accept-new would record it)"
            raise Untrusted(f"{said}{'its' if said else 'the host'} key is not in known_hosts {remedy}")
        if not known.records:
            raise Untrusted(
                "the host key is new, and UserKnownHostsFile is none, so that it cannot be recorded"
            )
        hashed = self._options.is_yes("hashknownhosts")
        known.add(self._names[0], shown.key_type, shown.blob, hashed)

    def _retry(self, types: Iterable[str] = (), certified: bool = False) -> None:
        """Ask the host for other keys, unless these have been asked for."""
        types = self._types.union(types)
        if not self._is_second and (types, certified) != (self._types, certified and self._certified):
            self._types, self._certified = types, self._certified or certified
            self._is_second = True
            raise RetryWithKnownTypes

    def _changed(self, shown: ShownKey, known: list[Entry]) -> str:
        same_type = [entry for entry in known if entry.key_type == shown.key_type]
        entry = (same_type or known)[0]
        said = f"the host key has changed, {entry.where} has another"
        if os.path.isfile(os.path.expanduser(entry.file)):
            said += f"; if that is right: ssh-keygen -R {shlex.quote(self._names[0])} -f {entry.file}"
        return f"{said} (now {shown.key_type} {shown.fingerprint})"

    def _check_address(self, shown: ShownKey, known: KnownHosts, deadline: float) -> Steps[None]:
        """Make sure that the host's address is not known with another key, if CheckHostIP asks for that."""
        address = self._peer() if self._options.is_yes("checkhostip") else None
        if address is None or address.is_loopback or shown.certificate is not None:
            return
        name = str(address) if self._port == 22 else f"[{address}]:{self._port}"
        if self._command is not None:
            yield MAY_BLOCK
            known = known.having(self._command.lines(name, "ADDRESS", shown, deadline))
        others = known.search(name)
        if others and all(entry.blob != shown.blob for entry in others):
            raise Untrusted(f"the address {address} has another host key in {others[0].where} (CheckHostIP)")

    def _peer(self) -> "ipaddress.IPv4Address | ipaddress.IPv6Address | None":
        """The address at the other end, unless that is reached through something else.

        A ProxyCommand may pass a descriptor, whose other end may be a proxy and not the host.
        """
        sock = self._sock
        if self._is_proxied or not isinstance(sock, socket.socket) or sock.family not in _INET:
            return None
        address = ipaddress.ip_address(str(sock.getpeername()[0]).partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return mapped or address
