"""Identities: the keys to log in with, from files and agents, in the order in which ssh offers them."""

import os
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol

import paramiko

from ..model import UsageError
from . import keys
from .agent import Agent, AgentFailure, socket_of
from .certificate_format import CERTIFICATE
from .keys import BadKey, PrivateKey, PublicKey
from .paramiko_internals import preferred

#: Tried if nothing names an identity, in ssh's order (ssh_config(5), IdentityFile).
DEFAULT_FILES = tuple(
    f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "xmss", "dsa")
)
#: What ssh accepts unless PubkeyAcceptedAlgorithms says otherwise, in its order, and what else it can.
_PLAIN = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "rsa-sha2-512", "rsa-sha2-256"),
)
_ALGORITHMS = (*(name.removesuffix("@openssh.com") + CERTIFICATE for name in _PLAIN), *_PLAIN)
_KNOWN = (*_ALGORITHMS, "ssh-rsa", "ssh-rsa" + CERTIFICATE)
_RSA = re.compile(rf"(rsa-sha2-512|rsa-sha2-256|ssh-rsa)({re.escape(CERTIFICATE)})?")
#: Bits of the smallest RSA key that is used (ssh_config(5), RequiredRSASize).
RSA_BITS = 1024


class Signer(Protocol):
    """What signs with a key: see PrivateKey.sign."""

    def __call__(self, data: bytes, algorithm: str) -> bytes:
        """The signature of `data`; raises AgentFailure."""


@dataclass(frozen=True)
class Offer:
    """A key that can be offered, and who signs with it, in turn.

    `asks` is whether that may wait for somebody, as an agent does who is to confirm.
    """

    key: PublicKey
    kind: str
    signers: tuple[Signer, ...]
    asks: bool

    def algorithm(self, accepted: Iterable[str], server: list[str] | None) -> str | None:
        """By which algorithm of ours to sign; `server` are those that it accepts, None if it has not said."""
        if not self.is_rsa:
            return self.kind
        names = [
            name
            for name in accepted
            if (found := _RSA.fullmatch(name)) and bool(found[2]) == self.kind.endswith(CERTIFICATE)
        ]
        if server is not None:
            names = [name for name in names if name.removesuffix(CERTIFICATE) in server]
        elif "ssh-rsa" in accepted:  # as ssh: who does not say is too old for the others
            names.sort(key=lambda name: not name.startswith("ssh-rsa"))
        return next(iter(names), None)

    @property
    def is_rsa(self) -> bool:
        """Whether the server has a say in how it signs (RFC 8332)."""
        return self.kind.startswith("ssh-rsa")

    def sign(self, data: bytes, algorithm: str) -> bytes:
        """The signature of `data` by an algorithm of this key.

        Raises:
            AgentFailure: nobody signs.
        """
        algorithm = algorithm.removesuffix(CERTIFICATE) if self.is_rsa else _plain(self.key).kind
        for sign in self.signers[:-1]:
            try:
                return sign(data, algorithm)
            except AgentFailure:
                continue
        return self.signers[-1](data, algorithm)


@dataclass(frozen=True)
class Wanted:
    """What ssh_config, settings and Fabric say of the keys for a host.

    `files` and `certificates` are IdentityFile and CertificateFile, `only` is IdentitiesOnly, `agent` the
    value of IdentityAgent, `accepted` PubkeyAcceptedAlgorithms, `rsa_bits` RequiredRSASize. Without
    `with_agent` no agent is asked, without `with_defaults` the default files are not looked for.
    """

    files: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    only: bool = False
    agent: str | None = None
    accepted: str = ""
    rsa_bits: int = RSA_BITS
    passphrase: str | None = field(default=None, repr=False)
    with_agent: bool = True
    with_defaults: bool = True


@dataclass(frozen=True)
class Offers:
    """Keys in the order to offer them, the algorithms to sign by, and why others are not among them."""

    keys: tuple[Offer, ...]
    algorithms: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class _Identity:
    """What is known of a file that IdentityFile names, and of those beside it."""

    public: PublicKey | None = None
    private: PrivateKey | None = None
    certificate: PublicKey | None = None
    why: str = ""


