"""The network between senders and receivers: the cycle of "ParaMgmt: Interacting with thousands of servers".

Receivers listen before senders start, senders start together, and receivers are ended whatever happens.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..model import UsageError
from .recipe import PROGRAMS, Choice, Chosen, JsonObject, Recipe, Results, Role, RoleHosts

PAIRINGS = ("one-to-one", "all-to-all", "incast")
TOOLS = ("builtin", "iperf3")
_PORT = 5201
#: Seconds that a run may take longer than it sends.
_LIMIT = 60.0


_RESULTS = {"builtin": "sent.jsonl", "iperf3": "iperf3-*.json"}
#: Succeeds once something listens on all ports, as Linux shows it (in hexadecimal).
_LISTENS = """
for port in ?PORTS; do
  listening=" [0-9A-F]*:$(printf %04X "$port") [0-9A-F]*:0000 0A "
  grep -qs "$listening" /proc/net/tcp /proc/net/tcp6 || exit 1
done
"""


def _prepare(recipe: Recipe, options: Chosen) -> Recipe:
    tool, pairing = options["tool"] or "builtin", options["pairing"] or "one-to-one"
    if tool not in TOOLS:
        raise UsageError(f"--tool {tool}: must be one of {', '.join(TOOLS)}")
    if pairing not in PAIRINGS:
        raise UsageError(f"--pairing {pairing}: must be one of {', '.join(PAIRINGS)}")
    seconds = _number("--seconds", options["seconds"] or "10", 0.1)
    runs = int(_number("--runs", options["runs"] or "3", 1))
    port = int(_number("--base-port", options["base_port"] or str(_PORT), 1))
    bind = "" if options["bind_any"] else "?ADDRESS"
    receivers, senders = recipe.roles
    receiver_files: tuple[str, ...]
    sender_files: tuple[str, ...]
    if tool == "builtin":
        receive = f"exec ?PYTHON net_receiver.py --port ?PORTS --bind '{bind}'"
        send = f"exec ?PYTHON net_sender.py --peers '?PEERS' --seconds {seconds:g}"
        send += " --name ?POINT --output sent.jsonl"
        receiver_files, sender_files = [
            (str(PROGRAMS / f"net_{name}.py"),) for name in ("receiver", "sender")
        ]
    else:
        there = f"-B {bind} " if bind else ""
        receive = f"for port in ?PORTS; do iperf3 -s {there}-p $port >/dev/null & done; wait"
        send = _IPERF3.replace("SECONDS", f"{seconds:g}")
        receiver_files = sender_files = ()
    return replace(
        recipe,
        roles=(
            replace(receivers, command=receive, files=receiver_files),
            replace(
                senders,
                command=send,
                files=sender_files,
                results=(_RESULTS[tool],),
                timeout=seconds + _LIMIT,
            ),
        ),
        runs=runs,
        parameters={"tool": [tool], "pairing": [pairing]},
        parse=_from_iperf3 if tool == "iperf3" else _from_builtin,
        variables=lambda cycle: _pair(cycle, pairing, tool, port),
    )


_IPERF3 = """
command -v iperf3 >/dev/null || { echo 'iperf3: not installed on this host' >&2; exit 1; }
bad=0; pids=
for peer in $(echo '?PEERS' | tr , ' '); do
  name=${peer%%=*}; address=${peer#*=}
  file=iperf3-?POINT-$name.json
  iperf3 -J -c "${address%:*}" -p "${address##*:}" -t SECONDS -i 0.5 > "$file" &
  pids="$pids $!:$file"
done
for each in $pids; do
  wait "${each%%:*}" || { bad=1; sed -n 's/.*"error":[^"]*"\\(.*\\)".*/iperf3: \\1/p' "${each#*:}" >&2; }
done
exit $bad
"""


def _number(name: str, text: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value < float("inf") or (least == 1 and value != int(value)):
        raise UsageError(
            f"{name} {text}: must be a {'whole ' if least == 1 else ''}number, {least:g} or more"
        )
    return value


def _pair(on: RoleHosts, pairing: str, tool: str, port: int) -> Mapping[str, Sequence[Mapping[str, str]]]:
    """Which receivers each sender sends to, and on which ports each receiver listens.

    A server of iperf3 serves one client at a time, so that each sender needs a server of its own.
    """
    senders, receivers = on.hosts["senders"], on.hosts["receivers"]
    if pairing == "one-to-one" and len(senders) != len(receivers):
        raise UsageError(f"--pairing one-to-one: {len(senders)} senders and {len(receivers)} receivers")
    if pairing == "incast" and len(receivers) != 1:
        raise UsageError(f"--pairing incast: takes one receiver, not {len(receivers)}")
    own_port = tool == "iperf3" and pairing != "one-to-one"
    if port + len(senders) * own_port > 65535:
        raise UsageError(f"--base-port {port}: too high for {len(senders)} senders")
    ports = " ".join(str(port + n) for n in range(len(senders) if own_port else 1))
    addresses = [on.address(host) for host in receivers]
    peers = []
    for number, sender in enumerate(senders):
        chosen = [number] if pairing == "one-to-one" else range(len(receivers))
        targets = [n for n in chosen if pairing != "all-to-all" or receivers[n].entry != sender.entry]
        if not targets:
            raise UsageError(f"--pairing {pairing}: {sender.entry} has nobody to send to")
        at = port + number * own_port
        peers.append(
            {"PEERS": ",".join(f"{receivers[n].entry}={_bracketed(addresses[n])}:{at}" for n in targets)}
        )
    return {"senders": peers, "receivers": [{"PORTS": ports} for _ in receivers]}


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _from_builtin(path: Path) -> Iterator[JsonObject]:
    found = {}
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            sample = json.loads(line)
            found[sample["name"], sample["receiver"]] = sample
        except (ValueError, KeyError):
            continue  # cut off
    yield from found.values()


def _from_iperf3(path: Path) -> Iterator[JsonObject]:
    """A file is named iperf3-POINT-RECEIVER.json, and a point's name ends in run=N."""
    point, mark, rest = path.name.removeprefix("iperf3-").removesuffix(".json").rpartition("run=")
    run, _, receiver = rest.partition("-")
    try:
        report = json.loads(path.read_text("utf-8", "replace"))
        received = report["end"]["sum_received"]
        yield {
            "name": f"{point}{mark}{run}",
            "receiver": receiver,
            "bytes": received["bytes"],
            "seconds": received["seconds"],
            "mbit_per_s": received["bits_per_second"] / 1e6,
            "retransmits": report["end"].get("sum_sent", {}).get("retransmits"),
            "rates_mbit_s": [interval["sum"]["bits_per_second"] / 1e6 for interval in report["intervals"]],
        }
    except (ValueError, KeyError):
        return


# -- what is made of the results


def _analyze(results: Results) -> None:
    from .network_report import analyze  # only here: `inv --list` stays quick

    analyze(results)


NETWORK = Recipe(
    name="network",
    description="Throughput between senders and receivers",
    roles=(
        Role(name="receivers", command="", ready=_LISTENS, local=False),
        Role(name="senders", command="", local=False),
    ),
    metric="mbit_per_s",
    analyze=_analyze,
    prepare=_prepare,
    options=(
        Choice("tool", "", "builtin, or iperf3 where the hosts have it (builtin)"),
        Choice("pairing", "", "one-to-one, all-to-all or incast (one-to-one)"),
        Choice("seconds", "", "seconds that each run sends (10)"),
        Choice("runs", "", "how often it is measured (3)"),
        Choice("base_port", "", "port that receivers listen on, the first where it takes several (5201)"),
        Choice("bind_any", False, "Receivers listen on all addresses, not on the one they are reached by"),
    ),
)
