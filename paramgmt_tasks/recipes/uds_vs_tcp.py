"""Unix domain sockets against loopback TCP: the ping-pong of a fixed number of packets, over their size.

After "Unix Domain Sockets vs Loopback TCP Sockets" by Nic McDonald. His client counts events of reading; this
one counts bytes, so that packets that come in parts are counted right.
"""

import re
from dataclasses import replace

from ..model import UsageError
from .recipe import PROGRAMS, Choice, Chosen, Recipe, Results, Role

TRANSPORTS = ("uds", "tcp", "udp", "socketpair", "pipe")
NODE_TRANSPORTS = ("uds", "tcp", "udp")
#: The largest datagram there can be.
LARGEST = 65507
#: Seconds that a run may take, and what each packet adds to them.
_LIMIT, _SLOWEST = 60.0, 0.001
_FILES = ("ping_pong.py", "echo_server.py", "echo_client.py", "echo_server.js", "echo_client.js")


def _prepare(recipe: Recipe, options: Chosen) -> Recipe:
    quick = bool(options["quick"])
    sizes = _sizes(options["sizes"] or ("2^0,2^4,2^8,2^11,2^14" if quick else "2^0..2^14"))
    runs = _count("runs", options["runs"] or ("5" if quick else "10"))
    packets = _count("packets", options["packets"] or ("20000" if quick else "100000"))
    warmup = _count("warmup", options["warmup"] or "1", least=0)
    runtime = options["runtime"] or "python"
    if runtime not in ("python", "node"):
        raise UsageError(f"--runtime {runtime}: must be python or node")
    transports = [name.strip() for name in (options["transports"] or "uds,tcp").split(",")]
    known = TRANSPORTS if runtime == "python" else NODE_TRANSPORTS
    for name in transports:
        if name not in known:
            raise UsageError(f"--transports {name}: with {runtime} there are {', '.join(known)}")
    pin = options["pin"] or ""
    if pin and not re.fullmatch(r"\d+(,\d+)?", pin):
        raise UsageError(f"--pin {pin}: must be a core such as 0, or two such as 0,1")
    pinned = f"--pin {pin} " if pin else ""
    command = (
        f"?PYTHON ping_pong.py --runtime {runtime} --transport ?transport --size ?size --packets {packets} "
        f"{pinned}--name ?POINT --output results.jsonl"
    )
    (role,) = recipe.roles
    return replace(
        recipe,
        roles=(replace(role, command=command, timeout=_LIMIT + packets * _SLOWEST),),
        parameters={"size": sizes, "transport": list(dict.fromkeys(transports))},
        runs=runs,
        warmup=warmup,
    )


def _sizes(text: str) -> list[int]:
    """Packet sizes in bytes.

    >>> _sizes("1,2^3..2^5,1000")
    [1, 8, 16, 32, 1000]
    """
    found: list[int] = []
    for part in text.split(","):
        powers = re.fullmatch(r"2\^(\d+)(?:\.\.2\^(\d+))?", part.strip())
        if powers:
            low = int(powers[1])
            found += [2**power for power in range(low, min(int(powers[2] or low), 99) + 1)]
        elif part.strip().isdigit():
            found.append(int(part))
        else:
            raise UsageError(f"--sizes {part.strip()}: must be bytes, such as 1000, 2^10 or 2^0..2^14")
    if not found or min(found) < 1 or max(found) > LARGEST:
        raise UsageError(f"--sizes {text}: must be from 1 to {LARGEST} bytes")
    return list(dict.fromkeys(found))


def _count(name: str, text: str, least: int = 1) -> int:
    if not str(text).isdigit() or int(text) < least:
        raise UsageError(f"--{name} {text}: must be a whole number, {least} or more")
    return int(text)


# -- what is made of the results


def _analyze(results: Results) -> None:
    from .uds_vs_tcp_report import analyze  # only here: `inv --list` stays quick

    analyze(results)


UDS_VS_TCP = Recipe(
    name="uds-vs-tcp",
    description="Unix domain sockets against loopback TCP: a ping-pong over packet sizes",
    roles=(
        Role(
            name="hosts",
            command="",
            files=tuple(str(PROGRAMS / name) for name in _FILES),
            results=("results.jsonl",),
        ),
    ),
    metric="ms",
    analyze=_analyze,
    prepare=_prepare,
    options=(
        Choice("sizes", "", "packet sizes in bytes, such as 64,1000 or 2^0..2^14 (2^0..2^14)"),
        Choice("runs", "", "how often each is measured (10)"),
        Choice("packets", "", "packets a run (100000)"),
        Choice("warmup", "", "runs of each before, that do not count (1)"),
        Choice("transports", "", "of uds, tcp, udp, socketpair, pipe (uds,tcp)"),
        Choice("runtime", "", "python, or node where it is installed (python)"),
        Choice(
            "pin", "", "core that server and client share, or one for each: 0 or 0,1 (as the kernel likes)"
        ),
        Choice("quick", False, "five sizes, five runs of 20000 packets: half a minute"),
    ),
)