class Identities:
    """The keys to offer. Each file is read once however many hosts it is for; safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._files: dict[tuple[str, str | None], _Identity] = {}
        self._agents: dict[str, Agent] = {}
        self._offers: dict[Wanted, Offers] = {}

    def require(self, path: str, passphrase: str | None = None, others: bool = False) -> None:
        """Make sure that an identity the user named can be used.

        `others` is whether some hosts have an agent of their own, which may hold what is not here.

        Raises:
            UsageError: it cannot, and the agent does not hold it either.
        """
        identity = self._identity(path, passphrase)
        if identity.private is not None or (others and identity.public is not None):
            return
        socket = socket_of(None)
        held = {each.public for each in self.agent(socket).held()} if socket and identity.public else set()
        if identity.public not in held:
            raise UsageError(f"identity {path}: {identity.why}")

    def agent(self, socket: str) -> Agent:
        """The agent behind a socket."""
        with self._lock:
            return self._agents.setdefault(socket, Agent(socket))

    def takes_long(self, wanted: Wanted) -> bool:
        """Whether `offers` may block for long: an agent is asked first, or a key is to be decrypted."""
        asks = bool(wanted.passphrase or (wanted.with_agent and socket_of(wanted.agent)))
        return asks and wanted not in self._offers

    def offers(self, wanted: Wanted) -> Offers:
        """The keys for one host, in ssh's order.

        Those of CertificateFile; the named ones of the agent, as it lists them; the other ones of the agent,
        unless there are to be only named ones; then the files, each key with its certificate behind it.
        """
        found = self._offers.get(wanted)
        if found is None:
            with self._lock:
                found = self._offers.setdefault(wanted, self._offered(wanted))
        return found

    def _offered(self, wanted: Wanted) -> Offers:
        files = [path for path in wanted.files if path.lower() != "none"]
        defaults = DEFAULT_FILES if wanted.with_defaults and not wanted.files else ()
        own = [self._identity(path, wanted.passphrase) for path in (*files, *defaults)]
        readable = {each.private.public for each in own if each.private}
        certificates = [path for path in wanted.certificates if path.lower() != "none"]
        notes: list[str] = []
        explicit = [each for path in certificates if (each := _certificate(path, notes))]
        of_files = [each.public for each in own if each.public]
        if not certificates:  # as ssh, which then takes none of those beside keys
            pairs = [(each.public, each.certificate) for each in own]
            of_files = [each for pair in pairs for each in pair if each]
        socket = socket_of(wanted.agent) if wanted.with_agent else None
        agent = self.agent(socket) if socket else None
        held = [each.public for each in agent.held()] if agent else []
        signers = self._signers(own, agent, held)
        order = [
            *explicit,
            *(key for key in held if key in of_files),
            *(() if wanted.only else held),
            *of_files,
        ]
        algorithms = _algorithms(wanted.accepted)
        offered = []
        for key in dict.fromkeys(order):
            objection = _objection(key, algorithms, wanted.rsa_bits)
            if objection:
                notes.append(objection)
            elif _plain(key) in signers:
                offered.append(Offer(key, key.kind, tuple(signers[_plain(key)]), _plain(key) not in readable))
        can = {_plain(offer.key) for offer in offered}
        for path, identity in zip((*files, *defaults), own, strict=True):
            is_there = identity.public is not None and _plain(identity.public) in can
            if identity.why and not is_there and (path in files or identity.public):
                notes.append(f"{path}: {identity.why}")
        if agent is not None and agent.trouble and (wanted.agent or not offered):
            notes.append(agent.trouble)
        return Offers(tuple(offered), algorithms, tuple(dict.fromkeys(notes)))

    def _signers(
        self, own: list[_Identity], agent: Agent | None, held: list[PublicKey]
    ) -> Mapping[PublicKey, list[Signer]]:
        """Who signs with which plain key: its file, which is quick, or the agent."""
        signers: dict[PublicKey, list[Signer]] = {}
        for identity in own:
            if identity.private:
                signers.setdefault(identity.private.public, []).append(identity.private.sign)
        for key in sorted(held, key=lambda key: key.is_certificate):
            assert agent is not None  # for type checkers: they are its keys
            signers.setdefault(_plain(key), []).append(partial(agent.sign, key))
        return signers

    def _identity(self, path: str, passphrase: str | None) -> _Identity:
        with self._lock:
            if (path, passphrase) not in self._files:
                self._files[path, passphrase] = _read(Path(os.path.expanduser(path)), passphrase)
            return self._files[path, passphrase]

    def close(self) -> None:
        """Close the connections to agents."""
        with self._lock:
            for agent in self._agents.values():
                agent.close()


def of_paramiko(key: paramiko.PKey) -> Offer:
    """The offer of a key that a program has given, with its certificate if it has loaded one."""

    def sign(data: bytes, algorithm: str) -> bytes:
        signature = key.sign_ssh_data(data, algorithm)
        return signature if isinstance(signature, bytes) else signature.asbytes()

    certificate = getattr(key, "public_blob", None)
    public = PublicKey(certificate.key_blob if certificate else key.asbytes())
    return Offer(public, public.kind, (sign,), isinstance(key, paramiko.AgentKey))


@lru_cache(maxsize=256)
def _algorithms(wanted: str) -> tuple[str, ...]:
    """The algorithms that a value of PubkeyAcceptedAlgorithms accepts."""
    return preferred(wanted, _ALGORITHMS, _KNOWN) if wanted else _ALGORITHMS


def _objection(key: PublicKey, accepted: Iterable[str], rsa_bits: int) -> str:
    """Why a key is not offered, as ssh would not; empty if it is."""
    bits = _plain(key).rsa_bits()
    if 0 < bits < rsa_bits:
        return f"an RSA key of {bits} bits, less than RequiredRSASize"
    if Offer(key, key.kind, (), False).algorithm(accepted, None) not in (*accepted,):
        return f"{key.kind} is not in PubkeyAcceptedAlgorithms"
    return ""


def _plain(key: PublicKey) -> PublicKey:
    """The key that signs for one; itself if it is no certificate that is understood."""
    try:
        return key.plain()
    except BadKey:
        return key


def _certificate(path: str, notes: list[str]) -> PublicKey | None:
    """The certificate in a file that CertificateFile names."""
    try:
        found = keys.public_half(keys.read_file(Path(os.path.expanduser(path))))
        if found is None or not found.is_certificate:
            raise BadKey("not a certificate")
        found.plain()
    except BadKey as error:
        notes.append(f"{path}: {error}")
        return None
    return found


def _read(path: Path, passphrase: str | None) -> _Identity:
    """What a file has that names an identity, and those beside it."""
    found = _Identity()
    data = b""
    try:
        data = keys.read_file(path)
        if b"PRIVATE KEY-----" in data:
            keys.check_permissions(path)
        found.private = keys.private_key(data, passphrase)
        found.public = found.private.public
    except BadKey as error:
        found.why = str(error)
        found.public = keys.public_half(data) or _public_file(f"{path}.pub")
    certificate = _public_file(f"{path}-cert") or _public_file(f"{path}-cert.pub")
    if certificate is not None and certificate.is_certificate and _plain(certificate) != certificate:
        found.certificate = certificate
    return found


def _public_file(path: str) -> PublicKey | None:
    try:
        return keys.public_half(keys.read_file(Path(path)))
    except BadKey:
        return None
