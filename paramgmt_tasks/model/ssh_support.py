"""Which options of ssh_config(5) are honoured: the table of docs/ssh_config.md.

The options are those of OpenSSH up to 10.2, with those of GSSAPI that Debian and Fedora add.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Support(Enum):
    """What comes of an option."""

    HONOURED = "honoured"
    NOT_NEEDED = "not needed here"
    NOT_SUPPORTED = "not supported"


@dataclass(frozen=True)
class Row:
    """What comes of an option, why, and with which values nothing is missed if it is not supported."""

    name: str
    support: Support
    why: str
    harmless: tuple[str, ...] = ()


_HONOURED = """
AddressFamily: Addresses of another family are not tried.
BatchMode: With `yes` no password is sent and nobody is asked.
BindAddress: Connections are made from this address.
BindInterface: Connections are made from this interface.
CanonicalDomains: Searched in their order.
CanonicalizeFallbackLocal: With `no`, a host that no domain has is an error.
CanonicalizeHostname: The files are read again with the canonical name.
CanonicalizeMaxDots: Names with more dots are taken as they are.
CanonicalizePermittedCNAMEs: Aliases are followed as far as these rules allow.
CASignatureAlgorithms: Certificates that are signed in another way are not accepted.
CertificateFile: Offered with its key, which may be in the agent.
CheckHostIP: With `yes` a host whose address is known with another key is refused.
Ciphers: Also with `+`, `-` and `^`; of those that exist here.
Compression: From login on, if the server has it.
ConnectionAttempts: Tries a second apart within each of `--attempts`, and within the connect timeout.
ConnectTimeout: Bounds the whole of reaching the host; `--connect-timeout` wins.
ForwardAgent: The agent that ssh would forward; one warning if it is not there.
GlobalKnownHostsFile: Read, and never written.
GSSAPIAuthentication: With the extra `gssapi` and a ticket, if the server offers it; before keys, as ssh.
GSSAPIClientIdentity: The principal to log in as.
GSSAPIDelegateCredentials: Forwards the ticket.
GSSAPIServerIdentity: The name of the server's principal.
GSSAPITrustDns: Takes the server's name from the name server.
HashKnownHosts: New hosts are recorded without their names.
Host: As ssh.
HostKeyAlgorithms: Also with `+`, `-` and `^`; of those that exist here.
HostKeyAlias: The name under which the host's key is known.
HostName: The address; `%h` in it is the name as written.
IdentitiesOnly: Only the identities that are named are offered, also of the agent's.
IdentityAgent: The agent that is asked, `none` for no agent.
IdentityFile: Offered in their order; if none is named, ssh's default files.
IgnoreUnknown: Keywords that are ignored if they are unknown.
Include: With its scope; the names may have tokens and `${VARIABLES}`.
IPQoS: Its second value; nothing is set without it.
KbdInteractiveAuthentication: With the password that was given, or what `--ask-interactive` asks you.
KbdInteractiveDevices: Sent to the server.
KexAlgorithms: Also with `+`, `-` and `^`; of those that exist here.
KnownHostsCommand: Run for each host, within the time to connect; the host is an error if it fails.
MACs: Also with `+`, `-` and `^`; of those that exist here.
Match: All criteria; see below.
NoHostAuthenticationForLocalhost: The key of this machine itself is not checked.
NumberOfPasswordPrompts: With 0 no password is sent; otherwise it is sent once.
PasswordAuthentication: Whether the password that was given is tried.
Port: `--port` and the host's line win.
PreferredAuthentications: The ways to log in, and their order.
ProxyCommand: Run on this machine by your shell, as ssh does.
ProxyJump: Each jump host is reached as its own options say, `ssh://` is known, and loops are refused.
ProxyUseFdpass: The ProxyCommand passes a connected socket.
PubkeyAcceptedAlgorithms: Also with `+`, `-` and `^`; of those that exist here.
PubkeyAuthentication: Whether keys are offered.
RefuseConnection: The host is an error, with this text.
RekeyLimit: After so much data or time, keys are exchanged again.
RemoteCommand: As for `ssh HOST COMMAND`: commands and scripts are an error unless it is `none`.
RequestTTY: `force` gives a terminal; the others do not, as for ssh whose input is none.
RequiredRSASize: Shorter RSA keys, of hosts and of users, are not accepted.
RevokedHostKeys: A list of keys or a KRL; if it cannot be read, no host is trusted.
SendEnv: Variables of this environment, if the server accepts them.
ServerAliveCountMax: 3 if not set.
ServerAliveInterval: 30 if not set; a host that does not answer is `lost`. 0 turns it off.
SessionType: With `none` or `subsystem`, commands and scripts are an error.
SetEnv: Variables, if the server accepts them.
StrictHostKeyChecking: `accept-new` without it; `--host-keys` wins. With `no`, a changed key gets no password.
Tag: Seen by `Match tagged`.
TCPKeepAlive: Whether the kernel looks for dead peers.
User: `-u` and the host's line win; it may have tokens and `${VARIABLES}`.
UserKnownHostsFile: New hosts are recorded in the first; with `none` they are refused.
"""
_NOT_NEEDED = """
AddKeysToAgent: Keys are loaded for a run; `ssh-add` gives them to an agent.
ClearAllForwardings: No ports are forwarded.
ControlMaster: Connections are kept and shared within a run.
ControlPath: Connections are kept and shared within a run.
ControlPersist: Connections are kept and shared within a run.
EnableEscapeCommandline: Nobody types at a host's terminal.
EnableSSHKeysign: Only for HostbasedAuthentication.
EscapeChar: Nobody types at a host's terminal.
ExitOnForwardFailure: No ports are forwarded.
FingerprintHash: Fingerprints are always SHA256.
ForkAfterAuthentication: Results are waited for.
ForwardX11Timeout: Only for ForwardX11.
ForwardX11Trusted: Only for ForwardX11.
GatewayPorts: Only for LocalForward and DynamicForward.
GSSAPIKexAlgorithms: Only for GSSAPIKeyExchange.
GSSAPIRenewalForcesRekey: Only for GSSAPIKeyExchange.
HostbasedAcceptedAlgorithms: Only for HostbasedAuthentication.
LogLevel: For ssh's own messages; here `--verbose`.
LogVerbose: For ssh's own messages; here `--verbose`.
ObscureKeystrokeTiming: Nobody types at a host's terminal.
PermitLocalCommand: Only for LocalCommand.
PermitRemoteOpen: Only for RemoteForward.
StdinNull: Commands get no input but that of `--stdin`.
StreamLocalBindMask: Only for forwarded sockets.
StreamLocalBindUnlink: Only for forwarded sockets.
SyslogFacility: Nothing is written to syslog.
TunnelDevice: Only for Tunnel.
UpdateHostKeys: Further keys of a known host are not recorded.
UseKeychain: Of macOS; passphrases are asked for with `--ask-passphrase`.
VersionAddendum: Says nothing to a server.
VisualHostKey: Keys are shown as fingerprints.
WarnWeakCrypto: A warning of ssh's own.
XAuthLocation: Only for ForwardX11.
"""
#: With the values, after a bar, that are as if the option were not there.
_NOT_SUPPORTED = """
ChannelTimeout|none: Use `--timeout`.
DynamicForward: No ports are forwarded.
ForwardX11|no: Commands get no display.
GSSAPIKeyExchange|no: Keys are exchanged in the other ways.
HostbasedAuthentication|no: Keys, agents, certificates, Kerberos and passwords are.
LocalCommand: Not run; it matters only with `PermitLocalCommand yes`. Use `lcmd`.
LocalForward: No ports are forwarded.
PKCS11Provider|none: Have an agent hold the key of the token.
RemoteForward: No ports are forwarded.
SecurityKeyProvider|internal: Have an agent hold the key of the token.
Tunnel|no: There is no tunnel.
VerifyHostKeyDNS|no: Host keys are looked up in known_hosts only.
"""


def _rows() -> dict[str, Row]:
    rows = {}
    for support, table in zip(Support, (_HONOURED, _NOT_NEEDED, _NOT_SUPPORTED), strict=True):
        for line in table.strip().splitlines():
            named, _, why = line.partition(": ")
            name, *harmless = named.split("|")
            rows[name.lower()] = Row(name, support, why, tuple(harmless))
    return rows


#: By the name in lower case.
ROWS: Mapping[str, Row] = _rows()
#: What is about lines of the file, and not about a host.
OF_FILES = frozenset(("host", "match", "include", "ignoreunknown"))
_UNSUPPORTED = {keyword: row for keyword, row in ROWS.items() if row.support is Support.NOT_SUPPORTED}


def unsupported(options: Mapping[str, object]) -> tuple[str, ...]:
    """The options, of those that hold for a host, that ask for something which is not done here.

    >>> unsupported({"tunnel": "yes", "forwardx11": "no", "user": "nic"})
    ('Tunnel',)
    """
    return tuple(
        row.name for keyword, row in _UNSUPPORTED.items() if keyword in options and _matters(keyword, options)
    )


def _matters(keyword: str, options: Mapping[str, object]) -> bool:
    if keyword == "localcommand" and options.get("permitlocalcommand") != "yes":
        return False
    if keyword.endswith("forward") and options.get("clearallforwardings") == "yes":
        return False
    return str(options[keyword]).lower() not in ("", *_UNSUPPORTED[keyword].harmless)


def near(name: str) -> str:
    """A remark on which option may have been meant by a name that is none's; empty if none is similar."""
    found = difflib.get_close_matches(name.lower(), ROWS, 1)
    return f" (near: {ROWS[found[0]].name})" if found else ""
