"""Unix domain sockets against loopback TCP: the ping-pong of a fixed number of packets, over their size.

After "Unix Domain Sockets vs Loopback TCP Sockets" by Nic McDonald. His client counts events of reading; this
one counts bytes, so that packets that come in parts are counted right.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..model import UsageError
from . import charts
from .recipe import PROGRAMS, Choice, Chosen, Recipe, Results, Role
from .report import (
    Key,
    Page,
    Table,
    bar_chart,
    summaries,
    text_table,
    warnings_of,
    write_report,
    write_samples,
)
from .result_folder import write_whole
from .statistics import Summary

TRANSPORTS = ("uds", "tcp", "udp", "socketpair", "pipe")
NODE_TRANSPORTS = ("uds", "tcp", "udp")
#: The largest datagram there can be.
LARGEST = 65507
#: Seconds that a run may take, and what each packet adds to them.
_LIMIT, _SLOWEST = 60.0, 0.001
#: What transports are compared with, and what is reported of each after the milliseconds.
_BASE = "tcp"
_MORE = ("client_cpu_s", "server_cpu_s", "p50_us", "p99_us", "p99.9_us", "messages_per_s", "mb_per_s")
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
    """The article's CSV and its two charts, and tables of all that was measured."""
    sizes, transports = results.plan["parameters"]["size"], results.plan["parameters"]["transport"]
    times = summaries(results.samples, ("transport", "size"), "ms")
    base = _BASE if _BASE in transports else transports[0]
    medians = _medians(times, transports, sizes, base)
    write_samples(results)
    write_whole(results.folder / "uds_vs_tcp.csv", _article_csv(results, transports, sizes))
    page = Page("Unix domain sockets against loopback TCP")
    runtimes = ", ".join(sorted({sample["runtime"] for sample in results.samples}))
    page.text(
        f"Medians of {results.plan['runs']} runs of each size and transport on "
        f"{len({sample['host'] for sample in results.samples})} host(s), with {runtimes}."
    )
    page.table(*medians)
    page.heading("More of each")
    page.table(*_more(results, times))
    pictures = _charts(results.folder, times, transports, sizes, base) if charts.available() else []
    some = [(name, size) for size in (sizes[0], sizes[len(sizes) // 2], sizes[-1]) for name in transports]
    bars = {f"{name} {size} B": times[name, size].median for name, size in some if (name, size) in times}
    text = f"{text_table(*medians)}\n\n{bar_chart(bars, ' ms')}\n"
    named = {f"{name}, {size} bytes": summary for (name, size), summary in times.items()}
    write_report(results, page, text, pictures, warnings_of(results, named))


def _medians(
    times: Mapping[Key, Summary], transports: Sequence[str], sizes: Sequence[int], base: str
) -> Table:
    """A row for each size: the milliseconds of each transport, and how they compare with those of `base`."""
    others = [name for name in transports if name != base]
    rows = []
    for size in sizes:
        found = {name: times[name, size].median for name in transports if (name, size) in times}
        row = [str(size), *(f"{found[name]:.1f}" if name in found else "" for name in transports)]
        row += [
            f"{found[name] / found[base]:.2f}" if name in found and base in found else "" for name in others
        ]
        rows.append(row)
    header = ["size", *(f"{name} ms" for name in transports), *(f"{name} / {base}" for name in others)]
    return Table(header, rows)


def _more(results: Results, times: Iterable[Key]) -> Table:
    """Medians of all else that was measured."""
    columns = [summaries(results.samples, ("transport", "size"), name) for name in _MORE]
    rows = [
        [*key, *(f"{column[key].median:.4g}" if key in column else "" for column in columns)] for key in times
    ]
    return Table(["transport", "size", *_MORE], rows)


def _charts(
    folder: Path,
    times: Mapping[Key, Summary],
    transports: Sequence[str],
    sizes: Sequence[int],
    base: str,
) -> list[Path]:
    x = "packet size (bytes)"
    written = charts.lines(
        folder / "execution_time",
        _series(times, transports, sizes),
        title="Execution time against packet size",
        x=x,
        y="milliseconds",
        log_y=True,
    )
    relative = _series(times, [name for name in transports if name != base], sizes, base)
    if relative:
        written += charts.lines(
            folder / "relative_time",
            relative,
            title=f"Execution time relative to {base.upper()}",
            x=x,
            y=f"time / {base.upper()}'s",
            level=1.0,
        )
    return written


def _series(
    times: Mapping[Key, Summary], transports: Sequence[str], sizes: Sequence[int], base: str = ""
) -> dict[str, list[tuple[float, float, float, float]]]:
    """A line for each transport: size, median, lowest and highest; with `base` as parts of its median."""
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for name in transports:
        for size in sizes:
            if (name, size) not in times or (base and (base, size) not in times):
                continue
            divisor = times[base, size].median if base else 1.0
            median, low, high = (value / divisor for value in times[name, size].range)
            found.setdefault(name, []).append((size, median, low, high))
    return found


def _article_csv(results: Results, transports: Sequence[str], sizes: Sequence[int]) -> str:
    """The milliseconds laid out as in the article: a row for each transport and size, a column for each run.

    On several hosts each has rows of its own, its name in front.
    """
    hosts = list(dict.fromkeys(sample["host"] for sample in results.samples))
    runs = results.plan["runs"]
    found = {}
    for sample in results.samples:
        run = int(sample["name"].rpartition("run=")[2])
        found[sample["host"], sample["transport"], sample["size"], run] = sample["ms"]
    lines = ["NAME, " + "".join(f"RUN {run}, " for run in range(runs))]
    for host in hosts:
        front = f"{host} " if len(hosts) > 1 else ""
        for name in transports:
            for size in sizes:
                cells = [found.get((host, name, size, run)) for run in range(runs)]
                text = "".join(f"{cell}, " if cell is not None else ", " for cell in cells)
                lines.append(f"{front}{name.upper()} Size {size}, {text}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


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
